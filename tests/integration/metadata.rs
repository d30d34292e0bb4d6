//! The role of the ECS instance, against a stub of the metadata service.

use std::process::Command;
use std::time::Duration;

use chrono::TimeDelta;
use ram_sidecar::credentials::timestamp;
use serde_json::Value;

use crate::http::Reply;
use crate::serving::LISTEN;
use crate::stub_metadata::{Credentials, Fault, Metadata};
use crate::stubs::now;
use crate::support::{Daemon, eventually, required, run};
use crate::upstream::{beside, sts};

const ROLE: &str = "training-node";

fn credentials(name: &str) -> Credentials {
    Credentials {
        access_key_id: format!("STS.{name}"),
        access_key_secret: format!("planted-secret-of-{name}"),
        security_token: format!("CAISplanted+token/of/{name}=="),
        expiration: timestamp(now() + TimeDelta::hours(6)),
    }
}

/// Starts the service of an instance whose role has these credentials.
fn instance(name: &str) -> Metadata {
    let metadata = Metadata::start();
    metadata.change(|scene| scene.role = Some((ROLE.to_owned(), credentials(name))));
    metadata
}

/// Starts a daemon that is the instance's role.
fn daemon(metadata: &Metadata, env: &[(&str, &str)]) -> Daemon {
    let url = metadata.url();
    let own = [
        ("RAM_SIDECAR_IDENTITY", "ecs_ram_role"),
        ("ALIBABA_CLOUD_IMDS_ENDPOINT", url.as_str()),
    ];
    let daemon = Daemon::spawn(&LISTEN, &[&own, env].concat());
    daemon.plant("planted");
    daemon
}

/// Renews until the probe shows what is wanted.
fn renewed(daemon: &Daemon, what: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
    daemon.signal("HUP");
    eventually(what, || Some(daemon.probe("/ready")).filter(&wanted))
}

fn served(daemon: &Daemon) -> String {
    daemon.credentials().text("AccessKeyId")
}

