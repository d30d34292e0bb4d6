//! Mints OIDC tokens: good ones, and ones with a flaw.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rsa::{PrivateKey, PublicKey};
use serde_json::json;
use sha2::Sha256;

use crate::sandbox::random::Random;

/// What is wrong with a token that the sandbox is to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// Another issuer than the provider's.
    OtherIssuer,
    /// Signed with another key than the provider's.
    OtherKey,
    /// Its header names a key that the provider does not have.
    UnknownKeyId,
    /// Its header names HS256.
    OtherAlgorithm,
    /// Its lifetime ended a minute ago.
    Expired,
    /// Its lifetime begins in an hour.
    NotYetValid,
}

/// What a token is to say.
pub(in crate::sandbox) struct Order<'a> {
    pub(in crate::sandbox) issuer: &'a str,
    pub(in crate::sandbox) subject: &'a str,
    pub(in crate::sandbox) audiences: &'a [&'a str],
    pub(in crate::sandbox) lifetime: Duration,
    pub(in crate::sandbox) flaw: Option<Flaw>,
}

impl Order<'_> {
    /// Signs the token. Blocks for as long as it takes to make the key, the first time.
    pub(in crate::sandbox) fn mint(&self, now: DateTime<Utc>, random: &Random) -> String {
        let flawed = |flaw| self.flaw == Some(flaw);
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let issued_at = match self.flaw {
            Some(Flaw::Expired) => now.timestamp().saturating_sub(lifetime).saturating_sub(60),
            Some(Flaw::NotYetValid) => now.timestamp().saturating_add(3600),
            _ => now.timestamp(),
        };
        let issuer = if flawed(Flaw::OtherIssuer) {
            OTHER_ISSUER
        } else {
            self.issuer
        };
        let header = json!({
            "alg": if flawed(Flaw::OtherAlgorithm) { "HS256" } else { "RS256" },
            "kid": if flawed(Flaw::UnknownKeyId) { "unknown" } else { KEY_ID },
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
        let slot = if flawed(Flaw::OtherKey) { &OTHER } else { &OWN };
        let key = slot.get_or_init(|| generate(random));
        // A 2048-bit key holds the encoding.
        let signature = key
            .pkcs1v15_sign::<Sha256>(signed.as_bytes())
            .unwrap_or_default();
        format!("{signed}.{}", encode(&signature))
    }
}

/// Returns the key that the sandbox's tokens are signed with, unless none was minted yet.
pub(in crate::sandbox) fn own_public_key() -> Option<&'static PublicKey> {
    OWN.get().map(PrivateKey::as_public_key)
}

fn generate(mut random: &Random) -> PrivateKey {
    #[expect(
        clippy::expect_used,
        reason = "2048 bits can be made, and the randomness cannot fail"
    )]
    PrivateKey::new(&mut random, KEY_BITS).expect("an RSA key of 2048 bits")
}

/// Names the key in the header of the sandbox's tokens.
pub(in crate::sandbox) const KEY_ID: &str = "sandbox";

/// What OIDC providers use.
const KEY_BITS: usize = 2048;

/// Reserved by RFC 2606, like the provider's own: neither can exist.
const OTHER_ISSUER: &str = "https://other-issuer.invalid";

/// One key for all the sandboxes of a process, made when it is first needed: it takes a noticeable time.
static OWN: OnceLock<PrivateKey> = OnceLock::new();

/// The key of nobody.
static OTHER: OnceLock<PrivateKey> = OnceLock::new();
