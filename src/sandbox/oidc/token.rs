//! Issues OIDC tokens: valid ones, and ones with a defect.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rsa::{PrivateKey, PublicKey};
use serde_json::json;
use sha2::Sha256;

use crate::sandbox::random::Random;

/// What is wrong with a token that STS has to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenDefect {
    /// Another issuer than the provider's.
    OtherIssuer,
    /// Signed with another key than the provider's.
    OtherKey,
    /// Its header names a key that the provider does not have.
    UnknownKeyId,
    /// Its header names HS256.
    OtherAlgorithm,
    /// It expired a minute ago.
    Expired,
    /// It becomes valid in an hour.
    NotYetValid,
}

/// The content of a token, and its defect.
pub(crate) struct TokenSpec<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) audiences: &'a [&'a str],
    pub(crate) lifetime: Duration,
    pub(crate) defect: Option<TokenDefect>,
}

impl TokenSpec<'_> {
    /// Returns the signed token. The first call in a process blocks while it generates the key.
    pub(crate) fn sign(&self, now: DateTime<Utc>, random: &Random) -> String {
        let has = |defect| self.defect == Some(defect);
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let issued_at = match self.defect {
            Some(TokenDefect::Expired) => {
                now.timestamp().saturating_sub(lifetime).saturating_sub(60)
            }
            Some(TokenDefect::NotYetValid) => now.timestamp().saturating_add(3600),
            _ => now.timestamp(),
        };
        let issuer = if has(TokenDefect::OtherIssuer) {
            OTHER_ISSUER
        } else {
            self.issuer
        };
        let header = json!({
            "alg": if has(TokenDefect::OtherAlgorithm) { "HS256" } else { "RS256" },
            "kid": if has(TokenDefect::UnknownKeyId) { "unknown" } else { KEY_ID },
            "typ": "JWT",
        });
        let claims = json!({
            "iss": issuer,
            "sub": self.subject,
            "aud": self.audiences,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at.saturating_add(lifetime),
            "jti": random.uuid(),
        });
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let key = if has(TokenDefect::OtherKey) {
            &OTHER
        } else {
            &OWN
        };
        let key = key.get_or_init(|| generate(random));
        // A 2048-bit key is long enough for the encoded digest.
        let signature = key
            .pkcs1v15_sign::<Sha256>(signed.as_bytes())
            .unwrap_or_default();
        format!("{signed}.{}", encode(&signature))
    }
}

/// Returns the key that the sandbox's tokens are signed with; `None` before the first token.
pub(crate) fn own_public_key() -> Option<&'static PublicKey> {
    OWN.get().map(PrivateKey::as_public_key)
}

fn generate(mut random: &Random) -> PrivateKey {
    #[expect(
        clippy::expect_used,
        reason = "the size is supported, and the random numbers cannot fail"
    )]
    PrivateKey::new(&mut random, KEY_BITS).expect("an RSA key of 2048 bits")
}

/// The `kid` in the header of the sandbox's tokens.
pub(crate) const KEY_ID: &str = "sandbox";

/// The size that OIDC providers use.
const KEY_BITS: usize = 2048;

/// Reserved by RFC 2606, like the provider's own: neither can exist.
const OTHER_ISSUER: &str = "https://other-issuer.invalid";

/// One key for all sandboxes of a process, generated at the first use because that takes a noticeable time.
static OWN: OnceLock<PrivateKey> = OnceLock::new();

/// A key that no provider knows.
static OTHER: OnceLock<PrivateKey> = OnceLock::new();
