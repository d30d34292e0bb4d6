//! What STS is asked and what it answers, as values.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::credentials::{Credentials, RoleRequest, is_key_text, time};
use crate::failure::caller::Caller;
use crate::failure::{Code, Failure, OwnCode, Stage, Verdict, redact};
use crate::http::response::Answer;

use super::sign::Parameters;

/// Returns the parameters of AssumeRole, unsigned.
pub fn assume_role(role: &RoleRequest) -> Parameters {
    let mut parameters = common("AssumeRole", role);
    for (name, value) in [
        ("ExternalId", &role.external_id),
        ("SourceIdentity", &role.source_identity),
    ] {
        if let Some(value) = value {
            parameters.insert(name, Zeroizing::new(value.clone()));
        }
    }
    parameters
}

/// Returns the parameters of AssumeRoleWithOIDC, which is not signed.
pub fn assume_role_with_oidc(
    role: &RoleRequest,
    provider_arn: &str,
    token: &SecretString,
) -> Parameters {
    let mut parameters = common("AssumeRoleWithOIDC", role);
    parameters.insert("OIDCProviderArn", Zeroizing::new(provider_arn.to_owned()));
    parameters.insert(
        "OIDCToken",
        Zeroizing::new(token.expose_secret().to_owned()),
    );
    parameters
}

/// Returns the parameters of GetCallerIdentity, unsigned.
pub fn get_caller_identity() -> Parameters {
    action("GetCallerIdentity")
}

fn action(name: &str) -> Parameters {
    let value = |text: &str| Zeroizing::new(text.to_owned());
    Parameters::from([
        ("Action", value(name)),
        ("Format", value("JSON")),
        ("Version", value("2015-04-01")),
    ])
}

fn common(name: &str, role: &RoleRequest) -> Parameters {
    let mut parameters = action(name);
    let mut add = |name, value: String| parameters.insert(name, Zeroizing::new(value));
    add("RoleArn", role.arn.to_string());
    add("RoleSessionName", role.session_name.clone());
    add("DurationSeconds", role.duration.as_secs().to_string());
    if let Some(policy) = &role.policy {
        add("Policy", policy.clone());
    }
    parameters
}

/// Reads who the caller is from an answer of GetCallerIdentity; nothing from anything else.
pub fn caller(answer: &Answer) -> Option<Caller> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Identity {
        arn: String,
        account_id: String,
    }
    let identity: Identity = serde_json::from_slice(&answer.body).ok()?;
    Some(Caller {
        arn: redact(&identity.arn, &[]),
        account: redact(&identity.account_id, &[]),
    })
}

/// Tells an answer of success from every other, which becomes a failure that says why.
pub fn accepted(
    action: &str,
    host: &str,
    answer: &Answer,
    secrets: &[&str],
) -> Result<(), Failure> {
    let mut failure = match answer.status {
        200 => return Ok(()),
        // STS's FAQ: a bare 302 means that the caller is over its quota.
        300..400 => {
            let message = format!("{action} at {host} answered HTTP {}", answer.status);
            Failure::new(Stage::Sts, OwnCode::Redirected, message)
        }
        _ => refused(action, host, answer, secrets),
    };
    failure.retry_after = answer.retry_after;
    if let Some(pause) = answer.retry_after {
        // Rounded up: a pause of no seconds would be none.
        let seconds = pause.as_millis().div_ceil(1000);
        failure.message = format!("{}, and asks for a pause of {seconds} s", failure.message);
    }
    Err(noted(failure, answer, secrets))
}

/// Adds the id of the answer from its header, unless its body had one.
pub(super) fn noted(mut failure: Failure, answer: &Answer, secrets: &[&str]) -> Failure {
    let id = answer.request_id.as_deref().map(|id| redact(id, secrets));
    failure.request_id = failure.request_id.or(id);
    failure
}

/// Returns how far the wall clock, which read `asked_at`, is ahead of the service, whose answer says `date`.
///
/// Nothing for a date that is no date: a service that is centuries away teaches nothing.
pub fn skew(
    asked_at: DateTime<Utc>,
    round_trip: Duration,
    date: DateTime<Utc>,
) -> Option<TimeDelta> {
    let half = TimeDelta::from_std(round_trip / 2).ok()?;
    // The header drops the fraction of its second: half a second is the best guess.
    let skew = asked_at - date + half - TimeDelta::milliseconds(500);
    (skew.abs() < TimeDelta::days(36_500)).then_some(skew)
}

