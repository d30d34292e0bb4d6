//! What can be wrong with STS and with the way there.

use std::time::Duration;

use chrono::DateTime;
use ram_sidecar::failure::OwnCode;
use ram_sidecar::http::response::Answer;

use crate::world::plain;

/// Something wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It answers within ten seconds, but hardly.
    Slow,
    /// It never answers.
    Hangs,
    /// It does what it was asked, and the answer is lost.
    Lost,
    /// It is over its quota, and may say for how long.
    Throttled(Option<u64>),
    /// An error of its own.
    InternalError,
    /// A proxy before it is in trouble.
    BadGateway,
    /// Anything but JSON.
    Garbage,
    /// JSON, cut off somewhere.
    Truncated,
    /// Nothing, with a status of success.
    Empty,
    /// A captive portal's page, from a machine with a wrong clock.
    Page,
    /// A captive portal's redirection.
    Redirected,
    /// A network that wants a login.
    Login,
    /// Credentials that have ended already.
    Expired,
    /// Credentials that live for so many seconds only.
    Short(u64),
    /// Credentials that claim to live for years.
    Future,
    /// Credentials without a token.
    Hollow,
    /// A policy that has been changed.
    Denied,
    /// No address is found for its name.
    Nameless,
    /// Nothing listens, or the network is gone.
    Unreachable,
}

/// A call that does not get there.
pub(crate) struct Unreached {
    pub(crate) code: OwnCode,
    pub(crate) after: Duration,
}

impl Trouble {
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
        Self::Page,
        Self::Redirected,
        Self::Login,
        Self::Expired,
        Self::Short(2),
        Self::Short(300),
        Self::Short(800),
        Self::Future,
        Self::Hollow,
        Self::Denied,
        Self::Nameless,
        Self::Unreachable,
    ];

    pub(crate) fn unreached(self) -> Option<Unreached> {
        let (code, after) = match self {
            Self::Hangs => (OwnCode::TimedOut, Duration::from_secs(10)),
            Self::Nameless => (OwnCode::DnsFailed, Duration::from_millis(20)),
            Self::Unreachable => (OwnCode::ConnectFailed, Duration::from_secs(5)),
            _ => return None,
        };
        Some(Unreached { code, after })
    }

    /// Returns the answer that comes in place of what was asked for.
    pub(crate) fn instead(self) -> Option<Answer> {
        let refusal = |code: &str| format!(r#"{{"Code":"{code}","Message":"simulated"}}"#);
        Some(match self {
            Self::Throttled(pause) => Answer {
                retry_after: pause.map(Duration::from_secs),
                ..plain(400, refusal("Throttling.User"))
            },
            Self::InternalError => plain(500, refusal("InternalError")),
            Self::BadGateway => plain(502, "<html>Bad Gateway</html>"),
            Self::Garbage => plain(200, b"\xff\xfe\x00{}".as_slice()),
            Self::Empty => plain(200, ""),
            Self::Page => Answer {
                date: DateTime::from_timestamp(1_000_000_000, 0),
                ..plain(200, "<!DOCTYPE html><html>Please log in.</html>")
            },
            Self::Redirected => plain(302, ""),
            Self::Login => plain(511, "<html>Please log in.</html>"),
            Self::Denied => plain(403, refusal("NoPermission")),
            _ => return None,
        })
    }

    /// Returns how long credentials live, and how long STS says that they do.
    pub(crate) fn lives(self, asked_for: Duration) -> (Duration, Duration) {
        let years = Duration::from_secs(10 * 365 * 86_400);
        match self {
            Self::Short(seconds) => {
                let short = Duration::from_secs(seconds).min(asked_for);
                (short, short)
            }
            Self::Future => (asked_for, years),
            _ => (asked_for, asked_for),
        }
    }

    /// Whether credentials do not arrive whole.
    pub(crate) fn is_torn(self) -> bool {
        matches!(self, Self::Truncated | Self::Hollow | Self::Lost)
    }
}
