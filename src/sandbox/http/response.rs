//! What the sandbox says: a JSON object, or a refusal in the documented form.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// A refusal: HTTP status, `Code` and `Message`.
#[derive(Debug, PartialEq)]
pub(in crate::sandbox) struct Refusal {
    pub(in crate::sandbox) status: StatusCode,
    pub(in crate::sandbox) code: Cow<'static, str>,
    pub(in crate::sandbox) message: String,
}

impl Refusal {
    pub(in crate::sandbox) fn new(
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

    /// HTTP 400, which most refusals are.
    pub(in crate::sandbox) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// HTTP 401, which every refusal of an OIDC token is; `reason` completes the code.
    pub(in crate::sandbox) fn token(reason: &str, message: impl Into<String>) -> Self {
        let code = format!("AuthenticationFail.OIDCToken.{reason}");
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    pub(in crate::sandbox) fn missing(parameter: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("Missing{parameter}"),
            format!("{parameter} is mandatory for this action."),
        )
    }

    pub(in crate::sandbox) fn wrongly_formed(parameter: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("InvalidParameter.{parameter}"),
            format!("The parameter {parameter} is wrongly formed."),
        )
    }

    pub(in crate::sandbox) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "STS Server Internal Error happened, please send the RequestId to us.",
        )
    }

    pub(in crate::sandbox) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The request has failed due to a temporary failure of the server.",
        )
    }

    /// Renders the documented error object.
    pub(in crate::sandbox) fn answer(self, request_id: &str, host: &str) -> Answer {
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
        Answer {
            code: Some(self.code),
            ..Answer::json(self.status, &body)
        }
    }
}

/// A whole answer, before the headers that all of them carry.
pub(in crate::sandbox) struct Answer {
    pub(in crate::sandbox) status: StatusCode,
    /// The `Code` of a refusal; `None` for a success.
    pub(in crate::sandbox) code: Option<Cow<'static, str>>,
    pub(in crate::sandbox) content_type: HeaderValue,
    pub(in crate::sandbox) headers: Vec<(HeaderName, HeaderValue)>,
    pub(in crate::sandbox) body: Vec<u8>,
}

impl Answer {
    /// Adds the request id to what an action returned.
    pub(in crate::sandbox) fn success(mut fields: Map<String, Value>, request_id: &str) -> Self {
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

    /// Adds the hints of a throttled answer: whole seconds, rounded up, and milliseconds.
    pub(in crate::sandbox) fn hinting(
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

    /// Renders the HTTP answer, dated by the clock of the sandbox: hyper would take the machine's.
    pub(in crate::sandbox) fn response(
        self,
        request_id: &str,
        now: DateTime<Utc>,
    ) -> Response<Body> {
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
