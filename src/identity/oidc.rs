//! An OIDC token from a file, such as the projected service account token of RRSA.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::credentials::is_key_text;
use crate::failure::caller::Claims;
use crate::failure::{Failure, redact};

use super::{File, Proof};

/// An OIDC token, by its file and provider.
#[derive(Debug)]
pub struct Oidc {
    /// `acs:ram::<account id>:oidc-provider/<name>`.
    pub provider_arn: String,
    /// The file, which the kubelet rotates.
    pub token_file: File,
}

impl Oidc {
    pub(super) async fn token(&mut self) -> Result<Proof, Failure> {
        let token = self.token_file.read().await?;
        Ok(Proof::Token {
            provider_arn: self.provider_arn.clone(),
            token,
        })
    }
}

/// Whether a text is an OIDC provider ARN: `acs:ram::<account id>:oidc-provider/<name>`.
pub fn is_provider_arn(text: &str) -> bool {
    let rest = text.strip_prefix("acs:ram::");
    let provider = rest.and_then(|rest| rest.split_once(":oidc-provider/"));
    provider.is_some_and(|(account, name)| {
        !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit()) && is_key_text(name)
    })
}

/// Reads the claims of a token without verifying it; `None` if it is not a JSON Web Token.
pub fn claims(token: &SecretString) -> Option<Claims> {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(default)]
        iss: String,
        #[serde(default)]
        sub: String,
        aud: Option<Audience>,
        exp: Option<i64>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }

    let payload = token.expose_secret().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let payload: Payload = serde_json::from_slice(&payload).ok()?;
    // Claims are quoted in messages: on one line, and bounded.
    let quotable = |text: &str| redact(text, &[]);
    Some(Claims {
        issuer: quotable(&payload.iss),
        subject: quotable(&payload.sub),
        audiences: match &payload.aud {
            Some(Audience::One(one)) => vec![quotable(one)],
            Some(Audience::Many(many)) => many.iter().map(|one| quotable(one)).collect(),
            None => Vec::new(),
        },
        expires_at: payload.exp.and_then(|exp| DateTime::from_timestamp(exp, 0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_without_verifying_the_signature() {
        let token = |payload: &str| {
            let payload = URL_SAFE_NO_PAD.encode(payload);
            claims(&format!("header.{payload}.signature").into())
        };
        let read = token(
            r#"{"iss":"https://i","sub":"system:serviceaccount:a:b","aud":["x","y"],"exp":1716287969}"#,
        );
        let read = read.unwrap();
        assert_eq!(read.issuer, "https://i");
        assert_eq!(read.subject, "system:serviceaccount:a:b");
        assert_eq!(read.audiences, ["x", "y"]);
        assert_eq!(read.expires_at.unwrap().timestamp(), 1_716_287_969);
        assert_eq!(token(r#"{"aud":"x"}"#).unwrap().audiences, ["x"]);
        assert_eq!(token("{}").unwrap().audiences.len(), 0);
        for text in ["", "a", "a.b", "a.%.c", "..", "a.e30"] {
            assert_eq!(claims(&text.into()).is_some(), text == "a.e30", "{text}");
        }
    }
}
