//! Answers, as every client can read them.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use crate::formats;
use crate::refresh::store::{Current, Offer};

/// Answers with JSON.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response {
    with(status, "application/json", body)
}

/// Answers with a bare text.
pub(super) fn text(body: Bytes) -> Response {
    with(StatusCode::OK, "text/plain", body)
}

/// Every answer has a type and a length, .NET decodes nothing without, and none is stored or compressed.
fn with(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Answers with an error.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, formats::error(code, message))
}

/// Says that a method is not answered, and which are.
pub(crate) fn method_not_allowed(allow: &'static str, code: &str, message: &str) -> Response {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, code, message);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Answers with what is offered, in the dialect that `document` renders.
pub(super) fn credentials(offer: Offer, document: fn(&Current) -> Bytes) -> Response {
    match offer {
        Offer::NoRole => no_role(),
        Offer::Credentials(current) => json(StatusCode::OK, document(&current)),
        Offer::Refusal(failure) | Offer::Wait(Some(failure)) => {
            unavailable(formats::diagnosis(&failure))
        }
        Offer::Wait(None) => unavailable(formats::pending()),
    }
}

/// Answers a job that is to have no role.
pub(super) fn no_role() -> Response {
    json(StatusCode::NOT_FOUND, formats::no_role())
}

fn unavailable(body: Bytes) -> Response {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, body);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