/// Reads an answer of success: whole credentials, or a failure that says why not.
///
/// `made_at` is the time of the answer by the clock of STS; `secrets` are those of the request, which the service may
/// repeat in its message.
pub fn granted(
    action: &str,
    host: &str,
    answer: &Answer,
    made_at: DateTime<Utc>,
    secrets: &[&str],
) -> Result<Credentials, Failure> {
    let unusable = |reason: String| {
        let message = format!("{action} at {host} answered HTTP 200, but {reason}");
        let code = if is_page(answer) {
            OwnCode::WebPage
        } else {
            OwnCode::UnexpectedAnswer
        };
        noted(Failure::new(Stage::Answer, code, message), answer, secrets)
    };
    // serde's own words may quote the document, and with it a secret.
    let granted: Granted = serde_json::from_slice(&answer.body).map_err(|error| {
        let reason = match error.classify() {
            _ if answer.body.is_empty() => "with an empty body",
            _ if is_page(answer) => "with a web page",
            Category::Eof => "with JSON that is cut off",
            Category::Data => "with other JSON than that of STS",
            Category::Syntax | Category::Io => "not with JSON",
        };
        unusable(reason.to_owned())
    })?;
    let GrantedCredentials {
        access_key_id,
        access_key_secret,
        security_token,
        expiration,
    } = granted.credentials;
    let whole = |name: &str, value: &str| {
        if !is_key_text(value) {
            return Err(unusable(format!("its {name} is empty or garbled")));
        }
        Ok(())
    };
    whole("AccessKeyId", &access_key_id)?;
    whole("AccessKeySecret", access_key_secret.expose_secret())?;
    whole("SecurityToken", security_token.expose_secret())?;
    let expires_at = time(&expiration).ok_or_else(|| {
        let shown = redact(&expiration, secrets);
        unusable(format!(
            "its Expiration `{shown}` is not a time like 2024-05-21T10:39:29Z"
        ))
    })?;
    Ok(Credentials {
        access_key_id,
        access_key_secret,
        security_token,
        issued_at: made_at,
        expires_at,
    })
}

fn refused(action: &str, host: &str, answer: &Answer, secrets: &[&str]) -> Failure {
    let status = answer.status;
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer.body) else {
        let message = format!("{action} at {host} answered HTTP {status} without the JSON of STS");
        let code = match status {
            429 => Code::remote("Throttling"),
            // "Network authentication required": a captive portal.
            511 => OwnCode::WebPage.into(),
            500.. => Code::remote("ServiceUnavailable"),
            _ if is_page(answer) => OwnCode::WebPage.into(),
            _ => OwnCode::UnexpectedAnswer.into(),
        };
        return Failure::new(Stage::Answer, code, message);
    };
    let code = redact(&refusal.code, secrets);
    let told = redact(&refusal.message, secrets);
    let mut message = format!("{action} at {host} was refused with {code} (HTTP {status})");
    if !told.is_empty() {
        message = format!("{message}: {told}");
    }
    let mut failure = Failure::new(Stage::Sts, Code::Remote(code), message);
    match status {
        // A code that the table does not know is judged by the status.
        500.. if !failure.code.is_known() => failure.verdict = Verdict::Retry,
        429 => failure.verdict = Verdict::Throttled,
        _ => {}
    }
    failure.request_id = refusal.request_id.map(|id| redact(&id, secrets));
    failure
}

