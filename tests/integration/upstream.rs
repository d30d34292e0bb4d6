//! The daemon with an embedded STS in the process of the tests, which can inject failures.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use ram_sidecar::sandbox::{Fault, Options, Plan, Sandbox, Times, TokenDefect};
use ram_sidecar::time::clock::Clock;
use secrecy::ExposeSecret as _;

use crate::http;
use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually, run_command, unused_address};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn sts() -> Arc<Sandbox> {
    Arc::new(Sandbox::start(Options::default()).await.unwrap())
}

/// Starts a daemon that authenticates to `sts` with an AccessKey.
pub(crate) fn beside(sts: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> Daemon {
    let (id, secret) = (sts.access_key_id(), sts.access_key_secret());
    let keys = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", id.as_str()),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.expose_secret()),
    ];
    with(sts, args, &[&keys, env].concat())
}

/// Starts a daemon with the identity in `env`, for the first role of `sts` unless `args` name another.
pub(crate) fn with(sts: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> Daemon {
    let (role, endpoint) = (sts.role_arn(), sts.endpoint());
    let mut settings = vec![("ALIBABA_CLOUD_STS_ENDPOINT", endpoint.as_str())];
    if !args.contains(&"--role-arn") {
        settings.push(("ALIBABA_CLOUD_ROLE_ARN", &role));
    }
    Daemon::spawn(&[&LISTEN[..], args].concat(), &[&settings, env].concat())
}

/// Renews until the probe satisfies the condition: a signal that arrives during an attempt belongs to the next.
pub(crate) fn renew_until(
    daemon: &Daemon,
    what: &str,
    condition: impl Fn(&http::Reply) -> bool,
) -> http::Reply {
    daemon.signal("HUP");
    eventually(what, || Some(daemon.probe("/ready")).filter(&condition))
}

#[tokio::test(flavor = "multi_thread")]
async fn early_requests_are_held_until_the_first_credentials_arrive() {
    let sts = sts().await;
    sts.inject(Fault::Hang, Times::UntilCleared);
    let daemon = beside(&sts, &[], &[]);
    let address = daemon.data();
    let request = "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let clients: Vec<_> = (0..50).map(|_| http::send(address, request)).collect();
    sts.wait_for_requests(1).await;
    assert_eq!(daemon.probe("/startup").status, 503);
    assert_eq!(
        daemon.stdout(),
        Vec::<String>::new(),
        "the URI is not announced yet"
    );

    sts.clear_faults();
    for client in clients {
        assert_eq!(http::received(client).status, 200);
    }
    assert_eq!(
        sts.request_count(),
        1,
        "fifty clients share one call to STS"
    );
    daemon.uri();
}

#[tokio::test(flavor = "multi_thread")]
async fn held_request_is_answered_before_clients_give_up() {
    let sts = sts().await;
    sts.inject(Fault::Hang, Times::UntilCleared);
    let daemon = beside(&sts, &[], &[]);
    let reply = daemon.credentials();
    assert_eq!(
        (reply.status, reply.text("Code")),
        (503, "CredentialsPending".to_owned())
    );
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_has_one_message_everywhere_and_recovery_needs_no_restart() {
    let sts = sts().await;
    sts.permit_assume_role(&sts.user_arn(), false);
    let daemon = beside(&sts, &[], &[]);
    let reply = daemon.credentials();
    assert_eq!(
        (reply.status, reply.text("Code")),
        (503, "NoPermission".to_owned())
    );
    let sentence = reply.text("Message");
    for part in [
        "AssumeRole at 127.0.0.1:",
        "trust policy",
        "sts:AssumeRole",
        "RequestId",
    ] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    let message = daemon.logged("No credentials");
    let event: serde_json::Value = serde_json::from_str(&message).unwrap();
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    assert_eq!(crate::support::sentence(&message), sentence);
    assert_eq!(
        [text("message"), text("code"), text("stage"), text("host")],
        [
            "No credentials",
            "NoPermission",
            "sts",
            sts.endpoint().strip_prefix("http://").unwrap()
        ]
    );
    assert_eq!(event["failures"], 1);
    assert!(
        event["next_attempt_seconds"].as_u64() >= Some(50),
        "{event}"
    );
    let first = daemon.stderr().lines().next().unwrap().to_owned();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["message"], "Starting");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["identity"], "access_key");
    for name in ["role", "session_name"] {
        assert_eq!(event[name], first[name], "{name}");
    }
    assert_eq!(first["role"], sts.role_arn());
    let ready = daemon.probe("/ready");
    assert_eq!((ready.status, ready.text("Message")), (503, sentence));
    assert_eq!(daemon.probe("/live").status, 200);

    sts.permit_assume_role(&sts.user_arn(), true);
    renew_until(&daemon, "it recovers", |ready| ready.status == 200);
    assert_eq!(daemon.credentials().status, 200);
    daemon.uri();
}

