//! What went wrong, in one sentence: what was attempted, why it failed, and what to change.
//!
//! The same [`Failure`] is shown in the log, in the HTTP error and in the probes. It never carries a secret: whatever
//! comes from outside passes through [`redact`] first.

pub mod caller;
mod code;
pub mod diagnosis;
mod redact;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

pub use self::code::{Code, Entry, OwnCode, entries};
pub use self::redact::{breaks_a_line, redact};

/// One failed attempt, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Where in the attempt it happened.
    pub stage: Stage,
    /// The stable name of what went wrong.
    pub code: Code,
    /// What was attempted, on which object, and what happened. No final stop.
    pub message: String,
    /// What to change. No final stop.
    pub advice: Cow<'static, str>,
    /// Whether time, or only a human, can mend it.
    pub verdict: Verdict,
    /// The request id that Alibaba Cloud's support asks for.
    pub request_id: Option<String>,
    /// The `Retry-After` of the service.
    pub retry_after: Option<Duration>,
}

/// The step of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finding out who we are: keys and tokens.
    Identity,
    /// Reaching the service.
    Transport,
    /// The service's refusal.
    Sts,
    /// An answer that cannot be used.
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

/// Who can mend a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Only a human: a policy, a name, a key. Tried again all the same, because humans do mend such things.
    Fatal,
    /// Time: the network, the service, a file that is about to be replaced.
    Retry,
    /// Time, and less haste.
    Throttled,
}

impl Failure {
    /// Makes a failure whose verdict and advice come from the table.
    pub fn new(stage: Stage, code: impl Into<Code>, message: impl Into<String>) -> Self {
        let code = code.into();
        let entry = code.entry();
        Self {
            stage,
            message: message.into(),
            advice: entry.advice.into(),
            verdict: entry.verdict,
            request_id: None,
            retry_after: None,
            code,
        }
    }

    /// Makes the failure of an attempt that has exceeded its timeout.
    pub fn timed_out(timeout: Duration) -> Self {
        let message = format!("no answer within {} seconds", timeout.as_secs());
        Self::new(Stage::Transport, OwnCode::TimedOut, message)
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

/// Writes an error and all its causes on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Several crates repeat their cause in their own message.
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
        let of = |code: &'static str| Failure::new(Stage::Sts, code, "x").verdict;
        assert_eq!(of("Throttling.User"), Verdict::Throttled);
        assert_eq!(of("AuthenticationFail.OIDCToken.Expired"), Verdict::Retry);
        assert_eq!(of("AuthenticationFail.OIDCToken.Invalid"), Verdict::Fatal);
        assert_eq!(of("SomethingNew"), Verdict::Fatal);
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
    fn every_entry_of_the_table_has_its_own_advice() {
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
    fn a_chain_shows_each_cause_once() {
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
        let told = |outer| {
            chain(&link(
                outer,
                Some(link("no route", Some(link("gone", None)))),
            ))
        };
        assert_eq!(told("cannot connect"), "cannot connect: no route: gone");
        assert_eq!(
            told("cannot connect: no route"),
            "cannot connect: no route: gone"
        );
    }

    #[test]
    fn a_timed_out_failure_names_its_timeout() {
        let failure = Failure::timed_out(Duration::from_secs(15));
        assert_eq!(
            (failure.code, failure.verdict),
            (Code::Own(OwnCode::TimedOut), Verdict::Retry)
        );
        assert_eq!(failure.message, "no answer within 15 seconds");
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
