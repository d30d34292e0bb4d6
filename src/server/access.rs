//! Decides which callers a listener of credentials serves, and logs each new caller and each kind of refusal once.

use std::collections::HashSet;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::display;
use tracing::{Instrument as _, debug, info, warn};

use super::caller::{Addresses, Owner};
use super::request_check::{self, Refusal, Rules};
use super::respond;

/// The access rules of a listener.
#[derive(Debug)]
pub struct Access {
    /// The rules for a request itself.
    pub rules: Rules,
    /// Whether other machines are served.
    pub allow_remote: bool,
    /// The only users who are served, if they are restricted.
    pub allow_uids: Option<Vec<u32>>,
    /// Returns the name of the protocol that a path belongs to.
    pub dialect: fn(&str) -> &'static str,
    /// The callers so far, shared by all listeners of the process.
    pub caller_log: Arc<CallerLog>,
}

/// Logs each caller, and each kind of refusal of a user, once.
#[derive(Debug, Default)]
pub struct CallerLog {
    admitted: Seen<CallerKey>,
    users: Seen<Option<u32>>,
    refused: Seen<(&'static str, Option<u32>)>,
    is_proxy_known: AtomicBool,
    /// Limits the searches for a process to one at a time.
    lookup: tokio::sync::Mutex<()>,
}

/// What distinguishes one caller from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct CallerKey {
    dialect: &'static str,
    uid: Option<u32>,
    /// The address, if it is not one of this machine.
    ip: Option<IpAddr>,
    user_agent: String,
}

/// Remembers what has been logged: at most [`SEEN_LIMIT`] entries.
#[derive(Debug, Default)]
struct Seen<T>(Mutex<HashSet<T>>);

impl Access {
    /// Serves a request with `next`, or refuses it.
    pub async fn check(self: Arc<Self>, request: Request, next: Next) -> Response {
        let addresses = request.extensions().get::<Addresses>().copied();
        let owner = match addresses.as_ref().map(Addresses::owner).transpose() {
            Ok(owner) => owner.flatten(),
            // Unless users are restricted, a lack of file descriptors is not a reason to refuse.
            Err(error) if self.allow_uids.is_some() => {
                return self.caller_log.refuse_unknown(&error);
            }
            Err(_) => None,
        };
        let uid = owner.map(|owner| owner.uid);
        let is_local = addresses.is_some_and(|addresses| addresses.is_local());
        let admitted =
            request_check::admit(is_local, uid, self.allow_remote, self.allow_uids.as_deref())
                .and_then(|()| request_check::check(&request, self.rules));
        if let Err(refusal) = admitted {
            return self.refuse(&refusal, uid);
        }
        let is_proxied = request.uri().authority().is_some();
        let caller = CallerKey {
            dialect: (self.dialect)(request.uri().path()),
            uid,
            ip: addresses
                .filter(|_| !is_local)
                .map(|addresses| addresses.peer.ip()),
            user_agent: user_agent(&request),
        };
        let response = next.run(request).await;
        // A caller with a wrong path or key is not logged.
        let is_admitted =
            response.status().is_success() || response.status() == StatusCode::SERVICE_UNAVAILABLE;
        if is_admitted {
            if is_proxied {
                self.caller_log.log_proxied();
            }
            self.caller_log.log_admitted(caller, owner).await;
        }
        response
    }

    fn refuse(&self, refusal: &Refusal, uid: Option<u32>) -> Response {
        let Refusal {
            status,
            code,
            message,
        } = *refusal;
        self.caller_log.log_refused(code, message, uid);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allow = if self.rules.methods.contains(&Method::PUT) {
                "GET, HEAD, PUT"
            } else {
                "GET, HEAD"
            };
            return respond::method_not_allowed(allow, message);
        }
        respond::error(status, code, message)
    }
}

impl CallerLog {
    /// Logs a caller, the first time. The response waits briefly for the log entry: until the response is sent, the calling
    /// process still exists and can be looked up.
    async fn log_admitted(self: &Arc<Self>, caller: CallerKey, owner: Option<Owner>) {
        // Each user is logged, even if another one has used up the limit with many programs.
        if self.admitted.is_new(&caller) | self.users.is_new(&caller.uid) {
            let logging = Arc::clone(self).log_new(caller, owner);
            // In a separate task, which is not cancelled when the caller disconnects.
            let logging = tokio::spawn(logging.in_current_span());
            let _ = tokio::time::timeout(LOOKUP_TIMEOUT, logging).await;
        }
    }

    async fn log_new(self: Arc<Self>, caller: CallerKey, owner: Option<Owner>) {
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
        let from = caller.ip.map(display);
        info!(
            dialect = caller.dialect,
            uid = caller.uid,
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

    /// Warns of a client that sends its requests as if to a proxy, once.
    fn log_proxied(&self) {
        if !self.is_proxy_known.swap(true, Ordering::Relaxed) {
            warn!(
                "A client sends its requests for credentials as if to a proxy (HTTP_PROXY is set in the job): the proxy would see the credentials; unset HTTP_PROXY and http_proxy for it, because Python's SDK ignores NO_PROXY"
            );
        }
    }

    /// Logs a refusal: as a warning the first time for this user, then at the level `debug`.
    pub(super) fn log_refused(&self, code: &'static str, message: &str, uid: Option<u32>) {
        if self.refused.is_new(&(code, uid)) {
            warn!(code, uid, "A request was refused: {message}");
        } else {
            debug!(code, uid, "A request was refused");
        }
    }
}

impl<T: Clone + Eq + Hash> Seen<T> {
    /// Remembers an entry, and returns whether it is new. At the limit, no entry is new.
    fn is_new(&self, entry: &T) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(entry) || known.len() == SEEN_LIMIT {
            return false;
        }
        known.insert(entry.clone());
        if known.len() == SEEN_LIMIT {
            warn!("Too many different callers; no more are logged");
        }
        true
    }
}

/// Returns the beginning of the `User-Agent`, if it is text.
fn user_agent(request: &Request) -> String {
    let value = request.headers().get(header::USER_AGENT);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.chars().take(USER_AGENT_LIMIT).collect()
}

/// Far more than the number of programs of a job.
const SEEN_LIMIT: usize = 256;

/// How many characters of a `User-Agent` are logged.
const USER_AGENT_LIMIT: usize = 128;

/// How long the response to a new caller waits for the search for its process; some clients give up after a second.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_new_once_and_the_number_of_entries_is_limited() {
        let seen = Seen::default();
        assert!(seen.is_new(&0));
        assert!(!seen.is_new(&0));
        let new = (1..2 * SEEN_LIMIT).filter(|number| seen.is_new(number));
        assert_eq!(new.count(), SEEN_LIMIT - 1);
        assert_eq!(seen.0.lock().unwrap().len(), SEEN_LIMIT);
    }
}
