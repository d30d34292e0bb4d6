//! An OIDC token from a file: RRSA's projected service account token.

use std::path::PathBuf;

use crate::failure::Failure;

use super::{Proof, read};

/// Where the token is, and which provider vouches for it.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// `acs:ram::<account id>:oidc-provider/<name>`.
    pub provider_arn: String,
    /// The file that the kubelet keeps fresh.
    pub token_file: PathBuf,
}

impl Oidc {
    pub(super) async fn token(&self) -> Result<Proof, Failure> {
        let token = read(&self.token_file).await?;
        Ok(Proof::Token {
            provider_arn: self.provider_arn.clone(),
            token,
        })
    }
}
