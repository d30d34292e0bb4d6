//! The door of a listener that gives credentials: who may come in, and a line in the log about each who came.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::display;
use tracing::{debug, info, warn};

use super::answer;
use super::caller::{Ends, Owner, Program};
use super::guard::{self, Refusal, Rules};

/// Whom a listener admits.
#[derive(Debug)]
pub struct Door {
    /// What a request must be like.
    pub rules: Rules,
    /// Whether other machines may ask.
    pub allow_remote: bool,
    /// The only users who may ask, if they are restricted.
    pub allow_uids: Option<Vec<u32>>,
    /// Names the dialect of a path.
    pub dialect: fn(&str) -> &'static str,
    /// Who has come so far; one for all doors of a process.
    pub visitors: Arc<Visitors>,
}

/// Who has come so far.
#[derive(Debug, Default)]
pub struct Visitors {
    known: Mutex<HashSet<Visitor>>,
    is_looking: AtomicBool,
}

/// What tells one from the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Visitor {
    Admitted {
        dialect: &'static str,
        uid: Option<u32>,
        /// The address, if it is not of this machine.
        ip: Option<IpAddr>,
        user_agent: String,
    },
    Refused {
        code: &'static str,
        uid: Option<u32>,
    },
    /// Somebody who uses a proxy.
    Proxied,
    /// One more than are remembered.
    TooMany,
}

impl Door {
    /// Lets a request in, or refuses it.
    pub async fn pass(self: Arc<Self>, request: Request, next: Next) -> Response {
        let ends = request.extensions().get::<Ends>().copied();
        let owner = ends.as_ref().and_then(Ends::owner);
        let uid = owner.map(|owner| owner.uid);
        let is_local = ends.is_some_and(|ends| ends.is_local());
        let admitted = guard::admit(is_local, uid, self.allow_remote, self.allow_uids.as_deref())
            .and_then(|()| self.judge(&request));
        if let Err(refusal) = admitted {
            return self.refuse(&refusal, uid);
        }
        // A target with an authority is meant for a proxy.
        if request.uri().authority().is_some() && self.visitors.is_first(Visitor::Proxied) {
            warn!(
                "A client sends its requests for credentials as if to a proxy (HTTP_PROXY is set in the job): the proxy would see the credentials; unset HTTP_PROXY and http_proxy for it, because Python's SDK ignores NO_PROXY"
            );
        }
        let ip = ends.filter(|_| !is_local).map(|ends| ends.peer.ip());
        let visitor = Visitor::Admitted {
            dialect: (self.dialect)(request.uri().path()),
            uid,
            ip,
            user_agent: user_agent(&request),
        };
        if self.visitors.is_first(visitor.clone()) {
            let program = self.visitors.program(owner).await;
            tell(&visitor, program.as_ref());
        }
        next.run(request).await
    }

    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        guard::check(
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
        if self.visitors.is_first(Visitor::Refused { code, uid }) {
            warn!(code, uid, "A request was refused: {message}");
        } else {
            debug!(code, uid, "A request was refused");
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allow = if self.rules.methods.contains(&Method::PUT) {
                "GET, HEAD, PUT"
            } else {
                "GET, HEAD"
            };
            return answer::method_not_allowed(allow, code, message);
        }
        answer::error(status, code, message)
    }
}

impl Visitors {
    /// Whether this one has not come before. The memory is bounded; whoever finds it full is not told of.
    fn is_first(&self, visitor: Visitor) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MEMORY {
            return known.insert(visitor);
        }
        if !known.contains(&visitor) && known.insert(Visitor::TooMany) {
            warn!("Too many different callers have come; no others are told of");
        }
        false
    }

    /// Looks for the process of a caller, one at a time and not for long: it waits for its answer.
    async fn program(&self, owner: Option<Owner>) -> Option<Program> {
        let owner = owner?;
        if self.is_looking.swap(true, Ordering::Relaxed) {
            return None;
        }
        let looking = tokio::task::spawn_blocking(move || owner.program());
        let found = tokio::time::timeout(LOOK, looking).await;
        self.is_looking.store(false, Ordering::Relaxed);
        found.ok()?.ok()?
    }
}

/// Who it says it is; nothing but text.
fn user_agent(request: &Request) -> String {
    let value = request.headers().get(header::USER_AGENT);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.chars().take(USER_AGENT).collect()
}

fn tell(visitor: &Visitor, program: Option<&Program>) {
    let Visitor::Admitted {
        dialect,
        uid,
        ip,
        user_agent,
    } = visitor
    else {
        return;
    };
    let pid = program.map(|program| program.pid);
    let executable = program.map(|program| display(program.executable.display()));
    let from = ip.as_ref().map(display);
    info!(
        dialect,
        uid, pid, executable, from, user_agent, "A new caller asks for credentials"
    );
}

/// Far more than the programs of a job.
const MEMORY: usize = 256;

/// How much of a `User-Agent` is told.
const USER_AGENT: usize = 128;

/// How long a new caller may be looked for; its answer, which may have to be there within a second, waits for it.
const LOOK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(uid: u32) -> Visitor {
        Visitor::Admitted {
            dialect: "metadata",
            uid: Some(uid),
            ip: None,
            user_agent: "curl".to_owned(),
        }
    }

    #[test]
    fn each_visitor_is_new_once_and_not_all_are_remembered() {
        let visitors = Visitors::default();
        assert!(visitors.is_first(visitor(0)));
        assert!(!visitors.is_first(visitor(0)));
        let many = u32::try_from(MEMORY).unwrap() * 2;
        let told = (1..many).filter(|uid| visitors.is_first(visitor(*uid)));
        assert_eq!(told.count(), MEMORY - 1);
        assert_eq!(visitors.known.lock().unwrap().len(), MEMORY + 1);
    }
}
