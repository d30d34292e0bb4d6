//! Faults that replace or change the response to a call.

use std::time::Duration;

use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};

use crate::sandbox::http::response::{ApiError, ApiResponse, JSON};

/// A simulated failure. A request that it applies to is not performed, except where documented.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// An error of STS. A status outside the range 100 to 999 becomes 500.
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
    /// The role trusts no caller. The request is performed up to the check of the trust policy.
    Denied,
    /// A web page with HTTP 200, as from a captive portal.
    Html,
    /// The first half of the response. The request is performed.
    TruncatedJson,
    /// HTTP 200 with an empty body.
    EmptyBody,
    /// No response until the faults change; the new ones then apply to the request.
    Hang,
    /// The connection is closed without a response.
    Down,
    /// HTTP 302 without a body.
    Redirect {
        /// Sent as `Location`.
        location: String,
    },
    /// Credentials that have expired already. The request is performed.
    ExpiredCredentials,
}

/// The number of calls that a fault applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The given number of next calls.
    Next(usize),
    /// Every call until [`clear_faults`](crate::sandbox::Sandbox::clear_faults).
    UntilCleared,
}

impl Fault {
    /// Returns the name in plans and in the record.
    pub(crate) fn name(&self) -> &'static str {
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

    /// Returns the response that replaces the real one, unless the request is to be performed.
    pub(crate) fn response(&self, request_id: &str, host: &str) -> Option<ApiResponse> {
        let refuse = |status, code: &str, message: &str| {
            let error = ApiError::new(status, code.to_owned(), message);
            error.into_response(request_id, host)
        };
        Some(match self {
            Self::Refusal {
                status,
                code,
                message,
            } => {
                let status = StatusCode::from_u16(*status);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                refuse(status, code, message)
            }
            Self::Throttling {
                retry_after,
                acs_retry_after,
            } => {
                let message = "Request was denied due to user flow control.";
                let mut response = refuse(StatusCode::BAD_REQUEST, "Throttling.User", message);
                if let Some(wait) = retry_after {
                    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                    response.headers.insert(RETRY_AFTER, seconds.into());
                }
                if let Some(wait) = acs_retry_after {
                    let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                    let name = HeaderName::from_static("x-acs-retry-after");
                    response.headers.insert(name, milliseconds.into());
                }
                response
            }
            Self::InternalError => refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "STS Server Internal Error happened, please send the RequestId to us.",
            ),
            Self::Unavailable => refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The request has failed due to a temporary failure of the server.",
            ),
            Self::Html => {
                let body = b"<!DOCTYPE html><html><body>Please log in.</body></html>";
                ApiResponse::new(StatusCode::OK, "text/html;charset=utf-8", body.to_vec())
            }
            Self::EmptyBody => ApiResponse::new(StatusCode::OK, JSON, Vec::new()),
            Self::Redirect { location } => {
                let mut response = ApiResponse::new(StatusCode::FOUND, JSON, Vec::new());
                let location = HeaderValue::try_from(location).ok();
                let location = location.map(|location| (LOCATION, location));
                response.headers.extend(location);
                response
            }
            Self::Denied
            | Self::TruncatedJson
            | Self::Hang
            | Self::Down
            | Self::ExpiredCredentials => return None,
        })
    }
}
