//! Logs new callers and kinds of refusals, and looks the callers up for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::{Instant, timeout};
use tracing::field::display;
use tracing::{Instrument as _, debug, info, warn};

use super::caller::{self, Addresses, Owner};
use super::request_check::Refusal;
use super::respond;
use super::seen::Seen;

/// Logs callers and refusals, each at a limited rate, so that none can hide behind many others.
#[derive(Debug, Default)]
pub struct CallerLog {
    /// The kinds of requests whose callers were looked up lately.
    looked_up: Recent<RequestKey>,
    /// The users whose callers were logged, and their dialects.
    users: Recent<(Option<u32>, &'static str)>,
    callers: Recent<(Option<u32>, RequestKey)>,
    refused: Recent<(&'static str, Option<u32>)>,
    /// The codes of the refusals whose callers were looked up lately, where that takes long.
    refused_lately: Recent<&'static str>,
    wrong_keys: Recent<()>,
    is_proxy_known: AtomicBool,
    /// The users who got an answer.
    pub(super) seen: Seen,
    /// Limits the searches for a process to one at a time.
    lookup: tokio::sync::Mutex<()>,
    /// Has a clone for each caller that is being looked up.
    lookups: Arc<()>,
}

/// What is known about the caller of a request without asking the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestKey {
    pub(super) dialect: &'static str,
    /// The address, if it is not one of this machine.
    pub(super) ip: Option<IpAddr>,
    pub(super) user_agent: String,
}

/// Remembers when something was last noted: at most [`RECENT_LIMIT`] entries.
#[derive(Debug)]
struct Recent<T>(Mutex<HashMap<T, Instant>>);

/// Whether something was noted within an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// Within the interval.
    Recently,
    /// Not within it, but now.
    Now,
    /// Not within it, and there is no room to remember it now.
    NoRoom,
}

impl CallerLog {
    /// Whether the caller of a request may have to be logged, so that the kernel must be asked for it.
    ///
    /// Not if that of another request of the same kind was found a moment ago: it was logged then if it was to be.
    pub(super) fn needs_lookup(&self, key: &RequestKey) -> bool {
        self.looked_up.note(key, Instant::now(), LOOKUP_INTERVAL) != Noted::Recently
    }

    /// Whether the caller of a request is not looked up again yet.
    pub(super) fn is_looked_up(&self, key: &RequestKey) -> bool {
        self.looked_up
            .is_recent(key, Instant::now(), LOOKUP_INTERVAL)
    }

    /// Looks the caller of a request up, and logs it if it is new. The response waits briefly, as in [`Self::log_admitted`].
    pub(super) async fn look_up(self: &Arc<Self>, key: RequestKey, addresses: Option<Addresses>) {
        if let Some(Ok(owner)) = addresses.map(|addresses| addresses.owner_at_once()) {
            return self.log_looked_up(key, owner).await;
        }
        // Slow look-ups must not use memory without limit, nor delay those on which an answer depends.
        if Arc::strong_count(&self.lookups) > SLOW_LOOKUPS_LIMIT {
            return self.log_looked_up(key, None).await;
        }
        let (log, permit) = (Arc::clone(self), Arc::clone(&self.lookups));
        let looking = async move {
            let owner = owner(addresses).await.unwrap_or_default();
            drop(permit);
            log.log_admitted(key, owner).await;
        };
        // In a separate task, which is not cancelled when the caller disconnects.
        let looking = tokio::spawn(looking.in_current_span());
        let _ = timeout(LOOKUP_TIMEOUT, looking).await;
    }

    /// Logs a caller that is new. One that was not found, for instance because its client has closed the connection, does not
    /// stand for the next.
    async fn log_looked_up(self: &Arc<Self>, key: RequestKey, owner: Option<Owner>) {
        if owner.is_none() && key.ip.is_none() {
            self.looked_up.entries().remove(&key);
        }
        self.log_admitted(key, owner).await;
    }

