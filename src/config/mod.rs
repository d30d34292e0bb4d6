//! The configuration: gathered from flags, environment and file, and checked once, with all errors reported together.
//!
//! Each setting is a constant of [`settings`]. The checker returns its value, or reports an error.

pub(crate) mod checker;
mod errors;
mod identity;
pub(crate) mod layers;
pub(crate) mod parse;
mod role;
#[cfg(feature = "sandbox")]
mod sandbox;
mod serve;
mod session;
pub(crate) mod setting;
pub mod settings;
mod upstream;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::credentials::{RoleArn, RoleSessionName};
use crate::files::credentials_file::CredentialsFile;
use crate::http::client::Outbound;
use crate::identity::Identity;
use crate::server::admin::StopCallers;
use crate::server::data::{AllowedCallers, Container};
use crate::server::metadata::listing::StaticValues;
use crate::sts::endpoint::Endpoint;
use crate::sts::sign::Signature;
use crate::system;

#[cfg(feature = "sandbox")]
pub use self::sandbox::{Sandbox, Standalone, standalone};

use self::checker::{Checker, Reported};
use self::settings::{ADMIN_LISTEN, LOG_FORMAT, LOG_LEVEL, SHUTDOWN_DRAIN};

pub use self::errors::Errors;
pub(crate) use self::layers::unknown_variables;
pub use self::parse::Kind;
pub use self::setting::Definition;

/// The input of the configuration, unchecked.
pub struct Input<'a> {
    /// The flags that were used, and their values.
    pub flags: Vec<(&'static Definition, Vec<String>)>,
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// The name of this host.
    pub host_name: String,
    /// Defaults of the command that replace those of the table.
    pub defaults: Vec<(&'static Definition, String)>,
    /// The flags of the embedded STS, if it is enabled.
    #[cfg(feature = "sandbox")]
    pub sandbox: Option<Sandbox>,
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Input<'_> {
    /// Returns the text of an environment variable; `None` if it is empty.
    pub(crate) fn text(&self, variable: &str) -> Option<String> {
        let text = (self.variable)(variable)?.into_string().ok();
        text.filter(|text| !text.is_empty())
    }
}

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Where credentials come from.
    pub upstream: Upstream,
    /// `role.*` except the ARN.
    pub session: Session,
    /// `serve.*`.
    pub serve: Serve,
    /// `metadata.*`, if the dialect is enabled.
    pub metadata: Option<Metadata>,
    /// `admin.*`.
    pub admin: Admin,
    /// `file`.
    pub files: Vec<CredentialsFile>,
    /// `state.file`; `None` unless credentials come from a real STS or identity.
    pub state: Option<PathBuf>,
    /// `shutdown.drain`.
    pub drain: Duration,
    /// `log.*`.
    pub log: system::log::Options,
}

/// Where credentials come from.
#[derive(Debug)]
pub enum Upstream {
    /// From STS, or from the identity itself.
    Cloud(Box<Cloud>),
    /// None: the job has no role.
    NoRole,
    /// From the embedded STS.
    #[cfg(feature = "sandbox")]
    Sandbox {
        /// Its options.
        options: Box<crate::sandbox::Options>,
        /// The origins of settings of a real role, which have no effect.
        ignored: Vec<String>,
    },
}

impl Upstream {
    /// Whether programs may be started for credentials.
    pub fn runs_programs(&self) -> bool {
        matches!(self, Self::Cloud(cloud) if cloud.identity.runs_programs())
    }
}

/// The role, the STS and the identity that obtain credentials.
#[derive(Debug)]
pub struct Cloud {
    /// `role.arn`, or the role of `role.preset`. Without one, the identity's own credentials are passed through.
    pub role: Option<RoleArn>,
    /// `role.via`.
    pub via: Vec<RoleArn>,
    /// `identity.*`.
    pub identity: Identity,
    /// `sts.endpoint`, or the endpoint of `sts.region` and `sts.vpc`. Never empty.
    pub endpoints: Vec<Endpoint>,
    /// `sts.signature`.
    pub signature: Signature,
    /// `sts.ca_file`, and the proxy of the environment.
    pub outbound: Outbound,
    /// What is wrong with the proxy of the environment, which credentials do not need. Then STS must not be called: it would be
    /// called past the proxy.
    pub unused_proxy: Option<String>,
}

/// How to assume the role.
#[derive(Debug)]
pub struct Session {
    /// `role.session_name`.
    pub name: RoleSessionName,
    /// `role.duration`.
    pub duration: Duration,
    /// `role.external_id`.
    pub external_id: Option<String>,
    /// `role.source_identity`.
    pub source_identity: Option<String>,
    /// `role.policy`, the content of `role.policy_file`, or the policy of `role.preset`.
    pub policy: Option<String>,
}

/// Where credentials are served.
#[derive(Debug)]
pub struct Serve {
    /// `serve.listen`.
    pub listen: SocketAddr,
    /// `serve.key`.
    pub key: SecretString,
    /// `serve.allow_remote` and `serve.allow_uids`.
    pub admission: AllowedCallers,
    /// `serve.print_uri`.
    pub print_uri: bool,
    /// `container.*`, if the dialect is enabled.
    pub container: Option<Container>,
}

