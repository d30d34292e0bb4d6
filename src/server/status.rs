//! The status of a daemon, as `GET /` tells it: a page for people, and JSON for programs. No secret can be reached from here.

pub(super) mod page;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::credentials::timestamp;
use crate::failure::Failure;
use crate::failure::diagnosis::deviation;
use crate::files::writer;
use crate::metrics::Counters;
use crate::refresh::store::Health;
use crate::system::build;
use crate::time::moment::Moment;

use super::caller_log::CallerLog;
use super::seen::Caller;

/// What does not change while a daemon runs.
#[derive(Clone, Debug)]
pub struct About {
    /// When it was started.
    pub started: Moment,
    /// The kind of its identity; `None` for a job without a role.
    pub identity: Option<&'static str>,
    /// The roles that it assumes, one after the other.
    pub roles: Vec<Role>,
    /// The hosts of STS, in the order of preference.
    pub endpoints: Vec<String>,
    /// Its listeners, by their settings.
    pub listeners: Vec<(&'static str, SocketAddr)>,
}

/// A file that a daemon keeps up to date.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its path.
    pub path: PathBuf,
    /// Its format.
    pub format: &'static str,
    /// Whether it is up to date.
    pub status: watch::Receiver<writer::Status>,
}

/// The status of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// As the probe `/ready` says it.
    pub status: String,
    /// The phase of the credentials.
    pub phase: String,
    /// The version of the program.
    pub version: String,
    /// The commit that it was built from.
    pub revision: String,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// The kind of its identity.
    pub identity: Option<String>,
    /// The roles that it assumes, one after the other.
    pub roles: Vec<Role>,
    /// The hosts of STS, in the order of preference.
    pub endpoints: Vec<String>,
    /// The credentials, if there are any.
    pub credentials: Option<Validity>,
    /// How far the clock of this machine was ahead of that of STS when the credentials were obtained.
    pub clock_ahead_seconds: Option<i64>,
    /// How many attempts in a row have failed.
    pub failures: u32,
    /// Why the last attempt failed, if it did.
    pub failure: Option<Reason>,
    /// How long until the next attempt.
    pub next_attempt_seconds: Option<u64>,
    /// The last attempts, from the newest to the oldest.
    pub attempts: Vec<Attempt>,
    /// The listeners.
    pub listeners: Vec<Listener>,
    /// The files.
    pub files: Vec<File>,
    /// The requests for credentials, by dialect.
    pub requests: Vec<Requests>,
    /// Who has requested credentials.
    pub callers: Vec<Caller>,
}

/// A role that is assumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in AssumeRole")]
pub struct Role {
    pub arn: String,
    pub session_name: String,
}

/// How long credentials are good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// When they expire, by the clock of STS.
    pub expires_at: String,
    /// How long they are still good.
    pub remaining_seconds: u64,
    /// How long they were good when they were obtained.
    pub lifetime_seconds: u64,
    /// When they are to be renewed, in seconds after they were obtained.
    pub renewal_after_seconds: u64,
    /// The host or source that granted them.
    pub served_by: String,
    /// Counts the credentials, from 1.
    pub renewals: u64,
}

/// Why something failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The code.
    pub code: String,
    /// The sentence, with the remedy.
    pub message: String,
}

/// An attempt to obtain credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: String,
    /// Why it failed, if it did.
    pub code: Option<String>,
    /// The sentence, unless it is that of a newer attempt.
    pub message: Option<String>,
}

/// A listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its setting.
    pub setting: String,
    /// Its address.
    pub address: String,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Whether it is up to date.
    pub status: String,
    /// Why it is not, if it cannot be written.
    pub failure: Option<Reason>,
}

/// The requests in a dialect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// The dialect.
    pub dialect: String,
    /// Those with status 200.
    pub served: u64,
    /// All others.
    pub others: u64,
}

/// The parts of a daemon that a report is made of.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) about: &'a About,
    pub(super) health: &'a Health,
    pub(super) status: &'static str,
    pub(super) outputs: &'a [Output],
    pub(super) counters: &'a Counters,
    pub(super) callers: &'a CallerLog,
}

