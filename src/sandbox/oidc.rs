//! The OIDC provider, which verifies the tokens of `AssumeRoleWithOIDC`.

pub(crate) mod token;

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::sandbox::http::response::{ApiError, refuse_token};
use crate::sandbox::policy::trust::OneOrMany;

/// An OIDC provider that is registered in the account.
pub(crate) struct Provider {
    pub(crate) arn: String,
    pub(crate) issuer: String,
    pub(crate) client_ids: Vec<String>,
    pub(crate) keys: Keys,
}

/// The keys whose signatures a provider accepts.
pub(crate) struct Keys(Vec<Key>);

/// One key of a JSON Web Key Set.
pub(crate) struct Key {
    id: Option<String>,
    public: PublicKey,
}

/// A public key, which decides on the algorithm: a token's header may only agree with it.
enum PublicKey {
    /// RS256, which the issuers of Kubernetes clusters use.
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// ES256: an uncompressed point of P-256.
    P256(Vec<u8>),
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
        if !["RS256", "ES256"].contains(&header.alg.as_str()) {
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
        if !self.keys.verify(&header, signed.as_bytes(), &signature) {
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

/// Whether a text is a JSON Web Key Set that [`Options::oidc_keys`] accepts.
///
/// [`Options::oidc_keys`]: crate::sandbox::Options::oidc_keys
pub fn check_key_set(text: &str) -> Result<(), String> {
    Keys::parse(text).map_err(|error| error.to_string())?;
    Ok(())
}

impl Keys {
    /// Reads the RSA and P-256 keys of a JSON Web Key Set; other keys are ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidKeySet> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Jwk>,
        }

        let set: Set = serde_json::from_str(text).map_err(InvalidKeySet::Json)?;
        let keys = set.keys.into_iter().filter_map(|jwk| {
            let public = match (jwk.kty.as_str(), jwk.crv.as_str()) {
                ("RSA", _) => rsa(&jwk),
                ("EC", "P-256") => p256(&jwk),
                _ => return None,
            };
            let name = jwk.kid.clone().unwrap_or_default();
            Some(match public {
                Some(public) => Ok(Key {
                    id: jwk.kid,
                    public,
                }),
                None => Err(InvalidKeySet::Key { name }),
            })
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// Whether a message is signed with one of the keys, with its algorithm, and with the key of the given id if there is one.
    fn verify(&self, header: &Header, message: &[u8], signature: &[u8]) -> bool {
        self.0
            .iter()
            .filter(|key| header.kid.is_none() || key.id == header.kid)
            .any(|key| key.public.verify(&header.alg, message, signature))
    }
}

impl PublicKey {
    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa(key) if algorithm == "RS256" => {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Self::P256(point) if algorithm == "ES256" => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

/// The error of a key set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidKeySet {
    #[error("the key set of the OIDC provider is not a JSON Web Key Set")]
    Json(#[source] serde_json::Error),
    #[error(
        "the key `{name}` of the OIDC provider is neither an RSA public key of 2048 to 8192 bits nor a P-256 public key"
    )]
    Key { name: String },
}

/// A JSON Web Key (RFC 7518, section 6). Its numbers are in Base64.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// Reads an RSA key of a length that RFC 7518 permits for RS256. Verification refuses a number that cannot be part of a key.
fn rsa(jwk: &Jwk) -> Option<PublicKey> {
    let number = |text, bits: RangeInclusive<usize>| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let padding = bytes.first()?.leading_zeros();
        let length = (8 * bytes.len()).checked_sub(usize::try_from(padding).ok()?)?;
        // Numbers have no zeros in front.
        (padding < 8 && bits.contains(&length)).then_some(bytes)
    };
    Some(PublicKey::Rsa(RsaPublicKeyComponents {
        n: number(&jwk.n, 2048..=8192)?,
        e: number(&jwk.e, 2..=33)?,
    }))
}

/// Reads a point of P-256. Verification refuses one that is not on the curve.
fn p256(jwk: &Jwk) -> Option<PublicKey> {
    let mut point = vec![UNCOMPRESSED];
    for coordinate in [&jwk.x, &jwk.y] {
        point.extend(
            URL_SAFE_NO_PAD
                .decode(coordinate)
                .ok()
                .filter(|bytes| bytes.len() == 32)?,
        );
    }
    Some(PublicKey::P256(point))
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

/// The first byte of a point whose coordinates follow (SEC 1).
const UNCOMPRESSED: u8 = 4;

/// How far ahead the issuer's clock may be. Kubernetes signs tokens that are valid from the present second on.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 7515, appendices A.2 and A.3: both sign the same claims, with these keys.
    const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const RS256: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    const ES256: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    fn keys(jwks: &[serde_json::Value]) -> Result<Keys, InvalidKeySet> {
        Keys::parse(&json!({ "keys": jwks }).to_string())
    }

    #[test]
    fn published_signatures_are_verified_with_the_algorithm_of_the_key_only() {
        let rsa = json!({"kty": "RSA", "kid": "r", "n": MODULUS, "e": "AQAB"});
        let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": X, "y": Y});
        let other = json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": Y, "y": X});
        let both = [rsa.clone(), p256.clone()];
        for (jwks, algorithm, id, is_valid) in [
            (&both[..], "RS256", None, true),
            (&both, "ES256", None, true),
            (&both, "RS256", Some("r"), true),
            (&both, "ES256", Some("p"), true),
            (&both, "RS256", Some("p"), false),
            (&both, "ES256", Some("r"), false),
            (&[rsa], "ES256", None, false),
            (&[p256], "RS256", None, false),
            (&[other], "ES256", None, false),
            (&[], "RS256", None, false),
        ] {
            let keys = keys(jwks).unwrap();
            let header = Header {
                alg: algorithm.to_owned(),
                kid: id.map(str::to_owned),
            };
            let signature = if algorithm == "RS256" { RS256 } else { ES256 };
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let part = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm}).to_string());
            let message = format!("{part}.{CLAIMS}");
            let verify = |message: &str, signature: &[u8]| {
                keys.verify(&header, message.as_bytes(), signature)
            };
            assert_eq!(verify(&message, &signature), is_valid, "{algorithm} {id:?}");
            for index in 0..signature.len() {
                let mut altered = signature.clone();
                altered[index] ^= 1;
                assert!(!verify(&message, &altered), "{algorithm} {index}");
            }
            assert!(!verify(&message, &signature[1..]) && !verify(&message, &[]));
            assert!(!verify(&message.replace("eyJ", "eyK"), &signature));
        }
    }

