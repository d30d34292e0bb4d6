//! Identities that sign: the AccessKey of a user, of the account, of a role's session.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use ram_sidecar::sandbox::{Fault, Options, Plan, Sandbox, Times};
use ram_sidecar::time::clock::Clock;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::task::block_in_place;

use super::{Case, Diagnosis, case};
use crate::support::Daemon;
use crate::upstream::{beside, sts, with};

/// A temporary AccessKey: id, secret, security token.
type Keys = [String; 3];

pub(super) fn cases() -> Vec<Case> {
    [permissions(), keys(), temporary(), parameters()]
        .into_iter()
        .flatten()
        .collect()
}

fn permissions() -> Vec<Case> {
    let mut cases = vec![case("The role's trust policy names another user", async {
        let sts = sts().await;
        let trust = trusting(&format!("{}-2", sts.user_arn()));
        sts.set_trust_policy(&sts.role_arn(), &trust).unwrap();
        Diagnosis::of(beside(&sts, &[], &[]))
    })];
    for (title, given) in [
        (
            "The role's trust policy asks for an external ID; none is sent",
            &[][..],
        ),
        (
            "The role's trust policy asks for another external ID than is sent",
            &["--external-id", "partner-8"],
        ),
    ] {
        cases.push(case(title, async move {
            let sts = sandbox(|options| options.external_id = Some("partner-7".into())).await;
            Diagnosis::of(beside(&sts, given, &[]))
        }));
    }
    cases.extend([
        case("The user may not call sts:AssumeRole", async {
            let sts = sts().await;
            sts.permit_assume_role(&sts.user_arn(), false);
            Diagnosis::of(beside(&sts, &[], &[]))
        }),
        case(
            "The role is one of PAI's, and does not trust the user",
            async {
                let sts = sts().await;
                let trust = trusting("acs:ram::1:user/nobody");
                let role = sts
                    .add_role("aliyunpaidlcdefaultrole", &trust, HOUR)
                    .unwrap();
                Diagnosis::of(beside(&sts, &["--role-arn", &role], &[]))
            },
        ),
        case("The AccessKey is that of the account itself", async {
            let sts = sts().await;
            let root = sts.root_access_key();
            let keys = [
                root.id,
                root.secret.expose_secret().to_owned(),
                String::new(),
            ];
            Diagnosis::of(holding(&sts, &[], &keys))
        }),
        case("The role has been deleted", async {
            let sts = sts().await;
            sts.delete_role(&sts.role_arn());
            Diagnosis::of(beside(&sts, &[], &[]))
        }),
        case("The role's ARN has the id of another account", async {
            let sts = sts().await;
            let other = sts
                .role_arn()
                .replace("1234567890123456", "6543210987654321");
            Diagnosis::of(beside(&sts, &["--role-arn", &other], &[]))
        }),
        case(
            "The second role of a chain does not trust the first",
            async {
                let sts = sts().await;
                let (first, second) = chain(&sts, "acs:ram::1:user/nobody");
                Diagnosis::of(beside(
                    &sts,
                    &["--role-via", &first, "--role-arn", &second],
                    &[],
                ))
            },
        ),
        case(
            "The first role of a chain may not call sts:AssumeRole",
            async {
                let sts = sts().await;
                let (first, second) = chain(&sts, &sts.role_arn());
                sts.permit_assume_role(&first, false);
                Diagnosis::of(beside(
                    &sts,
                    &["--role-via", &first, "--role-arn", &second],
                    &[],
                ))
            },
        ),
        case(
            "A temporary AccessKey belongs to a role that is not trusted",
            async {
                let sts = sts().await;
                let keys = session(&sts, &[]);
                Diagnosis::of(holding(&sts, &[], &keys))
            },
        ),
    ]);
    cases
}

fn keys() -> Vec<Case> {
    let mut cases = vec![
        case("The AccessKey is disabled", async {
            let sts = sts().await;
            sts.set_access_key_active(false);
            Diagnosis::of(beside(&sts, &[], &[]))
        }),
        case("The AccessKey was rotated", async {
            let sts = sts().await;
            let old = [sts.access_key_id(), secret_of(&sts), String::new()];
            sts.rotate_access_key();
            Diagnosis::of(holding(&sts, &[], &old))
        }),
        case("A long-term AccessKey comes with a security token", async {
            let sts = sts().await;
            let token = "CAISplanted+token/that==".to_owned();
            let keys = [sts.access_key_id(), secret_of(&sts), token];
            Diagnosis::of(holding(&sts, &[], &keys))
        }),
        case("AccessKey ID and secret are swapped", async {
            let sts = sts().await;
            let keys = [secret_of(&sts), sts.access_key_id(), String::new()];
            let daemon = holding(&sts, &[], &keys);
            daemon.plant(&keys[0]);
            Diagnosis::of(daemon)
        }),
    ];
    // Only the description of what was signed depends on the signature's version.
    for (version, title) in [
        ("v1", "The AccessKey secret is wrong"),
        ("v3", "The AccessKey secret is wrong (signed by v3)"),
    ] {
        cases.push(case(title, async move {
            let sts = sts().await;
            let secret = "planted-secret-that-is-wrong".to_owned();
            let keys = [sts.access_key_id(), secret, String::new()];
            Diagnosis::of(holding(&sts, &["--sts-signature", version], &keys))
        }));
    }
    for (version, minutes, title) in [
        ("v1", 25, "The clock is 25 minutes behind"),
        ("v3", -25, "The clock is 25 minutes ahead (signed by v3)"),
    ] {
        cases.push(case(title, async move {
            let clock = Clock::machine();
            clock.shift_wall(TimeDelta::minutes(minutes));
            let sts = sandbox(|options| options.clock = clock).await;
            Diagnosis::of_first_failure(beside(&sts, &["--sts-signature", version], &[]))
        }));
    }
    cases
}

