//! The parameters of STS requests and the bodies of its responses.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::credentials::{Credentials, RoleRequest, is_key_text, time};
use crate::failure::caller::Caller;
use crate::failure::{self, Code, Failure, FailureClass, LocalCode, Stage, redact};
use crate::http::response::Response;

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

/// Returns the parameters that every action has, unsigned.
pub fn action(name: &str) -> Parameters {
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

/// Reads the caller identity from a response of GetCallerIdentity; `None` if the response has none.
pub fn caller(response: &Response) -> Option<Caller> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Identity {
        arn: String,
        account_id: String,
    }
    let identity: Identity = serde_json::from_slice(&response.body).ok()?;
    Some(Caller {
        arn: redact(&identity.arn, &[]),
        account: redact(&identity.account_id, &[]),
    })
}

/// Succeeds for status 200; every other response becomes a failure with the reason.
pub fn check_status(
    action: &str,
    host: &str,
    response: &Response,
    secrets: &[&str],
) -> Result<(), Failure> {
    let mut failure = match response.status {
        200 => return Ok(()),
        // STS's FAQ: a bare 302 means that the caller is over its quota.
        300..400 => {
            let message = format!("{action} at {host} answered HTTP {}", response.status);
            Failure::new(Stage::Sts, LocalCode::Redirected, message)
        }
        _ => refused(action, host, response, secrets),
    };
    failure.retry_after = response.retry_after;
    if let Some(wait) = response.retry_after {
        // Rounded up, so that a wait is never shown as 0 s.
        let seconds = wait.as_millis().div_ceil(1000);
        failure.message = format!("{} (retry after {seconds} s)", failure.message);
    }
    Err(with_request_id(failure, response, secrets))
}

/// Adds the request id of the header, unless the body had one.
pub(super) fn with_request_id(
    mut failure: Failure,
    response: &Response,
    secrets: &[&str],
) -> Failure {
    let id = response.request_id.as_deref().map(|id| redact(id, secrets));
    failure.request_id = failure.request_id.or(id);
    failure
}

/// Returns how far the wall clock, which read `requested_at`, is ahead of the service, whose response is dated `date`.
///
/// Returns `None` if they differ by a century or more: such a date is wrong, and no measure of a clock.
pub fn skew(
    requested_at: DateTime<Utc>,
    round_trip: Duration,
    date: DateTime<Utc>,
) -> Option<TimeDelta> {
    let half = TimeDelta::from_std(round_trip / 2).ok()?;
    // The header has whole seconds: on average it is half a second early.
    let skew = requested_at - date + half - TimeDelta::milliseconds(500);
    (skew.abs() < TimeDelta::days(36_500)).then_some(skew)
}

/// Returns how much of a skew is not explained by the time that the call took, at any moment of which the response was dated.
pub fn certain(skew: TimeDelta, round_trip: Duration) -> TimeDelta {
    let half = TimeDelta::from_std(round_trip / 2).unwrap_or(TimeDelta::MAX);
    let error = half
        .checked_add(&TimeDelta::milliseconds(500))
        .unwrap_or(half);
    match skew {
        ahead if ahead > error => ahead - error,
        behind if behind < -error => behind + error,
        _ => TimeDelta::zero(),
    }
}

/// Reads the credentials of a response with status 200, or returns a failure with the reason.
///
/// `issued_at` is the time of the request by the clock of STS. `secrets` are those of the request, which the service may
/// quote in its message.
pub fn credentials(
    action: &str,
    host: &str,
    response: &Response,
    issued_at: DateTime<Utc>,
    secrets: &[&str],
) -> Result<Credentials, Failure> {
    let unusable = |reason: String| {
        let message = format!("{action} at {host} answered HTTP 200, but {reason}");
        let code = if is_page(response) {
            LocalCode::WebPage
        } else {
            LocalCode::UnexpectedAnswer
        };
        with_request_id(
            Failure::new(Stage::Answer, code, message),
            response,
            secrets,
        )
    };
    // The message of serde may quote the document, and with it a secret.
    let body: AssumeRoleBody = serde_json::from_slice(&response.body).map_err(|error| {
        let reason = match error.classify() {
            _ if response.body.is_empty() => "with an empty body",
            _ if is_page(response) => "with a web page",
            Category::Eof => "with JSON that is cut off",
            Category::Data => "with other JSON than that of STS",
            Category::Syntax | Category::Io => "not with JSON",
        };
        unusable(reason.to_owned())
    })?;
    let WireCredentials {
        access_key_id,
        access_key_secret,
        security_token,
        expiration,
    } = body.credentials;
    let check = |name: &str, value: &str| {
        if !is_key_text(value) {
            return Err(unusable(format!("its {name} is empty or malformed")));
        }
        Ok(())
    };
    check("AccessKeyId", &access_key_id)?;
    check("AccessKeySecret", access_key_secret.expose_secret())?;
    check("SecurityToken", security_token.expose_secret())?;
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
        issued_at,
        expires_at,
    })
}

