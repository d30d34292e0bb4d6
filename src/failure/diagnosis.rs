//! Fills the advice of a refusal with the names at hand, so that it can be pasted.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::credentials::{RoleArn, RoleRequest, timestamp};
use crate::failure::caller::{Caller, CallerIdentity, Claims};
use crate::failure::{Failure, FailureClass, LocalCode};

/// Whether the advice for a failure names the signer of the refused request.
pub fn requires_caller(failure: &Failure) -> bool {
    matches!(
        failure.code.as_str(),
        "NoPermission" | "EntityNotExist.Role"
    )
}

/// Replaces the table's advice with advice that names the role, the caller or the token, as far as they are known.
pub fn explained(
    mut failure: Failure,
    role: &RoleRequest,
    principal: CallerIdentity<'_>,
    now: DateTime<Utc>,
) -> Failure {
    let advice = match (failure.code.as_str(), principal) {
        ("NoPermission", CallerIdentity::Signer(caller)) => Some(permission(caller, role)),
        ("EntityNotExist.Role", principal) => Some(no_role(role, principal)),
        (
            _,
            CallerIdentity::Token {
                provider_arn,
                claims: Some(claims),
            },
        ) => token(&failure, role, provider_arn, claims, now),
        ("AuthenticationFail.OIDCToken.Invalid", CallerIdentity::Token { claims: None, .. }) => Some(
            "let the token file hold an OIDC token of the cluster that the OIDC provider was made for: it does not hold a JSON Web Token now".to_owned(),
        ),
        _ => None,
    };
    if let Some(advice) = advice {
        failure.advice = advice.into();
    }
    failure
}

/// Adds the requested duration, or the error of this machine's clock, to the advice.
pub fn of_request(mut failure: Failure, role: &RoleRequest, skew: Option<TimeDelta>) -> Failure {
    let advice = match (failure.code.as_str(), skew) {
        ("InvalidParameter.DurationSeconds", _) => {
            let (seconds, name) = (role.duration.as_secs(), role.arn.name());
            format!(
                "lower role.duration, now {seconds} s, or raise the maximum session duration of the role {name}"
            )
        }
        ("InvalidTimeStamp.Expired", Some(skew)) if skew.abs() > TimeDelta::minutes(1) => {
            let deviation = deviation(skew.num_seconds());
            format!(
                "set this machine's clock (NTP), which is {deviation} that of STS; the next attempt is signed with the service's time"
            )
        }
        _ => return failure,
    };
    failure.advice = advice.into();
    failure
}

/// Describes the deviation of a clock that is so many seconds ahead, for a sentence that goes on with the other clock.
pub fn deviation(ahead: i64) -> String {
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    match ahead.unsigned_abs() {
        seconds @ ..120 => format!("{seconds} s {side}"),
        // Measured within a second.
        seconds => format!("{} min {side}", (seconds + 30) / 60),
    }
}

/// Adds the AccessKey ID to a failure that concerns it, unless the configured ID may be a secret.
///
/// A key that `is_fixed` is not read again.
pub fn of_key(mut failure: Failure, id: &str, is_fixed: bool) -> Failure {
    let code = failure.code.as_str();
    let is_of_keys = ["InvalidAccessKeyId.", "InvalidSecurityToken."]
        .iter()
        .any(|start| code.starts_with(start))
        || matches!(code, "SignatureDoesNotMatch" | "MissingSecurityToken");
    if !is_of_keys {
        return failure;
    }
    let is_temporary = id.starts_with("STS.");
    let is_shown = (is_temporary || id.starts_with("LTAI"))
        && id.len() <= 64
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    if is_shown {
        failure.message = format!("{} (AccessKey ID {id})", failure.message);
    }
    if failure.code.as_str() == "InvalidSecurityToken.Expired" && is_fixed {
        failure.class = FailureClass::Persistent;
        failure.advice = "start this process anew with a temporary AccessKey that is valid: its variables cannot change while it runs; files (ALIBABA_CLOUD_ACCESS_KEY_ID_FILE and the like) are read again".into();
    }
    if failure.code.as_str() == "InvalidAccessKeyId.NotFound" {
        if is_temporary {
            failure.advice = "renew the temporary AccessKey: it or its role no longer exists, or it belongs to another cloud site".into();
        } else if !is_shown {
            failure.advice = "correct the AccessKey ID: it begins with neither LTAI nor STS., so ID and secret may be swapped".into();
        }
    }
    failure
}

/// Recognizes PAI's refusal to assume a role for the user who started a job, and names the policies that are missing.
pub fn not_passed(mut failure: Failure) -> Failure {
    if failure.message.contains("Failed to assume role for user") {
        let role = named_role(&failure.message);
        let trust = json!({"Version": "1", "Statement": [{
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": [PAI]},
        }]});
        let grant = json!({"Version": "1", "Statement": [{
            "Effect": "Allow",
            "Action": "ram:PassRole",
            "Resource": role.as_deref().unwrap_or("acs:ram::<account id>:role/<role name>"),
        }]});
        failure.advice = format!(
            "make the trust policy of the job's role {trust}, or add its statement to the existing policy, and grant the user who starts the job {grant}"
        )
        .into();
        failure.code = LocalCode::RoleNotPassed.into();
        failure.class = FailureClass::Persistent;
    }
    failure
}

