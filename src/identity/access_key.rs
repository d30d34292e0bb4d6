//! An AccessKey from the environment or from mounted files. One with a security token is a session of another role.

use secrecy::ExposeSecret as _;

use crate::credentials::Keys;
use crate::failure::Failure;

use super::Value;

/// The sources of the parts of an AccessKey.
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
        // A rotation replaces the files one after the other; keys that were read during it differ at the next reading.
        let mut keys = self.read().await?;
        for _ in 0..MAX_REREADS {
            let again = self.read().await?;
            if is_same(&keys, &again) {
                break;
            }
            keys = again;
        }
        Ok(keys)
    }

    /// Returns the ID or the paths of the files; a corrected secret changes nothing here.
    pub(super) fn coordinates(&self) -> Vec<String> {
        let path = |value: &Value| match value {
            Value::Inline(_) => String::new(),
            Value::File(file) => file.path().display().to_string(),
        };
        let id = match &self.id {
            Value::Inline(id) => id.expose_secret().to_owned(),
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

    pub(super) fn is_fixed(&self) -> bool {
        let parts = [Some(&self.id), Some(&self.secret), self.token.as_ref()];
        let mut parts = parts.into_iter().flatten();
        parts.all(|part| matches!(part, Value::Inline(_)))
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

/// One is enough for a rotation. Keys that change more often are sent to STS as they are.
const MAX_REREADS: u32 = 3;

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
