//! HMAC and hexadecimal digits, for the signatures of OSS and of MaxCompute.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// Derives the key of a V4 signature from the secret.
///
/// The scope is `date/region/product/aliyun_v4_request`; each part is one step of the derivation.
pub(crate) fn v4_key(secret: &str, scope: &str) -> Vec<u8> {
    let secret = format!("aliyun_v4{secret}").into_bytes();
    scope
        .split('/')
        .fold(secret, |key, step| hmac_sha256(&key, step))
}

/// Returns the HMAC-SHA256 of `text`.
pub(crate) fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Returns the HMAC-SHA1 of `text` in Base64.
pub(crate) fn hmac_sha1_base64(key: &[u8], text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Returns lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).expect("half a byte is a digit");
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
