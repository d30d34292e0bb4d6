//! An AccessKey from the environment or from mounted files; with a security token, a link in a chain of roles.

use secrecy::ExposeSecret as _;

use crate::credentials::Keys;
use crate::failure::Failure;

use super::Value;

/// Where the parts of an AccessKey are.
#[derive(Debug)]
pub struct AccessKey {
    /// The AccessKey ID.
    pub id: Value,
    /// The AccessKey secret.
    pub secret: Value,
    /// The security token of a temporary AccessKey.
    pub token: Option<Value>,
}

impl AccessKey {
    pub(super) async fn keys(&mut self) -> Result<Keys, Failure> {
        let keys = self.read().await?;
        // Files are replaced one after the other: a pair that was torn by a rotation would sign wrongly.
        let again = self.read().await?;
        if keys.access_key_id == again.access_key_id {
            Ok(keys)
        } else {
            Ok(again)
        }
    }

    async fn read(&mut self) -> Result<Keys, Failure> {
        Ok(Keys {
            access_key_id: self.id.read().await?.expose_secret().to_owned(),
            access_key_secret: self.secret.read().await?,
            security_token: match &mut self.token {
                Some(token) => Some(token.read().await?),
                None => None,
            },
        })
    }
}
