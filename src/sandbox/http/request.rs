//! From HTTP to a [`Call`]: the parameters of the query and of a form body, merged.
//!
//! In a V3 request the common parameters are headers. They stand under the names that they have among the parameters,
//! and take the place of parameters of those names, so that nobody downstream need know of it.
//!
//! Whatever the bytes, there is a call or a refusal. Broken percent-encoding stands for itself, bytes that are not
//! UTF-8 become U+FFFD, and of a parameter that was sent twice the first counts, the query before the body.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;

use crate::sandbox::auth::v3;
use crate::sandbox::http::response::Refusal;

/// One request, taken apart. Holds secrets, therefore has no `Debug`.
pub(in crate::sandbox) struct Call {
    pub(in crate::sandbox) method: Method,
    pub(in crate::sandbox) params: Params,
    /// The V3 signature; `None` if there is another one or none.
    pub(in crate::sandbox) acs3: Option<v3::Signed>,
}

/// The merged parameters, decoded.
#[derive(Default)]
pub(in crate::sandbox) struct Params(BTreeMap<String, String>);

impl Params {
    /// Returns a parameter; one that was sent empty counts as absent.
    pub(in crate::sandbox) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Returns a parameter, or the refusal that it is mandatory.
    pub(in crate::sandbox) fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::missing(name))
    }

    /// Returns all of them, empty ones included: they are signed too.
    pub(in crate::sandbox) fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Lets the headers say what they say in a V3 request.
    fn heed(&mut self, headers: &HeaderMap) {
        for (header, name) in COMMON {
            self.0.remove(name);
            let value = v3::value(headers, header);
            self.0.extend(value.map(|value| (name.to_owned(), value)));
        }
    }

    fn merge(&mut self, encoded: &[u8]) {
        for pair in encoded
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default());
            let value = decode(halves.next().unwrap_or_default());
            self.0.entry(name).or_insert(value);
        }
    }
}

/// Reads one request to its end.
pub(in crate::sandbox) async fn read(request: Request<Body>) -> Result<Call, Refusal> {
    let (head, body) = request.into_parts();
    let mut params = Params::default();
    params.merge(head.uri.query().unwrap_or_default().as_bytes());

    let body = receive(body).await?;
    let acs3 = v3::Signed::read(&head.method, &head.headers, params.all(), &body)?;
    if !body.is_empty() && is_form(&head.headers)? {
        params.merge(&body);
    }
    if let Some(signed) = &acs3 {
        params.heed(&head.headers);
        let id = signed.access_key_id().to_owned();
        params.0.insert("AccessKeyId".to_owned(), id);
    } else if params.get("Action").is_none() {
        // Anonymous, in the form of V3. With an `Action` it is RPC: some SDKs send these headers along with that.
        params.heed(&head.headers);
    }
    if head.uri.path() != "/" || !matches!(head.method, Method::GET | Method::POST) {
        return Err(unknown_api());
    }
    Ok(Call {
        method: head.method,
        params,
        acs3,
    })
}

/// Returns the name that the client called us by, as the answer repeats it.
pub(in crate::sandbox) fn host(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.unwrap_or("sts.aliyuncs.com").to_owned()
}

/// The refusal of an unknown path, method or action.
pub(in crate::sandbox) fn unknown_api() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "InvalidApi.NotFound",
        "Specified api is not found,please check your url and method.",
    )
}

/// Reads a body to its end, which must come soon.
pub(in crate::sandbox) async fn receive(body: Body) -> Result<Bytes, Refusal> {
    // STS documents neither refusal: it takes 10 MB, and its patience is not known.
    let Ok(received) = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_LIMIT)).await else {
        let message = "The sandbox waited too long for the request body.";
        return Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            message,
        ));
    };
    received.map_err(|_| {
        let message = format!("The sandbox takes request bodies of up to {BODY_LIMIT} bytes.");
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestBodyTooLarge",
            message,
        )
    })
}

fn is_form(headers: &HeaderMap) -> Result<bool, Refusal> {
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
        _ => Err(Refusal::bad(
            "InvalidParameter.ContentType",
            "The ContentType request header must be either \"application/json\" or \
             \"application/x-www-form-urlencoded\".",
        )),
    }
}

fn decode(encoded: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    loop {
        rest = match rest {
            [] => break,
            [b'+', tail @ ..] => {
                decoded.push(b' ');
                tail
            }
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(nibble(*high) << 4 | nibble(*low));
                tail
            }
            [byte, tail @ ..] => {
                decoded.push(*byte);
                tail
            }
        };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// The headers of V3, and the parameters of RPC that say the same.
const COMMON: [(&str, &str); 5] = [
    ("x-acs-action", "Action"),
    ("x-acs-version", "Version"),
    ("x-acs-date", "Timestamp"),
    ("x-acs-signature-nonce", "SignatureNonce"),
    ("x-acs-security-token", "SecurityToken"),
];

/// Holds an OIDC token of 20,000 characters, a policy and the rest, percent-encoded, many times over.
pub(in crate::sandbox) const BODY_LIMIT: usize = 128 * 1024;

/// A client that sends half a body must not keep a connection for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_sent_decodes_to_something() {
        for (encoded, decoded) in [
            ("a%20b+c", "a b c"),
            ("%e4%B8%ad", "中"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz%41", "%zzA"),
            ("%ff", "\u{FFFD}"),
            ("", ""),
        ] {
            assert_eq!(decode(encoded.as_bytes()), decoded, "{encoded}");
        }
    }

    #[test]
    fn the_first_of_two_counts_and_empty_is_absent() {
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
