//! The OIDC provider, which verifies the tokens of `AssumeRoleWithOIDC`.

pub(crate) mod token;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rsa::{BoxedUint, PublicKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use crate::sandbox::http::response::{ApiError, refuse_token};
use crate::sandbox::oidc::token::{KEY_ID, sandbox_public_key};
use crate::sandbox::policy::trust::OneOrMany;

/// An OIDC provider that is registered in the account.
pub(crate) struct Provider {
    pub(crate) arn: String,
    pub(crate) issuer: String,
    pub(crate) client_ids: Vec<String>,
    pub(crate) keys: Keys,
}

/// The keys whose signatures a provider accepts.
pub(crate) enum Keys {
    /// The keys of a JSON Web Key Set.
    JsonWebKeySet(Vec<Key>),
    /// The key that signs the tokens of the sandbox.
    Sandbox,
}

/// One key of a JSON Web Key Set.
pub(crate) struct Key {
    id: Option<String>,
    key: PublicKey,
}

/// The claims of a token.
#[derive(Deserialize)]
pub(crate) struct Claims {
    #[serde(rename = "iss")]
    pub(crate) issuer: String,
    #[serde(rename = "sub")]
    pub(crate) subject: String,
    #[serde(rename = "aud")]
    pub(crate) audiences: OneOrMany,
    #[serde(rename = "exp")]
    pub(crate) expires_at: NumericDate,
    #[serde(rename = "nbf")]
    not_before: Option<NumericDate>,
    #[serde(rename = "iat")]
    pub(crate) issued_at: Option<NumericDate>,
}

/// Seconds since 1970, within the range of a date.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) struct NumericDate(pub(crate) DateTime<Utc>);

impl TryFrom<i64> for NumericDate {
    type Error = &'static str;

    fn try_from(seconds: i64) -> Result<Self, Self::Error> {
        DateTime::from_timestamp(seconds, 0)
            .map(Self)
            .ok_or("out of the range of a date")
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl Provider {
    /// Verifies a token; the errors are those of STS.
    pub(crate) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, ApiError> {
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            let message = "The number of Jwt field should be divided into 3 parts with '.' .";
            return refuse_token("Invalid", message);
        };
        let signed = token
            .get(..header.len() + 1 + claims.len())
            .unwrap_or_default();
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);

        let header: Header = parse_json(&header)?;
        if header.alg != "RS256" {
            let message = format!(
                "The algorithm {} that be specified in Jwt header is unknown.",
                header.alg
            );
            return refuse_token("Invalid", &message);
        }
        let claims: Claims = parse_json(&claims)?;
        if claims.issuer != self.issuer {
            let message =
                "The issuer in the OIDC Token doesn't match the OIDC Provider registered.";
            return refuse_token("IssuerNotMatch", message);
        }
        let key_id = header.kid.as_deref();
        if !self.keys.verify(key_id, signed.as_bytes(), &signature) {
            let message = "OIDC token validate failed: invalid signature.";
            return refuse_token("InvalidSignature", message);
        }
        self.check(&claims, now)?;
        Ok(claims)
    }

    fn check(&self, claims: &Claims, now: DateTime<Utc>) -> Result<(), ApiError> {
        if now >= claims.expires_at.0 {
            return refuse_token("Expired", "This JsonWebToken is expired.");
        }
        if claims
            .not_before
            .or(claims.issued_at)
            .is_some_and(|since| now + LEEWAY < since.0)
        {
            return Err(unrecognized());
        }
        let accepts = |audience: &str| self.client_ids.iter().any(|id| id == audience);
        if !claims.audiences.any(accepts) {
            return refuse_token("AudienceNotMatch", "Invalid audience.");
        }
        Ok(())
    }
}

impl Keys {
    /// Reads the RSA keys of a JSON Web Key Set; other keys are ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidKeySet> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Jwk>,
        }
        #[derive(Deserialize)]
        struct Jwk {
            kty: String,
            kid: Option<String>,
            #[serde(default)]
            n: String,
            #[serde(default)]
            e: String,
        }

        let set: Set = serde_json::from_str(text).map_err(InvalidKeySet::Json)?;
        let keys = set
            .keys
            .into_iter()
            .filter(|jwk| jwk.kty == "RSA")
            .map(|jwk| {
                let key = public_key(&jwk.n, &jwk.e);
                let name = jwk.kid.clone().unwrap_or_default();
                Ok(Key {
                    id: jwk.kid,
                    key: key.ok_or(InvalidKeySet::Key { name })?,
                })
            });
        Ok(Self::JsonWebKeySet(keys.collect::<Result<_, _>>()?))
    }

    /// Whether a message is signed with one of the keys, and with that of the given id if there is one.
    fn verify(&self, id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        let is_signed = |key: &PublicKey| key.pkcs1v15_verify::<Sha256>(message, signature).is_ok();
        match self {
            Self::JsonWebKeySet(keys) => keys
                .iter()
                .filter(|key| id.is_none() || key.id.as_deref() == id)
                .any(|key| is_signed(&key.key)),
            Self::Sandbox => {
                id.is_none_or(|id| id == KEY_ID) && sandbox_public_key().is_some_and(is_signed)
            }
        }
    }
}

/// The error of a key set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidKeySet {
    #[error("the key set of the OIDC provider is not a JSON Web Key Set")]
    Json(#[source] serde_json::Error),
    #[error("the key `{name}` of the OIDC provider is not an RSA public key of 1024 to 8192 bits")]
    Key { name: String },
}

fn public_key(modulus: &str, exponent: &str) -> Option<PublicKey> {
    let number = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        // `PublicKey::new` refuses longer ones; nothing is computed with them.
        (bytes.len() <= 1024).then(|| BoxedUint::from_be_slice_vartime(&bytes))
    };
    PublicKey::new(number(modulus)?, number(exponent)?).ok()
}

fn decode(part: &str) -> Result<Vec<u8>, ApiError> {
    let message = "Cannot decode base64 encoded response(format invalid).";
    let decoded = URL_SAFE_NO_PAD.decode(part);
    decoded.map_err(|_| ApiError::oidc_token("Invalid", message))
}

fn parse_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(json).map_err(|_| unrecognized())
}

fn unrecognized() -> ApiError {
    let message = "The Jwt content is invalid that cannot be recognized.";
    ApiError::oidc_token("Invalid", message)
}

/// How far ahead the issuer's clock may be. Kubernetes signs tokens that are valid from the present second on.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);
