//! The V3 signature (ACS3-HMAC-SHA256), verified as its specification has it.
//!
//! Nothing here is shared with the signer of the daemon: a mistake made once must not cancel out. Clients choose which
//! headers they sign, and some sign more than they must; `Host` and every `x-acs-` header must be among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, HeaderName, Method};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::sandbox::auth::v1::percent_encode;
use crate::sandbox::http::response::Refusal;

/// A request that carries a V3 signature, as it arrived. Holds secrets, therefore has no `Debug`.
pub(in crate::sandbox) struct Signed {
    method: Method,
    headers: HeaderMap,
    /// Decoded; the form of a body is no part of it.
    query: BTreeMap<String, String>,
    body_digest: String,
    claim: Claim,
}

/// What the `Authorization` header says.
struct Claim {
    access_key_id: String,
    signed_headers: String,
    signature: String,
}

impl Signed {
    /// Takes a request whose `Authorization` is of the V3 family; `None` for every other request.
    pub(in crate::sandbox) fn read(
        method: &Method,
        headers: &HeaderMap,
        query: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Result<Option<Self>, Refusal> {
        let authorization = value(headers, AUTHORIZATION.as_str());
        let Some(authorization) = authorization.filter(|text| text.starts_with(FAMILY)) else {
            return Ok(None);
        };
        let claim = Claim::parse(&authorization)?;
        claim.covers(headers)?;
        Ok(Some(Self {
            method: method.clone(),
            headers: headers.clone(),
            query: query.clone(),
            body_digest: hex(&Sha256::digest(body)),
            claim,
        }))
    }

    /// Returns the id of the key that the request claims to be signed with.
    pub(in crate::sandbox) fn access_key_id(&self) -> &str {
        &self.claim.access_key_id
    }

    /// Refuses a request that is not signed with `secret`, or whose body is not the one that was signed.
    pub(in crate::sandbox) fn check(&self, secret: &SecretString) -> Result<(), Refusal> {
        let canonical_request = self.canonical_request();
        let string_to_sign = format!("{ALGORITHM}\n{}", hex(&Sha256::digest(&canonical_request)));
        let expected = sign(&string_to_sign, secret);
        let is_signed = expected.as_bytes().ct_eq(self.claim.signature.as_bytes());
        let is_whole = value(&self.headers, CONTENT_DIGEST).as_ref() == Some(&self.body_digest);
        if is_whole && bool::from(is_signed) {
            return Ok(());
        }
        // The first sentence is documented; the brackets are from what others captured.
        let message = format!(
            "Specified signature does not match our calculation. \
             server StringToSign is [{string_to_sign}] \
             server CanonicalRequest is [{canonical_request}]"
        );
        Err(Refusal::bad("SignatureDoesNotMatch", message))
    }

    fn canonical_request(&self) -> String {
        let query: Vec<_> = self
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
            .collect();
        let signed_headers = &self.claim.signed_headers;
        let headers: String = signed_headers
            .split(';')
            .flat_map(|name| {
                let value = value(&self.headers, name).unwrap_or_default();
                [name, ":", &value, "\n"].map(str::to_owned)
            })
            .collect();
        // The sandbox serves no other path than the root.
        format!(
            "{}\n/\n{}\n{headers}\n{signed_headers}\n{}",
            self.method,
            query.join("&"),
            self.body_digest,
        )
    }
}

impl Claim {
    fn parse(authorization: &str) -> Result<Self, Refusal> {
        let (algorithm, fields) = authorization.split_once(' ').ok_or_else(incomplete)?;
        if algorithm != ALGORITHM {
            let message = "Specified signature method is not valid.";
            return Err(Refusal::bad("InvalidSignatureMethod", message));
        }
        let fields: Vec<_> = fields
            .split(',')
            .filter_map(|field| field.trim().split_once('='))
            .collect();
        let field = |wanted| {
            let mut values = fields.iter().filter(|(name, _)| *name == wanted);
            match (values.next(), values.next()) {
                (Some((_, value)), None) if !value.is_empty() => Ok((*value).to_owned()),
                _ => Err(incomplete()),
            }
        };
        Ok(Self {
            access_key_id: field("Credential")?,
            signed_headers: field("SignedHeaders")?,
            signature: field("Signature")?,
        })
    }

