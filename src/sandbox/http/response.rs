//! Responses of STS: the fields of a result, or an error in the documented form.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// An error that STS responds with.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The `Code`, for example `SignatureDoesNotMatch`.
    pub code: Cow<'static, str>,
    /// The `Message`.
    pub message: String,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
        }
    }

    /// HTTP 400, the status of most errors.
    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// HTTP 401, the status of all errors of OIDC tokens; `reason` completes the code.
    pub(crate) fn oidc_token(reason: &str, message: impl Into<String>) -> Self {
        let code = format!("AuthenticationFail.OIDCToken.{reason}");
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("Missing{parameter}"),
            format!("{parameter} is mandatory for this action."),
        )
    }

    pub(crate) fn malformed(parameter: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("InvalidParameter.{parameter}"),
            format!("The parameter {parameter} is wrongly formed."),
        )
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "STS Server Internal Error happened, please send the RequestId to us.",
        )
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The request has failed due to a temporary failure of the server.",
        )
    }

    /// Renders the documented error object.
    pub(crate) fn into_response(self, request_id: &str, host: &str) -> ApiResponse {
        let body = json!({
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
            "Recommend": format!(
                "https://api.aliyun.com/troubleshoot?q={}&product=Sts&requestId={request_id}",
                self.code
            ),
        });
        ApiResponse {
            code: Some(self.code),
            ..ApiResponse::json(self.status, &body)
        }
    }
}

/// A response without the headers that all responses have.
pub(crate) struct ApiResponse {
    pub(crate) status: StatusCode,
    /// The `Code` of an error; `None` for a success.
    pub(crate) code: Option<Cow<'static, str>>,
    pub(crate) content_type: HeaderValue,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Vec<u8>,
}

impl ApiResponse {
    /// A success: the fields that an action returned, and the request id.
    pub(crate) fn success(mut fields: Map<String, Value>, request_id: &str) -> Self {
        fields.insert("RequestId".to_owned(), request_id.into());
        Self::json(StatusCode::OK, &Value::Object(fields))
    }

    fn json(status: StatusCode, body: &Value) -> Self {
        Self {
            status,
            code: None,
            content_type: HeaderValue::from_static("application/json;charset=utf-8"),
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        }
    }

    /// Adds the headers of a throttled response: `Retry-After` in whole seconds, rounded up, the other in milliseconds.
    pub(crate) fn with_retry_hints(
        mut self,
        retry_after: Option<Duration>,
        acs_retry_after: Option<Duration>,
    ) -> Self {
        if let Some(wait) = retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            self.headers.push((RETRY_AFTER, seconds.into()));
        }
        if let Some(wait) = acs_retry_after {
            let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let name = HeaderName::from_static("x-acs-retry-after");
            self.headers.push((name, milliseconds.into()));
        }
        self
    }

    /// Returns the HTTP response, dated by the sandbox's clock: hyper would take the machine's.
    pub(crate) fn into_http(self, request_id: &str, now: DateTime<Utc>) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type);
        let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::try_from(date) {
            headers.insert(DATE, date);
        }
        if let Ok(id) = HeaderValue::try_from(request_id) {
            headers.insert(HeaderName::from_static("x-acs-request-id"), id);
        }
        headers.extend(self.headers);
        response
    }
}
