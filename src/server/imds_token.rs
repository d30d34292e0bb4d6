//! The tokens of the ECS metadata protocol. They are stateless: each contains its expiration, authenticated by an HMAC.
//!
//! The expiration is a time of the boot clock, which cannot be set, and the key of the HMAC belongs to this process. After a
//! restart every token is refused with 401, and clients then fetch a new one.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Issues and verifies tokens.
pub struct Tokens {
    key: [u8; 32],
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Creates the issuer with a key, which must be random and secret.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// Issues a token that is valid for `ttl` from `now`, a time since boot.
    pub fn issue(&self, ttl: Duration, now: Duration) -> String {
        let end = u64::try_from((now + ttl).as_millis()).unwrap_or(u64::MAX);
        let end = end.to_be_bytes();
        let proof = self.mac(&end).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&end[..], &proof].concat())
    }

    /// Whether a token was issued here and is valid at `now`, a time since boot.
    pub fn is_valid(&self, token: &[u8], now: Duration) -> bool {
        let Ok(token) = URL_SAFE_NO_PAD.decode(token) else {
            return false;
        };
        let Some((end, proof)) = token.split_first_chunk::<8>() else {
            return false;
        };
        // In constant time for proofs of any length.
        let is_authentic = self.mac(end).verify_slice(proof).is_ok();
        is_authentic && now < Duration::from_millis(u64::from_be_bytes(*end))
    }

    fn mac(&self, end: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length");
        mac.update(end);
        mac
    }
}

/// Parses the time to live that a client requests: 1 to 21600 whole seconds.
pub fn ttl(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds: u64 = is_number.then(|| text.parse().ok())??;
    (1..=MAX_TTL)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

/// Six hours in seconds, the maximum that ECS documents.
const MAX_TTL: u64 = 21_600;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_token_is_valid_until_it_expires_and_only_where_it_was_issued() {
        let tokens = Tokens::new([7; 32]);
        let token = tokens.issue(60 * SECOND, 100 * SECOND);
        assert!(tokens.is_valid(token.as_bytes(), 100 * SECOND));
        assert!(tokens.is_valid(token.as_bytes(), Duration::from_millis(159_999)));
        assert!(!tokens.is_valid(token.as_bytes(), 160 * SECOND));
        assert!(!Tokens::new([8; 32]).is_valid(token.as_bytes(), 100 * SECOND));
        // It is a valid header value.
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
    }

    #[test]
    fn changed_tokens_are_invalid() {
        let tokens = Tokens::new([7; 32]);
        let token = tokens.issue(60 * SECOND, SECOND).into_bytes();
        for index in 0..token.len() {
            let mut changed = token.clone();
            // Not only the last bits of the last character, which encode nothing.
            changed[index] = if changed[index] == b'A' { b'h' } else { b'A' };
            assert!(!tokens.is_valid(&changed, SECOND), "{index}");
            assert!(!tokens.is_valid(&token[..index], SECOND), "{index}");
        }
        assert!(!tokens.is_valid(&[&token[..], b"AA"].concat(), SECOND));
        assert!(!tokens.is_valid(b"", SECOND) && !tokens.is_valid(b"\xff", SECOND));
    }

    #[test]
    fn debug_output_does_not_contain_the_key() {
        assert_eq!(format!("{:?}", Tokens::new([7; 32])), "Tokens { .. }");
    }

    #[test]
    fn a_time_to_live_is_a_number_of_seconds_within_six_hours() {
        for (text, seconds) in [
            ("1", Some(1)),
            ("21600", Some(21_600)),
            ("0", None),
            ("21601", None),
            ("", None),
            ("+5", None),
            ("-1", None),
            (" 5", None),
            ("5s", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(
                ttl(text.as_bytes()),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
