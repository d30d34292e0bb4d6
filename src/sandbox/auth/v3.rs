//! Verifies the V3 signature (ACS3-HMAC-SHA256), written from its specification.
//!
//! It shares no code with the signer of the daemon, so that the same error on both sides cannot go unnoticed.

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::credentials::hex;
use crate::sandbox::auth::v1::percent_encode;
use crate::sandbox::http::authorization::{ALGORITHM, Authorization, CONTENT_DIGEST, header_value};
use crate::sandbox::http::request::Call;
use crate::sandbox::http::response::{ApiError, refuse};

/// Refuses a call that is not signed with `secret`, or whose body differs from the signed one.
pub(crate) fn check(
    call: &Call,
    authorization: &Authorization,
    secret: &SecretString,
) -> Result<(), ApiError> {
    let body_digest = hex_digest(&call.body);
    let canonical_request = canonical_request(call, authorization, &body_digest);
    let string_to_sign = format!("{ALGORITHM}\n{}", hex_digest(canonical_request.as_bytes()));
    let expected = sign(&string_to_sign, secret);
    let is_signed = expected
        .as_bytes()
        .ct_eq(authorization.signature.as_bytes());
    let is_body_signed = header_value(&call.headers, CONTENT_DIGEST) == Some(body_digest);
    if is_body_signed && bool::from(is_signed) {
        return Ok(());
    }
    // STS documents the first sentence; the texts in brackets are taken from captured responses.
    let message = format!(
        "Specified signature does not match our calculation. \
         server StringToSign is [{string_to_sign}] \
         server CanonicalRequest is [{canonical_request}]"
    );
    refuse("SignatureDoesNotMatch", &message)
}

fn canonical_request(call: &Call, authorization: &Authorization, body_digest: &str) -> String {
    let query: Vec<_> = call
        .query
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    let signed_headers = &authorization.signed_headers;
    // The sandbox serves no other path than the root.
    format!(
        "{}\n/\n{}\n{}\n{signed_headers}\n{body_digest}",
        call.method,
        query.join("&"),
        canonical_headers(&call.headers, signed_headers),
    )
}

fn canonical_headers(headers: &HeaderMap, signed: &str) -> String {
    let lines = signed.split(';').map(|name| {
        let value = header_value(headers, name).unwrap_or_default();
        format!("{name}:{value}\n")
    });
    lines.collect()
}

