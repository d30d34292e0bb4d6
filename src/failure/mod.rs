//! A failed attempt in one sentence: what was attempted, why it failed, and what to change.
//!
//! The same [`Failure`] is shown in the log, in the HTTP error and in the probes. It never contains a secret: all text
//! from outside passes through [`redact`] first.

pub mod caller;
mod code;
pub mod diagnosis;
mod redact;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

pub use self::code::{Code, Entry, LocalCode, entries};
pub use self::redact::redact;

/// One failed attempt, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The step of the attempt that failed.
    pub stage: Stage,
    /// The stable name of the failure.
    pub code: Code,
    /// What was attempted, on which object, and what happened, without a full stop at the end.
    pub message: String,
    /// What to change, without a full stop at the end.
    pub advice: Cow<'static, str>,
    /// Whether retries can succeed.
    pub class: FailureClass,
    /// The request id, which Alibaba Cloud's support requires.
    pub request_id: Option<String>,
    /// The host that was called, followed by the port unless it is the default.
    pub host: Option<Box<str>>,
    /// The `Retry-After` of the service.
    pub retry_after: Option<Duration>,
}

/// The step of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Obtaining the identity's credentials or token.
    Identity,
    /// Sending the request to the service.
    Transport,
    /// The request at the service, which refused it.
    Sts,
    /// Reading the response.
    Answer,
    /// Writing a file.
    File,
}

impl Stage {
    /// Returns its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Transport => "transport",
            Self::Sts => "sts",
            Self::Answer => "answer",
            Self::File => "file",
        }
    }
}

/// Whether retries can succeed without a change of the configuration. Every failure is retried; the class decides how often.
///
/// A class is less than another if a retry is worth sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureClass {
    /// A retry may succeed: the network, the service, or a file that is being replaced.
    Transient,
    /// A retry may succeed after a longer backoff: the service limits the rate of requests.
    Throttled,
    /// It persists until somebody changes a policy, a name or a key. Retried at the longest backoff, to notice the change.
    Persistent,
}

impl Failure {
    /// Makes a failure whose class and advice come from the table.
    pub fn new(stage: Stage, code: impl Into<Code>, message: impl Into<String>) -> Self {
        let code = code.into();
        let entry = code.entry();
        Self {
            stage,
            message: message.into(),
            advice: entry.advice.into(),
            class: entry.class,
            request_id: None,
            host: None,
            retry_after: None,
            code,
        }
    }

    /// Makes the failure of an attempt that has exceeded its timeout.
    pub fn timed_out(timeout: Duration) -> Self {
        let message = format!("no answer within {} s", timeout.as_secs());
        Self::new(Stage::Transport, LocalCode::TimedOut, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.advice)?;
        match &self.request_id {
            Some(id) => write!(f, " (RequestId {id})"),
            None => Ok(()),
        }
    }
}

/// The shortest backoff after throttling.
pub const THROTTLED_BACKOFF: Duration = Duration::from_secs(5);

/// The longest `Retry-After` that is obeyed: a third of the shortest lifetime that STS grants.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);

/// Returns an error and all its causes on one line.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Several crates include the cause in the message.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_entry_decides() {
        let of = |code: &'static str| Failure::new(Stage::Sts, code, "x").class;
        assert_eq!(of("Throttling.User"), FailureClass::Throttled);
        assert_eq!(
            of("AuthenticationFail.OIDCToken.Expired"),
            FailureClass::Transient
        );
        assert_eq!(
            of("AuthenticationFail.OIDCToken.Invalid"),
            FailureClass::Persistent
        );
        assert_eq!(of("SomethingNew"), FailureClass::Persistent);
        assert!(!Code::remote("SomethingNew").is_known());
    }

    #[test]
    fn every_stage_has_a_unique_name() {
        let stages = [
            (Stage::Identity, "identity"),
            (Stage::Transport, "transport"),
            (Stage::Sts, "sts"),
            (Stage::Answer, "answer"),
            (Stage::File, "file"),
        ];
        for (stage, name) in stages {
            assert_eq!(stage.name(), name);
        }
    }

    #[test]
    fn every_entry_of_the_table_has_specific_advice() {
        let known: Vec<_> = entries().map(|entry| entry.code).collect();
        assert!(known.contains(&"NoPermission") && known.contains(&"Throttling*"));
        let advice = |code: &'static str| Code::from(code).entry().advice;
        for code in known {
            assert!(Code::from(code).is_known(), "{code}");
            assert_ne!(advice(code), advice("SomethingNew"), "{code}");
        }
        assert_eq!(
            advice("InvalidProtocol.NeedSsl"),
            "use https:// in sts.endpoint"
        );
    }

    #[test]
    fn an_error_chain_shows_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{text}")]
        struct Link {
            text: &'static str,
            source: Option<Box<Self>>,
        }
        let link = |text, source: Option<Link>| Link {
            text,
            source: source.map(Box::new),
        };
        let text = |outer| {
            error_chain(&link(
                outer,
                Some(link("no route", Some(link("gone", None)))),
            ))
        };
        assert_eq!(text("cannot connect"), "cannot connect: no route: gone");
        assert_eq!(
            text("cannot connect: no route"),
            "cannot connect: no route: gone"
        );
    }

    #[test]
    fn a_timed_out_failure_names_its_timeout() {
        let failure = Failure::timed_out(Duration::from_secs(15));
        assert_eq!(
            (failure.code, failure.class),
            (Code::Local(LocalCode::TimedOut), FailureClass::Transient)
        );
        assert_eq!(failure.message, "no answer within 15 s");
    }

    #[test]
    fn a_failure_names_object_reason_and_remedy() {
        let mut failure = Failure::new(Stage::Sts, "EntityNotExist.Role", "STS knows no such role");
        failure.request_id = Some("ABC".into());
        assert_eq!(
            failure.to_string(),
            "STS knows no such role; create the role, or correct role.arn: account id and role name, spelled exactly (RequestId ABC)"
        );
    }
}