/// Finds the first ARN of a role in a text.
fn named_role(text: &str) -> Option<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || ":/._-".contains(c)));
    let mut roles = words.filter_map(|word| RoleArn::parse(word.trim_end_matches(['.', ':'])).ok());
    roles.next().map(|role| role.to_string())
}

fn permission(caller: &Caller, role: &RoleRequest) -> String {
    if caller.is_root() {
        return format!(
            "use the AccessKey of a RAM user or a role: {} is the account itself, which may not assume roles",
            caller.arn
        );
    }
    let trust = trust_policy(&caller.principal(), role);
    let grant = json!({"Version": "1", "Statement": [{
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Resource": role.arn.as_str(),
    }]});
    let hint = match role.external_id {
        Some(_) => "",
        None => {
            "; if the trust policy requires an external ID, keep that condition and set role.external_id"
        }
    };
    format!(
        "make the trust policy of the role {} {trust}, or add its statement to the existing policy, and grant {} the policy {grant}{hint}",
        role.arn.name(),
        caller.principal()
    )
}

/// Returns the required trust policy: it names the caller and, for a role of PAI, the service that assumes it for jobs.
fn trust_policy(principal: &str, role: &RoleRequest) -> Value {
    let mut principals = json!({"RAM": [principal]});
    if is_of_pai(role.arn.name()) {
        principals["Service"] = json!([PAI]);
    }
    let mut statement = json!({
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": principals,
    });
    if let Some(id) = &role.external_id {
        statement["Condition"] = json!({"StringEquals": {"sts:ExternalId": id}});
    }
    json!({"Version": "1", "Statement": [statement]})
}

fn is_of_pai(role_name: &str) -> bool {
    role_name.to_ascii_lowercase().starts_with("aliyunpai")
}

fn no_role(role: &RoleRequest, principal: CallerIdentity<'_>) -> String {
    let (name, account) = (role.arn.name(), role.arn.account());
    let own_account = match principal {
        CallerIdentity::Signer(caller) => Some(caller.account.as_str()),
        CallerIdentity::Token { provider_arn, .. } => provider_arn.split(':').nth(3),
        CallerIdentity::Unknown => None,
    };
    let hint = match own_account {
        Some(own_account) if own_account != account => {
            format!("; this identity belongs to the account {own_account}, is the role there?")
        }
        _ => String::new(),
    };
    format!(
        "create the role {name} in the account {account}, or correct role.arn: account id and role name, spelled exactly{hint}"
    )
}

fn token(
    failure: &Failure,
    role: &RoleRequest,
    provider_arn: &str,
    claims: &Claims,
    now: DateTime<Utc>,
) -> Option<String> {
    let Claims {
        issuer,
        subject,
        audiences,
        expires_at,
    } = claims;
    let audience = audiences.join(", ");
    let ending = expires_at.map_or_else(|| "never".to_owned(), timestamp);
    let token = format!("the token has iss {issuer}, aud {audience}, sub {subject}, exp {ending}");
    let remedy = match failure.code.as_str().strip_prefix("AuthenticationFail.")? {
        // STS uses this code for two failures.
        "NoPermission" if failure.message.contains("No such OIDC Provider") => format!(
            "correct identity.oidc_provider_arn, or register {provider_arn} in RAM with the token's iss as its issuer URL and the token's aud as its client ID"
        ),
        "NoPermission" => format!(
            "make the trust policy of the role {} {}, or add its statement to the existing policy",
            role.arn.name(),
            json!({"Version": "1", "Statement": [{
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Federated": [provider_arn]},
                "Condition": {"StringEquals": {
                    "oidc:iss": issuer,
                    "oidc:aud": audiences,
                    "oidc:sub": subject,
                }},
            }]})
        ),
        "OIDCToken.Expired" => format!(
            "let the token be rotated (the kubelet rotates a projected service account token), and check this machine's clock, which reads {}",
            timestamp(now)
        ),
        "OIDCToken.AudienceNotMatch" => format!(
            "register one of the token's audiences as a client ID of {provider_arn}, or request the token for one that is (sts.aliyuncs.com for RRSA)"
        ),
        "OIDCToken.IssuerNotMatch" => {
            format!("make the issuer URL of {provider_arn} the token's iss, character by character")
        }
        reason if reason.starts_with("OIDCToken.") => failure.advice.to_string(),
        _ => return None,
    };
    Some(format!("{remedy}; {token}"))
}

/// The service that assumes the roles of PAI's jobs.
const PAI: &str = "pai.aliyuncs.com";