/// The admin listener.
#[derive(Debug)]
pub struct Admin {
    /// `admin.listen`, unless it is off.
    pub listen: Option<SocketAddr>,
    /// `admin.stop`, with `serve.allow_uids` where anyone may.
    pub stop_callers: StopCallers,
    /// `admin.hosts`, and the name of this host.
    pub hosts: Vec<String>,
}

/// The ECS metadata dialect.
#[derive(Debug)]
pub struct Metadata {
    /// `metadata.listen`.
    pub listen: SocketAddr,
    /// `metadata.v2_only`.
    pub v2_only: bool,
    /// `metadata.role_name`.
    pub role: Option<String>,
    /// `metadata.region_id` and the like.
    pub static_values: StaticValues,
    /// `serve.allow_uids`.
    pub allow_uids: Option<Vec<u32>>,
}

/// The settings and identities that were found, and the outcome of the checks.
#[derive(Debug)]
pub struct Checked {
    /// Every setting that has a value, in the order of the table.
    pub settings: Vec<Shown>,
    /// Every identity whose settings are present.
    pub candidates: Vec<Candidate>,
    /// The configuration, or its errors.
    pub outcome: Result<Config, Errors>,
}

/// A setting, its value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// The value; `None` if it must not be shown.
    pub value: Option<String>,
    /// A flag, a variable, a key of the file, or `default`.
    pub origin: String,
}

/// An identity whose settings are present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its kind.
    pub kind: Kind,
    /// The origin of one of its settings.
    pub origin: String,
    /// Whether it is the identity that is used.
    pub is_selected: bool,
}

/// Checks the whole configuration.
pub fn check(input: &Input<'_>) -> Checked {
    let mut checker = Checker::new(input, &[]);
    let (settings, mut candidates) = (checker.shown(), identity::candidates(&checker));
    checker.report_layer_problems();
    let config = read(&mut checker, input);
    let outcome = checker.finish(config);
    let taken = candidates.iter().filter(|c| c.is_selected).count();
    let is_unused =
        matches!(&outcome, Ok(config) if !matches!(config.upstream, Upstream::Cloud(_)));
    if taken > 1 || is_unused {
        for candidate in &mut candidates {
            candidate.is_selected = false;
        }
    }
    Checked {
        settings,
        candidates,
        outcome,
    }
}

/// Checks only `admin.listen`, for the commands that call a running daemon. Returns also whether it is not set.
///
/// Other errors do not fail a probe, because the daemon runs; but a file that cannot be read may set the address.
pub fn admin(input: &Input<'_>) -> Result<(Option<SocketAddr>, bool), Errors> {
    let mut checker = Checker::new(input, &[]);
    let admin = checker.value(&ADMIN_LISTEN);
    let is_default = checker.given(&ADMIN_LISTEN).is_none();
    if checker.layers.is_file_unreadable && is_default {
        checker.report_layer_problems();
    }
    checker.finish(admin.map(|admin| (admin, is_default)))
}

fn read(checker: &mut Checker, input: &Input<'_>) -> Result<Config, Reported> {
    let upstream = upstream::read(checker, input);
    let is_real = matches!(upstream, Ok(Upstream::Cloud(_)));
    let session = session::read(checker, input, is_real || upstream.is_err());
    let serve = serve::read(checker);
    let metadata = serve::metadata(checker);
    let admin = serve::admin(checker, &input.host_name);
    let addresses = [
        (
            settings::SERVE_LISTEN.key,
            serve.as_ref().ok().map(|serve| serve.listen),
        ),
        (
            ADMIN_LISTEN.key,
            admin.as_ref().ok().and_then(|admin| admin.listen),
        ),
        (
            settings::METADATA_LISTEN.key,
            metadata
                .as_ref()
                .ok()
                .and_then(|metadata| Some(metadata.as_ref()?.listen)),
        ),
        #[cfg(feature = "sandbox")]
        (
            "--sandbox-listen",
            match &upstream {
                Ok(Upstream::Sandbox { options, .. }) => Some(options.listen),
                _ => None,
            },
        ),
    ];
    serve::distinct(checker, &addresses);
    let files = serve::files(checker);
    let state = serve::state(checker, &files);
    let drain = checker.value(&SHUTDOWN_DRAIN);
    let log = log(checker);
    Ok(Config {
        upstream: upstream?,
        session: session?,
        serve: serve?,
        metadata: metadata?,
        admin: admin?,
        files,
        state: state?.filter(|_| is_real),
        drain: drain?,
        log: log?,
    })
}

pub(crate) fn log(checker: &mut Checker) -> Result<system::log::Options, Reported> {
    let level = checker.value(&LOG_LEVEL);
    let format = checker.optional(&LOG_FORMAT);
    Ok(system::log::Options {
        level: level?,
        format: format?,
    })
}

#[cfg(test)]
mod tests;