fn sign(string_to_sign: &str, secret: &SecretString) -> String {
    let key = secret.expose_secret().as_bytes();
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(string_to_sign.as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// Returns the SHA-256 digest in hexadecimal.
fn hex_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::http::HeaderValue;
    use serde::Deserialize;

    use super::*;
    use crate::sandbox::http::authorization::incomplete;
    use crate::sandbox::http::request::Params;

    #[derive(Clone, Deserialize)]
    struct Request {
        method: String,
        query: BTreeMap<String, String>,
        headers: BTreeMap<String, String>,
        body: String,
        access_key_id: String,
        secret: String,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        #[serde(flatten)]
        request: Request,
        canonical_request: String,
        authorization: String,
    }

    impl Request {
        /// Reads the call and its V3 signature, if it has one.
        fn read(&self) -> Result<Option<(Call, Authorization)>, ApiError> {
            let headers = self.headers.iter().map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                (name.parse().unwrap(), value)
            });
            let headers: HeaderMap = headers.collect();
            let authorization = Authorization::read(&headers)?;
            let call = Call {
                method: self.method.parse().unwrap(),
                headers,
                query: self.query.clone(),
                params: Params::default(),
                body: self.body.clone().into(),
                authorization: None,
            };
            Ok(authorization.map(|authorization| (call, authorization)))
        }

        fn is_accepted(&self) -> bool {
            self.read().is_ok_and(|read| {
                read.is_some_and(|(call, authorization)| {
                    authorization.access_key_id == self.access_key_id
                        && check(&call, &authorization, &self.secret.clone().into()).is_ok()
                })
            })
        }

        fn with_header(mut self, name: &str, value: &str) -> Self {
            self.headers.insert(name.to_owned(), value.to_owned());
            self
        }
    }

    fn vectors() -> Vec<Vector> {
        let all: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../../tests/data/signature-vectors.json"))
                .unwrap();
        let v3 = all.into_iter().filter(|vector| vector["kind"] == "acs3");
        v3.map(|vector| {
            let mut vector: Vector = serde_json::from_value(vector).unwrap();
            let digest = hex_digest(vector.request.body.as_bytes());
            let headers = &mut vector.request.headers;
            headers.entry(CONTENT_DIGEST.to_owned()).or_insert(digest);
            headers.insert("authorization".to_owned(), vector.authorization.clone());
            vector
        })
        .collect()
    }

    /// Returns every text that differs from this one in one character.
    fn changed(text: &str) -> impl Iterator<Item = String> {
        text.char_indices().map(|(at, character)| {
            let other = if character == 'x' { "y" } else { "x" };
            let after = at + character.len_utf8();
            [&text[..at], other, &text[after..]].concat()
        })
    }

    #[test]
    fn published_and_differential_vectors_verify() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 4);
        for vector in vectors {
            assert!(vector.request.is_accepted(), "{}", vector.name);
            let (call, authorization) = vector.request.read().unwrap().unwrap();
            let digest = hex_digest(&call.body);
            let canonical_request = canonical_request(&call, &authorization, &digest);
            assert_eq!(canonical_request, vector.canonical_request);
        }
    }

    #[test]
    fn a_change_anywhere_is_refused() {
        for Vector { name, request, .. } in vectors() {
            let refused = |change: &dyn Fn(&mut Request)| {
                let mut request = request.clone();
                change(&mut request);
                assert!(!request.is_accepted(), "{name}: {:?}", request.headers);
            };
            refused(&|request| request.method = "GET".to_owned());
            refused(&|request| request.secret.push('x'));
            refused(&|request| request.body.push('x'));
            refused(&|request| drop(request.query.insert("x".into(), String::new())));
            for body in changed(&request.body) {
                refused(&|request| request.body.clone_from(&body));
            }
            for (header, value) in &request.headers {
                refused(&|request| drop(request.headers.remove(header)));
                for value in changed(value) {
                    refused(&|request| drop(request.headers.insert(header.clone(), value.clone())));
                }
            }
            for (name, value) in &request.query {
                refused(&|request| drop(request.query.remove(name)));
                for value in changed(value) {
                    refused(&|request| drop(request.query.insert(name.clone(), value.clone())));
                }
                for other in changed(name) {
                    refused(&|request| {
                        let value = request.query.remove(name).unwrap();
                        request.query.insert(other.clone(), value);
                    });
                }
            }
        }
    }

    #[test]
    fn host_and_acs_headers_must_be_signed_and_others_need_not() {
        for Vector { request, .. } in vectors() {
            let additional = request.clone().with_header("x-acs-other", "");
            assert_eq!(additional.read().err(), Some(incomplete()));
            let unsigned = request.clone().with_header("accept", "*/*");
            assert!(unsigned.is_accepted());
            let spaced = format!("  {} ", request.headers["host"]);
            assert!(request.with_header("host", &spaced).is_accepted());
        }
    }

    #[test]
    fn signed_headers_are_refused_unless_canonical() {
        let request = vectors().remove(1).request;
        let good = request.headers["authorization"].clone();
        for (part, other) in [
            ("host;", ""),
            ("host;x-acs-action;", "x-acs-action;host;"),
            ("host;", "host;host;"),
            ("host;", "Host;"),
            ("host;", "host;user-agent;"),
            ("host;", ";host;"),
            ("Credential=testid,", ""),
            ("Credential=testid,", "Credential=,"),
            (",Signature=", ",Signature=x,Signature="),
            ("ACS3-HMAC-SHA256 ", "ACS3-HMAC-SHA256"),
        ] {
            let bad = good.replacen(part, other, 1);
            assert_ne!(bad, good);
            let request = request.clone().with_header("authorization", &bad);
            assert_eq!(request.read().err(), Some(incomplete()), "{bad}");
        }
        let other = good.replace(ALGORITHM, "ACS3-RSA-SHA256");
        let refusal = request.clone().with_header("authorization", &other).read();
        assert_eq!(refusal.err().unwrap().code, "InvalidSignatureMethod");
        let basic = request.with_header("authorization", "Basic eA==");
        assert!(basic.read().is_ok_and(|signed| signed.is_none()));
    }
}
