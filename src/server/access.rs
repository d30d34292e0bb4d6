//! The door of a listener that gives credentials: who may come in, and a line in the log about each who came.

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

/// Whom a listener admits.
#[derive(Debug)]
pub struct Access {
    /// What a request must be like.
    pub rules: Rules,
    /// Whether other machines may ask.
    pub allow_remote: bool,
    /// The only users who may ask, if they are restricted.
    pub allow_uids: Option<Vec<u32>>,
    /// Names the dialect of a path.
    pub dialect: fn(&str) -> &'static str,
    /// Who has come so far; one for all doors of a process.
    pub caller_log: Arc<CallerLog>,
}

/// Who has come so far, and was told of.
#[derive(Debug, Default)]
pub struct CallerLog {
    admitted: Seen<CallerKey>,
    users: Seen<Option<u32>>,
    refused: Seen<(&'static str, Option<u32>)>,
    is_proxy_known: AtomicBool,
    /// One look for a process at a time.
    looking: tokio::sync::Mutex<()>,
}

/// What tells one from the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CallerKey {
    dialect: &'static str,
    uid: Option<u32>,
    /// The address, if it is not of this machine.
    ip: Option<IpAddr>,
    user_agent: String,
}

/// Remembers what was told, up to [`SEEN_LIMIT`] of it.
#[derive(Debug)]
struct Seen<T>(Mutex<HashSet<T>>);

impl Access {
    /// Lets a request in, or refuses it.
    pub async fn pass(self: Arc<Self>, request: Request, next: Next) -> Response {
        let addresses = request.extensions().get::<Addresses>().copied();
        let owner = match addresses.as_ref().map(Addresses::owner).transpose() {
            Ok(owner) => owner.flatten(),
            // Nobody is refused because this process is in need.
            Err(error) if self.allow_uids.is_some() => return self.caller_log.unknown(&error),
            Err(_) => None,
        };
        let uid = owner.map(|owner| owner.uid);
        let is_local = addresses.is_some_and(|addresses| addresses.is_local());
        let admitted =
            request_check::admit(is_local, uid, self.allow_remote, self.allow_uids.as_deref())
                .and_then(|()| self.judge(&request));
        if let Err(refusal) = admitted {
            return self.refuse(&refusal, uid);
        }
        let is_proxied = request.uri().authority().is_some();
        let visitor = CallerKey {
            dialect: (self.dialect)(request.uri().path()),
            uid,
            ip: addresses
                .filter(|_| !is_local)
                .map(|addresses| addresses.peer.ip()),
            user_agent: user_agent(&request),
        };
        let response = next.run(request).await;
        // Whoever does not know the key has not come for credentials.
        let has_come =
            response.status().is_success() || response.status() == StatusCode::SERVICE_UNAVAILABLE;
        if has_come {
            if is_proxied {
                self.caller_log.proxied();
            }
            self.caller_log.came(visitor, owner).await;
        }
        response
    }

    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        request_check::check(
            request.method(),
            request.uri(),
            request.version(),
            request.headers(),
            self.rules,
        )
    }

    fn refuse(&self, refusal: &Refusal, uid: Option<u32>) -> Response {
        let Refusal {
            status,
            code,
            message,
        } = *refusal;
        self.caller_log.refused(code, message, uid);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allow = if self.rules.methods.contains(&Method::PUT) {
                "GET, HEAD, PUT"
            } else {
                "GET, HEAD"
            };
            return respond::method_not_allowed(allow, code, message);
        }
        respond::error(status, code, message)
    }
}

impl CallerLog {
    /// Tells of a caller, the first time. The answer waits for that, but not for long: until it is there, the caller is
    /// there to be looked at.
    async fn came(self: &Arc<Self>, visitor: CallerKey, owner: Option<Owner>) {
        // Each user is told of, however many programs another one invents.
        if self.admitted.is_new(&visitor) | self.users.is_new(&visitor.uid) {
            let telling = Arc::clone(self).tell(visitor, owner);
            // On its own: a caller that goes away is told of all the same.
            let telling = tokio::spawn(telling.in_current_span());
            let _ = tokio::time::timeout(LOOKUP_TIMEOUT, telling).await;
        }
    }

    async fn tell(self: Arc<Self>, visitor: CallerKey, owner: Option<Owner>) {
        let program = match owner {
            Some(owner) => {
                let _turn = self.looking.lock().await;
                let looking = tokio::task::spawn_blocking(move || owner.program());
                looking.await.ok().flatten()
            }
            None => None,
        };
        let CallerKey {
            dialect,
            uid,
            ip,
            user_agent,
        } = visitor;
        let pid = program.as_ref().map(|program| program.pid);
        // As a text, which is escaped: whoever started the program chose its name.
        let executable = program.map(|program| program.executable.to_string_lossy().into_owned());
        let from = ip.map(display);
        info!(
            dialect,
            uid, pid, executable, from, user_agent, "A new caller asks for credentials"
        );
    }

    /// Answers where it cannot be found out who asks.
    pub(super) fn unknown(&self, error: &io::Error) -> Response {
        let (code, message) = (
            "CallerUnknown",
            "serve.allow_uids is set, and whose connection this is cannot be found out now; try again, and look into the log of ram-sidecar",
        );
        self.refused(
            code,
            &format!("cannot ask the kernel who asks: {error}"),
            None,
        );
        respond::error(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// Warns of a client that asks as if through a proxy, the first time.
    fn proxied(&self) {
        if !self.is_proxy_known.swap(true, Ordering::Relaxed) {
            warn!(
                "A client sends its requests for credentials as if to a proxy (HTTP_PROXY is set in the job): the proxy would see the credentials; unset HTTP_PROXY and http_proxy for it, because Python's SDK ignores NO_PROXY"
            );
        }
    }

    /// Warns of a refusal, the first time that this user meets it.
    pub(super) fn refused(&self, code: &'static str, message: &str, uid: Option<u32>) {
        if self.refused.is_new(&(code, uid)) {
            warn!(code, uid, "A request was refused: {message}");
        } else {
            debug!(code, uid, "A request was refused");
        }
    }
}

impl<T: Clone + Eq + Hash> Seen<T> {
    /// Whether this has not been seen before, and can be remembered.
    fn is_new(&self, thing: &T) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(thing) || known.len() == SEEN_LIMIT {
            return false;
        }
        known.insert(thing.clone());
        if known.len() == SEEN_LIMIT {
            warn!("Too many different callers have come; no others are told of");
        }
        true
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Who it says it is; nothing but text.
fn user_agent(request: &Request) -> String {
    let value = request.headers().get(header::USER_AGENT);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.chars().take(USER_AGENT_LIMIT).collect()
}

/// Far more than the programs of a job.
const SEEN_LIMIT: usize = 256;

/// How much of a `User-Agent` is told.
const USER_AGENT_LIMIT: usize = 128;

/// How long a new caller may be looked for; its answer, which may have to be there within a second, waits for it.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once_and_not_all_are_remembered() {
        let memory = Seen::default();
        assert!(memory.is_new(&0));
        assert!(!memory.is_new(&0));
        let told = (1..2 * SEEN_LIMIT).filter(|number| memory.is_new(number));
        assert_eq!(told.count(), SEEN_LIMIT - 1);
        assert_eq!(memory.0.lock().unwrap().len(), SEEN_LIMIT);
    }
}
