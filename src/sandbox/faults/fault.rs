//! Faults that replace or change the response to a call.

use std::time::Duration;

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};

use crate::sandbox::http::response::{ApiError, ApiResponse};

/// Something that goes wrong. The request that it applies to is not performed, unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// An error of STS. A status outside of 100 to 999 becomes 500.
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
    /// The role trusts nobody. The request is performed up to the check of the trust policy.
    Denied,
    /// A web page with HTTP 200, as from a captive portal.
    Html,
    /// The first half of the response. The request is performed.
    TruncatedJson,
    /// Nothing, with HTTP 200.
    EmptyBody,
    /// No response until the faults change; then the new ones apply to the request.
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

/// To how many calls a fault applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// To the next calls, this many.
    Next(usize),
    /// To every call, until [`clear_faults`](crate::sandbox::Sandbox::clear_faults).
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
        match self {
            Self::Refusal {
                status,
                code,
                message,
            } => {
                let status = StatusCode::from_u16(*status);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let error = ApiError::new(status, code.clone(), message);
                Some(error.into_response(request_id, host))
            }
            Self::Throttling {
                retry_after,
                acs_retry_after,
            } => {
                let message = "Request was denied due to user flow control.";
                let response = ApiError::bad_request("Throttling.User", message)
                    .into_response(request_id, host);
                Some(response.with_retry_hints(*retry_after, *acs_retry_after))
            }
            Self::InternalError => Some(ApiError::internal().into_response(request_id, host)),
            Self::Unavailable => Some(ApiError::unavailable().into_response(request_id, host)),
            Self::Html => Some(ApiResponse {
                status: StatusCode::OK,
                code: None,
                content_type: HeaderValue::from_static("text/html;charset=utf-8"),
                headers: Vec::new(),
                body: b"<!DOCTYPE html><html><body>Please log in.</body></html>".to_vec(),
            }),
            Self::EmptyBody => Some(empty(StatusCode::OK)),
            Self::Redirect { location } => {
                let mut response = empty(StatusCode::FOUND);
                let location = HeaderValue::try_from(location).ok();
                response
                    .headers
                    .extend(location.map(|location| (LOCATION, location)));
                Some(response)
            }
            Self::Denied
            | Self::TruncatedJson
            | Self::Hang
            | Self::Down
            | Self::ExpiredCredentials => None,
        }
    }
}

fn empty(status: StatusCode) -> ApiResponse {
    ApiResponse {
        status,
        code: None,
        content_type: HeaderValue::from_static("application/json;charset=utf-8"),
        headers: Vec::new(),
        body: Vec::new(),
    }
}
