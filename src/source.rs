//! One attempt to obtain credentials.

use std::future::Future;

use crate::failure::Failure;
use crate::identity::{Identity, Proof};
use crate::sts::{Granted, RoleRequest, Sts};

/// Something that can be asked for credentials. One attempt a call; whoever calls decides about trying again.
pub trait Source {
    /// Obtains new credentials. Cancel safe.
    fn mint(&mut self) -> impl Future<Output = Result<Granted, Failure>> + Send;
}

/// The credentials of a role that our identity assumes.
#[derive(Debug)]
pub struct Assumed {
    /// Who we are.
    pub identity: Identity,
    /// The service that we prove it to.
    pub sts: Sts,
    /// Which role we want.
    pub role: RoleRequest,
}

impl Source for Assumed {
    async fn mint(&mut self) -> Result<Granted, Failure> {
        match self.identity.proof().await? {
            Proof::Keys(keys) => self.sts.assume_role(&keys, &self.role).await,
            Proof::Token {
                provider_arn,
                token,
            } => {
                self.sts
                    .assume_role_with_oidc(&provider_arn, &token, &self.role)
                    .await
            }
        }
    }
}
