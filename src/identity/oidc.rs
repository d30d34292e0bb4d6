//! An OIDC token from a file: RRSA's projected service account token.

use crate::failure::Failure;

use super::{File, Proof};

/// Where the token is, and which provider vouches for it.
#[derive(Debug)]
pub struct Oidc {
    /// `acs:ram::<account id>:oidc-provider/<name>`.
    pub provider_arn: String,
    /// The file that the kubelet keeps fresh.
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
