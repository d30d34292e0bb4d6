//! The embedded STS against the official SDK of STS, which has a signer of its own.

use std::time::Duration;

use ram_sidecar::sandbox::Sandbox;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::clients::finished;
use crate::support::Scratch;
use crate::toolchains::Language;
use crate::upstream::sts;

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_of_sts_succeeds_with_both_signatures() {
    let (sts, home) = (sts().await, Scratch::new());
    let next_role = add_role_that_trusts_the_first(&sts);
    let Some(mut command) = Language::Python.program("sts_sdk", home.path()) else {
        return;
    };
    let (secret, hour) = (sts.access_key_secret(), Duration::from_secs(3600));
    command
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id())
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.expose_secret())
        .env(
            "OIDC_TOKEN",
            sts.oidc_token("subject", "sts.aliyuncs.com", hour),
        )
        .arg(sts.endpoint().replace("http://", ""))
        .args([sts.role_arn(), next_role.clone(), sts.oidc_provider_arn()]);
    let printed: Value = serde_json::from_slice(&finished(&mut command).stdout).unwrap();

    for (version, message_part) in [
        ("v3", "Specified signature does not match our calculation."),
        (
            "v1",
            "Specified signature is not matched with our calculation.",
        ),
    ] {
        let text_at = |pointer: &str| {
            let value = printed[version].pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_else(|| panic!("no {pointer} in {printed}"))
        };
        for (call, role, policy) in [
            ("assume_role", sts.role_arn(), printed["policy"].as_str()),
            ("next_role", next_role.clone(), printed["policy"].as_str()),
            ("oidc", sts.role_arn(), None),
        ] {
            let issued = sts.issued(text_at(&format!("/{call}/Credentials/AccessKeyId")));
            let issued = issued.unwrap_or_else(|| panic!("{version} {call}"));
            let secret = text_at(&format!("/{call}/Credentials/AccessKeySecret"));
            assert_eq!(issued.access_key_secret.expose_secret(), secret);
            assert_eq!(issued.role_arn, role, "{version} {call}");
            assert_eq!(issued.policy.as_deref(), policy, "{version} {call}");
        }
        assert_eq!(text_at("/user/Arn"), sts.user_arn());
        assert_eq!(text_at("/session/IdentityType"), "AssumedRoleUser");
        assert_eq!(text_at("/oidc/OIDCTokenInfo/VerificationInfo"), "Success");
        for refusal in printed[version]["impostor"].as_array().unwrap() {
            assert_eq!(refusal["status"], json!(400));
            assert_eq!(refusal["code"], json!("SignatureDoesNotMatch"));
            let message = refusal["message"].as_str().unwrap();
            assert!(message.contains(message_part), "{version}: {message}");
        }
    }
}

/// Adds a role that the sessions of the first may assume, and returns its ARN.
fn add_role_that_trusts_the_first(sts: &Sandbox) -> String {
    sts.permit_assume_role(&sts.role_arn(), true);
    let trust = json!({"Version": "1", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [sts.role_arn()]}},
    ]});
    let hour = Duration::from_secs(3600);
    sts.add_role("next", &trust.to_string(), hour).unwrap()
}
