//! The RPC V1 signature (HMAC-SHA1), written from its specification.
//!
//! It shares no code with the signer of the daemon, so that the same error on both sides cannot go unnoticed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use sha1::Sha1;

/// Returns the text that is signed: the method and all parameters except `Signature`.
///
/// The map orders parameters by the bytes of their names, as the specification requires.
pub(crate) fn string_to_sign(method: &str, params: &BTreeMap<String, String>) -> String {
    let query = params
        .iter()
        .filter(|(name, _)| *name != "Signature")
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect::<Vec<_>>()
        .join("&");
    format!(
        "{method}&{}&{}",
        percent_encode("/"),
        percent_encode(&query)
    )
}

/// Verifies in constant time that `string_to_sign` was signed with `secret`.
pub(crate) fn is_signed(string_to_sign: &str, secret: &SecretString, signature: &str) -> bool {
    let key = format!("{}&", secret.expose_secret());
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("a key of any length");
    mac.update(string_to_sign.as_bytes());
    STANDARD
        .decode(signature)
        .is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
}

/// Percent-encodes all characters except the unreserved ones of RFC 3986: a space is `%20`, `*` is `%2A`, `~` is unchanged.
pub(crate) fn percent_encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        kind: String,
        name: String,
        method: String,
        #[serde(default)]
        params: BTreeMap<String, String>,
        secret: String,
        string_to_sign: String,
        signature: String,
    }

    #[test]
    fn published_and_differential_vectors_verify() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../../tests/data/signature-vectors.json"))
                .unwrap();
        let rpc: Vec<_> = vectors.into_iter().filter(|v| v.kind == "rpc-v1").collect();
        assert_eq!(rpc.len(), 6);
        for vector in rpc {
            let mut params = vector.params;
            params.insert("Signature".into(), "not part of the text".into());
            let text = string_to_sign(&vector.method, &params);
            assert_eq!(text, vector.string_to_sign, "{}", vector.name);

            let secret = SecretString::from(vector.secret);
            assert!(
                is_signed(&text, &secret, &vector.signature),
                "{}",
                vector.name
            );
            assert!(
                !is_signed(&text, &"another".into(), &vector.signature),
                "{}",
                vector.name
            );
            assert!(!is_signed(&text, &secret, ""), "{}", vector.name);
        }
    }
}
