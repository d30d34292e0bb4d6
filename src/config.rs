//! The configuration: gathered from three places, checked once, every mistake reported at once.

mod layers;
mod parse;
pub mod settings;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::SecretString;

use crate::credentials::RoleArn;
use crate::identity::{AccessKey, File, Identity, Oidc, Value};
use crate::sts::endpoint::Endpoint;
use crate::{sink, telemetry};

use self::layers::{Given, Layers};

/// What was given, unchecked.
pub struct Input<'a> {
    /// The flags that were used: the key of each setting and its values.
    pub flags: Vec<(&'static str, Vec<String>)>,
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// The name of this host.
    pub host_name: String,
    /// What was said of the embedded STS, if it was asked for.
    #[cfg(feature = "sandbox")]
    pub sandbox: Option<Sandbox>,
}

/// What was said of the embedded STS.
#[cfg(feature = "sandbox")]
#[derive(Debug)]
pub struct Sandbox {
    /// How long its credentials live, whatever is asked for.
    pub lifetime: Option<String>,
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Where credentials come from.
    pub upstream: Upstream,
    /// `role.*` but for the ARN.
    pub session: Session,
    /// `serve.*`.
    pub serve: Serve,
    /// `admin.listen`.
    pub admin: SocketAddr,
    /// `file`.
    pub files: Vec<sink::Options>,
    /// `shutdown.drain`.
    pub drain: Duration,
    /// `log.*`.
    pub log: telemetry::Options,
}

/// Where credentials come from.
#[derive(Debug)]
pub enum Upstream {
    /// From STS.
    Cloud(Cloud),
    /// From the embedded STS.
    #[cfg(feature = "sandbox")]
    Sandbox {
        /// How long its credentials live, whatever is asked for.
        lifetime: Option<Duration>,
    },
}

/// Which role to ask which STS for, and as whom.
#[derive(Debug)]
pub struct Cloud {
    /// `role.arn`.
    pub role: RoleArn,
    /// `identity.*`.
    pub identity: Identity,
    /// `sts.endpoint`, or what `sts.region` and `sts.vpc` make of it.
    pub endpoint: Endpoint,
    /// `sts.ca_file`.
    pub roots: Option<Vec<CertificateDer<'static>>>,
}

/// How to assume the role.
#[derive(Debug)]
pub struct Session {
    /// `role.session_name`.
    pub name: String,
    /// `role.duration`.
    pub duration: Duration,
    /// `role.external_id`.
    pub external_id: Option<String>,
    /// `role.policy`, or the content of `role.policy_file`.
    pub policy: Option<String>,
}

/// Where credentials are served.
#[derive(Debug)]
pub struct Serve {
    /// `serve.listen`.
    pub listen: SocketAddr,
    /// `serve.key`.
    pub key: SecretString,
}

/// Everything that is wrong with a configuration, a sentence each.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} configuration mistake{plural}:")?;
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// Checks everything that was given.
pub fn check(input: &Input<'_>) -> Result<Config, Mistakes> {
    let mut checker = Checker {
        layers: Layers::gather(&input.flags, input.variable, input.file.as_deref()),
        problems: Vec::new(),
    };
    let upstream = checker.upstream(input);
    let session = checker.session(input);
    let (listen, key) = checker.serve();
    let admin = checker.value("admin.listen", parse::address);
    let files = checker.files();
    let drain = checker.value("shutdown.drain", parse::duration);
    let level = checker.value("log.level", parse::level);
    let format = checker.value("log.format", parse::format);

    let Checker {
        layers,
        mut problems,
    } = checker;
    problems.splice(0..0, layers.problems);
    match (upstream, session, listen, key, admin, drain, level) {
        (
            Some(upstream),
            Some(session),
            Some(listen),
            Some(key),
            Some(admin),
            Some(drain),
            Some(level),
        ) if problems.is_empty() => Ok(Config {
            upstream,
            session,
            serve: Serve {
                listen,
                key: key.into(),
            },
            admin,
            files,
            drain,
            log: telemetry::Options { level, format },
        }),
        _ => Err(Mistakes(problems)),
    }
}

struct Checker {
    layers: Layers,
    problems: Vec<String>,
}

impl Checker {
    /// Reads one setting; `None` when it is absent or wrong.
    fn value<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
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

    fn given(&self, key: &str) -> Option<&Given> {
        self.layers.get(key)
    }

