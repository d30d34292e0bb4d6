//! What the metadata service, another server of credentials, or a program says who we are.
//!
//! The first section is a word: which of them is asked. The others are its answers, or what a program prints on standard
//! output and on standard error.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ram_sidecar::failure::Failure;
use ram_sidecar::http::client::Client;
use ram_sidecar::identity::{
    CredentialsUri, EcsRamRole, Identity, Launch, Metadata, Process, Proof, error_output,
    is_role_name,
};
use ram_sidecar_fuzz::{
    PLANTED, Script, check_failure, check_keys, check_lease, check_line, clock, is_planted, noon,
    planted_in, run, sections,
};

const KEY: &str = "key0Of1The2Path3";

/// Stands by itself, as a key that a program tells of does.
const RANDOM: &str = "Zk3vQ9xT7bLm2RwY8pHs4NdJ";

fuzz_target!(|data: &[u8]| {
    let sections = sections(data);
    let (word, answers) = sections.split_first().expect("there is one");
    match *word {
        b"uri" => {
            let uri = format!("http://127.0.0.1:7002/api/v1/credentials/{KEY}");
            let uri = CredentialsUri::parse(&uri).expect("an address");
            ask(answers, &[KEY], |client| {
                Identity::CredentialsUri(uri.with_client(client))
            });
        }
        b"remote" => {
            let uri = format!("https://example.com/{KEY}?x=1");
            let uri = CredentialsUri::parse(&uri).expect("an address");
            ask(answers, &[KEY], |client| {
                Identity::CredentialsUri(uri.with_client(client))
            });
        }
        b"process" => {
            let process = Process {
                command: vec!["/usr/bin/helper".to_owned()],
                launch: Launch {
                    search_path: "/usr/bin".into(),
                    hidden: Vec::new(),
                    timeout: Duration::from_secs(1),
                },
            };
            let output = answers.first().copied().unwrap_or_default();
            check(process.parse_output(output, noon()), &[output], &[]);
            let told = answers.get(1).copied().unwrap_or_default();
            check_complaint(told);
        }
        _ => {
            let metadata = Metadata {
                url: "http://100.100.100.200".to_owned(),
                allow_v1: word.contains(&b'1'),
                disabled: false,
            };
            let name = word.contains(&b'n').then(|| "job".to_owned());
            let role = EcsRamRole::new(metadata, name);
            ask(answers, &[], |client| {
                Identity::EcsRamRole(role.with_client(client))
            });
        }
    }
});

fn ask(answers: &[&[u8]], sent: &[&str], identity: impl FnOnce(Client) -> Identity) {
    let script = Script::new(answers);
    let mut identity = identity(Client::with_transport(script.clone()));
    let outcome = run(async { identity.resolve(&clock()).await });
    let proof = outcome.map(|resolved| {
        assert!(resolved.roles.is_empty());
        resolved.proof
    });
    check(proof, answers, sent);
    for call in script.asked() {
        let path = "http://100.100.100.200/latest/meta-data/ram/security-credentials/";
        let role = call.url.strip_prefix(path);
        assert!(role.is_none_or(|role| role.is_empty() || is_role_name(role)));
    }
}

fn check(outcome: Result<Proof, Failure>, answers: &[&[u8]], sent: &[&str]) {
    match outcome {
        Ok(Proof::Keys(keys)) => check_keys(&keys),
        Ok(Proof::Lease(lease)) => {
            assert!(!lease.credentials.access_key_id.starts_with("LTAI"));
            check_lease(&lease, noon(), Duration::MAX);
        }
        Ok(Proof::Token { .. }) => unreachable!("none of them has a token of OIDC"),
        Err(failure) => {
            check_failure(&failure, sent);
            let is_hidden = answers.iter().all(|answer| is_clean(answer));
            assert!(
                !(is_hidden && failure.to_string().contains(PLANTED)),
                "{failure}"
            );
        }
    }
}

/// Whether the secret of an answer stands where it belongs.
fn is_clean(answer: &[u8]) -> bool {
    let is_secret = |key: &str| {
        matches!(
            key,
            "AccessKeySecret" | "SecurityToken" | "access_key_secret" | "sts_token"
        )
    };
    let body = answer.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = answer.split_at(body.unwrap_or_default());
    planted_in(head) == 0 && is_planted(body, &is_secret)
}

fn check_complaint(told: &[u8]) {
    let shown = error_output(told);
    check_line(&shown, &[]);
    let text = String::from_utf8_lossy(told);
    let stands_alone = text
        .split_whitespace()
        .filter(|word| *word == RANDOM)
        .count();
    if stands_alone == text.matches(RANDOM).count() {
        assert!(!shown.contains(RANDOM), "{shown}");
    }
}