    /// Refuses a list that is not in its canonical form, names what was not sent, or leaves out what must be signed.
    fn covers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let listed: Vec<_> = self.signed_headers.split(';').collect();
        let is_sorted = listed.iter().is_sorted_by(|one, next| one < next);
        let is_sent = |name: &&str| !has_capitals(name) && headers.contains_key(*name);

        let sent = headers.keys().map(HeaderName::as_str);
        let mut needed: BTreeSet<&str> = sent.filter(|name| name.starts_with("x-acs-")).collect();
        needed.extend([HOST.as_str(), CONTENT_DIGEST]);
        if is_sorted
            && listed.iter().all(is_sent)
            && needed.iter().all(|name| listed.contains(name))
        {
            Ok(())
        } else {
            Err(incomplete())
        }
    }
}

fn incomplete() -> Refusal {
    let message = "The request signature does not conform to Aliyun standards.";
    Refusal::bad("IncompleteSignature", message)
}

fn has_capitals(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Returns a header's value without the spaces around it; those of a header sent twice are sorted and joined.
pub(in crate::sandbox) fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes().trim_ascii()))
        .collect();
    values.sort();
    (!values.is_empty()).then(|| values.join(","))
}

fn sign(string_to_sign: &str, secret: &SecretString) -> String {
    let key = secret.expose_secret().as_bytes();
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(string_to_sign.as_bytes());
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// There are other algorithms of this version, which STS does not document to take.
const FAMILY: &str = "ACS3-";

/// The digest of the body, in small hexadecimal digits.
const CONTENT_DIGEST: &str = "x-acs-content-sha256";

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde::Deserialize;

    use super::*;

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
        fn read(&self) -> Result<Option<Signed>, Refusal> {
            let headers = self.headers.iter().map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                (name.parse().unwrap(), value)
            });
            let method = self.method.parse().unwrap();
            Signed::read(
                &method,
                &headers.collect(),
                &self.query,
                self.body.as_bytes(),
            )
        }

        fn is_accepted(&self) -> bool {
            self.read().is_ok_and(|signed| {
                signed.is_some_and(|signed| {
                    signed.access_key_id() == self.access_key_id
                        && signed.check(&self.secret.clone().into()).is_ok()
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
            let digest = hex(&Sha256::digest(&vector.request.body));
            let headers = &mut vector.request.headers;
            headers.entry(CONTENT_DIGEST.to_owned()).or_insert(digest);
            headers.insert("authorization".to_owned(), vector.authorization.clone());
            vector
        })
        .collect()
    }

    /// Makes every text that differs from this one in one place.
    fn changed(text: &str) -> impl Iterator<Item = String> {
        text.char_indices().map(|(at, character)| {
            let other = if character == 'x' { "y" } else { "x" };
            let after = at + character.len_utf8();
            [&text[..at], other, &text[after..]].concat()
        })
    }

    #[test]
    fn the_published_and_the_differential_vectors_verify() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 4);
        for vector in vectors {
            assert!(vector.request.is_accepted(), "{}", vector.name);
            let signed = vector.request.read().unwrap().unwrap();
            assert_eq!(signed.canonical_request(), vector.canonical_request);
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
    fn what_must_be_signed_is_and_the_rest_need_not_be() {
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
    fn a_list_of_headers_has_one_form() {
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

    #[test]
    fn values_of_one_header_are_sorted_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static(" z "));
        headers.append("a", HeaderValue::from_static("b c"));
        assert_eq!(value(&headers, "a").as_deref(), Some("b c,z"));
        assert_eq!(value(&headers, "b"), None);
    }
}
