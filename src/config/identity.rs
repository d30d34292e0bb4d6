//! Which identity was configured: the chosen one, else the only one whose settings are present.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::identity::{
    AccessKey, CredentialsUri, Defaults, EcsRamRole, File, Identity, Metadata, Oidc, Process,
    Profile, Value,
};

use super::checker::Checker;
use super::layers::{FOR_CLIENTS, Origin};
use super::{Candidate, Input, parse};

impl Checker {
    /// Returns every kind whose settings are present, whether or not it is the one that counts.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let chosen = self
            .given("identity.type")
            .map(|given| given.value.as_str());
        let present = |(kind, keys): &(&'static str, &[&str])| {
            let given = keys.iter().find_map(|key| self.given(key))?;
            // Every container of a pod may have this variable: it tells where clients ask, and that is here.
            let is_for_clients = matches!(given.origin, Origin::Variable(FOR_CLIENTS));
            Some(Candidate {
                kind,
                origin: given.origin.to_string(),
                is_taken: chosen.map_or(!is_for_clients, |chosen| chosen == *kind),
            })
        };
        KINDS.iter().filter_map(present).collect()
    }

    /// Decides which kind it is; `None` when there is none, or more than one.
    pub(super) fn identity_kind(&mut self) -> Option<&'static str> {
        if let Some(chosen) = self.given("identity.type") {
            let kind = KINDS.iter().find(|(kind, _)| *kind == chosen.value);
            if kind.is_none() {
                let (other, place) = (&chosen.value, &chosen.origin);
                let problem = format!("{place}: `{other}` is no identity; choose {NAMES}");
                self.problems.push(problem);
            }
            return kind.map(|(kind, _)| *kind);
        }
        let candidates = self.candidates();
        let taken: Vec<&Candidate> = candidates.iter().filter(|c| c.is_taken).collect();
        if let [only] = taken.as_slice() {
            return Some(only.kind);
        }
        self.problems.push(if taken.is_empty() {
            let unused = candidates.first().map_or_else(String::new, |c| {
                format!(" ({} is for clients; it becomes the identity with RAM_SIDECAR_IDENTITY={})", c.origin, c.kind)
            });
            format!("identity.type: no identity is given; set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET (or their _FILE forms), or ALIBABA_CLOUD_OIDC_PROVIDER_ARN and ALIBABA_CLOUD_OIDC_TOKEN_FILE, or choose with RAM_SIDECAR_IDENTITY: {NAMES}{unused}")
        } else {
            let count = if taken.len() == 2 { "two".to_owned() } else { taken.len().to_string() };
            let named: Vec<String> = taken.iter().map(|c| format!("{} ({})", c.kind, c.origin)).collect();
            format!("{count} identities are given, {}; choose one with identity.type (RAM_SIDECAR_IDENTITY)", named.join(" and "))
        });
        None
    }

    pub(super) fn identity(
        &mut self,
        kind: &str,
        input: &Input<'_>,
        roots: Option<&Vec<CertificateDer<'static>>>,
    ) -> Option<Identity> {
        let timeout = self.value("identity.timeout", parse::timeout);
        match kind {
            "access_key" => self.access_key(),
            "oidc" => self.oidc(),
            "ecs_ram_role" => self.ecs_ram_role(),
            "profile" => self.profile(input, timeout?, roots),
            "credentials_uri" => self.credentials_uri(roots),
            _ => Some(Identity::Process(Process {
                command: self.required("identity.command", "process", parse::command)?,
                timeout: timeout?,
            })),
        }
    }

    /// Reads a setting without which an identity cannot be.
    fn required<T>(
        &mut self,
        key: &str,
        kind: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.given(key).is_none() {
            let variable = self.origin(key);
            self.problems.push(format!(
                "{key}: it is missing for the {kind} identity; set {variable}"
            ));
        }
        self.value(key, parse)
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
        if self.given("role.via").is_none() {
            for (key, what) in [
                ("role.external_id", "external ID"),
                ("role.source_identity", "source identity"),
            ] {
                if let Some(given) = self.given(key) {
                    let place = &given.origin;
                    let problem = format!("{place}: AssumeRoleWithOIDC takes no {what}; remove it");
                    self.problems.push(problem);
                }
            }
        }
        let provider_arn = self.required("identity.oidc_provider_arn", "oidc", parse::provider_arn);
        let token_file = self.required("identity.oidc_token_file", "oidc", path);
        Some(Identity::Oidc(Oidc {
            provider_arn: provider_arn?,
            token_file: token_file?,
        }))
    }

    fn metadata(&mut self) -> Option<Metadata> {
        let url = self.value("identity.metadata_url", parse::metadata_url);
        let allow_v1 = self.value("identity.allow_v1", parse::boolean);
        let disabled = self.value("identity.metadata_disabled", parse::boolean);
        Some(Metadata {
            url: url?,
            allow_v1: allow_v1?,
            disabled: disabled?,
        })
    }

    fn ecs_ram_role(&mut self) -> Option<Identity> {
        let metadata = self.metadata();
        let role = self.value("identity.ecs_role_name", parse::ecs_role_name);
        if metadata.as_ref().is_some_and(|metadata| metadata.disabled) {
            let place = self.origin("identity.metadata_disabled");
            self.problems.push(format!("{place}: it forbids the ECS metadata service, which the ecs_ram_role identity asks; unset it for this process, or choose another identity"));
        }
        Some(Identity::EcsRamRole(EcsRamRole::new(metadata?, role)))
    }

    fn profile(
        &mut self,
        input: &Input<'_>,
        timeout: Duration,
        roots: Option<&Vec<CertificateDer<'static>>>,
    ) -> Option<Identity> {
        let metadata = self.metadata();
        let file = if self.given("identity.profile_file").is_some() {
            self.value("identity.profile_file", path)
        } else {
            let home = (input.variable)("HOME").filter(|home| !home.is_empty());
            if home.is_none() {
                self.problems.push("identity.profile_file: there is no HOME to find .aliyun/config.json in; set ALIBABA_CLOUD_CONFIG_FILE".into());
            }
            home.map(|home| File::new(PathBuf::from(home).join(".aliyun/config.json")))
        };
        let name = self.value("identity.profile", |text| Ok(text.to_owned()));
        let session_name = self.session_name(input);
        let defaults = Defaults {
            session_name: session_name?,
            timeout,
            metadata: metadata?,
            roots: roots.cloned(),
        };
        Some(Identity::Profile(Profile::new(file?, name, defaults)))
    }

    fn credentials_uri(
        &mut self,
        roots: Option<&Vec<CertificateDer<'static>>>,
    ) -> Option<Identity> {
        // What is wrong with it is told elsewhere.
        let listen = self.given("serve.listen").map(|given| given.value.as_str());
        let listen = parse::address(listen.unwrap_or("127.0.0.1:7002"));
        let listen = listen.ok().map(|listen| listen.port());
        let uri = self.required("identity.credentials_uri", "credentials_uri", |text| {
            let uri = CredentialsUri::parse(text)?;
            if uri.loopback_port().is_some_and(|port| Some(port) == listen) {
                return Err("it is where this daemon itself serves (serve.listen); give the address of another server, or change serve.listen".into());
            }
            Ok(uri)
        });
        let mut uri = uri?;
        uri.roots = roots.cloned();
        Some(Identity::CredentialsUri(uri))
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

/// Every kind, and the settings that speak for it.
const KINDS: [(&str, &[&str]); 6] = [
    (
        "access_key",
        &[
            "identity.access_key_id",
            "identity.access_key_id_file",
            "identity.access_key_secret",
            "identity.access_key_secret_file",
        ],
    ),
    (
        "oidc",
        &["identity.oidc_token_file", "identity.oidc_provider_arn"],
    ),
    ("ecs_ram_role", &["identity.ecs_role_name"]),
    ("profile", &["identity.profile", "identity.profile_file"]),
    ("credentials_uri", &["identity.credentials_uri"]),
    ("process", &["identity.command"]),
];

const NAMES: &str = "access_key, oidc, ecs_ram_role, profile, credentials_uri or process";
