//! Responses of STS: the fields of a result, or an error in the documented form.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, DATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
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

/// Refuses a request with HTTP 400.
pub(crate) fn refuse<T>(code: &'static str, message: &str) -> Result<T, ApiError> {
    Err(ApiError::bad_request(code, message))
}

/// Refuses an OIDC token; `reason` completes the code.
pub(crate) fn refuse_token<T>(reason: &str, message: &str) -> Result<T, ApiError> {
    Err(ApiError::oidc_token(reason, message))
}

/// A response without the headers that every response gets.
pub(crate) struct ApiResponse {
    pub(crate) status: StatusCode,
    /// The `Code` of an error; `None` for a success.
    pub(crate) code: Option<Cow<'static, str>>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl ApiResponse {
    /// Makes the response to a successful action from the fields that it returned.
    pub(crate) fn success(mut fields: Map<String, Value>, request_id: &str) -> Self {
        fields.insert("RequestId".to_owned(), request_id.into());
        Self::json(StatusCode::OK, &Value::Object(fields))
    }

    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        Self {
            status,
            code: None,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            body,
        }
    }

    fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, JSON, body.to_string().into_bytes())
    }

    /// Returns the HTTP response, dated by the sandbox's clock; hyper would use the machine's.
    pub(crate) fn into_http(self, request_id: &str, now: DateTime<Utc>) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::try_from(date) {
            headers.insert(DATE, date);
        }
        if let Ok(id) = HeaderValue::try_from(request_id) {
            headers.insert(HeaderName::from_static("x-acs-request-id"), id);
        }
        response
    }
}

/// The content type of JSON, as STS sends it.
pub(crate) const JSON: &str = "application/json;charset=utf-8";
