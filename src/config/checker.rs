//! From gathered texts to checked values, a mistake at a time.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::credentials::RoleArn;
use crate::files::writer;
use crate::identity;
use crate::sts::endpoint::Endpoint;
use crate::system::log;

use super::layers::{Given, Layers};
use super::role::Choice;
use super::{Cloud, Input, Session, Shown, Upstream, parse, settings};

pub(crate) struct Checker {
    pub(crate) layers: Layers,
    pub(crate) problems: Vec<String>,
}

impl Checker {
    /// Reads one setting; `None` when it is absent or wrong.
    pub(crate) fn value<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let default = settings::find(key).and_then(|setting| setting.default);
        let text = match self.layers.get(key) {
            Some(given) => &given.value,
            None => default?,
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                let origin = self.origin(key);
                self.problems.push(format!("{origin}: {reason}"));
                None
            }
        }
    }

    /// Returns every setting that has a value, and where it was written.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let mut shown = Vec::new();
        for setting in settings::SETTINGS {
            let given = self.given(setting.key);
            let (value, origin) = match (given, setting.default) {
                (Some(given), _) => (setting.shown(&given.value), given.origin.to_string()),
                (None, Some(default)) => (Some(default), "default".to_owned()),
                (None, None) => continue,
            };
            shown.push(Shown {
                key: setting.key,
                value: value.map(str::to_owned),
                origin,
            });
        }
        for (origin, fields) in &self.layers.files {
            let fields: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
            shown.push(Shown {
                key: "file",
                value: Some(fields.join(",")),
                origin: origin.to_string(),
            });
        }
        shown
    }

    pub(crate) fn given(&self, key: &str) -> Option<&Given> {
        self.layers.get(key)
    }

    /// Says where a setting was given, or where it could be.
    pub(crate) fn origin(&self, key: &str) -> String {
        if let Some(given) = self.given(key) {
            return given.origin.to_string();
        }
        settings::find(key).map_or_else(|| key.to_owned(), |setting| setting.variable.to_owned())
    }

    pub(crate) fn upstream(&mut self, input: &Input<'_>) -> Option<Upstream> {
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = &input.sandbox {
            return self.sandbox(sandbox);
        }
        let choice = self.role();
        if matches!(choice, Some(Choice::Nothing)) {
            return Some(Upstream::Nothing);
        }
        let at = self.problems.len();
        let kind = self.identity_kind();
        if matches!(choice, Some(Choice::PassThrough))
            && matches!(kind, None | Some("access_key" | "oidc"))
        {
            self.problems.insert(at, "role.arn: no role is given; set ALIBABA_CLOUD_ROLE_ARN, or RAM_SIDECAR_ROLE_PRESET=none for a job without a role, or try `serve --sandbox`, which needs none".into());
        }
        let via = self.via();
        let roots = self.value("sts.ca_file", certificates);
        let identity = kind.and_then(|kind| self.identity(kind, input, roots.as_ref()));
        let endpoints = self.endpoints();
        let signature = self.value("sts.signature", parse::signature);
        Some(Upstream::Cloud(Box::new(Cloud {
            role: match choice? {
                Choice::Role(role) => Some(role),
                Choice::Nothing | Choice::PassThrough => None,
            },
            via: via?,
            identity: identity?,
            endpoints: endpoints?,
            signature: signature?,
            roots,
        })))
    }

    fn via(&mut self) -> Option<Vec<RoleArn>> {
        if self.given("role.via").is_none() {
            return Some(Vec::new());
        }
        self.value("role.via", |text| {
            let roles = parse::list(text)?;
            if roles.len() > identity::ROLES {
                return Err(format!("it lists more than {} roles", identity::ROLES));
            }
            let role = |text: &String| {
                RoleArn::parse(text).map_err(|reason| format!("`{text}` is no role: {reason}"))
            };
            roles.iter().map(role).collect()
        })
    }

    /// Reads the name of the session, or derives one.
    pub(crate) fn session_name(&mut self, input: &Input<'_>) -> Option<String> {
        match self.given("role.session_name") {
            Some(_) => self.value("role.session_name", parse::session_name),
            None => Some(derived_session_name(input)),
        }
    }

    /// Reads how to assume the role; `has_preset` unless the embedded STS brings a role of its own.
    pub(crate) fn session(&mut self, input: &Input<'_>, has_preset: bool) -> Option<Session> {
        let name = self.session_name(input);
        let duration = self.value("role.duration", parse::role_duration);
        let external_id = self.value("role.external_id", parse::external_id);
        if let (Some(inline), Some(file)) =
            (self.given("role.policy"), self.given("role.policy_file"))
        {
            let problem = format!(
                "{} and {} both give a session policy; keep one",
                inline.origin, file.origin
            );
            self.problems.push(problem);
        }
        let source_identity = self.value("role.source_identity", parse::source_identity);
        let preset = if has_preset {
            self.preset_policy()
        } else {
            None
        };
        let policy = preset.or_else(|| self.value("role.policy", parse::policy));
        let policy = policy.or_else(|| {
            self.value("role.policy_file", |path| {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    format!("cannot read {path}: {error}; correct the path or the permissions")
                })?;
                parse::policy(&text).map_err(|reason| format!("in {path} {reason}"))
            })
        });
        Some(Session {
            name: name?,
            duration: duration?,
            external_id,
            source_identity,
            policy,
        })
    }

    fn endpoints(&mut self) -> Option<Vec<Endpoint>> {
        let region_given = self.given("sts.region").is_some();
        let region = self.value("sts.region", parse::region);
        let vpc = self.value("sts.vpc", parse::boolean);
        if self.given("sts.endpoint").is_some() {
            // Not repeated: it may carry a password.
            return self.value("sts.endpoint", |text| {
                let given = parse::list(text)?;
                let is_one = given.len() == 1;
                let parse = |(index, text): (usize, &String)| {
                    let which = if is_one {
                        "it".to_owned()
                    } else {
                        format!("entry {}", index + 1)
                    };
                    Endpoint::parse(text)
                        .map_err(|reason| format!("{which} is no STS endpoint: {reason}"))
                };
                given.iter().enumerate().map(parse).collect()
            });
        }
        let vpc = vpc?;
        if vpc && !region_given {
            let origin = self.origin("sts.vpc");
            self.problems.push(format!("{origin}: a VPC endpoint belongs to a region; set sts.region (ALIBABA_CLOUD_STS_REGION) too"));
            return None;
        }
        Some(vec![Endpoint::of(region.as_deref(), vpc)])
    }

    pub(crate) fn log(&mut self) -> Option<log::Options> {
        let level = self.value("log.level", parse::level);
        let format = self.value("log.format", parse::format);
        level.map(|level| log::Options { level, format })
    }

    pub(crate) fn files(&mut self) -> Vec<writer::Options> {
        let mut files: Vec<writer::Options> = Vec::new();
        for (origin, fields) in &self.layers.files {
            match parse::file(fields) {
                Ok(file) if files.iter().any(|other| other.path == file.path) => {
                    self.problems.push(format!(
                        "{origin}: {} is given twice; keep one",
                        file.path.display()
                    ));
                }
                Ok(file) => files.push(file),
                Err(reasons) => {
                    self.problems
                        .extend(reasons.iter().map(|reason| format!("{origin}: {reason}")));
                }
            }
        }
        files
    }
}

fn derived_session_name(input: &Input<'_>) -> String {
    let pod = (input.variable)("POD_NAME").and_then(|name| name.into_string().ok());
    let name = pod.filter(|name| !name.is_empty());
    parse::derived_session_name(name.as_deref().unwrap_or(&input.host_name))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let remedy = "give a PEM file of CA certificates";
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read certificates from {path}: {error}; {remedy}"))?;
    if read.is_empty() {
        return Err(format!("{path} holds no certificate; {remedy}"));
    }
    Ok(read)
}