impl Report {
    /// Reports the status at `now`.
    pub(super) fn new(parts: &Parts<'_>, now: Moment) -> Self {
        let (about, health) = (parts.about, parts.health);
        let listeners = about.listeners.iter();
        Self {
            status: parts.status.to_owned(),
            phase: health.phase.name().to_owned(),
            version: build::VERSION.to_owned(),
            revision: build::REVISION.to_owned(),
            uptime_seconds: now.boot.saturating_sub(about.started.boot).as_secs(),
            identity: about.identity.map(str::to_owned),
            roles: about.roles.clone(),
            endpoints: about.endpoints.clone(),
            credentials: validity(health),
            clock_ahead_seconds: health.skew.map(|skew| skew.num_seconds()),
            failures: health.failures,
            failure: health.failure.as_deref().map(Reason::from),
            next_attempt_seconds: health.next_attempt_after.map(|after| after.as_secs()),
            attempts: attempts(parts),
            listeners: listeners
                .map(|(setting, address)| Listener {
                    setting: (*setting).to_owned(),
                    address: address.to_string(),
                })
                .collect(),
            files: parts.outputs.iter().map(File::from).collect(),
            requests: parts.counters.served().map(Requests::from).collect(),
            callers: parts.callers.seen.callers(),
        }
    }

    /// Describes a clock of this machine that is wrong.
    pub fn wrong_clock(&self) -> Option<String> {
        let ahead = self.clock_ahead_seconds?;
        let is_wrong = ahead.unsigned_abs() > TOLERABLE_SKEW;
        is_wrong.then(|| format!("{} that of STS; set it (NTP)", deviation(ahead)))
    }

    /// Whether the probe `/ready` passes.
    pub fn is_ready(&self) -> bool {
        self.status == super::probe::READY
    }
}

/// Returns the last attempts. One of the same code as the attempt after it has nothing new to say.
fn attempts(parts: &Parts<'_>) -> Vec<Attempt> {
    let mut after = parts
        .health
        .failure
        .as_ref()
        .map(|failure| failure.code.clone());
    let mut attempts = Vec::new();
    for attempt in parts.counters.attempts() {
        let failure = attempt.failure.as_ref();
        let code = failure.map(|failure| failure.code.clone());
        let told = failure.filter(|_| code != after);
        attempts.push(Attempt {
            at: attempt.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            code: code.as_ref().map(ToString::to_string),
            message: told.map(|failure| failure.to_string().chars().take(SENTENCE_LIMIT).collect()),
        });
        after = code;
    }
    attempts
}

fn validity(health: &Health) -> Option<Validity> {
    let (expires_at, lifetime) = (health.expires_at?, health.lifetime?);
    let remaining = health.remaining?;
    let issued_at = expires_at - lifetime;
    let renewal = (health.renewal_at? - issued_at)
        .to_std()
        .unwrap_or_default();
    Some(Validity {
        expires_at: timestamp(expires_at),
        remaining_seconds: remaining.as_secs(),
        // Less than a second is missing for the way to STS and back.
        lifetime_seconds: (lifetime + Duration::from_millis(500)).as_secs(),
        renewal_after_seconds: renewal.min(lifetime).as_secs(),
        served_by: health.served_by.clone().unwrap_or_default(),
        renewals: health.generation,
    })
}

impl From<&Failure> for Reason {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code.as_str().to_owned(),
            message: failure.to_string(),
        }
    }
}

impl From<(&'static str, u64, u64)> for Requests {
    fn from((dialect, served, others): (&'static str, u64, u64)) -> Self {
        Self {
            dialect: dialect.to_owned(),
            served,
            others,
        }
    }
}

impl From<&Output> for File {
    fn from(output: &Output) -> Self {
        let (status, failure) = match &*output.status.borrow() {
            writer::Status::Waiting => ("waiting", None),
            writer::Status::Written => ("written", None),
            writer::Status::Failed(failure) => ("failed", Some(Reason::from(&**failure))),
        };
        Self {
            path: output.path.display().to_string(),
            format: output.format.to_owned(),
            status: status.to_owned(),
            failure,
        }
    }
}

/// Seconds, as for the log.
const TOLERABLE_SKEW: u64 = 30;

/// In characters: more than our own sentences have. A service may say much more at every attempt.
const SENTENCE_LIMIT: usize = 1000;
