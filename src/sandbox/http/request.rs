//! Reads an HTTP request into a [`Call`]: the parameters of the query and of a form body, merged.
//!
//! In a V3 request the common parameters are headers. They replace the parameters of the same meaning in RPC, so that only
//! this file distinguishes the two.
//!
//! Every request results in a call or an error. Invalid percent-encoding is unchanged, bytes that are not UTF-8 become U+FFFD,
//! and the first value of a repeated parameter is used, the query before the body.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use url::form_urlencoded;

use crate::sandbox::http::authorization::{Authorization, header_value};
use crate::sandbox::http::response::ApiError;

/// One parsed request. It does not implement `Debug`, because it contains secrets.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// The decoded parameters of the query alone.
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) params: Params,
    pub(crate) body: Bytes,
    /// `None` unless the request claims a V3 signature.
    pub(crate) authorization: Option<Authorization>,
}

/// The merged parameters, decoded.
#[derive(Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// Returns a parameter; one that was sent empty counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Returns a parameter, or an error if it is missing.
    pub(crate) fn require(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::missing(name))
    }

    /// Returns all parameters, including empty ones, because they are signed too.
    pub(crate) fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Replaces the common parameters by the headers of a V3 request.
    fn replace_common(&mut self, headers: &HeaderMap) {
        for (header, name) in COMMON {
            self.0.remove(name);
            let value = header_value(headers, header);
            self.0.extend(value.map(|value| (name.to_owned(), value)));
        }
    }

    fn merge(&mut self, encoded: &[u8]) {
        for (name, value) in form_urlencoded::parse(encoded) {
            let value = value.into_owned();
            self.0.entry(name.into_owned()).or_insert(value);
        }
    }
}

/// Receives and parses one request.
pub(crate) async fn read(request: Request<Body>) -> Result<Call, ApiError> {
    let (head, body) = request.into_parts();
    let mut params = Params::default();
    params.merge(head.uri.query().unwrap_or_default().as_bytes());

    let body = receive(body).await?;
    let authorization = Authorization::read(&head.headers)?;
    let query = params.all().clone();
    if !body.is_empty() && is_form(&head.headers)? {
        params.merge(&body);
    }
    if let Some(authorization) = &authorization {
        params.replace_common(&head.headers);
        let id = authorization.access_key_id.clone();
        params.0.insert("AccessKeyId".to_owned(), id);
    } else if params.get("Action").is_none() {
        // An anonymous V3 request. A request with an `Action` is RPC, even if it has these headers, as some SDKs send them.
        params.replace_common(&head.headers);
    }
    if head.uri.path() != "/" || !matches!(head.method, Method::GET | Method::POST) {
        return Err(unknown_api());
    }
    Ok(Call {
        method: head.method,
        headers: head.headers,
        query,
        params,
        body,
        authorization,
    })
}

/// Returns the `Host` of the request, for the response.
pub(crate) fn host(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.unwrap_or("sts.aliyuncs.com").to_owned()
}

/// The error for an unknown path, method or action.
pub(crate) fn unknown_api() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "InvalidApi.NotFound",
        "Specified api is not found,please check your url and method.",
    )
}

/// Receives a body of at most 128 KiB within ten seconds.
pub(crate) async fn receive(body: Body) -> Result<Bytes, ApiError> {
    // STS documents neither error. It accepts 10 MB, and its timeout is unknown.
    let Ok(received) = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_LIMIT)).await else {
        let message = "The sandbox waited too long for the request body.";
        return Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            message,
        ));
    };
    received.map_err(|_| {
        let message = format!("The sandbox takes request bodies of up to {BODY_LIMIT} bytes.");
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestBodyTooLarge",
            message,
        )
    })
}

fn is_form(headers: &HeaderMap) -> Result<bool, ApiError> {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return Ok(true);
    };
    let essence = content_type
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    match essence.as_slice() {
        b"application/x-www-form-urlencoded" => Ok(true),
        b"application/json" => Ok(false),
        _ => Err(ApiError::bad_request(
            "InvalidParameter.ContentType",
            "The ContentType request header must be either \"application/json\" or \
             \"application/x-www-form-urlencoded\".",
        )),
    }
}

/// The headers of V3, and the parameters of RPC that mean the same.
const COMMON: [(&str, &str); 5] = [
    ("x-acs-action", "Action"),
    ("x-acs-version", "Version"),
    ("x-acs-date", "Timestamp"),
    ("x-acs-signature-nonce", "SignatureNonce"),
    ("x-acs-security-token", "SecurityToken"),
];

/// Several times the size of an OIDC token of 20,000 characters, a policy and the other parameters, percent-encoded.
pub(crate) const BODY_LIMIT: usize = 128 * 1024;

/// A client that sends only a part of a body must not occupy a connection forever.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_percent_encoding_is_left_as_it_is() {
        for (encoded, decoded) in [
            ("a%20b+c", "a b c"),
            ("%e4%B8%ad", "中"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz%41", "%zzA"),
            ("%ff", "\u{FFFD}"),
            ("", ""),
        ] {
            let mut params = Params::default();
            params.merge(&[b"a=", encoded.as_bytes()].concat());
            assert_eq!(params.all()["a"], decoded, "{encoded}");
        }
    }

    #[test]
    fn the_first_of_two_values_counts_and_an_empty_one_is_absent() {
        let mut params = Params::default();
        params.merge(b"a=1&a=2&empty=&bare&&=x");
        params.merge(b"a=3&b=4&c=x=y");
        assert_eq!(params.get("a"), Some("1"));
        assert_eq!(params.get("b"), Some("4"));
        assert_eq!(params.get("c"), Some("x=y"));
        assert_eq!(params.get("empty"), None);
        assert_eq!(params.all().len(), 6);
    }
}