    /// Logs a caller that is new, unless another of the same user and dialect was logged within a minute. The response waits
    /// briefly for the log entry: until the response is sent, the calling process still exists and can be looked up.
    pub(super) async fn log_admitted(self: &Arc<Self>, key: RequestKey, owner: Option<Owner>) {
        let (uid, now) = (owner.map(|owner| owner.uid), Instant::now());
        let caller = (uid, key);
        let user = (uid, caller.1.dialect);
        self.seen.note(user, now, None);
        if !self.callers.contains(&caller)
            && self.users.note(&user, now, LOG_INTERVAL) == Noted::Now
        {
            self.callers.note(&caller, now, LOG_INTERVAL);
            let logging = Arc::clone(self).log_new(caller.1, owner);
            // In a separate task, which is not cancelled when the caller disconnects.
            let logging = tokio::spawn(logging.in_current_span());
            let _ = timeout(LOOKUP_TIMEOUT, logging).await;
        }
    }

    async fn log_new(self: Arc<Self>, caller: RequestKey, owner: Option<Owner>) {
        let program = match owner {
            Some(owner) => {
                let _permit = self.lookup.lock().await;
                let lookup = tokio::task::spawn_blocking(move || owner.program());
                lookup.await.ok().flatten()
            }
            None => None,
        };
        let pid = program.as_ref().map(|program| program.pid);
        // As text, which the log escapes: the caller may have chosen the name of the program.
        let executable = program.map(|program| program.executable.to_string_lossy().into_owned());
        let user = (owner.map(|owner| owner.uid), caller.dialect);
        self.seen.note(user, Instant::now(), executable.clone());
        let from = caller.ip.map(display);
        info!(
            dialect = caller.dialect,
            uid = owner.map(|owner| owner.uid),
            pid,
            executable,
            from,
            user_agent = caller.user_agent,
            "A new caller requested credentials"
        );
    }

