//! The file of profiles, as aliyun-cli writes it. What is empty there is absent.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

/// The file.
#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) current: String,
    #[serde(default)]
    profiles: Vec<Entry>,
}

/// One profile. What other modes have is left out.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) mode: String,
    #[serde(deserialize_with = "text")]
    pub(super) access_key_id: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) access_key_secret: Option<SecretString>,
    #[serde(deserialize_with = "secret")]
    pub(super) sts_token: Option<SecretString>,
    #[serde(deserialize_with = "number")]
    pub(super) sts_expiration: Option<i64>,
    #[serde(deserialize_with = "text")]
    pub(super) ram_role_name: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) ram_role_arn: Option<String>,
    #[serde(deserialize_with = "text")]
    ram_session_name: Option<String>,
    /// The Python SDK's name for the same.
    #[serde(deserialize_with = "text")]
    role_session_name: Option<String>,
    #[serde(deserialize_with = "number")]
    pub(super) expired_seconds: Option<u64>,
    #[serde(deserialize_with = "text")]
    pub(super) policy: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) external_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) source_profile: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) oidc_provider_arn: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) oidc_token_file: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) process_command: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) credentials_uri: Option<String>,
}

impl Config {
    /// Reads the file; says why it cannot be read, without a word of it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| {
            let (class, line, column) = (error.classify(), error.line(), error.column());
            format!("it is not the JSON of aliyun-cli ({class:?} at line {line} column {column})")
        })
    }

    pub(super) fn find(&self, name: &str) -> Result<&Entry, String> {
        if name.is_empty() {
            return Err("it names no current profile".to_owned());
        }
        self.profiles
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = self.profiles.iter().map(|p| p.name.as_str()).collect();
                format!("it has no profile `{name}`, only {}", names.join(", "))
            })
    }
}

impl Entry {
    pub(super) fn session_name(&self) -> Option<&str> {
        let name = self.ram_session_name.as_ref();
        name.or(self.role_session_name.as_ref()).map(String::as_str)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let secret = Option::<String>::deserialize(deserializer)?.map(SecretString::from);
    Ok(secret.filter(|secret| !secret.expose_secret().is_empty()))
}

fn number<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default + PartialEq,
{
    let number = Option::<T>::deserialize(deserializer)?;
    Ok(number.filter(|number| *number != T::default()))
}