fn refused(action: &str, host: &str, response: &Response, secrets: &[&str]) -> Failure {
    let status = response.status;
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&response.body) else {
        let message = format!("{action} at {host} answered HTTP {status} without the JSON of STS");
        let code = match status {
            429 => Code::remote("Throttling"),
            // "Network authentication required": a captive portal.
            511 => LocalCode::WebPage.into(),
            500.. => Code::remote("ServiceUnavailable"),
            _ if is_page(response) => LocalCode::WebPage.into(),
            _ => LocalCode::UnexpectedAnswer.into(),
        };
        return Failure::new(Stage::Answer, code, message);
    };
    // A code of the table is no secret, even if a secret is a part of it.
    let code = if failure::entries().any(|entry| entry.code == refusal.code) {
        refusal.code
    } else {
        redact(&refusal.code, secrets)
    };
    let reason = redact(&refusal.message, secrets);
    // Codes are counted and compared; a text is none.
    if !is_word(&code) {
        let message = format!(
            "{action} at {host} was refused with the code {code:?} (HTTP {status}): {reason}"
        );
        return Failure::new(Stage::Answer, LocalCode::UnexpectedAnswer, message);
    }
    let mut message = format!("{action} at {host} was refused with {code} (HTTP {status})");
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    let mut failure = Failure::new(Stage::Sts, Code::Remote(code), message);
    match status {
        // The status decides for a code outside the table.
        500.. if !failure.code.is_known() => failure.class = FailureClass::Transient,
        429 => failure.class = FailureClass::Throttled,
        _ => {}
    }
    let request_id = refusal.request_id.map(|id| redact(&id, secrets));
    failure.request_id = request_id.filter(|id| is_word(id));
    failure
}

/// Whether a text looks like the codes and the ids of STS, also where a part of it was redacted.
fn is_word(text: &str) -> bool {
    (1..=MAX_WORD).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic() || c == '…')
}

/// Bytes: twice as many as the longest code that STS documents.
const MAX_WORD: usize = 128;

