//! Signatures: builds the HTTP request for a set of parameters.
//!
//! RPC V1 puts everything into a form body. ACS3 (V3) puts the AccessKey ID, the security token and the signature into
//! headers, and the parameters into the query, as the official SDKs do; none of the parameters is a secret.

mod v1;
mod v3;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::credentials::{Keys, timestamp};
use crate::system::random;

/// How requests are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    /// RPC V1: HMAC-SHA1.
    #[default]
    V1,
    /// ACS3-HMAC-SHA256, for endpoints where SHA-1 is forbidden.
    V3,
}

/// The parameters of a request, in the order in which they are signed. Values are wiped on drop.
pub type Parameters = BTreeMap<&'static str, Zeroizing<String>>;

/// A request as it is sent, by POST to `/`.
#[derive(Debug, Default)]
pub struct Signed {
    /// The query, with its question mark; empty if the parameters are in the form.
    pub query: String,
    /// The headers.
    pub headers: Vec<(&'static str, Zeroizing<String>)>,
    /// The form body; none if the parameters are in the query.
    pub form: Option<Zeroizing<String>>,
}

/// The time and the nonce that make a request unique.
#[derive(Debug)]
pub struct Stamp {
    timestamp: String,
    nonce: String,
}

impl Stamp {
    /// Generates a nonce of 128 random bits.
    pub fn new(at: DateTime<Utc>) -> Result<Self, random::Error> {
        let nonce = u128::from_be_bytes(random::bytes()?);
        Ok(Self {
            timestamp: timestamp(at),
            nonce: format!("{nonce:032x}"),
        })
    }
}

/// Signs a request to `host`, which includes the port unless it is the default.
pub fn signed(
    signature: Signature,
    host: &str,
    mut parameters: Parameters,
    keys: &Keys,
    stamp: &Stamp,
) -> Signed {
    match signature {
        Signature::V1 => {
            v1::sign("POST", &mut parameters, keys, stamp);
            form_request(&parameters)
        }
        Signature::V3 => v3::signed(host, parameters, keys, stamp),
    }
}

/// Builds a request that is not signed, because a token among its parameters authenticates it.
pub fn unsigned(mut parameters: Parameters, stamp: &Stamp) -> Signed {
    add_stamp(&mut parameters, stamp);
    form_request(&parameters)
}

fn form_request(parameters: &Parameters) -> Signed {
    let content_type = "application/x-www-form-urlencoded".to_owned();
    Signed {
        query: String::new(),
        headers: vec![("content-type", Zeroizing::new(content_type))],
        form: Some(encoded(parameters)),
    }
}

/// Adds the parameters that make a request unique.
fn add_stamp(parameters: &mut Parameters, stamp: &Stamp) {
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

fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// RFC 3986: everything but the unreserved characters, a space as `%20`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nonce_is_unique() {
        let at = DateTime::UNIX_EPOCH;
        assert_ne!(Stamp::new(at).unwrap().nonce, Stamp::new(at).unwrap().nonce);
    }

    fn parameters() -> Parameters {
        let pairs = [
            ("Action", "AssumeRole"),
            ("Format", "JSON"),
            ("Policy", r#"{"a b":"*~ü"}"#),
            ("RoleArn", "acs:ram::1:role/r"),
            ("Version", "2015-04-01"),
        ];
        pairs
            .map(|(name, value)| (name, Zeroizing::new(value.to_owned())))
            .into()
    }

    fn keys() -> Keys {
        Keys {
            access_key_id: "STS.id".into(),
            access_key_secret: "secret".into(),
            security_token: Some("to+ken".into()),
        }
    }

    fn stamp() -> Stamp {
        Stamp {
            timestamp: "2024-05-21T10:39:29Z".into(),
            nonce: "n-1".into(),
        }
    }

    fn sent(signed: &Signed) -> (&str, Vec<(&str, &str)>, Option<&str>) {
        let headers = signed.headers.iter();
        (
            &signed.query,
            headers
                .map(|(name, value)| (*name, value.as_str()))
                .collect(),
            signed.form.as_ref().map(|form| form.as_str()),
        )
    }

    const FORM_TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

    // The expected signatures were computed with other implementations.

    #[test]
    fn v1_puts_everything_into_the_form() {
        let signed = signed(
            Signature::V1,
            "sts.aliyuncs.com",
            parameters(),
            &keys(),
            &stamp(),
        );
        let form = "AccessKeyId=STS.id&Action=AssumeRole&Format=JSON&Policy=%7B%22a%20b%22%3A%22%2A~%C3%BC%22%7D\
            &RoleArn=acs%3Aram%3A%3A1%3Arole%2Fr&SecurityToken=to%2Bken&Signature=ArjEtKxLcGWvblA9aZtBxMpEyKc%3D\
            &SignatureMethod=HMAC-SHA1&SignatureNonce=n-1&SignatureVersion=1.0&Timestamp=2024-05-21T10%3A39%3A29Z\
            &Version=2015-04-01";
        assert_eq!(sent(&signed), ("", vec![FORM_TYPE], Some(form)));
    }

    #[test]
    fn v3_puts_the_credentials_into_headers_and_the_rest_into_the_query() {
        let host = "sts.aliyuncs.com:8443";
        let signed = signed(Signature::V3, host, parameters(), &keys(), &stamp());
        let query = "?Format=JSON&Policy=%7B%22a%20b%22%3A%22%2A~%C3%BC%22%7D&RoleArn=acs%3Aram%3A%3A1%3Arole%2Fr";
        let empty_body_hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let authorization = "ACS3-HMAC-SHA256 Credential=STS.id,SignedHeaders=host;x-acs-action;x-acs-content-sha256;\
            x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version,\
            Signature=a3737127462c133f68be7c967a8ea78d6c4ee595d9b06fa6a3ec12d45d48c28b";
        let headers = vec![
            ("x-acs-action", "AssumeRole"),
            ("x-acs-content-sha256", empty_body_hash),
            ("x-acs-date", "2024-05-21T10:39:29Z"),
            ("x-acs-signature-nonce", "n-1"),
            ("x-acs-version", "2015-04-01"),
            ("x-acs-security-token", "to+ken"),
            ("authorization", authorization),
        ];
        assert_eq!(sent(&signed), (query, headers, None));
    }

    #[test]
    fn unsigned_request_has_a_nonce_and_no_signature() {
        let form = "Action=AssumeRole&Format=JSON&Policy=%7B%22a%20b%22%3A%22%2A~%C3%BC%22%7D\
            &RoleArn=acs%3Aram%3A%3A1%3Arole%2Fr&SignatureNonce=n-1&Timestamp=2024-05-21T10%3A39%3A29Z\
            &Version=2015-04-01";
        let unsigned = unsigned(parameters(), &stamp());
        assert_eq!(sent(&unsigned), ("", vec![FORM_TYPE], Some(form)));
    }
}