fn temporary() -> Vec<Case> {
    let with_token = |title: &str, token: &'static str| {
        case(title, async move {
            let sts = sts().await;
            let mut keys = session(&sts, &[]);
            keys[2] = token.to_owned();
            Diagnosis::of(holding(&sts, &[], &keys))
        })
    };
    vec![
        with_token("A temporary AccessKey comes without its security token", ""),
        with_token(
            "The security token is not one",
            "planted-token-that-is-none",
        ),
        case(
            "The security token belongs to another temporary AccessKey",
            async {
                let sts = sts().await;
                let (mut keys, other) = (session(&sts, &[]), session(&sts, &[]));
                keys[2].clone_from(&other[2]);
                Diagnosis::of(holding(&sts, &[], &keys))
            },
        ),
        case("The temporary AccessKey has expired", async {
            let sts = sandbox(|options| options.faults = Plan::parse("lifetime=5m").unwrap()).await;
            let keys = session(&sts, &[]);
            // Beyond its end, but within what STS tolerates of a clock.
            sts.clock().shift_wall(TimeDelta::minutes(10));
            Diagnosis::of(holding(&sts, &[], &keys))
        }),
        case(
            "The role of the temporary AccessKey has been deleted",
            async {
                let sts = sts().await;
                let keys = session(&sts, &[]);
                sts.delete_role(&sts.role_arn());
                Diagnosis::of(holding(&sts, &[], &keys))
            },
        ),
        case(
            "The source identity is another one than that of the temporary AccessKey",
            async {
                let sts = sts().await;
                let keys = session(&sts, &["--source-identity", "alice"]);
                Diagnosis::of(holding(&sts, &["--source-identity", "bob"], &keys))
            },
        ),
    ]
}

fn parameters() -> Vec<Case> {
    vec![
        case("The duration is above the role's maximum", async {
            Diagnosis::of(beside(&*sts().await, &["--duration", "2h"], &[]))
        }),
        case("The session policy is JSON, but no policy", async {
            let policy = r#"{"Version":"1","Statement":[{"Effect":"Perhaps"}]}"#;
            Diagnosis::of(beside(
                &*sts().await,
                &[],
                &[("RAM_SIDECAR_POLICY", policy)],
            ))
        }),
        case("STS throttles, without a hint", async {
            throttled(None, None).await
        }),
        case("STS throttles, and says for how long", async {
            throttled(
                Some(Duration::from_secs(30)),
                Some(Duration::from_millis(1500)),
            )
            .await
        }),
    ]
}

async fn throttled(retry_after: Option<Duration>, acs_retry_after: Option<Duration>) -> Diagnosis {
    let sts = sts().await;
    let fault = Fault::Throttling {
        retry_after,
        acs_retry_after,
    };
    sts.inject(fault, Times::UntilCleared);
    Diagnosis::of(beside(&sts, &[], &[]))
}

/// Adds a second role that trusts a principal and that the first may assume.
fn chain(sts: &Sandbox, trusted: &str) -> (String, String) {
    let first = sts.role_arn();
    let second = sts
        .add_role("second-role", &trusting(trusted), HOUR)
        .unwrap();
    sts.permit_assume_role(&first, true);
    (first, second)
}

fn trusting(principal: &str) -> String {
    json!({"Version": "1", "Statement": [{
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"RAM": [principal]},
    }]})
    .to_string()
}

async fn sandbox(change: impl FnOnce(&mut Options)) -> Arc<Sandbox> {
    let mut options = Options::default();
    change(&mut options);
    Arc::new(Sandbox::start(options).await.unwrap())
}

/// Has the first role assumed, and returns the temporary AccessKey of its session.
fn session(sts: &Sandbox, args: &[&str]) -> Keys {
    block_in_place(|| {
        let daemon = beside(sts, args, &[]);
        daemon.uri();
        let reply = daemon.credentials();
        ["AccessKeyId", "AccessKeySecret", "SecurityToken"].map(|name| reply.text(name))
    })
}

/// Starts a daemon with an AccessKey; an empty token counts as none.
fn holding(sts: &Sandbox, args: &[&str], [id, secret, token]: &Keys) -> Daemon {
    let env = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", id.as_str()),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", token),
    ];
    with(sts, args, &env)
}

fn secret_of(sts: &Sandbox) -> String {
    sts.access_key_secret().expose_secret().to_owned()
}

const HOUR: Duration = Duration::from_secs(3600);