/// Whether the body looks like a web page, as a captive portal or a proxy sends.
fn is_page(response: &Response) -> bool {
    response.body.trim_ascii_start().starts_with(b"<")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AssumeRoleBody {
    credentials: WireCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireCredentials {
    access_key_id: String,
    access_key_secret: SecretString,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::RoleArn;

    const GOOD: &str = r#"{"RequestId":"6894B13B","AssumedRoleUser":{"AssumedRoleId":"3:alice","Arn":"acs:ram::1:role/r/alice"},
        "Credentials":{"SecurityToken":"CAIStoken","Expiration":"2015-04-09T11:52:19Z","AccessKeySecret":"wyLTSmsy","AccessKeyId":"STS.L4aB"}}"#;

    fn response(status: u16, body: &str) -> Response {
        Response {
            status,
            date: None,
            retry_after: Some(Duration::from_secs(7)),
            request_id: Some("FROM-HEADER".into()),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    fn parsed(status: u16, body: &str) -> Result<Credentials, Failure> {
        let issued_at = DateTime::from_timestamp(1_428_576_739, 0).unwrap();
        let (response, secrets) = (response(status, body), ["sent-secret"]);
        let (action, host) = ("AssumeRole", "sts.aliyuncs.com");
        check_status(action, host, &response, &secrets)?;
        credentials(action, host, &response, issued_at, &secrets)
    }

    #[test]
    fn a_code_of_the_table_is_recognized_whatever_the_secret_is() {
        for (code, secret, expected) in [
            (
                "InvalidAccessKeyId.NotFound",
                "t",
                "InvalidAccessKeyId.NotFound",
            ),
            ("SignatureDoesNotMatch", "NotMatch", "SignatureDoesNotMatch"),
            ("NoPermission", "NoPermission", "NoPermission"),
            ("Odd.planted-secret", "planted-secret", "Odd.…"),
        ] {
            let body = format!(r#"{{"Code":"{code}","Message":"x"}}"#);
            let failure = refused("AssumeRole", "host", &response(400, &body), &[secret]);
            assert_eq!(failure.code, Code::remote(expected), "{secret}");
            let is_known = failure.advice != Failure::new(Stage::Sts, "Odd", "").advice;
            assert_eq!(is_known, expected != "Odd.…", "{failure}");
        }
    }

    #[test]
    fn a_text_is_no_code_and_no_request_id() {
        let long = "x".repeat(129);
        for code in [
            "<script>alert(1)</script> of a page",
            long.as_str(),
            "a\\nb",
        ] {
            let body = format!(r#"{{"Code":"{code}","Message":"x","RequestId":"{code}"}}"#);
            let failure = refused("AssumeRole", "host", &response(403, &body), &[]);
            assert_eq!(failure.code, LocalCode::UnexpectedAnswer, "{code}");
            let body = format!(r#"{{"Code":"NoPermission","Message":"x","RequestId":"{code}"}}"#);
            let failure = refused("AssumeRole", "host", &response(403, &body), &[]);
            assert_eq!(
                (failure.code, failure.request_id),
                (Code::remote("NoPermission"), None)
            );
        }
    }

    #[test]
    fn request_has_every_parameter_of_the_role_that_its_action_supports() {
        let mut role = RoleRequest {
            arn: RoleArn::parse("acs:ram::1:role/r").unwrap(),
            session_name: "job".into(),
            duration: Duration::from_secs(900),
            policy: Some("{}".into()),
            external_id: Some("partner".into()),
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
                "Action=AssumeRole DurationSeconds=900 ExternalId=partner {common} SourceIdentity=alice Version=2015-04-01"
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
            pairs(action("GetCallerIdentity")),
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
                "AccessKeyId is empty or malformed",
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
                (failure.code.as_str(), failure.class),
                (code, FailureClass::Transient)
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
    fn refusal_has_code_and_request_id_and_no_secrets() {
        let body = r#"{"RequestId":"AB-12","HostId":"sts.aliyuncs.com","Code":"EntityNotExist.Role",
            "Message":"The specified Role not exists . sent-secret"}"#;
        let failure = parsed(404, body).unwrap_err();
        assert_eq!(failure.code, "EntityNotExist.Role");
        assert_eq!(failure.request_id.as_deref(), Some("AB-12"));
        assert_eq!(
            failure.to_string(),
            "AssumeRole at sts.aliyuncs.com was refused with EntityNotExist.Role (HTTP 404): The specified Role not exists . … (retry after 7 s); \
             create the role, or correct role.arn: account id and role name, spelled exactly (RequestId AB-12)"
        );
    }

    #[test]
    fn caller_identity_is_read_and_other_responses_have_none() {
        let body = r#"{"RequestId":"1","AccountId":"7","IdentityType":"RAMUser","Arn":"acs:ram::7:user/u"}"#;
        let read = caller(&response(200, body)).unwrap();
        assert_eq!(
            (read.arn.as_str(), read.account.as_str()),
            ("acs:ram::7:user/u", "7")
        );
        assert!(caller(&response(200, GOOD)).is_none());
    }

    #[test]
    fn skew_is_estimated_from_the_date_and_dates_a_century_away_are_ignored() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let learned = |date| skew(at(1_000_000), Duration::from_secs(2), date);
        assert_eq!(learned(at(1_000_000)), Some(TimeDelta::milliseconds(500)));
        assert_eq!(
            learned(at(998_800)),
            Some(TimeDelta::milliseconds(1_200_500))
        );
        let century = TimeDelta::days(36_500) - TimeDelta::milliseconds(500);
        let ahead = |by| skew(at(0) + century + by, Duration::from_secs(2), at(0));
        assert_eq!(
            ahead(TimeDelta::milliseconds(-1)).map(|skew| skew.num_days()),
            Some(36_499)
        );
        assert_eq!(ahead(TimeDelta::zero()), None);
        assert_eq!(learned(DateTime::<Utc>::MAX_UTC), None);
        assert_eq!(learned(DateTime::<Utc>::MIN_UTC), None);
    }

    #[test]
    fn a_slow_response_is_not_taken_for_skew() {
        for (skew, took, certain) in [
            (-2500, 4000, 0),
            (2500, 4000, 0),
            (2600, 4000, 100),
            (-1_202_500, 4000, -1_200_000),
            (400, 0, 0),
        ] {
            let skew = super::certain(TimeDelta::milliseconds(skew), Duration::from_millis(took));
            assert_eq!(skew, TimeDelta::milliseconds(certain));
        }
    }

    #[test]
    fn status_decides_for_codes_outside_the_table() {
        let body = r#"{"Code":"Strange.New","Message":"?"}"#;
        let known = r#"{"Code":"NoPermission"}"#;
        for (status, body, code, verdict) in [
            (500, body, "Strange.New", FailureClass::Transient),
            (400, body, "Strange.New", FailureClass::Persistent),
            (429, body, "Strange.New", FailureClass::Throttled),
            (500, known, "NoPermission", FailureClass::Persistent),
            (429, known, "NoPermission", FailureClass::Throttled),
            (429, "slow down", "Throttling", FailureClass::Throttled),
            (502, "<html>", "ServiceUnavailable", FailureClass::Transient),
            (403, "no", "UnexpectedAnswer", FailureClass::Transient),
            (403, " <html>", "WebPage", FailureClass::Transient),
            (511, "", "WebPage", FailureClass::Transient),
            (302, "", "Redirected", FailureClass::Throttled),
        ] {
            let failure = parsed(status, body).unwrap_err();
            assert_eq!(
                (failure.code.as_str(), failure.class),
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
