//! From gathered texts to checked values, a mistake at a time.

use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::credentials::RoleArn;
use crate::sink;
use crate::sts::endpoint::Endpoint;

#[cfg(feature = "sandbox")]
use super::layers::Origin;
use super::layers::{Given, Layers};
use super::{Cloud, Input, Session, Upstream, parse, settings};

pub(super) struct Checker {
    pub(super) layers: Layers,
    pub(super) problems: Vec<String>,
}

impl Checker {
    /// Reads one setting; `None` when it is absent or wrong.
    pub(super) fn value<T>(
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

    pub(super) fn given(&self, key: &str) -> Option<&Given> {
        self.layers.get(key)
    }

    /// Says where a setting was given, or where it could be.
    pub(super) fn origin(&self, key: &str) -> String {
        if let Some(given) = self.given(key) {
            return given.origin.to_string();
        }
        settings::find(key).map_or_else(|| key.to_owned(), |setting| setting.variable.to_owned())
    }

    #[cfg_attr(
        not(feature = "sandbox"),
        expect(unused_variables, reason = "only the sandbox looks at it")
    )]
    pub(super) fn upstream(&mut self, input: &Input<'_>) -> Option<Upstream> {
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = &input.sandbox {
            return self.sandbox(sandbox);
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

    /// The environment and the file may hold a real job's settings: its role is set aside and reported, its credentials
    /// files are not touched. A flag is a contradiction.
    #[cfg(feature = "sandbox")]
    fn sandbox(&mut self, sandbox: &super::Sandbox) -> Option<Upstream> {
        let replaced = ["role.arn", "identity.", "sts."];
        let given = self.layers.given();
        let (flags, ignored): (Vec<&Origin>, Vec<&Origin>) = given
            .filter(|(key, _)| replaced.iter().any(|start| key.starts_with(start)))
            .map(|(_, given)| &given.origin)
            .partition(|origin| matches!(origin, Origin::Flag(_)));
        let ignored = ignored.iter().map(ToString::to_string).collect();
        for origin in flags {
            self.problems.push(format!("{origin}: --sandbox brings its own role, identity and STS; drop one of the two flags"));
        }
        for (origin, _) in &self.layers.files {
            if !matches!(origin, Origin::Flag(_)) {
                self.problems.push(format!("{origin}: --sandbox would put credentials that are valid nowhere in the place of real ones; unset it, or name another file with --file"));
            }
        }
        match sandbox
            .lifetime
            .as_deref()
            .map(parse::sandbox_lifetime)
            .transpose()
        {
            Ok(lifetime) => Some(Upstream::Sandbox { lifetime, ignored }),
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

    pub(super) fn session(&mut self, input: &Input<'_>) -> Option<Session> {
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

    pub(super) fn serve(&mut self) -> (Option<SocketAddr>, Option<String>) {
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

    pub(super) fn files(&mut self) -> Vec<sink::Options> {
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
