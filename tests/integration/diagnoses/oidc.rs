//! The identity with an OIDC token.

use std::time::Duration;

use ram_sidecar::sandbox::{Sandbox, TokenDefect};
use serde_json::json;

use super::{Case, Diagnosis, case};
use crate::support::{Daemon, Scratch};
use crate::upstream::{sts, with};

pub(super) fn cases() -> Vec<Case> {
    let flawed = [
        ("The token has expired", TokenDefect::Expired),
        ("The token is not valid yet", TokenDefect::NotYetValid),
        (
            "The token was issued by another issuer",
            TokenDefect::OtherIssuer,
        ),
        (
            "The token was signed with a foreign key",
            TokenDefect::OtherKey,
        ),
        ("The token names an unknown key", TokenDefect::UnknownKeyId),
        (
            "The token is signed by another algorithm",
            TokenDefect::OtherAlgorithm,
        ),
    ]
    .map(|(title, flaw)| {
        case(title, async move {
            let sts = sts().await;
            let token = sts.invalid_oidc_token(flaw, SUBJECT, AUDIENCE, HOUR);
            diagnosis(&sts, &[], &sts.oidc_provider_arn(), &token)
        })
    });
    let others = [
        case("The token is for another audience", async {
            let sts = sts().await;
            let token = good(&sts, "https://kubernetes.default.svc");
            diagnosis(&sts, &[], &sts.oidc_provider_arn(), &token)
        }),
        case("The token file holds plain text", async {
            let sts = sts().await;
            diagnosis(&sts, &[], &sts.oidc_provider_arn(), "planted-plain-text")
        }),
        case(
            "The role's trust policy asks for another subject of tokens",
            async {
                let sts = sts().await;
                let trust = json!({"Version": "1", "Statement": [{
                    "Effect": "Allow",
                    "Action": "sts:AssumeRole",
                    "Principal": {"Federated": [sts.oidc_provider_arn()]},
                    "Condition": {"StringEquals": {"oidc:sub": "system:serviceaccount:training:default"}},
                }]});
                sts.set_trust_policy(&sts.role_arn(), &trust.to_string())
                    .unwrap();
                let token = good(&sts, AUDIENCE);
                diagnosis(&sts, &[], &sts.oidc_provider_arn(), &token)
            },
        ),
        case("There is no such OIDC provider", async {
            let sts = sts().await;
            let other = sts
                .oidc_provider_arn()
                .replace("sandbox-provider", "other-provider");
            let token = good(&sts, AUDIENCE);
            diagnosis(&sts, &[], &other, &token)
        }),
        case("The role for the token is in another account", async {
            let sts = sts().await;
            let other = sts
                .role_arn()
                .replace("1234567890123456", "6543210987654321");
            let token = good(&sts, AUDIENCE);
            diagnosis(
                &sts,
                &["--role-arn", &other],
                &sts.oidc_provider_arn(),
                &token,
            )
        }),
        case(
            "The duration is above the maximum of the role for the token",
            async {
                let sts = sts().await;
                let token = good(&sts, AUDIENCE);
                diagnosis(
                    &sts,
                    &["--duration", "2h"],
                    &sts.oidc_provider_arn(),
                    &token,
                )
            },
        ),
    ];
    flawed.into_iter().chain(others).collect()
}

/// Starts a daemon with a token in a file.
pub(super) fn holding(
    sts: &Sandbox,
    args: &[&str],
    provider_arn: &str,
    token: &str,
) -> (Daemon, Scratch) {
    let scratch = Scratch::new();
    let file = scratch.join("token");
    std::fs::write(&file, token).unwrap();
    let env = [
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", provider_arn),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let daemon = with(sts, args, &env);
    daemon.plant(token);
    (daemon, scratch)
}

/// Mints a token that is valid except possibly for its audience.
pub(super) fn good(sts: &Sandbox, audience: &str) -> String {
    sts.oidc_token(SUBJECT, audience, HOUR)
}

fn diagnosis(sts: &Sandbox, args: &[&str], provider_arn: &str, token: &str) -> Diagnosis {
    let (daemon, _scratch) = holding(sts, args, provider_arn, token);
    Diagnosis::of(daemon)
}

const SUBJECT: &str = "system:serviceaccount:training:trainer";
pub(super) const AUDIENCE: &str = "sts.aliyuncs.com";
const HOUR: Duration = Duration::from_secs(3600);
