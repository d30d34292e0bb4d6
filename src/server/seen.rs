//! Remembers who has asked for credentials, for the status.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::time::duration::Span;

/// The users who got an answer, with the dialect: at most [`LIMIT`], of whom the last are kept.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<(Option<u32>, &'static str), Sight>>);

/// When a user was seen, and with which program last.
#[derive(Clone, Debug)]
struct Sight {
    first: Instant,
    last: Instant,
    /// The program that was looked up last, and when.
    program: Option<(String, Instant)>,
}

/// A user who got credentials, or the reason why there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The dialect.
    pub dialect: String,
    /// The user, if the kernel knows it.
    pub uid: Option<u32>,
    /// The program of his that was looked up last, if it was visible. Others may have asked since.
    pub program: Option<String>,
    /// How long ago that was.
    pub program_seen_seconds: Option<u64>,
    /// How long ago he first requested credentials.
    pub first_seen_seconds: u64,
    /// How long ago he was last seen, to a second.
    pub last_seen_seconds: u64,
}

impl Seen {
    /// Remembers that a user was seen, and the program if it was looked up.
    pub(super) fn note(
        &self,
        user: (Option<u32>, &'static str),
        now: Instant,
        program: Option<String>,
    ) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == LIMIT && !seen.contains_key(&user) {
            let oldest = seen.iter().min_by_key(|(_, seen)| seen.last);
            if let Some(oldest) = oldest.map(|(user, _)| *user) {
                seen.remove(&oldest);
            }
        }
        let entry = seen.entry(user).or_insert(Sight {
            first: now,
            last: now,
            program: None,
        });
        entry.last = now;
        if let Some(program) = program {
            entry.program = Some((program, now));
        }
    }

    /// Returns who has got an answer lately, the last one first.
    pub(super) fn callers(&self) -> Vec<Caller> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut callers: Vec<Caller> = seen
            .iter()
            .map(|((uid, dialect), seen)| Caller {
                dialect: (*dialect).to_owned(),
                uid: *uid,
                program: seen.program.as_ref().map(|(program, _)| program.clone()),
                program_seen_seconds: seen.program.as_ref().map(|(_, at)| at.elapsed().as_secs()),
                first_seen_seconds: seen.first.elapsed().as_secs(),
                last_seen_seconds: seen.last.elapsed().as_secs(),
            })
            .collect();
        callers.sort_by_key(|caller| (caller.last_seen_seconds, caller.uid));
        callers.truncate(SHOWN_LIMIT);
        callers
    }
}

impl Caller {
    /// Returns the program, and when it was looked up if the user has been seen since.
    pub fn shown_program(&self) -> String {
        let program = self.program.as_deref().unwrap_or("unknown program");
        match self.program_seen_seconds {
            Some(seconds) if seconds > self.last_seen_seconds => {
                format!("{program} ({} ago)", Span(seconds))
            }
            _ => program.to_owned(),
        }
    }
}

/// Far more than the number of users of a job.
const LIMIT: usize = 256;

/// More than the number of users of a job.
const SHOWN_LIMIT: usize = 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_users_are_kept_however_many_there_were() {
        let seen = Seen::default();
        for uid in 0..2 * 256 {
            seen.note((Some(uid), "metadata"), Instant::now(), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let shown = seen.callers();
        let users: Vec<u32> = shown.iter().filter_map(|caller| caller.uid).collect();
        assert_eq!(users, (492..512).rev().collect::<Vec<_>>());
        assert_eq!(shown[0].last_seen_seconds, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_is_shown_with_its_age_once_others_may_have_asked() {
        let seen = Seen::default();
        let user = (Some(7), "metadata");
        seen.note(user, Instant::now(), Some("/usr/bin/curl".to_owned()));
        assert_eq!(seen.callers()[0].shown_program(), "/usr/bin/curl");
        tokio::time::advance(Duration::from_secs(90)).await;
        seen.note(user, Instant::now(), None);
        assert_eq!(
            seen.callers()[0].shown_program(),
            "/usr/bin/curl (1 min 30 s ago)"
        );
    }
}