    #[test]
    fn only_rsa_keys_of_a_permitted_length_and_whole_points_are_accepted() {
        let rsa = |bytes: &[u8], e: &str| json!({"kty": "RSA", "kid": "k", "n": URL_SAFE_NO_PAD.encode(bytes), "e": e});
        let p256 = |x: &str| json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": Y});
        for (jwk, is_accepted) in [
            (rsa(&[0xFF; 256], "AQAB"), true),
            (rsa(&[0xFF; 1024], "Aw"), true),
            (rsa(&[0x7F; 256], "AQAB"), false),
            (rsa(&[0xFF; 128], "AQAB"), false),
            (rsa(&[0xFF; 1025], "AQAB"), false),
            (rsa(&[&[0], &[0xFF; 256][..]].concat(), "AQAB"), false),
            (rsa(&[0; 256], "AQAB"), false),
            (rsa(&[], "AQAB"), false),
            (rsa(&[0xFF; 256], ""), false),
            (rsa(&[0xFF; 256], "AQ"), false),
            (rsa(&[0xFF; 256], "____"), true),
            (rsa(&[0xFF; 256], "________"), false),
            (rsa(&[0xFF; 256], "?"), false),
            (p256(X), true),
            (p256("AA"), false),
            (p256(""), false),
            // Other keys are ignored.
            (json!({"kty": "EC", "crv": "P-384", "x": X, "y": Y}), true),
            (json!({"kty": "oct", "k": "AA"}), true),
        ] {
            let parsed = keys(std::slice::from_ref(&jwk));
            assert_eq!(parsed.is_ok(), is_accepted, "{jwk}");
            if let Err(error) = parsed {
                assert!(error.to_string().starts_with("the key `k` of"), "{error}");
            }
        }
    }
}
