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
        // Files are replaced one after the other: what was torn by a rotation reads differently the next time.
        let mut keys = self.read().await?;
        for _ in 0..READINGS {
            let again = self.read().await?;
            if is_same(&keys, &again) {
                break;
            }
            keys = again;
        }
        Ok(keys)
    }

    /// Says which AccessKey it is: by its ID, or by the files that it is in. A secret that is mended changes nothing.
    pub(super) fn coordinates(&self) -> Vec<String> {
        let path = |value: &Value| match value {
            Value::Given(_) => String::new(),
            Value::File(file) => file.path().display().to_string(),
        };
        let id = match &self.id {
            Value::Given(id) => id.expose_secret().to_owned(),
            Value::File(_) => String::new(),
        };
        let token = self.token.as_ref().map(path);
        vec![
            id,
            path(&self.id),
            path(&self.secret),
            token.unwrap_or_default(),
        ]
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

fn is_same(one: &Keys, other: &Keys) -> bool {
    one.access_key_id == other.access_key_id && one.secrets() == other.secrets()
}

/// A rotation is over after the first; a file that changes all the time is left to STS to judge.
const READINGS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_in_any_part_are_different() {
        let keys = |id: &str, secret: &str, token: Option<&str>| Keys {
            access_key_id: id.into(),
            access_key_secret: secret.into(),
            security_token: token.map(Into::into),
        };
        let good = keys("id", "secret", Some("token"));
        assert!(is_same(&good, &keys("id", "secret", Some("token"))));
        for other in [
            keys("other", "secret", Some("token")),
            keys("id", "other", Some("token")),
            keys("id", "secret", Some("other")),
            keys("id", "secret", None),
        ] {
            assert!(!is_same(&good, &other));
        }
    }
}
