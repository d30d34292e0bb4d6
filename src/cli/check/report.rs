//! The report of `check`, as JSON or text.

mod text;

use serde::Serialize;

use crate::config::{Candidate, Shown};
use crate::credentials::{RoleRequest, timestamp};
use crate::failure::Failure;
use crate::failure::caller::{Caller, Claims};
use crate::system::display;

pub(super) use self::text::Style;
use self::text::Text;

/// The findings. They contain no secret.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether credentials were obtained, or the job is to have none.
    pub(super) good: bool,
    /// The outcome: one sentence, or one for each error.
    pub(super) verdict: Vec<String>,
    /// What does not prevent credentials, and should be corrected.
    pub(super) warnings: Vec<String>,
    /// The stage that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<&'static str>,
    /// The code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// The request id of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
    pub(super) identity: Option<&'static str>,
    pub(super) candidates: Vec<Other>,
    pub(super) caller: Option<Found>,
    pub(super) token: Option<Token>,
    pub(super) roles: Vec<Role>,
    pub(super) call: Option<Call>,
    pub(super) failovers: Vec<String>,
    pub(super) clock_ahead_seconds: Option<i64>,
    pub(super) credentials: Option<Credentials>,
    settings: Vec<Setting>,
}

/// An identity whose settings are present.
#[derive(Debug, Serialize)]
pub(super) struct Other {
    kind: &'static str,
    origin: String,
    taken: bool,
}

/// Who we are, according to STS.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    arn: String,
    account: String,
}

/// The claims of the OIDC token.
#[derive(Debug, Serialize)]
pub(super) struct Token {
    provider: String,
    iss: String,
    aud: Vec<String>,
    sub: String,
    exp: Option<String>,
}

/// A role of the chain.
#[derive(Debug, Serialize)]
pub(super) struct Role {
    arn: String,
    session_name: String,
    duration_seconds: u64,
    policy: Option<String>,
    external_id: Option<String>,
    source_identity: Option<String>,
}

/// The last call to STS.
#[derive(Debug, Serialize)]
pub(super) struct Call {
    pub(super) host: String,
    /// How long the answer took; `None` without one.
    pub(super) milliseconds: Option<u64>,
}

/// The credentials that were obtained, without their secrets.
#[derive(Debug, Serialize)]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) expires_at: String,
    pub(super) lifetime_seconds: u64,
    pub(super) served_by: String,
    pub(super) arn: Option<String>,
}

#[derive(Debug, Serialize)]
struct Setting {
    key: &'static str,
    /// `None` for a secret.
    value: Option<String>,
    origin: String,
}

impl Report {
    pub(super) fn new(settings: Vec<Shown>, candidates: Vec<Candidate>) -> Self {
        let setting = |Shown { key, value, origin }| Setting { key, value, origin };
        let other = |candidate: Candidate| Other {
            kind: candidate.kind.name(),
            origin: candidate.origin,
            taken: candidate.is_selected,
        };
        Self {
            good: false,
            verdict: Vec::new(),
            warnings: Vec::new(),
            stage: None,
            code: None,
            request_id: None,
            identity: None,
            candidates: candidates.into_iter().map(other).collect(),
            caller: None,
            token: None,
            roles: Vec::new(),
            call: None,
            failovers: Vec::new(),
            clock_ahead_seconds: None,
            credentials: None,
            settings: settings.into_iter().map(setting).collect(),
        }
    }

    pub(super) fn good(&mut self, verdict: &str) {
        self.good = true;
        self.verdict = vec![verdict.to_owned()];
    }

    pub(super) fn misconfigured(&mut self, errors: Vec<String>) {
        self.stage = Some("configuration");
        self.verdict = errors;
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        self.stage = Some(failure.stage.name());
        self.code = Some(failure.code.to_string());
        self.request_id.clone_from(&failure.request_id);
        self.verdict = vec![failure.to_string()];
    }

    /// Judges the clock of this machine, which is the verdict only if everything else is good.
    pub(super) fn judge_clock(&mut self) {
        let ahead = self.clock_ahead_seconds.unwrap_or_default();
        let off = ahead.unsigned_abs();
        if off < CLOCK_WARNING {
            return;
        }
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let sentence = format!(
            "The clock of this machine is {off} s {direction} that of STS: set it (NTP); other programs judge by it whether credentials have expired, and services refuse requests that are off by 15 minutes."
        );
        if off < CLOCK_FAILURE || !self.good {
            self.warnings.push(sentence);
        } else {
            self.good = false;
            self.stage = Some("clock");
            self.verdict = vec![sentence];
        }
    }

    /// Returns the JSON form.
    pub(super) fn json(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "structs of strings and numbers always have a JSON form"
        )]
        let document = serde_json::to_string_pretty(self).expect("always serializable");
        display::json(&document).into_owned()
    }

    /// Returns the text for people.
    pub(super) fn text(&self, style: Style) -> String {
        Text {
            report: self,
            style,
        }
        .to_string()
    }
}

impl Found {
    pub(super) fn of(caller: Caller) -> Self {
        let Caller { arn, account } = caller;
        Self { arn, account }
    }
}

impl Token {
    pub(super) fn of(provider: &str, claims: Option<Claims>) -> Self {
        let claims = claims.unwrap_or_default();
        Self {
            provider: provider.to_owned(),
            iss: claims.issuer,
            aud: claims.audiences,
            sub: claims.subject,
            exp: claims.expires_at.map(timestamp),
        }
    }
}

impl Role {
    pub(super) fn of(role: &RoleRequest) -> Self {
        let role = role.clone();
        Self {
            arn: role.arn.to_string(),
            session_name: role.session_name,
            duration_seconds: role.duration.as_secs(),
            policy: role.policy,
            external_id: role.external_id,
            source_identity: role.source_identity,
        }
    }
}

/// The least deviation of the clock that is a warning, in seconds: more than 30.
const CLOCK_WARNING: u64 = 31;

/// The least deviation of the clock with which services refuse requests, in seconds.
const CLOCK_FAILURE: u64 = 15 * 60;
