//! Signatures: which request goes over the wire for a set of parameters.
//!
//! RPC V1 puts everything into a form body. ACS3 (V3) puts what identifies the caller into headers, and the parameters
//! into the query, where the official SDKs put them; none of these is a secret.

mod v1;
mod v3;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::credentials::{Keys, timestamp};

/// How requests are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    /// RPC V1: HMAC-SHA1.
    #[default]
    V1,
    /// ACS3-HMAC-SHA256, for places where SHA-1 is forbidden.
    V3,
}

/// The parameters of a request, in the order in which they are signed. Values are wiped on drop.
pub type Parameters = BTreeMap<&'static str, Zeroizing<String>>;

/// A request as it is sent, by POST to `/`.
#[derive(Debug, Default)]
pub struct Signed {
    /// The query, with its question mark.
    pub query: String,
    /// The headers.
    pub headers: Vec<(&'static str, Zeroizing<String>)>,
    /// The form body, and none in its place.
    pub form: Option<Zeroizing<String>>,
}

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

/// Signs a request to `host`, which names the port too unless it is the usual one.
pub fn signed(
    signature: Signature,
    host: &str,
    mut parameters: Parameters,
    keys: &Keys,
    unique: &Stamp,
) -> Signed {
    match signature {
        Signature::V1 => {
            v1::sign("POST", &mut parameters, keys, unique);
            in_a_form(&parameters)
        }
        Signature::V3 => v3::signed(host, parameters, keys, unique),
    }
}

/// Makes a request that is not signed: something in it is the proof.
pub fn unsigned(mut parameters: Parameters, unique: &Stamp) -> Signed {
    stamp(&mut parameters, unique);
    in_a_form(&parameters)
}

fn in_a_form(parameters: &Parameters) -> Signed {
    let content_type = "application/x-www-form-urlencoded".to_owned();
    Signed {
        query: String::new(),
        headers: vec![("content-type", Zeroizing::new(content_type))],
        form: Some(encoded(parameters)),
    }
}

/// Adds the parameters that make a request unique.
fn stamp(parameters: &mut Parameters, stamp: &Stamp) {
    parameters.insert("SignatureNonce", Zeroizing::new(stamp.nonce.clone()));
    parameters.insert("Timestamp", Zeroizing::new(stamp.timestamp.clone()));
}

/// Encodes the parameters as a query or an `application/x-www-form-urlencoded` body.
fn encoded(parameters: &Parameters) -> Zeroizing<String> {
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
    use super::*;

    #[test]
    fn no_two_stamps_are_alike() {
        let at = DateTime::UNIX_EPOCH;
        assert_ne!(Stamp::new(at).unwrap().nonce, Stamp::new(at).unwrap().nonce);
    }
}
