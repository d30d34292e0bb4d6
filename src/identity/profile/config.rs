//! The file of profiles, as aliyun-cli writes it: an empty value means that there is none.

use secrecy::SecretString;
use serde::Deserialize;

use super::Error;

/// The file.
#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) current: String,
    #[serde(default)]
    profiles: Vec<Entry>,
}

/// One profile. The fields of unsupported modes are ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) mode: String,
    pub(super) access_key_id: Option<String>,
    pub(super) access_key_secret: Option<SecretString>,
    pub(super) sts_token: Option<SecretString>,
    pub(super) sts_expiration: Option<i64>,
    pub(super) ram_role_name: Option<String>,
    pub(super) ram_role_arn: Option<String>,
    pub(super) ram_session_name: Option<String>,
    /// The name of the same field in the Python SDK.
    pub(super) role_session_name: Option<String>,
    pub(super) expired_seconds: Option<u64>,
    pub(super) policy: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) source_profile: Option<String>,
    pub(super) oidc_provider_arn: Option<String>,
    pub(super) oidc_token_file: Option<String>,
    pub(super) process_command: Option<String>,
    pub(super) credentials_uri: Option<String>,
}

impl Config {
    /// Parses the file. The error quotes nothing of it.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| {
            let (class, line, column) = (error.classify(), error.line(), error.column());
            Error::NotJson(class, line, column)
        })
    }

    pub(super) fn find(&self, name: &str) -> Result<&Entry, Error> {
        if self.profiles.is_empty() {
            return Err(Error::NoProfiles);
        }
        if name.is_empty() {
            return Err(Error::NoCurrent);
        }
        let mut profiles = self.profiles.iter();
        let found = profiles.find(|entry| entry.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.profiles.iter().map(|p| p.name.as_str()).collect();
            Error::Unknown(name.to_owned(), names.join(", "))
        })
    }
}