/// Whether a captive portal or a proxy answered with a page.
fn is_page(answer: &Answer) -> bool {
    answer.body.trim_ascii_start().starts_with(b"<")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Granted {
    credentials: GrantedCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GrantedCredentials {
    access_key_id: String,
    #[serde(deserialize_with = "secret")]
    access_key_secret: SecretString,
    #[serde(deserialize_with = "secret")]
    security_token: SecretString,
    expiration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
    #[serde(default)]
    message: String,
    request_id: Option<String>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::RoleArn;

    const GOOD: &str = r#"{"RequestId":"6894B13B","AssumedRoleUser":{"AssumedRoleId":"3:alice","Arn":"acs:ram::1:role/r/alice"},
        "Credentials":{"SecurityToken":"CAIStoken","Expiration":"2015-04-09T11:52:19Z","AccessKeySecret":"wyLTSmsy","AccessKeyId":"STS.L4aB"}}"#;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            date: None,
            retry_after: Some(Duration::from_secs(7)),
            request_id: Some("FROM-HEADER".into()),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    fn parsed(status: u16, body: &str) -> Result<Credentials, Failure> {
        let made_at = DateTime::from_timestamp(1_428_576_739, 0).unwrap();
        let (answer, secrets) = (answer(status, body), ["sent-secret"]);
        let (action, host) = ("AssumeRole", "sts.aliyuncs.com");
        accepted(action, host, &answer, &secrets)?;
        granted(action, host, &answer, made_at, &secrets)
    }

    #[test]
    fn request_has_every_parameter_of_the_role_that_its_action_supports() {
        let mut role = RoleRequest {
            arn: RoleArn::parse("acs:ram::1:role/r").unwrap(),
            session_name: "job".into(),
            duration: Duration::from_secs(900),
            policy: Some("{}".into()),
            external_id: Some("ours".into()),
            source_identity: Some("alice".into()),
        };
        let pairs = |parameters: Parameters| {
            let pairs = parameters.iter();
            let pairs = pairs.map(|(name, value)| format!("{name}={}", value.as_str()));
            pairs.collect::<Vec<_>>().join(" ")
        };
        let common = "Format=JSON Policy={} RoleArn=acs:ram::1:role/r RoleSessionName=job";
        assert_eq!(
            pairs(assume_role(&role)),
            format!(
                "Action=AssumeRole DurationSeconds=900 ExternalId=ours {common} SourceIdentity=alice Version=2015-04-01"
            )
        );
        let with_a_token =
            assume_role_with_oidc(&role, "acs:ram::1:oidc-provider/p", &"ey.J".into());
        assert_eq!(
            pairs(with_a_token),
            "Action=AssumeRoleWithOIDC DurationSeconds=900 Format=JSON OIDCProviderArn=acs:ram::1:oidc-provider/p \
             OIDCToken=ey.J Policy={} RoleArn=acs:ram::1:role/r RoleSessionName=job Version=2015-04-01"
        );
        (role.policy, role.external_id, role.source_identity) = (None, None, None);
        assert_eq!(
            pairs(assume_role(&role)),
            "Action=AssumeRole DurationSeconds=900 Format=JSON RoleArn=acs:ram::1:role/r RoleSessionName=job \
             Version=2015-04-01"
        );
        assert_eq!(
            pairs(get_caller_identity()),
            "Action=GetCallerIdentity Format=JSON Version=2015-04-01"
        );
    }

    #[test]
    fn documented_response_is_read() {
        let credentials = parsed(200, GOOD).unwrap();
        assert_eq!(credentials.access_key_id, "STS.L4aB");
        assert_eq!(credentials.access_key_secret.expose_secret(), "wyLTSmsy");
        assert_eq!(credentials.security_token.expose_secret(), "CAIStoken");
        assert_eq!(
            credentials.expires_at.to_rfc3339(),
            "2015-04-09T11:52:19+00:00"
        );
    }

    #[test]
    fn incomplete_credentials_are_a_failure_without_a_secret() {
        let cases = [
            ("", "with an empty body"),
            ("hello", "not with JSON"),
            ("<html>Please log in</html>", "with a web page"),
            (&GOOD[..GOOD.len() - 40], "with JSON that is cut off"),
            (
                &GOOD.replace("\"AccessKeySecret\":\"wyLTSmsy\",", ""),
                "with other JSON",
            ),
            (&GOOD.replace("\"wyLTSmsy\"", "null"), "with other JSON"),
            (&GOOD.replace("\"wyLTSmsy\"", "12"), "with other JSON"),
            (&GOOD.replace("wyLTSmsy", ""), "AccessKeySecret is empty"),
            (&GOOD.replace("CAIStoken", ""), "SecurityToken is empty"),
            (
                &GOOD.replace("STS.L4aB", "STS L4aB"),
                "AccessKeyId is empty or garbled",
            ),
            (
                &GOOD.replace("2015-04-09T11:52:19Z", "tomorrow"),
                "Expiration `tomorrow`",
            ),
            (
                &GOOD.replace("2015-04-09T11:52:19Z", "9999-12-31T23:59:59-01:00"),
                "is not a time like",
            ),
        ];
        for (body, reason) in cases {
            let failure = parsed(200, body).unwrap_err();
            let sentence = failure.to_string();
            let code = if body.starts_with('<') {
                "WebPage"
            } else {
                "UnexpectedAnswer"
            };
            assert_eq!(
                (failure.code.as_str(), failure.verdict),
                (code, Verdict::Retry)
            );
            assert_eq!(failure.request_id.as_deref(), Some("FROM-HEADER"));
            assert!(sentence.contains(reason), "{sentence}");
            assert!(
                !sentence.contains("wyLT") && !sentence.contains("CAIS"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn refusals_keep_code_and_request_id_and_lose_secrets() {
        let body = r#"{"RequestId":"AB-12","HostId":"sts.aliyuncs.com","Code":"EntityNotExist.Role",
            "Message":"The specified Role not exists . sent-secret"}"#;
        let failure = parsed(404, body).unwrap_err();
        assert_eq!(failure.code, "EntityNotExist.Role");
        assert_eq!(failure.request_id.as_deref(), Some("AB-12"));
        assert_eq!(
            failure.to_string(),
            "AssumeRole at sts.aliyuncs.com was refused with EntityNotExist.Role (HTTP 404): The specified Role not exists . …, and asks for a pause of 7 s; \
             create the role, or correct role.arn: account id and role name, spelled exactly (RequestId AB-12)"
        );
    }

    #[test]
    fn only_the_caller_is_read_from_a_caller_identity() {
        let body = r#"{"RequestId":"1","AccountId":"7","IdentityType":"RAMUser","Arn":"acs:ram::7:user/u"}"#;
        let read = caller(&answer(200, body)).unwrap();
        assert_eq!(
            (read.arn.as_str(), read.account.as_str()),
            ("acs:ram::7:user/u", "7")
        );
        assert!(caller(&answer(200, GOOD)).is_none());
    }

    #[test]
    fn skew_is_accurate_to_a_second_and_ignores_absurd_dates() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let learnt = |date| skew(at(1_000_000), Duration::from_secs(2), date);
        assert_eq!(learnt(at(1_000_000)), Some(TimeDelta::milliseconds(500)));
        assert_eq!(
            learnt(at(998_800)),
            Some(TimeDelta::milliseconds(1_200_500))
        );
        let century = TimeDelta::days(36_500) - TimeDelta::milliseconds(500);
        let ahead = |by| skew(at(0) + century + by, Duration::from_secs(2), at(0));
        assert_eq!(
            ahead(TimeDelta::milliseconds(-1)).map(|skew| skew.num_days()),
            Some(36_499)
        );
        assert_eq!(ahead(TimeDelta::zero()), None);
        assert_eq!(learnt(DateTime::<Utc>::MAX_UTC), None);
        assert_eq!(learnt(DateTime::<Utc>::MIN_UTC), None);
    }

    #[test]
    fn status_decides_for_codes_outside_the_table() {
        let body = r#"{"Code":"Strange.New","Message":"?"}"#;
        let known = r#"{"Code":"NoPermission"}"#;
        for (status, body, code, verdict) in [
            (500, body, "Strange.New", Verdict::Retry),
            (400, body, "Strange.New", Verdict::Fatal),
            (429, body, "Strange.New", Verdict::Throttled),
            (500, known, "NoPermission", Verdict::Fatal),
            (429, known, "NoPermission", Verdict::Throttled),
            (429, "slow down", "Throttling", Verdict::Throttled),
            (502, "<html>", "ServiceUnavailable", Verdict::Retry),
            (403, "no", "UnexpectedAnswer", Verdict::Retry),
            (403, " <html>", "WebPage", Verdict::Retry),
            (511, "", "WebPage", Verdict::Retry),
            (302, "", "Redirected", Verdict::Throttled),
        ] {
            let failure = parsed(status, body).unwrap_err();
            assert_eq!(
                (failure.code.as_str(), failure.verdict),
                (code, verdict),
                "{status} {body}"
            );
            assert!(!failure.message.contains("html"));
        }
        assert_eq!(
            parsed(429, body).unwrap_err().retry_after,
            Some(Duration::from_secs(7))
        );
    }
}