#[tokio::test(flavor = "multi_thread")]
async fn current_credentials_are_served_through_every_fault_and_renewed_after_it() {
    let sts = sts().await;
    let daemon = beside(&sts, &[], &[]);
    daemon.uri();
    for (fault, code) in [
        (Fault::InternalError, "InternalError"),
        (Fault::Html, "WebPage"),
        (Fault::TruncatedJson, "UnexpectedAnswer"),
        (Fault::EmptyBody, "UnexpectedAnswer"),
        (Fault::ExpiredCredentials, "ExpiredAnswer"),
        (
            Fault::Redirect {
                location: "http://127.0.0.1:9/".into(),
            },
            "Redirected",
        ),
        (
            Fault::Throttling {
                retry_after: Some(HOUR),
                acs_retry_after: None,
            },
            "Throttling.User",
        ),
    ] {
        let before = daemon.credentials();
        sts.inject(fault, Times::UntilCleared);
        let ready = renew_until(&daemon, code, |ready| {
            ready.body.contains(&format!("\"Code\":\"{code}\""))
        });
        assert_eq!(
            (ready.status, ready.text("phase")),
            (200, "failing".to_owned())
        );
        let during = daemon.credentials();
        assert_eq!((during.status, &during.body), (200, &before.body), "{code}");

        sts.clear_faults();
        renew_until(&daemon, "it recovers", |ready| {
            ready.text("phase") == "fresh"
        });
        let after = daemon.credentials();
        assert_ne!(
            after.text("AccessKeyId"),
            before.text("AccessKeyId"),
            "{code}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_expire_on_time_while_sts_is_unreachable() {
    let sts = sts().await;
    sts.set_faults(Plan::parse("lifetime=4s").unwrap());
    let daemon = beside(&sts, &[], &[]);
    daemon.uri();
    sts.inject(Fault::InternalError, Times::UntilCleared);
    let refusal = eventually("the credentials expire", || {
        let (reply, now) = (daemon.credentials(), Clock::machine().now().wall);
        if reply.status == 200 {
            let end = reply
                .text("Expiration")
                .parse::<chrono::DateTime<chrono::Utc>>()
                .unwrap();
            // The response was sent a few milliseconds before the clock was read.
            assert!(
                now < end + TimeDelta::milliseconds(500),
                "served at {now}, expired at {end}"
            );
        }
        (reply.status != 200).then_some(reply)
    });
    assert_eq!(
        (refusal.status, refusal.text("Code")),
        (503, "InternalError".to_owned())
    );
    assert_eq!(daemon.probe("/ready").text("phase"), "expired");
    daemon.logged("The credentials are at their end");
    // The kubelet shows what a failing probe prints.
    let admin = daemon.admin().to_string();
    eventually("the probe says why", || {
        let sentence = daemon.probe("/ready").text("Message");
        let probe = run_command("health", &["ready", "--admin-listen", &admin], &[]);
        assert_eq!(probe.code, Some(1), "{}", probe.stderr);
        (probe.stderr == format!("ram-sidecar: {sentence}")).then_some(())
    });

    sts.clear_faults();
    eventually("it recovers", || {
        (daemon.credentials().status == 200).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_sts_is_diagnosed() {
    let sts = sts().await;
    let endpoint = format!("http://{}", unused_address());
    let daemon = beside(&sts, &["--sts-endpoint", &endpoint], &[]);
    let message = daemon.logged("No credentials");
    assert!(
        message.contains("ConnectionRefused") && message.contains("Connection refused"),
        "{message}"
    );
    let reply = daemon.credentials();
    assert_eq!(
        (reply.status, reply.text("Code")),
        (503, "ConnectionRefused".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secret_is_diagnosed_and_not_repeated() {
    let sts = sts().await;
    let id = sts.access_key_id();
    let daemon = with(
        &sts,
        &[],
        &[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", &id),
            // The harness asserts that neither is printed, though STS repeats the token in its string to sign.
            (
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                "planted-secret-that-is-wrong",
            ),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", "CAISplanted+token/that=="),
        ],
    );
    let reply = daemon.credentials();
    assert_eq!(reply.text("Code"), "SignatureDoesNotMatch");
    assert!(
        reply.text("Message").contains("check the AccessKey secret"),
        "{reply:?}"
    );
    assert!(!reply.body.contains("planted") && !daemon.stderr().contains("CAISplanted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mounted_keys_are_read_again_for_every_attempt() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let (id, secret) = (scratch.join("id"), scratch.join("secret"));
    let put = |key: &ram_sidecar::sandbox::AccessKey| {
        std::fs::write(&id, &key.id).unwrap();
        std::fs::write(&secret, key.secret.expose_secret()).unwrap();
    };
    put(&sts.access_key());
    let daemon = with(
        &sts,
        &[],
        &[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", id.to_str().unwrap()),
            (
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
                secret.to_str().unwrap(),
            ),
        ],
    );
    daemon.plant(sts.access_key_secret().expose_secret());
    daemon.uri();
    let new = sts.rotate_access_key();
    daemon.plant(new.secret.expose_secret());
    let ready = renew_until(&daemon, "the old key is rejected", |ready| {
        ready.text("phase") == "failing"
    });
    assert_eq!(ready.text("Code"), "InvalidAccessKeyId.NotFound");

    put(&new);
    renew_until(&daemon, "the new key is read", |ready| {
        ready.text("phase") == "fresh"
    });

    std::fs::remove_file(&secret).unwrap();
    let ready = renew_until(&daemon, "the missing file is reported", |ready| {
        ready.text("phase") == "failing"
    });
    assert_eq!(ready.text("Code"), "IdentityFileUnreadable");
    assert!(ready.text("Message").contains(secret.to_str().unwrap()));
    assert_eq!(daemon.credentials().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn rrsa_is_configured_by_its_variables_and_follows_the_token_file() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let (provider, file) = (sts.oidc_provider_arn(), scratch.join("token"));
    let (subject, audience) = ("system:serviceaccount:training:trainer", "sts.aliyuncs.com");
    let expired = sts.invalid_oidc_token(TokenDefect::Expired, subject, audience, HOUR);
    std::fs::write(&file, &expired).unwrap();
    let daemon = with(
        &sts,
        &[],
        &[
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", &provider),
            ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.to_str().unwrap()),
        ],
    );
    daemon.plant(&expired);
    let message = daemon.logged("No credentials");
    assert!(
        message.contains("AuthenticationFail.OIDCToken.Expired"),
        "{message}"
    );

    // Like the kubelet, replace the file atomically.
    let good = sts.oidc_token(subject, audience, HOUR);
    daemon.plant(&good);
    std::fs::write(scratch.join("next"), format!("{good}\n")).unwrap();
    std::fs::rename(scratch.join("next"), &file).unwrap();
    daemon.uri();
    assert_eq!(daemon.credentials().status, 200);

    for (defect, code) in [
        (
            TokenDefect::OtherKey,
            "AuthenticationFail.OIDCToken.InvalidSignature",
        ),
        (
            TokenDefect::OtherIssuer,
            "AuthenticationFail.OIDCToken.IssuerNotMatch",
        ),
    ] {
        let bad = sts.invalid_oidc_token(defect, subject, audience, HOUR);
        daemon.plant(&bad);
        std::fs::write(&file, bad).unwrap();
        let ready = renew_until(&daemon, code, |ready| ready.body.contains(code));
        assert_eq!(ready.text("phase"), "failing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn session_of_a_role_assumes_another_role() {
    let sts = sts().await;
    let first = beside(&sts, &[], &[]);
    first.uri();
    let reply = first.credentials();
    let trust = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":["{}"]}}}}]}}"#,
        sts.role_arn()
    );
    let second_role = sts.add_role("second", &trust, HOUR).unwrap();
    sts.permit_assume_role(&sts.role_arn(), true);
    let second = with(
        &sts,
        &["--role-arn", &second_role],
        &[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", &reply.text("AccessKeyId")),
            (
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                &reply.text("AccessKeySecret"),
            ),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", &reply.text("SecurityToken")),
        ],
    );
    second.uri();
    let issued = sts
        .issued(&second.credentials().text("AccessKeyId"))
        .unwrap();
    assert_eq!(issued.role_arn, second_role);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_clock_is_corrected_from_the_response_and_reported() {
    for minutes in [25, -25] {
        let clock = Clock::machine();
        clock.shift_wall(TimeDelta::minutes(minutes));
        let sts = Sandbox::start(Options {
            clock,
            ..Options::default()
        })
        .await
        .unwrap();
        let daemon = beside(&sts, &[], &[]);
        daemon.uri();
        daemon.logged("This machine's clock differs from that of STS");
        assert_eq!(
            sts.requests()[0].code.as_deref(),
            Some("InvalidTimeStamp.Expired")
        );
        let ready = daemon.probe("/ready");
        let left: serde_json::Value = serde_json::from_str(&ready.body).unwrap();
        let left = left["remaining_seconds"].as_u64().unwrap();
        assert!((3500..=3600).contains(&left), "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn session_is_named_and_narrowed_as_configured() {
    let options = Options {
        external_id: Some("partner-7".into()),
        ..Options::default()
    };
    let sts = Sandbox::start(options).await.unwrap();
    let policy = r#"{ "Version": "1", "Statement": [{"Effect": "Allow", "Action": "oss:*", "Resource": "*"}] }"#;
    let scratch = Scratch::new();
    std::fs::write(scratch.join("policy.json"), policy).unwrap();
    let file = scratch.join("policy.json");
    let args = [
        "--role-session-name",
        "job-42",
        "--external-id",
        "partner-7",
        "--policy-file",
        file.to_str().unwrap(),
    ];
    let daemon = beside(&sts, &args, &[]);
    daemon.uri();
    let issued = sts
        .issued(&daemon.credentials().text("AccessKeyId"))
        .unwrap();
    assert_eq!(issued.session_name, "job-42");
    let requested: serde_json::Value = serde_json::from_str(policy).unwrap();
    let narrowed: serde_json::Value = serde_json::from_str(&issued.policy.unwrap()).unwrap();
    assert_eq!(narrowed, requested);

    let stranger = beside(&sts, &["--external-id", "partner-8"], &[]);
    assert_eq!(stranger.credentials().text("Code"), "NoPermission");
}
