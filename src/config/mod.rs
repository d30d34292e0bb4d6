//! The configuration: gathered from three places, checked once, every mistake reported at once.
//!
//! A setting is one constant of [`settings`]. To ask the checker for it gives its value, or says that what is wrong with it
//! was reported.

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

use rustls::pki_types::CertificateDer;
use secrecy::SecretString;

use crate::credentials::{RoleArn, RoleSessionName};
use crate::files::credentials_file::CredentialsFile;
use crate::identity::Identity;
use crate::server::data::{AllowedCallers, Container};
use crate::server::metadata::listing::StaticValues;
use crate::sts::endpoint::Endpoint;
use crate::sts::sign::Signature;
use crate::system;

#[cfg(feature = "sandbox")]
pub use self::sandbox::{Alone, Sandbox, alone};

use self::checker::{Checker, Reported};
use self::settings::{ADMIN_LISTEN, LOG_FORMAT, LOG_LEVEL, SHUTDOWN_DRAIN};

pub use self::errors::Errors;
pub use self::parse::Kind;
pub use self::setting::Definition;

/// What was given, unchecked.
pub struct Input<'a> {
    /// The flags that were used, and their values.
    pub flags: Vec<(&'static Definition, Vec<String>)>,
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// The name of this host.
    pub host_name: String,
    /// The command's own defaults where they differ from the table's.
    pub defaults: Vec<(&'static Definition, String)>,
    /// What was given for the embedded STS, if it was asked for.
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
    /// Returns the text of an environment variable; nothing if it is empty.
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
    /// `role.*` but for the ARN.
    pub session: Session,
    /// `serve.*`.
    pub serve: Serve,
    /// `metadata.*`, if the dialect is spoken.
    pub metadata: Option<Metadata>,
    /// `admin.listen`, unless it is off.
    pub admin: Option<SocketAddr>,
    /// `file`.
    pub files: Vec<CredentialsFile>,
    /// `state.file`; none where nothing obtains credentials that a successor could use.
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
    /// From nowhere: the job is to have none.
    Nothing,
    /// From the embedded STS.
    #[cfg(feature = "sandbox")]
    Sandbox {
        /// What it is started with.
        options: Box<crate::sandbox::Options>,
        /// Where settings of a real role were given that have no effect.
        ignored: Vec<String>,
    },
}

impl Upstream {
    /// Whether programs may be started for credentials.
    pub fn runs_programs(&self) -> bool {
        matches!(self, Self::Cloud(cloud) if cloud.identity.runs_programs())
    }
}

/// Which role to ask which STS for, and as whom.
#[derive(Debug)]
pub struct Cloud {
    /// `role.arn`, or what `role.preset` makes of it. Without one, the identity's own credentials are passed through.
    pub role: Option<RoleArn>,
    /// `role.via`.
    pub via: Vec<RoleArn>,
    /// `identity.*`.
    pub identity: Identity,
    /// `sts.endpoint`, or what `sts.region` and `sts.vpc` make of it. Never empty.
    pub endpoints: Vec<Endpoint>,
    /// `sts.signature`.
    pub signature: Signature,
    /// `sts.ca_file`.
    pub roots: Option<Vec<CertificateDer<'static>>>,
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
    /// `role.policy`, the content of `role.policy_file`, or what belongs to `role.preset`.
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
    /// `container.*`, if the dialect is spoken.
    pub container: Option<Container>,
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
}

/// What was found, whether or not it is right.
#[derive(Debug)]
pub struct Checked {
    /// Every setting that has a value, in the order of the table.
    pub settings: Vec<Shown>,
    /// Every identity whose settings are present.
    pub candidates: Vec<Candidate>,
    /// The configuration, or everything that is wrong with it.
    pub outcome: Result<Config, Errors>,
}

/// A setting and where its value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// The value; none if it must not be shown.
    pub value: Option<String>,
    /// A flag, a variable, a key of the file, or `default`.
    pub origin: String,
}

/// An identity whose settings are present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its kind.
    pub kind: Kind,
    /// Where one of its settings was written.
    pub origin: String,
    /// Whether it is the one that counts.
    pub is_taken: bool,
}

/// Checks everything that was given.
pub fn check(input: &Input<'_>) -> Checked {
    let mut checker = Checker::new(input, &[]);
    let (settings, mut candidates) = (checker.shown(), identity::candidates(&checker));
    checker.report_layer_problems();
    let config = read(&mut checker, input);
    let outcome = checker.finish(config);
    let taken = candidates.iter().filter(|c| c.is_taken).count();
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

/// Checks `admin.listen` alone, which the commands need that ask a running daemon.
///
/// Other mistakes do not make a probe fail, because the daemon runs; but a file that cannot be read may set the address.
pub fn admin(input: &Input<'_>) -> Result<Option<SocketAddr>, Errors> {
    let mut checker = Checker::new(input, &[]);
    let admin = checker.value(&ADMIN_LISTEN);
    if checker.layers.is_file_unreadable && checker.given(&ADMIN_LISTEN).is_none() {
        checker.report_layer_problems();
    }
    checker.finish(admin)
}

fn read(checker: &mut Checker, input: &Input<'_>) -> Result<Config, Reported> {
    let upstream = upstream::read(checker, input);
    let is_real = matches!(upstream, Ok(Upstream::Cloud(_)));
    let session = session::read(checker, input, is_real || upstream.is_err());
    let serve = serve::read(checker);
    let metadata = serve::metadata(checker);
    let admin = checker.value(&ADMIN_LISTEN);
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

/// Reads how to log.
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
