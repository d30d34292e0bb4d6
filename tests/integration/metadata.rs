//! The daemon with the role of an ECS instance, whose metadata service can be made to fail.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use ram_sidecar::credentials::{Keys, RoleArn, RoleRequest, timestamp};
use ram_sidecar::http::client::{self, Client};
use ram_sidecar::sandbox::{Issued, Sandbox};
use ram_sidecar::sts::endpoint::Endpoint;
use ram_sidecar::sts::sign::Signature;
use ram_sidecar::sts::{EndpointState, Sts};
use ram_sidecar::time::clock::Clock;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::Reply;
use crate::namespace::{self, METADATA};
use crate::serving::LISTEN;
use crate::stub_metadata::{Fault, Metadata, Mode, role_name};
use crate::stubs::RETRY_AFTER;
use crate::support::{Daemon, eventually, run};
use crate::upstream::{renew_until, sts};

const HOUR: Duration = Duration::from_secs(3600);
const PUT: &str = "PUT /latest/api/token";
const LIST: &str = "GET /latest/meta-data/ram/security-credentials/";

/// Every fault, and the code that reports it.
const FAULTS: [(Fault, &str); 10] = [
    (Fault::Hang, "MetadataUnreachable"),
    (Fault::Status(401), "MetadataRefused"),
    (Fault::Status(403), "MetadataRefused"),
    (Fault::Status(429), "MetadataThrottled"),
    (Fault::Status(503), "MetadataUnusable"),
    (Fault::Page, "MetadataUnusable"),
    (Fault::Flood, "MetadataUnusable"),
    (Fault::Truncated, "MetadataUnusable"),
    (Fault::Unsuccessful, "MetadataUnusable"),
    (Fault::Expired, "ExpiredAnswer"),
];

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_instance_are_passed_through() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let current = attach(&sts, &service).await;
    let daemon = with_service(&service, &[]);
    assert_serves(&daemon, &current);
    let host = service.endpoint().replace("http://", "");
    assert_eq!(daemon.probe("/ready").text("served_by"), host);
    let role = format!("{LIST}{} with a token", role_name(&current));
    assert_eq!(
        service.requests(),
        [PUT, &format!("{LIST} with a token"), &role]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn role_is_assumed_with_the_credentials_of_the_instance() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let current = attach(&sts, &service).await;
    sts.permit_assume_role(&sts.role_arn(), true);
    let role_arn = role_that_trusts(&sts, "job", &sts.role_arn());
    let daemon = with_service(
        &service,
        &[
            ("ALIBABA_CLOUD_ROLE_ARN", &role_arn),
            ("ALIBABA_CLOUD_STS_ENDPOINT", &sts.endpoint()),
        ],
    );
    plant(&daemon, &current);
    daemon.uri();
    let served = daemon.credentials();
    let issued = sts.issued(&served.text("AccessKeyId")).unwrap();
    assert_eq!(issued.role_arn, role_arn);
    let secret = issued.access_key_secret.expose_secret();
    assert_eq!(served.text("AccessKeySecret"), secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_role_name_is_not_looked_up() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let current = attach(&sts, &service).await;
    let name = role_name(&current);
    let daemon = with_service(&service, &[("ALIBABA_CLOUD_ECS_METADATA", name)]);
    assert_serves(&daemon, &current);
    let role = format!("{LIST}{name} with a token");
    assert_eq!(service.requests(), [PUT, &role]);

    // Another role in its place is not the configured one.
    let other = role_that_trusts(&sts, "other", &sts.user_arn());
    service.attach(session(&sts, &other).await);
    let ready = renew_until(&daemon, "the role is missing", |ready| {
        ready.text("phase") == "failing"
    });
    assert_eq!(ready.text("Code"), "MetadataNoRole");
    assert!(ready.text("Message").contains(name), "{ready:?}");
    assert_serves(&daemon, &current);
}

#[tokio::test(flavor = "multi_thread")]
async fn role_may_be_replaced_where_no_name_is_configured() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let current = attach(&sts, &service).await;
    let daemon = with_service(&service, &[]);
    assert_serves(&daemon, &current);
    let other = role_that_trusts(&sts, "other", &sts.user_arn());
    let new = session(&sts, &other).await;
    service.attach(new.clone());
    renew(&daemon);
    assert_serves(&daemon, &new);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_is_used_for_every_renewal_until_the_service_refuses_it() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let current = attach(&sts, &service).await;
    let daemon = with_service(&service, &[]);
    assert_serves(&daemon, &current);
    service.take_requests();
    let (list, role) = (
        format!("{LIST} with a token"),
        format!("{LIST}{} with a token", role_name(&current)),
    );

    renew(&daemon);
    renew(&daemon);
    let requests = service.take_requests();
    assert_eq!(requests, [&list, &role, &list, &role].map(String::clone));

    let invalidations: [fn(&Metadata); 2] =
        [Metadata::revoke_tokens, |service| service.pass(6 * HOUR)];
    for invalidate in invalidations {
        invalidate(&service);
        renew(&daemon);
        assert_eq!(service.take_requests(), [&list, PUT, &list, &role]);
    }
    let log = daemon.stderr();
    assert!(!log.contains("Cannot renew"), "{log}");
    assert_eq!(service.tokens().len(), 3);
    for token in service.tokens() {
        daemon.plant(&token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_without_a_token_is_sent_only_where_allowed() {
    let (sts, service) = (sts().await, Metadata::start(Mode::V1));
    let current = attach(&sts, &service).await;
    let daemon = with_service(&service, &[]);
    assert_refused(&daemon, "MetadataNoToken");
    assert!(service.requests().iter().all(|request| request == PUT));
    drop(daemon);

    service.take_requests();
    let daemon = with_service(&service, &[("RAM_SIDECAR_ALLOW_V1", "true")]);
    assert_serves(&daemon, &current);
    let role = format!("{LIST}{}", role_name(&current));
    assert_eq!(service.requests(), [PUT, LIST, PUT, &role]);
}

#[tokio::test(flavor = "multi_thread")]
async fn available_token_is_used_even_where_it_is_optional() {
    let sts = sts().await;
    for mode in [Mode::Normal, Mode::Hardened] {
        let service = Metadata::start(mode);
        let current = attach(&sts, &service).await;
        let daemon = with_service(&service, &[("RAM_SIDECAR_ALLOW_V1", "true")]);
        assert_serves(&daemon, &current);
        let requests = service.requests();
        assert!(
            requests[1..]
                .iter()
                .all(|request| request.ends_with("with a token")),
            "{requests:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_to_the_metadata_service_bypasses_the_proxy() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let current = attach(&sts, &service).await;
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let env = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let daemon = with_service(&service, &env.map(|name| (name, address.as_str())));
    assert_serves(&daemon, &current);
    proxy.set_nonblocking(true).unwrap();
    let connection = proxy.accept().map_err(|error| error.kind());
    assert_eq!(connection.unwrap_err(), ErrorKind::WouldBlock);
}

#[test]
fn disabled_metadata_service_is_a_configuration_error() {
    let env = [
        ("RAM_SIDECAR_IDENTITY", "ecs_ram_role"),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ];
    let (code, message) = run(&LISTEN, &env);
    assert_eq!(code, Some(78), "{message}");
    let sentence = "ALIBABA_CLOUD_ECS_METADATA_DISABLED: it forbids the ECS metadata service";
    assert!(message.contains(sentence), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn role_attached_later_is_served_without_a_restart() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let named = [("ALIBABA_CLOUD_ECS_METADATA", "SandboxRole")];
    for env in [&[][..], &named] {
        service.detach();
        let daemon = with_service(&service, env);
        assert_refused(&daemon, "MetadataNoRole");
        let role = role_that_trusts(&sts, "SandboxRole", &sts.user_arn());
        let current = session(&sts, &role).await;
        service.attach(current.clone());
        assert_serves(&daemon, &current);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_startup_has_its_code_and_recovers_without_a_restart() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let current = attach(&sts, &service).await;
    for (fault, code) in FAULTS {
        service.break_with(fault);
        let daemon = with_service(&service, &[]);
        let sentence = assert_refused(&daemon, code);
        if fault == Fault::Status(429) {
            assert!(next_attempt_after(&daemon) > Duration::from_secs(RETRY_AFTER / 2));
        }
        // The message suggests unreachability only if the service does not respond.
        let is_reachable = !sentence.contains("container that may reach");
        assert_eq!(is_reachable, fault != Fault::Hang, "{fault:?}: {sentence}");

        service.break_with(None);
        renew_until(&daemon, "it recovers", |ready| ready.status == 200);
        assert_serves(&daemon, &current);
        plant(&daemon, &current);
        for token in service.tokens() {
            daemon.plant(&token);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn current_credentials_are_served_through_every_fault_and_then_replaced() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    let mut current = attach(&sts, &service).await;
    let daemon = with_service(&service, &[]);
    for (fault, code) in FAULTS {
        assert_serves(&daemon, &current);
        service.break_with(fault);
        let ready = renew_until(&daemon, code, |ready| ready.text("phase") == "failing");
        assert_eq!((ready.status, ready.text("Code").as_str()), (200, code));
        daemon.logged(&format!("\"code\":\"{code}\""));
        assert_serves(&daemon, &current);

        let new = session(&sts, &sts.role_arn()).await;
        assert_ne!(new.access_key_id, current.access_key_id);
        service.attach(new.clone());
        service.break_with(None);
        renew_until(&daemon, "it recovers", |ready| {
            ready.text("phase") == "fresh"
        });
        current = new;
    }
    assert_serves(&daemon, &current);
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_service_costs_an_attempt_about_a_second() {
    let (sts, service) = (sts().await, Metadata::start(Mode::Hardened));
    attach(&sts, &service).await;
    service.break_with(Fault::Hang);
    let daemon = with_service(&service, &[]);
    eventually("it requests a token", || {
        service.requests().first().cloned()
    });
    let requested_at = Instant::now();
    let message = daemon.logged("No credentials");
    // The timeout of a whole attempt is 8 seconds.
    assert!(message.contains("MetadataUnreachable"), "{message}");
    assert!(requested_at.elapsed() < Duration::from_secs(5));
    assert!(service.requests().iter().all(|request| request == PUT));
}

/// Runs the test below in a network namespace where 100.100.100.200 is a local address.
#[test]
fn default_address_of_the_service_is_used_in_a_separate_network() {
    let name = "default_address_of_the_service_is_used_where_none_is_configured";
    namespace::passes(module_path!(), name);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the address 100.100.100.200: the test above runs it in a separate network namespace"]
async fn default_address_of_the_service_is_used_where_none_is_configured() {
    if !namespace::is_here() {
        return;
    }
    let (sts, service) = (sts().await, Metadata::start_at(METADATA, Mode::Hardened));
    let current = attach(&sts, &service).await;
    let daemon = Daemon::spawn(&LISTEN, &[("RAM_SIDECAR_IDENTITY", "ecs_ram_role")]);
    assert_serves(&daemon, &current);
    let served_by = daemon.probe("/ready").text("served_by");
    assert_eq!(served_by, "100.100.100.200");
}

/// Starts a daemon that uses `service` as the metadata service of its instance.
fn with_service(service: &Metadata, env: &[(&str, &str)]) -> Daemon {
    let endpoint = service.endpoint();
    let settings = [
        ("RAM_SIDECAR_IDENTITY", "ecs_ram_role"),
        ("ALIBABA_CLOUD_IMDS_ENDPOINT", endpoint.as_str()),
    ];
    Daemon::spawn(&LISTEN, &[&settings, env].concat())
}

/// Attaches the first role of `sts` to the instance, and returns its credentials.
pub(crate) async fn attach(sts: &Sandbox, service: &Metadata) -> Issued {
    let issued = session(sts, &sts.role_arn()).await;
    service.attach(issued.clone());
    issued
}

/// Lets `sts` issue credentials of a role, which the metadata service of the instance then serves.
async fn session(sts: &Sandbox, role_arn: &str) -> Issued {
    let endpoint = Endpoint::parse(&sts.endpoint()).unwrap();
    let outbound = Client::new(client::Options::default());
    let endpoint = EndpointState::new(endpoint, outbound.unwrap());
    let keys = Keys {
        access_key_id: sts.access_key_id(),
        access_key_secret: sts.access_key_secret(),
        security_token: None,
    };
    let role = RoleRequest {
        arn: RoleArn::parse(role_arn).unwrap(),
        session_name: "i-instance".to_owned(),
        duration: HOUR,
        policy: None,
        external_id: None,
        source_identity: None,
    };
    let mut client = Sts::new(vec![endpoint], Signature::V1, Clock::machine());
    let granted = client.assume_role(&keys, &role).await.unwrap();
    sts.issued(&granted.credentials.access_key_id).unwrap()
}

/// Adds a role that a principal may assume, and returns its ARN.
fn role_that_trusts(sts: &Sandbox, name: &str, principal: &str) -> String {
    let trust = json!({"Version": "1", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [principal]}},
    ]});
    sts.add_role(name, &trust.to_string(), HOUR).unwrap()
}

/// Declares the secrets that the metadata service returned.
fn plant(daemon: &Daemon, issued: &Issued) {
    daemon.plant(issued.access_key_secret.expose_secret());
    daemon.plant(issued.security_token.expose_secret());
}

/// Waits for credentials, and asserts that they are exactly `expected`.
fn assert_serves(daemon: &Daemon, expected: &Issued) {
    daemon.uri();
    let reply = daemon.credentials();
    assert_eq!(reply.status, 200, "{reply:?}");
    let expiration = timestamp(expected.expires_at);
    for (name, value) in [
        ("AccessKeyId", expected.access_key_id.as_str()),
        (
            "AccessKeySecret",
            expected.access_key_secret.expose_secret(),
        ),
        ("SecurityToken", expected.security_token.expose_secret()),
        ("Expiration", &expiration),
    ] {
        assert_eq!(reply.text(name), value);
    }
}

/// Asserts that responses, the log and the probe contain the same message and `code`; returns the message.
fn assert_refused(daemon: &Daemon, code: &str) -> String {
    let message = daemon.logged("No credentials");
    let reply: Reply = daemon.credentials();
    assert_eq!(
        (reply.status, reply.text("Code")),
        (503, code.to_owned()),
        "{reply:?}"
    );
    let sentence = reply.text("Message");
    assert!(
        message.contains(&format!("\"code\":\"{code}\"")),
        "{message}"
    );
    assert_eq!(crate::support::sentence(&message), sentence);
    let ready = daemon.probe("/ready");
    assert_eq!((ready.status, ready.text("Code")), (503, code.to_owned()));
    sentence
}

/// Requests a renewal, and waits until it has succeeded.
fn renew(daemon: &Daemon) {
    daemon.logged("Credentials renewed");
    let renewals = || {
        let is_renewal = |line: &&str| {
            line.contains("Credentials renewed") || line.contains("The credentials are still")
        };
        daemon.stderr().lines().filter(is_renewal).count()
    };
    let before = renewals();
    daemon.signal("HUP");
    eventually("the credentials are renewed", || {
        (renewals() > before).then_some(())
    });
}

fn next_attempt_after(daemon: &Daemon) -> Duration {
    let ready: Value = serde_json::from_str(&daemon.probe("/ready").body).unwrap();
    Duration::from_secs(ready["next_attempt_seconds"].as_u64().unwrap())
}
