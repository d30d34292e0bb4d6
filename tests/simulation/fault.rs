//! Faults of STS and of the network between it and the daemon.

use std::time::Duration;

use chrono::DateTime;
use ram_sidecar::failure::LocalCode;
use ram_sidecar::http::response::Response;

use crate::world::plain;

/// A fault of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It responds slowly, but within ten seconds.
    Slow,
    /// It never responds.
    Hangs,
    /// It performs the request, and its response is lost.
    Lost,
    /// Its quota is exhausted. The number of seconds is sent as `Retry-After`.
    Throttled(Option<u64>),
    /// It responds with an internal error.
    InternalError,
    /// A proxy in front of it cannot reach it.
    BadGateway,
    /// The response is not JSON.
    Garbage,
    /// The response is truncated JSON.
    Truncated,
    /// The response has status 200 and no body.
    Empty,
    /// A captive portal responds with a page and a wrong `Date`.
    PortalPage,
    /// A captive portal redirects the request.
    Redirected,
    /// The network requires a login.
    LoginRequired,
    /// The credentials have expired already.
    Expired,
    /// The credentials expire after this number of seconds.
    Short(u64),
    /// The credentials expire in years, according to the response.
    ClaimsYears,
    /// The credentials have an empty token.
    EmptyToken,
    /// The request is denied by a policy.
    Denied,
    /// Its host name cannot be resolved.
    Unresolved,
    /// No connection can be established.
    Unreachable,
}

/// How a request fails that does not reach STS.
pub(crate) struct TransportError {
    pub(crate) code: LocalCode,
    pub(crate) after: Duration,
}

impl Fault {
    pub(crate) const ALL: [Self; 24] = [
        Self::Slow,
        Self::Hangs,
        Self::Lost,
        Self::Throttled(None),
        Self::Throttled(Some(1)),
        Self::Throttled(Some(40)),
        Self::Throttled(Some(86_400)),
        Self::InternalError,
        Self::BadGateway,
        Self::Garbage,
        Self::Truncated,
        Self::Empty,
        Self::PortalPage,
        Self::Redirected,
        Self::LoginRequired,
        Self::Expired,
        Self::Short(2),
        Self::Short(300),
        Self::Short(800),
        Self::ClaimsYears,
        Self::EmptyToken,
        Self::Denied,
        Self::Unresolved,
        Self::Unreachable,
    ];

    pub(crate) fn transport_error(self) -> Option<TransportError> {
        let (code, after) = match self {
            Self::Hangs => (LocalCode::TimedOut, Duration::from_secs(10)),
            Self::Unresolved => (LocalCode::DnsFailed, Duration::from_millis(20)),
            Self::Unreachable => (LocalCode::ConnectFailed, Duration::from_secs(5)),
            _ => return None,
        };
        Some(TransportError { code, after })
    }

    /// Returns the response that replaces the one of STS.
    pub(crate) fn replacement(self) -> Option<Response> {
        let refusal = |code: &str| format!(r#"{{"Code":"{code}","Message":"simulated"}}"#);
        Some(match self {
            Self::Throttled(pause) => Response {
                retry_after: pause.map(Duration::from_secs),
                ..plain(400, refusal("Throttling.User"))
            },
            Self::InternalError => plain(500, refusal("InternalError")),
            Self::BadGateway => plain(502, "<html>Bad Gateway</html>"),
            Self::Garbage => plain(200, b"\xff\xfe\x00{}".as_slice()),
            Self::Empty => plain(200, ""),
            Self::PortalPage => Response {
                date: DateTime::from_timestamp(1_000_000_000, 0),
                ..plain(200, "<!DOCTYPE html><html>Please log in.</html>")
            },
            Self::Redirected => plain(302, ""),
            Self::LoginRequired => plain(511, "<html>Please log in.</html>"),
            Self::Denied => plain(403, refusal("NoPermission")),
            _ => return None,
        })
    }

    /// Returns the lifetime of credentials, and the lifetime according to the response.
    pub(crate) fn lifetimes(self, requested: Duration) -> (Duration, Duration) {
        let years = Duration::from_secs(10 * 365 * 86_400);
        match self {
            Self::Short(seconds) => {
                let short = Duration::from_secs(seconds).min(requested);
                (short, short)
            }
            Self::ClaimsYears => (requested, years),
            _ => (requested, requested),
        }
    }

    /// Whether the daemon does not receive the complete credentials.
    pub(crate) fn loses_credentials(self) -> bool {
        matches!(self, Self::Truncated | Self::EmptyToken | Self::Lost)
    }
}