    /// Says where a setting was given, or where it could be.
    fn origin(&self, key: &str) -> String {
        if let Some(given) = self.given(key) {
            return given.origin.to_string();
        }
        settings::find(key).map_or_else(|| key.to_owned(), |setting| setting.variable.to_owned())
    }

    #[cfg_attr(
        not(feature = "sandbox"),
        expect(unused_variables, reason = "only the sandbox looks at it")
    )]
    fn upstream(&mut self, input: &Input<'_>) -> Option<Upstream> {
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = &input.sandbox {
            return self.sandbox(input, sandbox);
        }
        let role = self.role_arn();
        let identity = self.identity();
        let endpoint = self.endpoint();
        let roots = self.value("sts.ca_file", certificates);
        Some(Upstream::Cloud(Cloud {
            role: role?,
            identity: identity?,
            endpoint: endpoint?,
            roots,
        }))
    }

    /// The environment may hold a real job's settings, which the sandbox replaces; a flag is a contradiction.
    #[cfg(feature = "sandbox")]
    fn sandbox(&mut self, input: &Input<'_>, sandbox: &Sandbox) -> Option<Upstream> {
        for (key, _) in &input.flags {
            if ["role.arn", "identity.", "sts."]
                .iter()
                .any(|start| key.starts_with(start))
            {
                let origin = self.origin(key);
                self.problems.push(format!("{origin}: --sandbox brings its own role, identity and STS; drop one of the two flags"));
            }
        }
        match sandbox.lifetime.as_deref().map(parse::duration).transpose() {
            Ok(lifetime) => Some(Upstream::Sandbox { lifetime }),
            Err(reason) => {
                self.problems.push(format!("--sandbox-lifetime: {reason}"));
                None
            }
        }
    }

    fn role_arn(&mut self) -> Option<RoleArn> {
        if self.given("role.arn").is_none() {
            self.problems.push("role.arn: no role is given; set ALIBABA_CLOUD_ROLE_ARN, or try `serve --sandbox`, which needs none".into());
        }
        self.value("role.arn", |text| {
            RoleArn::parse(text).map_err(|reason| format!("`{text}` is no role: {reason}"))
        })
    }

    fn session(&mut self, input: &Input<'_>) -> Option<Session> {
        let name = match self.given("role.session_name") {
            Some(_) => self.value("role.session_name", parse::session_name),
            None => Some(derived_session_name(input)),
        };
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
        let policy = self.value("role.policy", parse::policy).or_else(|| {
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
            policy,
        })
    }

    fn identity(&mut self) -> Option<Identity> {
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

    fn endpoint(&mut self) -> Option<Endpoint> {
        let region_given = self.given("sts.region").is_some();
        let region = self.value("sts.region", parse::region);
        let vpc = self.value("sts.vpc", parse::boolean);
        if self.given("sts.endpoint").is_some() {
            // Not repeated: it may carry a password.
            let refused = |reason| format!("it is no STS endpoint: {reason}");
            return self.value("sts.endpoint", |text| {
                Endpoint::parse(text).map_err(refused)
            });
        }
        let vpc = vpc?;
        if vpc && !region_given {
            let origin = self.origin("sts.vpc");
            self.problems.push(format!("{origin}: a VPC endpoint belongs to a region; set sts.region (ALIBABA_CLOUD_STS_REGION) too"));
            return None;
        }
        Some(Endpoint::of(region.as_deref(), vpc))
    }

    fn serve(&mut self) -> (Option<SocketAddr>, Option<String>) {
        let listen = self.value("serve.listen", parse::address);
        let key = self.value("serve.key", parse::key);
        if let (Some(listen), Some(key)) = (&listen, &key)
            && !listen.ip().is_loopback()
            && key.len() < SECRET_KEY
        {
            let origin = self.origin("serve.listen");
            self.problems.push(format!(
                "{origin}: {} can be reached from other machines; listen on 127.0.0.1, or make serve.key (RAM_SIDECAR_KEY) a random secret of at least {SECRET_KEY} characters",
                listen.ip()
            ));
        }
        (listen, key)
    }

    fn files(&mut self) -> Vec<sink::Options> {
        let mut files: Vec<sink::Options> = Vec::new();
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

/// The refusal does not repeat the text: a key or token in the place of its path is a common mistake.
fn path(text: &str) -> Result<File, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(File::new(path))
    } else {
        Err("it is not an absolute path; write the path of a mounted file, from the root".into())
    }
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

/// 22 random characters of 64 kinds are 132 bits.
const SECRET_KEY: usize = 22;

#[cfg(test)]
mod tests;
