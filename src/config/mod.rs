//! The configuration: gathered from three places, checked once, every mistake reported at once.

pub(crate) mod checker;
mod identity;
pub(crate) mod layers;
mod mistakes;
pub(crate) mod parse;
mod role;
#[cfg(feature = "sandbox")]
mod sandbox;
mod serve;
pub mod settings;
mod state;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use secrecy::SecretString;

use crate::credentials::RoleArn;
use crate::files::writer;
use crate::identity::Identity;
use crate::server::data::{AllowedCallers, Container};
use crate::server::metadata::listing::StaticValues;
use crate::sts::endpoint::Endpoint;
use crate::sts::sign::Signature;
use crate::system::log;

#[cfg(feature = "sandbox")]
pub use self::sandbox::{Alone, Sandbox, alone};

use self::checker::Checker;
use self::layers::Layers;

pub use self::mistakes::Mistakes;

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
    /// What the command takes for a default where that differs from the table's.
    pub defaults: Vec<(&'static str, String)>,
    /// What was said of the embedded STS, if it was asked for.
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
    pub files: Vec<writer::Options>,
    /// `state.file`; none where nothing obtains credentials that a successor could use.
    pub state: Option<PathBuf>,
    /// `shutdown.drain`.
    pub drain: Duration,
    /// `log.*`.
    pub log: log::Options,
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
    pub name: String,
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
    pub plain: StaticValues,
}

/// What was found, whether or not it is right.
#[derive(Debug)]
pub struct Checked {
    /// Every setting that has a value, in the order of the table.
    pub settings: Vec<Shown>,
    /// Every identity whose settings are present.
    pub candidates: Vec<Candidate>,
    /// The configuration, or everything that is wrong with it.
    pub outcome: Result<Config, Mistakes>,
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
    /// Its name, as `identity.type` spells it.
    pub kind: &'static str,
    /// Where one of its settings was written.
    pub origin: String,
    /// Whether it is the one that counts.
    pub is_taken: bool,
}

/// Checks everything that was given.
pub fn check(input: &Input<'_>) -> Checked {
    let checker = Checker {
        layers: Layers::gather(input),
        problems: Vec::new(),
    };
    let (settings, mut candidates) = (checker.shown(), checker.candidates());
    let outcome = checked(checker, input);
    let taken = candidates.iter().filter(|c| c.is_taken).count();
    let asks = matches!(&outcome, Ok(config) if !matches!(config.upstream, Upstream::Cloud(_)));
    if taken > 1 || asks {
        for candidate in &mut candidates {
            candidate.is_taken = false;
        }
    }
    Checked {
        settings,
        candidates,
        outcome,
    }
}

/// Checks `admin.listen` alone: what the commands need that ask a running daemon.
///
/// Other mistakes are no reason why a probe should fail, because the daemon runs; but what a file says that cannot be read
/// is not known.
pub fn admin(input: &Input<'_>) -> Result<Option<SocketAddr>, Mistakes> {
    let mut checker = Checker {
        layers: Layers::gather(input),
        problems: Vec::new(),
    };
    let admin = checker.value("admin.listen", parse::address_or_off);
    if checker.layers.is_file_lost && checker.given("admin.listen").is_none() {
        return Err(Mistakes::of(&checker.layers.problems));
    }
    admin.ok_or_else(|| Mistakes::of(&checker.problems))
}

fn checked(mut checker: Checker, input: &Input<'_>) -> Result<Config, Mistakes> {
    let upstream = checker.upstream(input);
    let session = checker.session(input, matches!(upstream, Some(Upstream::Cloud(_)) | None));
    let serve = checker.serve();
    let metadata = checker.metadata_dialect();
    let admin = checker.value("admin.listen", parse::address_or_off);
    let files = checker.files();
    let state = checker.state(&files);
    let is_real = matches!(upstream, Some(Upstream::Cloud(_)));
    let drain = checker.value("shutdown.drain", parse::duration);
    let log = checker.log();

    let Checker {
        layers,
        mut problems,
    } = checker;
    problems.splice(0..0, layers.problems);
    match (upstream, session, serve, admin, drain, log) {
        (Some(upstream), Some(session), Some(serve), Some(admin), Some(drain), Some(log))
            if problems.is_empty() =>
        {
            Ok(Config {
                upstream,
                session,
                serve,
                metadata,
                admin,
                files,
                state: state.filter(|_| is_real),
                drain,
                log,
            })
        }
        _ => Err(Mistakes::of(&problems)),
    }
}

#[cfg(test)]
mod tests;
