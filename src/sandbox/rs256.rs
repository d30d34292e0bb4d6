//! RS256: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2), the signature of OIDC tokens.
//!
//! The encoding is written out over the key types of `rsa`.
//! Until the feature `pkcs1v15` of `rsa` is enabled: then its `pkcs1v15_sign` and `pkcs1v15_verify` replace this.

use rsa::traits::{PrivateKeyParts as _, PublicKeyParts};
use rsa::{BoxedUint, PrivateKey, PublicKey};
use sha2::{Digest as _, Sha256};

/// Signs `message`; `None` if the key is too short to hold the encoding.
pub(super) fn sign(key: &PrivateKey, message: &[u8]) -> Option<Vec<u8>> {
    let encoded = encode(message, key.size())?;
    raw(key, &encoded, key.d())
}

/// Whether `signature` is that of `message`.
///
/// The expected encoding is made anew and compared whole, so that nothing in a forged one is ever parsed.
pub(super) fn is_signed(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    if signature.len() != key.size() {
        return false;
    }
    let expected = encode(message, key.size());
    expected.is_some() && raw(key, signature, key.e()) == expected
}

/// Raises `input` to `exponent` modulo the key's modulus; `None` unless it is below the modulus.
fn raw(key: &impl PublicKeyParts, input: &[u8], exponent: &BoxedUint) -> Option<Vec<u8>> {
    let base = BoxedUint::from_be_slice(input, key.n_bits_precision()).ok()?;
    if base >= *key.n().as_ref() {
        return None;
    }
    let modulus = key.n_params().modulus();
    let output = base.pow_mod(exponent, modulus).to_be_bytes();
    // The precision may exceed the modulus; the surplus is leading zeros.
    output
        .get(output.len().checked_sub(key.size())?..)
        .map(<[u8]>::to_vec)
}

/// EMSA-PKCS1-v1_5: `00 01 FF … FF 00`, the algorithm, the hash; `length` octets in all.
fn encode(message: &[u8], length: usize) -> Option<Vec<u8>> {
    let hash = Sha256::digest(message);
    let tail = DIGEST_INFO.len() + hash.len();
    let padding = length
        .checked_sub(tail + 3)
        .filter(|padding| *padding >= 8)?;
    let mut encoded = vec![0, 1];
    encoded.resize(2 + padding, 0xFF);
    encoded.push(0);
    encoded.extend_from_slice(&DIGEST_INFO);
    encoded.extend_from_slice(&hash);
    Some(encoded)
}

/// The DER prefix that names SHA-256 (RFC 8017, section 9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
