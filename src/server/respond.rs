//! Builds responses that every client can read.

use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use crate::metrics::{self, Exposition};
use crate::refresh::store::{Current, Offer};
use crate::system::display;

use super::codes;

pub(crate) fn json(status: StatusCode, body: Bytes) -> Response {
    with(status, "application/json", body)
}

pub(super) fn text(body: Bytes) -> Response {
    with(StatusCode::OK, "text/plain", body)
}

/// Responds with metrics, in a format that the scraper accepts.
pub(crate) fn metrics(metrics: &Exposition, headers: &HeaderMap) -> Response {
    let (content_type, body) = metrics.render(accepts(headers, metrics::OPENMETRICS_TYPE));
    with(StatusCode::OK, content_type, body)
}

/// Whether a client names a media type among those that it accepts.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let mut types = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    types.any(|given| {
        let mut parts = given.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        // A weight of zero forbids it.
        let is_forbidden = parts.any(|part| matches!(part.split_once('='), Some(("q" | "Q", weight)) if weight.trim().parse() == Ok(0.0)));
        is_named && !is_forbidden
    })
}

/// Builds a response, which must not be cached. .NET decodes nothing without a type and a length.
pub(super) fn with(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
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

/// Tells browsers to keep a response from every page but one of the same origin, and not to guess its type. What arrives
/// without the headers by which a browser is recognized is then still of no use to a page.
pub(super) fn isolated(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ISOLATION {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Responds with an error. Its body is never empty, because Java's SDK would report a transport failure, and contains no
/// secrets, because every SDK puts it into its exceptions.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "Code": code, "Message": message });
    let mut response = json(status, to_json(&body));
    response
        .extensions_mut()
        .insert(ErrorCode(codes::label(code)));
    response
}

/// An extension of an error response: its code, or the name of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorCode(pub(super) &'static str);

/// Responds to a path that is unknown or not enabled.
pub(crate) fn not_found(message: &str) -> Response {
    error(StatusCode::NOT_FOUND, "NotFound", message)
}

/// Refuses a method, and names those that are allowed.
pub(crate) fn method_not_allowed(allow: &'static str, message: &str) -> Response {
    let (status, code) = (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed");
    let mut response = error(status, code, message);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Responds with the offered credentials, in the format that `document` renders, or with the reason why there are none.
pub(super) fn credentials(offer: Offer, document: fn(&Current) -> Bytes) -> Response {
    match offer {
        Offer::NoRole => no_role(),
        Offer::Credentials(current) => json(StatusCode::OK, document(&current)),
        Offer::Refusal(failure) | Offer::Wait(Some(failure)) => {
            unavailable(failure.code.as_str(), &failure.to_string())
        }
        Offer::Wait(None) => unavailable(
            "CredentialsPending",
            "credentials have not arrived from STS yet; try again in a second",
        ),
    }
}

/// Responds to a job without a role.
pub(super) fn no_role() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "NoRole",
        "this job has no RAM role, because role.preset is none, and therefore no credentials; to change that, set role.arn, or role.preset to pai-default",
    )
}

fn unavailable(code: &str, message: &str) -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, code, message);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Renders a value as JSON with a line break at the end, for the probes, which people call with curl.
pub(super) fn to_json_line(value: &impl Serialize) -> Bytes {
    let mut line = Vec::from(to_json(value));
    line.push(b'\n');
    line.into()
}

fn to_json(value: &impl Serialize) -> Bytes {
    #[expect(
        clippy::expect_used,
        reason = "structs of strings and numbers always have a JSON form"
    )]
    let document = serde_json::to_string(value).expect("always serializable");
    display::json(&document).into_owned().into()
}

const ISOLATION: [(HeaderName, &str); 4] = [
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::to_bytes;

    use super::*;
    use crate::failure::{Failure, Stage};

    #[test]
    fn a_media_type_is_accepted_where_it_is_named_and_not_forbidden() {
        for (accept, is_accepted) in [
            (&["application/json"][..], true),
            (&["text/html, Application/JSON; charset=utf-8; q=0.5"], true),
            (&["text/html", "application/json"], true),
            (&["application/json;q=0"], false),
            (&["application/json; q=0.0"], false),
            (&["application/jsonp", "*/*"], false),
            (&[""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(
                accepts(&headers, "application/json"),
                is_accepted,
                "{accept:?}"
            );
        }
    }

    #[tokio::test]
    async fn every_error_has_a_code_and_a_message() {
        let failure = Failure::new(Stage::Sts, "InvalidProtocol.NeedSsl", "STS said \"no\"");
        let failure = Offer::Refusal(Arc::new(failure));
        for (offer, status, start) in [
            (
                failure,
                503,
                r#"{"Code":"InvalidProtocol.NeedSsl","Message":"STS said \"no\"; use https:// in sts.endpoint"}"#,
            ),
            (
                Offer::NoRole,
                404,
                r#"{"Code":"NoRole","Message":"this job has no RAM role"#,
            ),
            (
                Offer::Wait(None),
                503,
                r#"{"Code":"CredentialsPending","Message":"credentials have"#,
            ),
        ] {
            let response = credentials(offer, |_| Bytes::new());
            assert_eq!(response.status(), status);
            let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
            assert!(body.starts_with(start.as_bytes()), "{body:?}");
        }
    }
}
