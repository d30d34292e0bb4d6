//! What STS answers, or whatever answers in its place.
//!
//! The first section is a word: which action is called, and with which proof. The others are the answers of the endpoints.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ram_sidecar::credentials::{Keys, RoleArn, RoleRequest};
use ram_sidecar::http::client::Client;
use ram_sidecar::sts::endpoint::Endpoint;
use ram_sidecar::sts::sign::Signature;
use ram_sidecar::sts::{EndpointState, Sts};
use ram_sidecar_fuzz::{
    PLANTED, Script, check_failure, check_lease, check_line, clock, is_planted, noon, planted_in,
    run, sections,
};

const SECRET: &str = "sent0Secret1Of2A3Key4";
const TOKEN: &str = "CAISsent5Token6+of/a7Key==";
const OIDC: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3VlciJ9.c2lnbmF0dXJl";

fuzz_target!(|data: &[u8]| {
    let sections = sections(data);
    let (word, answers) = sections.split_first().expect("there is one");
    run(called(word, answers));
});

async fn called(word: &[u8], answers: &[&[u8]]) {
    let script = Script::new(answers);
    let places = ["sts.cn-hangzhou.aliyuncs.com", "sts.aliyuncs.com"].map(|host| {
        let endpoint = Endpoint::parse(host).expect("a host");
        EndpointState::new(endpoint, Client::with_transport(script.clone()))
    });
    let signature = match word {
        b"v3" => Signature::V3,
        _ => Signature::V1,
    };
    let mut sts = Sts::new(places.into(), signature, clock());
    let keys = Keys {
        access_key_id: "LTAI5tExample".to_owned(),
        access_key_secret: SECRET.into(),
        security_token: Some(TOKEN.into()),
    };
    let role = RoleRequest {
        arn: RoleArn::parse("acs:ram::1234567890123456:role/job").expect("a role"),
        session_name: "trainer-0".to_owned(),
        duration: Duration::from_secs(3600),
        policy: None,
        external_id: None,
        source_identity: None,
    };
    let is_secret = |key: &str| matches!(key, "AccessKeySecret" | "SecurityToken");
    let sent: &[&str] = match word {
        b"oidc" => &[OIDC],
        _ => &[SECRET, TOKEN],
    };
    let is_hidden = answers.iter().all(|answer| is_clean(answer, &is_secret));
    let before = sts.start_over();
    assert!(before.is_empty());
    let outcome = match word {
        b"caller" => sts.caller(&keys).await.map(|caller| {
            // It goes into a sentence.
            check_line(&caller.arn, &[]);
            check_line(&caller.account, &[]);
            check_line(&caller.principal(), &[]);
        }),
        b"oidc" => {
            let provider = "acs:ram::1234567890123456:oidc-provider/ack-rrsa";
            let token = OIDC.into();
            let lease = sts.assume_role_with_oidc(provider, &token, &role).await;
            lease.map(|lease| check_lease(&lease, noon(), role.duration))
        }
        _ => {
            let lease = sts.assume_role(&keys, &role).await;
            lease.map(|lease| check_lease(&lease, noon(), role.duration))
        }
    };
    let asked = script.asked();
    assert!(
        (1..=2).contains(&asked.len()),
        "each endpoint is asked once"
    );
    for call in &asked {
        // Addresses end up in the logs of proxies.
        check_line(&call.url, sent);
        assert_eq!(call.method, "POST");
        assert_eq!(
            call.form.is_some(),
            signature == Signature::V1 || word == b"oidc"
        );
    }
    for failure in outcome.err().into_iter().chain(sts.start_over()) {
        check_failure(&failure, sent);
        assert!(
            !(is_hidden && failure.to_string().contains(PLANTED)),
            "{failure}"
        );
    }
}

/// Whether the secret of an answer stands where it belongs.
fn is_clean(answer: &[u8], is_secret: &dyn Fn(&str) -> bool) -> bool {
    let body = answer.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = answer.split_at(body.unwrap_or(answer.len()));
    planted_in(head) == 0 && is_planted(body, is_secret)
}
