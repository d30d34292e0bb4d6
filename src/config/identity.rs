//! Which identity was configured: the chosen one, else the only one that is present.

use std::path::PathBuf;

use crate::identity::{AccessKey, File, Identity, Oidc, Value};

use super::checker::Checker;
use super::parse;

impl Checker {
    pub(super) fn identity(&mut self) -> Option<Identity> {
        let has = |key: &str| self.layers.get(key);
        let access_key = ["access_key_id", "access_key_secret"]
            .iter()
            .find_map(|name| {
                has(&format!("identity.{name}")).or_else(|| has(&format!("identity.{name}_file")))
            });
        let oidc = has("identity.oidc_token_file").or_else(|| has("identity.oidc_provider_arn"));
        let kind = match self
            .given("identity.type")
            .map(|given| given.value.as_str())
        {
            Some(kind @ ("access_key" | "oidc")) => kind,
            Some(other) => {
                let problem = format!(
                    "{}: `{other}` is no identity; choose access_key or oidc",
                    self.origin("identity.type")
                );
                self.problems.push(problem);
                return None;
            }
            None => match (access_key, oidc) {
                (Some(access_key), Some(oidc)) => {
                    let problem = format!(
                        "two identities are given, access_key ({}) and oidc ({}); choose one with identity.type (RAM_SIDECAR_IDENTITY)",
                        access_key.origin, oidc.origin
                    );
                    self.problems.push(problem);
                    return None;
                }
                (Some(_), None) => "access_key",
                (None, Some(_)) => "oidc",
                (None, None) => {
                    self.problems.push("identity.type: no identity is given; set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET (or their _FILE forms), or ALIBABA_CLOUD_OIDC_PROVIDER_ARN and ALIBABA_CLOUD_OIDC_TOKEN_FILE".into());
                    return None;
                }
            },
        };
        if kind == "access_key" {
            self.access_key()
        } else {
            self.oidc()
        }
    }

    fn access_key(&mut self) -> Option<Identity> {
        let id = self.part("access_key_id", true);
        let secret = self.part("access_key_secret", true);
        let token = self.part("security_token", false);
        Some(Identity::AccessKey(AccessKey {
            id: id?,
            secret: secret?,
            token,
        }))
    }

    /// Reads one part of an AccessKey, which is given outright or as a file.
    fn part(&mut self, name: &str, required: bool) -> Option<Value> {
        let (key, file_key) = (format!("identity.{name}"), format!("identity.{name}_file"));
        match (self.given(&key), self.given(&file_key)) {
            (Some(given), Some(file)) => {
                let problem = format!(
                    "{} and {} both give the same part of the AccessKey; keep one",
                    given.origin, file.origin
                );
                self.problems.push(problem);
                None
            }
            (Some(_), None) => self.value(&key, |text| {
                if text.bytes().all(|b| b.is_ascii_graphic()) {
                    Ok(Value::Given(text.into()))
                } else {
                    Err("it holds white space or characters that no key has; set it anew".into())
                }
            }),
            (None, Some(_)) => self.value(&file_key, path).map(Value::File),
            (None, None) => {
                if required {
                    let variable = self.origin(&key);
                    self.problems.push(format!("identity.{name}: it is missing beside the rest of the AccessKey; set {variable} or {variable}_FILE"));
                }
                None
            }
        }
    }

    fn oidc(&mut self) -> Option<Identity> {
        for key in ["identity.oidc_provider_arn", "identity.oidc_token_file"] {
            if self.given(key).is_none() {
                let variable = self.origin(key);
                self.problems.push(format!(
                    "{key}: it is missing for the oidc identity; set {variable}"
                ));
            }
        }
        if let Some(given) = self.given("role.external_id") {
            let problem = format!(
                "{}: AssumeRoleWithOIDC takes no external ID; remove it",
                given.origin
            );
            self.problems.push(problem);
        }
        let provider_arn = self.value("identity.oidc_provider_arn", parse::provider_arn);
        let token_file = self.value("identity.oidc_token_file", path);
        Some(Identity::Oidc(Oidc {
            provider_arn: provider_arn?,
            token_file: token_file?,
        }))
    }
}

/// The refusal does not repeat the text: a key or token in the place of its path is a common mistake.
fn path(text: &str) -> Result<File, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(File::new(path))
    } else {
        Err("it is not an absolute path; write the path of a mounted file, from the root".into())
    }
}
