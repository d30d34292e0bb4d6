//! Reads the parameters of the actions and checks their bounds.

use std::time::Duration;

use crate::credentials::RoleArn;
use crate::sandbox::account::ledger::Session;
use crate::sandbox::http::request::Params;
use crate::sandbox::http::response::{ApiError, refuse};
use crate::sandbox::policy::session::SessionPolicy;

/// The parameters that `AssumeRole` and `AssumeRoleWithOIDC` have in common, within their bounds.
pub(crate) struct SessionRequest<'a> {
    pub(crate) session: Session<'a>,
    duration: Option<Duration>,
}

impl<'a> SessionRequest<'a> {
    pub(crate) fn read(params: &'a Params) -> Result<Self, ApiError> {
        let role_arn = params.require("RoleArn")?;
        let name = params.require("RoleSessionName")?;
        if RoleArn::parse(role_arn).is_err() {
            return Err(ApiError::malformed("RoleArn"));
        }
        if !is_text_of(name, ".@-_", 2, 64) {
            return Err(ApiError::malformed("RoleSessionName"));
        }
        let duration = params.get("DurationSeconds").map(seconds).transpose()?;
        let policy = params.get("Policy").map(session_policy).transpose()?;
        let session = Session {
            role_arn,
            name,
            source_identity: None,
            policy,
        };
        Ok(Self { session, duration })
    }

    /// Returns the requested duration, which must not exceed the role's maximum; by default an hour, or that maximum if it is
    /// shorter.
    pub(crate) fn duration(&self, maximum: Duration) -> Result<Duration, ApiError> {
        match self.duration {
            Some(requested) if requested > maximum => Err(invalid_duration()),
            Some(requested) => Ok(requested),
            None => Ok(DEFAULT_DURATION.min(maximum)),
        }
    }
}

pub(crate) fn external_id(params: &Params) -> Result<Option<&str>, ApiError> {
    let is_valid = |id: &&str| is_text_of(id, "_+=,.@:/-", 2, 1224);
    checked(params, "ExternalId", is_valid)
}

/// Its error code is a guess, because STS does not document one.
pub(crate) fn source_identity(params: &Params) -> Result<Option<&str>, ApiError> {
    let is_valid = |identity: &&str| {
        let reserved = ["acs:", "aliyun:", "alibabacloud:"];
        is_text_of(identity, "_+=,.@-", 2, 64) && !reserved.iter().any(|r| identity.starts_with(r))
    };
    checked(params, "SourceIdentity", is_valid)
}

fn checked<'a>(
    params: &'a Params,
    name: &str,
    is_valid: impl Fn(&&str) -> bool,
) -> Result<Option<&'a str>, ApiError> {
    let value = params.get(name);
    if value.is_some_and(|value| !is_valid(&value)) {
        return Err(ApiError::malformed(name));
    }
    Ok(value)
}

fn is_text_of(text: &str, punctuation: &str, shortest: usize, longest: usize) -> bool {
    (shortest..=longest).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || punctuation.contains(c))
}

fn seconds(text: &str) -> Result<Duration, ApiError> {
    // `parse` would accept a sign.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text
        .parse()
        .ok()
        .filter(|_| is_number)
        .map(Duration::from_secs);
    seconds
        .filter(|requested| *requested >= SHORTEST_DURATION)
        .ok_or_else(invalid_duration)
}

fn invalid_duration() -> ApiError {
    // STS sends these bounds for every role, regardless of its maximum.
    ApiError::bad_request(
        "InvalidParameter.DurationSeconds",
        "The Min/Max value of DurationSeconds is 15min/1hr.",
    )
}

fn session_policy(text: &str) -> Result<&str, ApiError> {
    if text.len() > POLICY_LIMIT {
        let message = format!("The size of Policy must be smaller than {POLICY_LIMIT} bytes.");
        return refuse("InvalidParameter.PolicySize", &message);
    }
    if SessionPolicy::parse(text).is_none() {
        let message = "The parameter Policy has not passed grammar check.";
        return refuse("InvalidParameter.PolicyGrammar", message);
    }
    Ok(text)
}

const DEFAULT_DURATION: Duration = Duration::from_secs(3600);
const SHORTEST_DURATION: Duration = Duration::from_secs(900);
const POLICY_LIMIT: usize = 2048;
