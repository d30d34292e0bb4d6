//! Faults: what the sandbox answers instead of the truth.

use std::time::Duration;

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};

use crate::sandbox::http::response::{Answer, Refusal};
use crate::sandbox::issue::Lifetime;

/// Something that goes wrong. The request that meets it is not performed, unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// An error of STS. A status that HTTP does not know becomes 500.
    Refusal {
        /// The HTTP status.
        status: u16,
        /// The `Code`, for example `NoPermission`.
        code: String,
        /// The `Message`.
        message: String,
    },
    /// `Throttling.User` with HTTP 400.
    Throttling {
        /// Sent as `Retry-After`, in seconds rounded up.
        retry_after: Option<Duration>,
        /// Sent as `x-acs-retry-after`, in milliseconds.
        acs_retry_after: Option<Duration>,
    },
    /// `InternalError` with HTTP 500.
    InternalError,
    /// `ServiceUnavailable` with HTTP 503.
    Unavailable,
    /// The role trusts nobody. The request is performed up to there.
    Denied,
    /// A web page with HTTP 200, as from a captive portal.
    Html,
    /// The first half of the answer. The request is performed.
    TruncatedJson,
    /// Nothing, with HTTP 200.
    EmptyBody,
    /// No answer until the faults change; then the request meets what they are.
    Hang,
    /// The end of the connection, without an answer.
    Down,
    /// HTTP 302 without a body.
    Redirect {
        /// Sent as `Location`.
        location: String,
    },
    /// Credentials that have ended already. The request is performed.
    ExpiredCredentials,
}

/// How many answers a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So many.
    Next(usize),
    /// Every one, until [`heal`](crate::sandbox::Sandbox::heal).
    UntilHealed,
}

impl Fault {
    /// Returns its name in plans and in the record.
    pub(in crate::sandbox) fn name(&self) -> &'static str {
        match self {
            Self::Refusal { .. } => "refusal",
            Self::Throttling { .. } => "throttle",
            Self::InternalError => "error",
            Self::Unavailable => "unavailable",
            Self::Denied => "deny",
            Self::Html => "html",
            Self::TruncatedJson => "truncated",
            Self::EmptyBody => "empty",
            Self::Hang => "hang",
            Self::Down => "down",
            Self::Redirect { .. } => "redirect",
            Self::ExpiredCredentials => "expired",
        }
    }

    /// Returns the answer that stands in for the real one, if the request is not to be performed.
    pub(in crate::sandbox) fn instead(&self, request_id: &str, host: &str) -> Option<Answer> {
        match self {
            Self::Refusal {
                status,
                code,
                message,
            } => {
                let status = StatusCode::from_u16(*status);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let refusal = Refusal::new(status, code.clone(), message);
                Some(refusal.answer(request_id, host))
            }
            Self::Throttling {
                retry_after,
                acs_retry_after,
            } => {
                let message = "Request was denied due to user flow control.";
                let answer = Refusal::bad("Throttling.User", message).answer(request_id, host);
                Some(answer.hinting(*retry_after, *acs_retry_after))
            }
            Self::InternalError => Some(Refusal::internal().answer(request_id, host)),
            Self::Unavailable => Some(Refusal::unavailable().answer(request_id, host)),
            Self::Html => Some(Answer {
                status: StatusCode::OK,
                code: None,
                content_type: HeaderValue::from_static("text/html;charset=utf-8"),
                headers: Vec::new(),
                body: b"<!DOCTYPE html><html><body>Please log in.</body></html>".to_vec(),
            }),
            Self::EmptyBody => Some(bare(StatusCode::OK)),
            Self::Redirect { location } => {
                let mut answer = bare(StatusCode::FOUND);
                let location = HeaderValue::try_from(location).ok();
                answer
                    .headers
                    .extend(location.map(|location| (LOCATION, location)));
                Some(answer)
            }
            Self::Denied
            | Self::TruncatedJson
            | Self::Hang
            | Self::Down
            | Self::ExpiredCredentials => None,
        }
    }

    /// Returns the lifetime that it imposes.
    pub(in crate::sandbox) fn lifetime(&self) -> Option<Lifetime> {
        match self {
            Self::ExpiredCredentials => Some(Lifetime::Over),
            _ => None,
        }
    }
}

fn bare(status: StatusCode) -> Answer {
    Answer {
        status,
        code: None,
        content_type: HeaderValue::from_static("application/json;charset=utf-8"),
        headers: Vec::new(),
        body: Vec::new(),
    }
}
