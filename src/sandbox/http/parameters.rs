//! The bounds of the actions' parameters, and the refusals of what is outside them.

use std::time::Duration;

use crate::credentials::RoleArn;
use crate::sandbox::http::request::Params;
use crate::sandbox::http::response::Refusal;
use crate::sandbox::policy::session::SessionPolicy;

/// The parameters that `AssumeRole` and `AssumeRoleWithOIDC` share, within their bounds.
pub(in crate::sandbox) struct Asked<'a> {
    pub(in crate::sandbox) role_arn: &'a str,
    pub(in crate::sandbox) session_name: &'a str,
    pub(in crate::sandbox) policy: Option<&'a str>,
    duration: Option<Duration>,
}

impl<'a> Asked<'a> {
    pub(in crate::sandbox) fn read(params: &'a Params) -> Result<Self, Refusal> {
        let role_arn = params.require("RoleArn")?;
        let session_name = params.require("RoleSessionName")?;
        if RoleArn::parse(role_arn).is_err() {
            return Err(Refusal::wrongly_formed("RoleArn"));
        }
        if !is_made_of(session_name, ".@-_", 2, 64) {
            return Err(Refusal::wrongly_formed("RoleSessionName"));
        }
        let duration = params.get("DurationSeconds").map(seconds).transpose()?;
        let policy = params.get("Policy").map(session_policy).transpose()?;
        Ok(Self {
            role_arn,
            session_name,
            policy,
            duration,
        })
    }

    /// Returns how long the session shall last, within the role's maximum.
    pub(in crate::sandbox) fn duration(&self, longest: Duration) -> Result<Duration, Refusal> {
        match self.duration {
            Some(asked) if asked > longest => Err(wrong_duration()),
            Some(asked) => Ok(asked),
            None => Ok(DEFAULT_DURATION.min(longest)),
        }
    }
}

pub(in crate::sandbox) fn external_id(params: &Params) -> Result<Option<&str>, Refusal> {
    let is_good = |id: &&str| is_made_of(id, "_+=,.@:/-", 2, 1224);
    checked(params, "ExternalId", is_good)
}

/// The refusal is the sandbox's guess: what STS says is not documented.
pub(in crate::sandbox) fn source_identity(params: &Params) -> Result<Option<&str>, Refusal> {
    let is_good = |identity: &&str| {
        let reserved = ["acs:", "aliyun:", "alibabacloud:"];
        is_made_of(identity, "_+=,.@-", 2, 64) && !reserved.iter().any(|r| identity.starts_with(r))
    };
    checked(params, "SourceIdentity", is_good)
}

fn checked<'a>(
    params: &'a Params,
    name: &str,
    is_good: impl Fn(&&str) -> bool,
) -> Result<Option<&'a str>, Refusal> {
    let value = params.get(name);
    if value.is_some_and(|value| !is_good(&value)) {
        return Err(Refusal::wrongly_formed(name));
    }
    Ok(value)
}

fn is_made_of(text: &str, marks: &str, shortest: usize, longest: usize) -> bool {
    (shortest..=longest).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

fn seconds(text: &str) -> Result<Duration, Refusal> {
    // `parse` would take a sign.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text
        .parse()
        .ok()
        .filter(|_| is_number)
        .map(Duration::from_secs);
    seconds
        .filter(|asked| *asked >= SHORTEST_DURATION)
        .ok_or_else(wrong_duration)
}

fn wrong_duration() -> Refusal {
    // Says so for every role, whatever its maximum.
    Refusal::bad(
        "InvalidParameter.DurationSeconds",
        "The Min/Max value of DurationSeconds is 15min/1hr.",
    )
}

fn session_policy(text: &str) -> Result<&str, Refusal> {
    if text.len() > POLICY_LIMIT {
        let message = format!("The size of Policy must be smaller than {POLICY_LIMIT} bytes.");
        return Err(Refusal::bad("InvalidParameter.PolicySize", message));
    }
    if SessionPolicy::parse(text).is_none() {
        return Err(Refusal::bad(
            "InvalidParameter.PolicyGrammar",
            "The parameter Policy has not passed grammar check.",
        ));
    }
    Ok(text)
}

const DEFAULT_DURATION: Duration = Duration::from_secs(3600);
const SHORTEST_DURATION: Duration = Duration::from_secs(900);
const POLICY_LIMIT: usize = 2048;