    /// Refuses a request because the kernel cannot be queried for its caller now.
    pub(super) fn refuse_unknown(&self, error: &io::Error) -> Response {
        let (code, message) = (
            "CallerUnknown",
            "serve.allow_uids is set, and the user of this program cannot be determined now; try again, and see the log of ram-sidecar",
        );
        self.log_refused(
            code,
            &format!("cannot query the kernel for the owner of the connection: {error}"),
            None,
        );
        respond::error(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// Warns of a caller with a wrong key, once a minute, whoever it is.
    pub(super) async fn log_wrong_key(
        &self,
        variable: &'static str,
        caller: &RequestKey,
        addresses: Option<Addresses>,
    ) {
        if self.wrong_keys.is_recent(&(), Instant::now(), LOG_INTERVAL) {
            return;
        }
        let owner = owner_soon(addresses).await;
        if self.wrong_keys.note(&(), Instant::now(), LOG_INTERVAL) == Noted::Now {
            let user_agent = &caller.user_agent;
            warn!(
                uid = owner.map(|owner| owner.uid),
                user_agent,
                advice = format!(
                    "let the program use {variable} as it is set for it, unless the pod or a script sets it itself, or change serve.key (in a pod, the annotation ram-sidecar/key)"
                ),
                "A request has a wrong key in its path"
            );
        }
    }

    /// Warns of a client that sends its requests as if to a proxy, once.
    pub(super) fn log_proxied(&self) {
        if !self.is_proxy_known.swap(true, Ordering::Relaxed) {
            warn!(
                error = "HTTP_PROXY is set in the job, and the proxy would see the credentials",
                advice =
                    "unset HTTP_PROXY and http_proxy for it, because Python's SDK ignores NO_PROXY",
                "A client sends its requests for credentials as if to a proxy"
            );
        }
    }

    /// Logs a refusal. Where look-ups take long, there is one a second for each code, so that a flood of refused requests costs
    /// little.
    pub(super) async fn log_refusal(
        &self,
        refusal: &Refusal,
        owner: Option<Owner>,
        addresses: Option<Addresses>,
    ) {
        let code = refusal.code;
        let is_recent = || {
            let noted = self
                .refused_lately
                .note(&code, Instant::now(), LOOKUP_INTERVAL);
            noted == Noted::Recently
        };
        let owner = match owner {
            Some(owner) => Some(owner),
            None if !caller::is_cheap() && is_recent() => {
                return debug!(code, "A request was refused");
            }
            None => owner_soon(addresses).await,
        };
        self.log_refused(code, refusal.message, owner.map(|owner| owner.uid));
    }

    /// Logs a refusal: as a warning the first time for this user, then at the level `debug`.
    pub(super) fn log_refused(&self, code: &'static str, message: &str, uid: Option<u32>) {
        if self
            .refused
            .note(&(code, uid), Instant::now(), Duration::MAX)
            == Noted::Now
        {
            warn!(code, uid, error = message, "A request was refused");
        } else {
            debug!(code, uid, "A request was refused");
        }
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Eq + Hash> Recent<T> {
    fn entries(&self) -> MutexGuard<'_, HashMap<T, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contains(&self, entry: &T) -> bool {
        self.entries().contains_key(entry)
    }

    /// Whether an entry was noted within `interval`.
    fn is_recent(&self, entry: &T, now: Instant, interval: Duration) -> bool {
        let noted = self.entries().get(entry).copied();
        noted.is_some_and(|at| now.duration_since(at) < interval)
    }

    /// Notes an entry that was not noted within `interval`.
    ///
    /// Where there is no room, entries are forgotten that were noted longer ago than the interval or [`LOG_INTERVAL`].
    fn note(&self, entry: &T, now: Instant, interval: Duration) -> Noted {
        let is_recent = |at: Instant, interval| now.duration_since(at) < interval;
        let mut entries = self.entries();
        match entries.get(entry) {
            Some(at) if is_recent(*at, interval) => return Noted::Recently,
            None if entries.len() == RECENT_LIMIT => {
                entries.retain(|_, at| is_recent(*at, interval.min(LOG_INTERVAL)));
            }
            _ => {}
        }
        if entries.len() == RECENT_LIMIT && !entries.contains_key(entry) {
            return Noted::NoRoom;
        }
        entries.insert(entry.clone(), now);
        Noted::Now
    }
}

/// Finds the owner of the other end of a connection, if the connection has addresses.
pub(super) async fn owner(addresses: Option<Addresses>) -> io::Result<Option<Owner>> {
    match addresses {
        Some(addresses) => addresses.owner().await,
        None => Ok(None),
    }
}

/// Finds the owner for the log, which needs none if that takes long.
async fn owner_soon(addresses: Option<Addresses>) -> Option<Owner> {
    let found = timeout(LOOKUP_TIMEOUT, owner(addresses)).await.ok()?;
    found.unwrap_or_default()
}

/// Far more than the number of users and programs of a job.
const RECENT_LIMIT: usize = 256;

/// The minimum time between two lines about callers of one user in one dialect.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long the caller of a request is taken for that of the same kind of requests. Another user who sends the same
/// `User-Agent` is found unless every request of his follows one of the first user's within this time.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// How many callers are looked up at a time where that takes long.
const SLOW_LOOKUPS_LIMIT: usize = 4;

/// How long a response waits for the caller or its process to be found; some clients give up after a second.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_entry_is_noted_once_in_an_interval() {
        let (recent, start) = (Recent::default(), Instant::now());
        for (seconds, interval, expected) in [
            (0, MINUTE, Noted::Now),
            (0, MINUTE, Noted::Recently),
            (59, MINUTE, Noted::Recently),
            (60, MINUTE, Noted::Now),
            (61, MINUTE, Noted::Recently),
            (100_000, Duration::MAX, Noted::Recently),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(recent.note(&0, now, interval), expected, "{seconds}");
        }
    }

    #[test]
    fn entries_that_take_all_room_are_forgotten_after_a_minute() {
        for interval in [MINUTE, Duration::MAX] {
            let (recent, start) = (Recent::default(), Instant::now());
            let noted =
                (0..2 * RECENT_LIMIT).filter(|n| recent.note(n, start, interval) == Noted::Now);
            assert_eq!(noted.count(), RECENT_LIMIT);
            assert_eq!(recent.note(&usize::MAX, start, interval), Noted::NoRoom);
            assert_eq!(
                recent.note(&usize::MAX, start + MINUTE, interval),
                Noted::Now
            );
            assert_eq!(recent.entries().len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_is_looked_up_again_after_a_second_however_many_there_are() {
        let log = CallerLog::default();
        let key = |user_agent: String| RequestKey {
            dialect: "metadata",
            ip: None,
            user_agent,
        };
        assert!(log.needs_lookup(&key("job".into())));
        assert!(!log.needs_lookup(&key("job".into())));
        for number in 0..1000 {
            assert!(log.needs_lookup(&key(number.to_string())));
        }
        tokio::time::advance(LOOKUP_INTERVAL).await;
        assert!(log.needs_lookup(&key("job".into())));
    }
}
