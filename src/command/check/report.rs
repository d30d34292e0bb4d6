//! What `check` found, as JSON or for people.

use std::fmt::{self, Display, Formatter, Write as _};

use serde::Serialize;

use crate::config::{Candidate, Shown};
use crate::credentials::{RoleRequest, timestamp};
use crate::failure::Failure;
use crate::principal::{Caller, Claims};

/// Everything that was found. Nothing in it is a secret.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether credentials were obtained, or none were wanted.
    pub good: bool,
    /// What came of it, in a sentence for each thing that is wrong.
    pub verdict: Vec<String>,
    /// The stage that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
    /// The code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The request id of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    pub(super) identity: Option<&'static str>,
    pub(super) candidates: Vec<Other>,
    pub(super) caller: Option<Found>,
    pub(super) token: Option<Token>,
    pub(super) roles: Vec<Role>,
    pub(super) call: Option<Call>,
    pub(super) passed_over: Vec<String>,
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

/// Whom STS takes us for.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    arn: String,
    account: String,
}

/// What the OIDC token says.
#[derive(Debug, Serialize)]
pub(super) struct Token {
    provider: String,
    iss: String,
    aud: Vec<String>,
    sub: String,
    exp: Option<String>,
}

/// A role on the way, or the last.
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
    pub(super) milliseconds: u64,
}

/// What was obtained.
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
    /// None is a secret.
    value: Option<String>,
    origin: String,
}

impl Report {
    pub(super) fn new(settings: Vec<Shown>, candidates: Vec<Candidate>) -> Self {
        let setting = |Shown { key, value, origin }| Setting { key, value, origin };
        let other = |candidate: Candidate| Other {
            kind: candidate.kind,
            origin: candidate.origin,
            taken: candidate.is_taken,
        };
        Self {
            good: false,
            verdict: Vec::new(),
            stage: None,
            code: None,
            request_id: None,
            identity: None,
            candidates: candidates.into_iter().map(other).collect(),
            caller: None,
            token: None,
            roles: Vec::new(),
            call: None,
            passed_over: Vec::new(),
            clock_ahead_seconds: None,
            credentials: None,
            settings: settings.into_iter().map(setting).collect(),
        }
    }

    pub(super) fn good(&mut self, verdict: &str) {
        self.good = true;
        self.verdict = vec![verdict.to_owned()];
    }

    pub(super) fn mistaken(&mut self, mistakes: Vec<String>) {
        self.stage = Some("configuration");
        self.verdict = mistakes;
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        self.stage = Some(failure.stage.name());
        self.code = Some(failure.code.to_string());
        self.request_id.clone_from(&failure.request_id);
        self.verdict = vec![failure.to_string()];
    }

    /// Returns the JSON form.
    #[expect(clippy::missing_panics_doc, reason = "it does not")]
    pub fn json(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "structs of strings and numbers always have a JSON form"
        )]
        serde_json::to_string_pretty(self).expect("always serializable")
    }

    /// Returns the form for people, `coloured` for a terminal.
    pub fn text(&self, coloured: bool) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{}",
            Text {
                report: self,
                coloured
            }
        );
        text
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

/// The form for people.
struct Text<'a> {
    report: &'a Report,
    coloured: bool,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        self.heading(f, "settings")?;
        for setting in &report.settings {
            let value = setting.value.as_deref().unwrap_or("(set, not shown)");
            let (key, origin) = (setting.key, &setting.origin);
            writeln!(f, "  {key} = {}  ({origin})", plain(value))?;
        }
        self.heading(f, "identity")?;
        writeln!(f, "  {}", report.identity.unwrap_or("none"))?;
        for other in &report.candidates {
            let taken = if other.taken { "taken" } else { "not taken" };
            writeln!(f, "  {} is present ({}): {taken}", other.kind, other.origin)?;
        }
        if let Some(Found { arn, account }) = &report.caller {
            writeln!(f, "  STS takes it for {arn}, account {account}")?;
        }
        if let Some(token) = &report.token {
            writeln!(f, "  provider {}", token.provider)?;
            let exp = token.exp.as_deref().unwrap_or("never");
            let aud = token.aud.join(", ");
            writeln!(
                f,
                "  the token says iss {}, aud {aud}, sub {}, exp {exp}",
                token.iss, token.sub
            )?;
        }
        self.roles(f)?;
        self.service(f)?;
        self.heading(f, "verdict")?;
        let (mark, colour) = if report.good {
            ("good", GREEN)
        } else {
            ("bad", RED)
        };
        for verdict in &report.verdict {
            let verdict = plain(verdict);
            writeln!(f, "  {}: {verdict}", self.painted(mark, colour))?;
        }
        Ok(())
    }
}

impl Text<'_> {
    fn roles(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.report.roles.is_empty() {
            return Ok(());
        }
        self.heading(f, "role")?;
        for role in &self.report.roles {
            let (session, seconds) = (&role.session_name, role.duration_seconds);
            let session = plain(session);
            writeln!(f, "  {}, session {session}, {seconds} seconds", role.arn)?;
            for (name, value) in [
                ("session policy", &role.policy),
                ("external ID", &role.external_id),
                ("source identity", &role.source_identity),
            ] {
                if let Some(value) = value {
                    writeln!(f, "    {name} {}", plain(value))?;
                }
            }
        }
        Ok(())
    }

    fn service(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        if report.call.is_none() && report.credentials.is_none() {
            return Ok(());
        }
        self.heading(f, "service")?;
        for failure in &report.passed_over {
            writeln!(f, "  passed over: {failure}")?;
        }
        if let Some(Call { host, milliseconds }) = &report.call {
            writeln!(f, "  {host}, {milliseconds} ms for the last call")?;
        }
        if let Some(ahead) = report.clock_ahead_seconds {
            writeln!(f, "  this machine's clock is {ahead} s ahead of it")?;
        }
        if let Some(got) = &report.credentials {
            let (id, by, seconds) = (&got.access_key_id, &got.served_by, got.lifetime_seconds);
            writeln!(
                f,
                "  {id} from {by}, until {} ({seconds} s)",
                got.expires_at
            )?;
            if let Some(arn) = &got.arn {
                writeln!(f, "  which is {arn}")?;
            }
        }
        Ok(())
    }

    fn heading(&self, f: &mut Formatter<'_>, heading: &str) -> fmt::Result {
        writeln!(f, "{}", self.painted(heading, BOLD))
    }

    fn painted(&self, text: &str, colour: &str) -> String {
        if self.coloured {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Leaves out what would steer a terminal.
fn plain(text: &str) -> String {
    let is_printed = |c: char| !c.is_control();
    text.chars()
        .map(|c| if is_printed(c) { c } else { ' ' })
        .collect()
}

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