const LISTING: &str = "GET /latest/meta-data/ram/security-credentials/ +";
const DOCUMENT: &str = "GET /latest/meta-data/ram/security-credentials/training-node +";
const PUT: &str = "PUT /latest/api/token";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_role_to_assume_the_instances_credentials_are_passed_through() {
    let metadata = instance("first");
    metadata.change(|scene| scene.is_hardened = true);
    let daemon = daemon(&metadata, &[]);
    daemon.uri();
    let (reply, given) = (daemon.credentials(), credentials("first"));
    assert_eq!(reply.text("AccessKeyId"), given.access_key_id);
    assert_eq!(reply.text("AccessKeySecret"), given.access_key_secret);
    assert_eq!(reply.text("SecurityToken"), given.security_token);
    assert_eq!(reply.text("LastUpdated"), "2024-11-08T03:44:50Z");
    let ready: Value = serde_json::from_str(&daemon.probe("/ready").body).unwrap();
    assert_eq!(
        ready["served_by"],
        metadata.url().trim_start_matches("http://")
    );
    assert!(
        ready["remaining_seconds"].as_u64().unwrap() > 6 * 3600 - 60,
        "{ready}"
    );
    assert_eq!(metadata.asked(), [PUT, LISTING, DOCUMENT]);

    // New credentials are there before the old ones end.
    metadata.change(|scene| scene.role = Some((ROLE.to_owned(), credentials("second"))));
    renewed(&daemon, "the new credentials", |_| {
        served(&daemon) == "STS.second"
    });
    assert_eq!(metadata.tokens_made(), 1, "the token is good for six hours");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instances_role_assumes_the_jobs_role() {
    let sts = sts().await;
    let node = beside(&sts, &[], &[]);
    node.uri();
    let session = node.credentials();
    let metadata = Metadata::start();
    metadata.change(|scene| {
        let credentials = Credentials {
            access_key_id: session.text("AccessKeyId"),
            access_key_secret: session.text("AccessKeySecret"),
            security_token: session.text("SecurityToken"),
            expiration: session.text("Expiration"),
        };
        scene.role = Some((ROLE.to_owned(), credentials));
    });
    let node_role = sts.role_arn();
    let trust = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":["{node_role}"]}}}}]}}"#
    );
    let job_role = sts
        .add_role("job", &trust, Duration::from_secs(3600))
        .unwrap();
    sts.permit_assume_role(&node_role, true);
    let endpoint = sts.endpoint();
    let env = [
        ("ALIBABA_CLOUD_ROLE_ARN", job_role.as_str()),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
        ("ALIBABA_CLOUD_ECS_METADATA", ROLE),
    ];
    let daemon = daemon(&metadata, &env);
    daemon.plant(&session.text("AccessKeySecret"));
    daemon.plant(&session.text("SecurityToken"));
    daemon.uri();
    assert_eq!(sts.issued(&served(&daemon)).unwrap().role_arn, job_role);
    // A name that is given is not asked for.
    assert_eq!(metadata.asked(), [PUT, DOCUMENT]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_renewed_within_the_attempt() {
    let metadata = instance("first");
    let daemon = daemon(&metadata, &[]);
    daemon.uri();
    metadata.revoke_tokens();
    metadata.change(|scene| scene.role = Some((ROLE.to_owned(), credentials("second"))));
    renewed(&daemon, "the new credentials", |_| {
        served(&daemon) == "STS.second"
    });
    assert_eq!(
        metadata.asked()[3..],
        [LISTING, PUT, LISTING, DOCUMENT],
        "one refusal, and no failed attempt"
    );
    assert!(!daemon.stderr().contains("Cannot renew"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_token_are_made_only_when_that_is_allowed() {
    let metadata = instance("first");
    metadata.change(|scene| scene.has_no_tokens = true);
    let strict = daemon(&metadata, &[]);
    let told = strict.logged("No credentials");
    assert!(
        told.contains("MetadataNoToken") && told.contains("identity.allow_v1"),
        "{told}"
    );
    assert!(metadata.asked().iter().all(|asked| asked == PUT));

    let lenient = daemon(&metadata, &[("RAM_SIDECAR_ALLOW_V1", "true")]);
    lenient.uri();
    assert_eq!(served(&lenient), "STS.first");

    metadata.change(|scene| scene.is_hardened = true);
    let ready = renewed(&lenient, "it is refused", |ready| {
        ready.text("phase") == "failing"
    });
    assert_eq!(ready.text("Code"), "MetadataRefused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_served_through_every_fault_of_the_service_and_renewed_after_it() {
    let metadata = instance("first");
    let daemon = daemon(&metadata, &[]);
    daemon.uri();
    for (fault, code) in [
        (Fault::Status(500), "MetadataUnreachable"),
        (Fault::Status(429), "MetadataThrottled"),
        (Fault::Status(403), "MetadataRefused"),
        (Fault::Status(400), "MetadataUnusable"),
        (Fault::Garbage, "MetadataUnusable"),
        (Fault::Torn, "MetadataUnusable"),
        (Fault::Hang, "MetadataUnreachable"),
    ] {
        metadata.change(|scene| scene.fault = Some(fault));
        let ready = renewed(&daemon, code, |ready| ready.body.contains(code));
        assert_eq!(ready.text("phase"), "failing", "{fault:?}");
        assert_eq!(
            (daemon.credentials().status, served(&daemon)),
            (200, "STS.first".into())
        );
        metadata.change(|scene| scene.fault = None);
        renewed(&daemon, "it heals", |ready| ready.text("phase") == "fresh");
    }
    metadata.change(|scene| {
        let mut ended = credentials("ended");
        ended.expiration = "2024-11-08T09:44:50Z".to_owned();
        scene.role = Some((ROLE.to_owned(), ended));
    });
    renewed(&daemon, "expired", |ready| {
        ready.body.contains("ExpiredAnswer")
    });
    assert_eq!(served(&daemon), "STS.first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_role_is_diagnosed_and_one_that_gets_it_heals() {
    let metadata = Metadata::start();
    let daemon = daemon(&metadata, &[]);
    let told = daemon.logged("No credentials");
    assert!(
        told.contains("MetadataNoRole") && told.contains("attach a RAM role"),
        "{told}"
    );
    metadata.change(|scene| scene.role = Some((ROLE.to_owned(), credentials("first"))));
    daemon.signal("HUP");
    daemon.uri();
    assert_eq!(served(&daemon), "STS.first");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_ever_stands_between() {
    let metadata = instance("first");
    let dead = "http://127.0.0.1:9";
    let env = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ]
    .map(|name| (name, dead));
    let daemon = daemon(&metadata, &env);
    daemon.uri();
    assert_eq!(served(&daemon), "STS.first");
}

#[test]
fn a_disabled_service_is_never_asked() {
    let env = [
        ("RAM_SIDECAR_IDENTITY", "ecs_ram_role"),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ];
    let (code, told) = run(&LISTEN, &env);
    assert_eq!(code, Some(78), "{told}");
    assert!(
        told.contains("ALIBABA_CLOUD_ECS_METADATA_DISABLED: it forbids"),
        "{told}"
    );
}

/// Runs the next test in a network of its own, in which the address of the metadata service is ours.
#[test]
fn the_service_is_found_at_its_own_address() {
    let test = std::env::current_exe().unwrap();
    let script = "ip link set lo up && ip address add 100.100.100.200/32 dev lo && exec \"$0\" --exact --ignored --nocapture metadata::within_the_network";
    let inside = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", command]).arg(&test);
        unshare.output()
    };
    let can = inside("ip address show lo").is_ok_and(|output| output.status.success());
    if !required("a network namespace (root, `unshare` and `ip`)", can) {
        return;
    }
    let output = inside(script).unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("1 passed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a network that owns 100.100.100.200, and is run there by the test above"]
async fn within_the_network() {
    let metadata = Metadata::start_at("100.100.100.200:80");
    metadata.change(|scene| {
        scene.is_hardened = true;
        scene.role = Some((ROLE.to_owned(), credentials("first")));
    });
    let env = [
        ("RAM_SIDECAR_IDENTITY", "ecs_ram_role"),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
    ];
    let daemon = Daemon::spawn(&LISTEN, &env);
    daemon.plant("planted");
    daemon.uri();
    assert_eq!(served(&daemon), "STS.first");
    assert_eq!(daemon.probe("/ready").text("served_by"), "100.100.100.200");
    assert_eq!(metadata.asked(), [PUT, LISTING, DOCUMENT]);
}
