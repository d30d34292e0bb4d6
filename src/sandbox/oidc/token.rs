//! Issues OIDC tokens, valid or with a defect.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use getrandom::SysRng;
use rsa::{PrivateKey, PublicKey};
use serde_json::json;
use sha2::Sha256;

use crate::sandbox::random::Random;

/// A defect of a token, for which STS refuses it.
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

/// The claims of a token that its caller chooses.
pub(crate) struct TokenClaims<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) lifetime: Duration,
}

impl TokenClaims<'_> {
    /// Returns the signed token. The first call in a process blocks while it generates the key.
    pub(crate) fn sign(
        &self,
        defect: Option<TokenDefect>,
        now: DateTime<Utc>,
        random: &Random,
    ) -> String {
        let has = |kind| defect == Some(kind);
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let issued_at = match defect {
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
            "aud": [self.audience],
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
            &SANDBOX
        };
        let key = key.get_or_init(generate);
        // The key is long enough for the encoded digest.
        let signature = key
            .pkcs1v15_sign::<Sha256>(signed.as_bytes())
            .unwrap_or_default();
        format!("{signed}.{}", encode(&signature))
    }
}

/// Returns the key that the sandbox's tokens are signed with; `None` before the first token.
pub(crate) fn sandbox_public_key() -> Option<&'static PublicKey> {
    SANDBOX.get().map(PrivateKey::as_public_key)
}

fn generate() -> PrivateKey {
    #[expect(
        clippy::expect_used,
        reason = "the size is supported, and the system's random numbers do not fail after the start"
    )]
    PrivateKey::new(&mut SysRng, KEY_BITS).expect("an RSA key of 2048 bits")
}

/// The `kid` in the header of the sandbox's tokens.
pub(crate) const KEY_ID: &str = "sandbox";

/// The size that OIDC providers use.
const KEY_BITS: usize = 2048;

/// A host below `.invalid`, as of the provider's issuer: RFC 2606 reserves it, so that neither exists.
const OTHER_ISSUER: &str = "https://other-issuer.invalid";

/// The key of all sandboxes of a process, generated at its first use because that takes a noticeable time.
static SANDBOX: OnceLock<PrivateKey> = OnceLock::new();

/// A key that no provider accepts.
static OTHER: OnceLock<PrivateKey> = OnceLock::new();
