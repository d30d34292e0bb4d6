//! Issues OIDC tokens, valid or with a defect.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::error::Unspecified;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

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

/// The private keys of a sandbox, which sign its tokens with ES256.
pub(crate) struct Signer {
    random: SystemRandom,
    key: EcdsaKeyPair,
    /// A key that no provider accepts.
    other: EcdsaKeyPair,
}

impl Signer {
    /// Generates the keys.
    pub(crate) fn generate() -> Result<Self, Unspecified> {
        let random = SystemRandom::new();
        let generate = || {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random)?;
            EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).map_err(|_| Unspecified)
        };
        let (key, other) = (generate()?, generate()?);
        Ok(Self { random, key, other })
    }

    /// Returns the public key as a JSON Web Key Set.
    pub(crate) fn key_set(&self) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // A byte tells that both coordinates follow (SEC 1).
        let point = self.key.public_key().as_ref();
        json!({"keys": [{
            "kty": "EC",
            "crv": "P-256",
            "alg": "ES256",
            "kid": KEY_ID,
            "x": encode(&point[1..33]),
            "y": encode(&point[33..]),
        }]})
        .to_string()
    }
}

impl TokenClaims<'_> {
    /// Returns the signed token.
    pub(crate) fn sign(
        &self,
        signer: &Signer,
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
            "alg": if has(TokenDefect::OtherAlgorithm) { "HS256" } else { "ES256" },
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
        let message = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let key = if has(TokenDefect::OtherKey) {
            &signer.other
        } else {
            &signer.key
        };
        #[expect(
            clippy::expect_used,
            reason = "the system's random numbers do not fail after the start"
        )]
        let signature = key
            .sign(&signer.random, message.as_bytes())
            .expect("random numbers");
        format!("{message}.{}", encode(signature.as_ref()))
    }
}

/// The `kid` in the header of the sandbox's tokens.
const KEY_ID: &str = "sandbox";

/// A host below `.invalid`, as of the provider's issuer: RFC 2606 reserves it, so that neither exists.
const OTHER_ISSUER: &str = "https://other-issuer.invalid";
