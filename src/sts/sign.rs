//! The RPC V1 signature: HMAC-SHA1 over the sorted, percent-encoded parameters.
//!
//! Source: "Signature mechanism" of the RPC-style APIs. Query and form parameters are signed alike; ours are all in the
//! form.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::credentials::{Keys, timestamp};

/// The parameters of a request, in the order in which they are signed. Values are wiped on drop.
pub type Parameters = BTreeMap<&'static str, Zeroizing<String>>;

/// What makes a request unique.
#[derive(Debug)]
pub struct Stamp {
    timestamp: String,
    nonce: String,
}

impl Stamp {
    /// Draws a nonce of 128 random bits.
    pub fn new(at: DateTime<Utc>) -> Result<Self, getrandom::Error> {
        let high = getrandom::u64()?;
        let low = getrandom::u64()?;
        Ok(Self {
            timestamp: timestamp(at),
            nonce: format!("{high:016x}{low:016x}"),
        })
    }
}

/// Adds the parameters that make a request unique.
pub fn stamp(parameters: &mut Parameters, stamp: &Stamp) {
    parameters.insert("SignatureNonce", Zeroizing::new(stamp.nonce.clone()));
    parameters.insert("Timestamp", Zeroizing::new(stamp.timestamp.clone()));
}

/// Adds what identifies the caller, and the signature over everything.
pub fn sign(method: &str, parameters: &mut Parameters, keys: &Keys, unique: &Stamp) {
    stamp(parameters, unique);
    let mut add = |name, value: &str| parameters.insert(name, Zeroizing::new(value.to_owned()));
    add("AccessKeyId", &keys.access_key_id);
    add("SignatureMethod", "HMAC-SHA1");
    add("SignatureVersion", "1.0");
    if let Some(token) = &keys.security_token {
        add("SecurityToken", token.expose_secret());
    }
    let text = string_to_sign(method, parameters);
    let signature = signature(keys.access_key_secret.expose_secret(), &text);
    parameters.insert("Signature", Zeroizing::new(signature));
}

/// Encodes the parameters as an `application/x-www-form-urlencoded` body.
pub fn form(parameters: &Parameters) -> Zeroizing<String> {
    let encoded = |text: &str| Zeroizing::new(percent_encoded(text));
    let mut body = Zeroizing::new(String::new());
    for (name, value) in parameters {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(&encoded(name));
        body.push('=');
        body.push_str(&encoded(value));
    }
    body
}

fn string_to_sign(method: &str, parameters: &Parameters) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "{method}&%2F&{}",
        percent_encoded(&form(parameters))
    ))
}

fn signature(secret: &str, text: &str) -> String {
    let key = Zeroizing::new(format!("{secret}&"));
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("any key will do");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// RFC 3986: everything but the unreserved characters, a space as `%20`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn reproduces_every_rpc_v1_vector() {
        let vectors: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/data/signature-vectors.json")).unwrap();
        let mut checked = 0;
        for vector in vectors.iter().filter(|vector| vector["kind"] == "rpc-v1") {
            let mut parameters = Parameters::new();
            let given = vector["params"].as_object().unwrap();
            for (name, value) in given {
                let name = Box::leak(name.clone().into_boxed_str());
                parameters.insert(name, Zeroizing::new(value.as_str().unwrap().to_owned()));
            }
            let text = string_to_sign(vector["method"].as_str().unwrap(), &parameters);
            assert_eq!(
                *text,
                vector["string_to_sign"].as_str().unwrap(),
                "{}",
                vector["name"]
            );
            let made = signature(vector["secret"].as_str().unwrap(), &text);
            assert_eq!(
                made,
                vector["signature"].as_str().unwrap(),
                "{}",
                vector["name"]
            );
            checked += 1;
        }
        assert_eq!(checked, 6);
    }

    #[test]
    fn signing_completes_an_official_request() {
        let mut parameters = Parameters::from([
            ("Action", Zeroizing::new("AssumeRole".to_owned())),
            ("Format", Zeroizing::new("JSON".to_owned())),
            (
                "RoleArn",
                Zeroizing::new("acs:ram::1234567890123:role/firstrole".to_owned()),
            ),
            ("RoleSessionName", Zeroizing::new("client".to_owned())),
            ("Version", Zeroizing::new("2015-04-01".to_owned())),
        ]);
        let keys = Keys {
            access_key_id: "testid".into(),
            access_key_secret: "testsecret".into(),
            security_token: None,
        };
        let unique = Stamp {
            timestamp: "2015-09-01T05:57:34Z".into(),
            nonce: "571f8fb8-506e-11e5-8e12-b8e8563dc8d2".into(),
        };
        sign("GET", &mut parameters, &keys, &unique);
        assert_eq!(*parameters["Signature"], "gNI7b0AyKZHxDgjBGPDgJ1Ce3L4=");
    }

    #[test]
    fn no_two_stamps_are_alike() {
        let at = DateTime::UNIX_EPOCH;
        assert_ne!(Stamp::new(at).unwrap().nonce, Stamp::new(at).unwrap().nonce);
    }
}
