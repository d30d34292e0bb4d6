//! Decides which callers a listener of credentials serves.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::caller::Addresses;
use super::caller_log::{CallerLog, RequestKey, owner};
use super::request_check::{self, Head, Headers, Refusal, Rules};
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

/// Marks the response to a request with a wrong key; has the variable with the right address.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrongKey(pub(super) &'static str);

impl Access {
    /// Serves a request with `next`, or refuses it.
    pub async fn check(self: Arc<Self>, request: Request, next: Next) -> Response {
        let addresses = request.extensions().get::<Addresses>().copied();
        // Otherwise only what is logged depends on it, and a lack of file descriptors is not a reason to refuse.
        let restricted = match self.allow_uids {
            Some(_) => match owner(addresses).await {
                Ok(owner) => owner,
                Err(error) => return self.caller_log.refuse_unknown(&error),
            },
            None => None,
        };
        let uid = restricted.map(|owner| owner.uid);
        let is_local = addresses.is_some_and(|addresses| addresses.is_local());
        if let Err(refusal) = self.admit(&Head::of(&request), is_local, uid) {
            self.caller_log
                .log_refusal(&refusal, restricted, addresses)
                .await;
            return self.refuse(&refusal);
        }
        let is_proxied = request.uri().authority().is_some();
        let ip = addresses.map(|addresses| addresses.peer.ip());
        let ip = ip.filter(|_| !is_local);
        let key = self.key(request.uri().path(), ip, request.headers());
        let response = next.run(request).await;
        if let Some(WrongKey(variable)) = response.extensions().get() {
            self.caller_log
                .log_wrong_key(variable, &key, addresses)
                .await;
        }
        // A caller with a wrong path or key is not logged.
        let is_admitted =
            response.status().is_success() || response.status() == StatusCode::SERVICE_UNAVAILABLE;
        if is_admitted {
            if is_proxied {
                self.caller_log.log_proxied();
            }
            if restricted.is_some() {
                self.caller_log.log_admitted(key, restricted).await;
            } else if self.caller_log.needs_lookup(&key) {
                self.caller_log.look_up(key, addresses).await;
            }
        }
        response
    }

    /// Whether [`Self::check`] would serve a request with nothing to look up and nothing to log.
    pub(super) fn is_known<H: Headers + ?Sized>(
        &self,
        head: &Head<'_, H>,
        path: &str,
        addresses: &Addresses,
    ) -> bool {
        let is_local = addresses.peer.ip().is_loopback();
        self.allow_uids.is_none()
            && is_local
            && self.admit(head, is_local, None).is_ok()
            && self
                .caller_log
                .is_looked_up(&self.key(path, None, head.headers))
    }

    fn admit<H: Headers + ?Sized>(
        &self,
        head: &Head<'_, H>,
        is_local: bool,
        uid: Option<u32>,
    ) -> Result<(), Refusal> {
        request_check::admit(is_local, uid, self.allow_remote, self.allow_uids.as_deref())?;
        request_check::check(head, self.rules)
    }

    fn key<H: Headers + ?Sized>(&self, path: &str, ip: Option<IpAddr>, headers: &H) -> RequestKey {
        RequestKey {
            dialect: (self.dialect)(path),
            ip,
            user_agent: user_agent(headers),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        let Refusal {
            status,
            code,
            message,
        } = *refusal;
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

/// Returns the beginning of the `User-Agent`, if it is text.
fn user_agent<H: Headers + ?Sized>(headers: &H) -> String {
    let value = headers.named("user-agent").next();
    let text = value.map(request_check::text).unwrap_or_default();
    text.get(..USER_AGENT_LIMIT).unwrap_or(text).to_owned()
}

/// How many characters of a `User-Agent` are logged.
const USER_AGENT_LIMIT: usize = 128;
