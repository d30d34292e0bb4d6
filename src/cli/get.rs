//! `get`: prints credentials once, of a running daemon or obtained with the settings.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches};

use super::definition::{settings, with_default, with_settings};
use super::hint::config;
use super::input::variable;
use super::output::print;
use super::runtime::block_on;
use super::{Command, Error, terminal};
use crate::config::settings::LOG_LEVEL;
use crate::config::{Config, Definition, Errors};
use crate::credentials::Credentials;
use crate::daemon::source;
use crate::failure::{Failure, LocalCode, Stage};
use crate::formats::format::{Format, PRINTED};
use crate::identity::{CredentialsUri, Proof};
use crate::refresh::source::Source as _;
use crate::system::process;
use crate::time::clock::Clock;

/// Where credentials come from.
#[derive(Debug)]
enum Origin {
    /// A running daemon.
    Daemon(Box<CredentialsUri>),
    /// These settings.
    Settings(Box<Config>),
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum GetError {
    /// They cannot be obtained.
    #[error("{0}")]
    Failure(Failure),
    /// The daemon does not answer, or refuses.
    #[error("{}", of_daemon_in_words(.0))]
    Daemon(Failure),
    /// The answer does not say when its credentials expire.
    #[error(
        "the answer is an AccessKey that does not expire, which is never passed on; give the address of a ram-sidecar"
    )]
    NotTemporary,
    /// The job is to have none.
    #[error(
        "this job has no RAM role, because role.preset is none, and therefore no credentials; set role.arn to give it some"
    )]
    NoRole,
    /// The source of credentials cannot be built.
    #[error(transparent)]
    Upstream(#[from] source::Error),
}

pub(super) const COMMAND: Command = Command {
    name: "get",
    about: "Prints credentials once: those of a running daemon, or new ones for these settings",
    examples: &[
        (
            "sets the variables of the SDKs and of OSS in a shell",
            "eval \"$(ram-sidecar get --format env)\"",
        ),
        (
            "of a running daemon",
            "ram-sidecar get --from http://127.0.0.1:7002/api/v1/credentials/0",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let formats = PRINTED.iter().map(|(name, _)| *name);
    let command = command
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .default_value("json")
                .value_parser(PossibleValuesParser::new(formats))
                .help("json (the URI's document), env (for a shell), process (for credential processes, of AWS too, and aliyun-cli's External), aliyun-cli (a configuration file), ini (ossutil's), json-camel (pyodps'), aws (a shared credentials file)"),
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("URI")
                .conflicts_with_all(flags().map(|setting| setting.key).chain(["config"]))
                .help("The address of a running daemon's credentials"),
        );
    with_default(with_settings(command, &OBEYED), &LOG_LEVEL, "warn")
}

/// Returns the settings whose flags it takes.
fn flags() -> impl Iterator<Item = &'static Definition> {
    settings(&OBEYED).filter(|setting| setting.flag().is_some())
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let format = given
        .get_one::<String>("format")
        .map_or("json", String::as_str);
    let format = Format::named(format, &PRINTED).unwrap_or(Format::Json);
    let origin = origin(given)?;
    if let Origin::Settings(config) = &origin {
        process::protect(config.upstream.runs_programs());
        terminal::start_daemon_log(given, config);
    } else {
        process::protect(false);
    }
    let credentials =
        block_on(Some(0), obtain(origin))?.map_err(|error| Error::Unavailable(error.into()))?;
    let text = format.printed(&credentials);
    print(&text, "the credentials")?;
    if !text.ends_with(b"\n") {
        print(b"\n", "the credentials")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Decides where credentials come from: `--from`, or settings given as flags, or the daemon that the environment names, or the
/// settings of the environment.
fn origin(given: &ArgMatches) -> Result<Origin, Error> {
    let has_settings =
        given.contains_id("config") || flags().any(|setting| given.contains_id(setting.key));
    let from = given.get_one::<String>("from").cloned();
    let name = if from.is_some() { "--from" } else { URI };
    let uri = from.or_else(|| {
        let uri = variable(URI).filter(|uri| !uri.is_empty() && !has_settings)?;
        Some(uri.to_string_lossy().into_owned())
    });
    if let Some(uri) = uri {
        return CredentialsUri::parse(&uri)
            .map(|uri| Origin::Daemon(Box::new(uri)))
            .map_err(|reason| Errors(vec![format!("{name}: {reason}")]).into());
    }
    let defaults = vec![(&LOG_LEVEL.definition, "warn".to_owned())];
    let config = config(given, defaults)?;
    Ok(Origin::Settings(Box::new(config)))
}

/// Obtains credentials once.
async fn obtain(origin: Origin) -> Result<Credentials, GetError> {
    match origin {
        Origin::Daemon(uri) => of_daemon(*uri).await,
        Origin::Settings(config) => by_settings(*config).await,
    }
}

async fn of_daemon(mut uri: CredentialsUri) -> Result<Credentials, GetError> {
    let proof = uri
        .proof(&Clock::machine())
        .await
        .map_err(GetError::Daemon)?;
    match proof {
        Proof::Lease(lease) => Ok(lease.credentials),
        Proof::Keys(_) | Proof::Token { .. } => Err(GetError::NotTemporary),
    }
}

/// Replaces the remedies in the failure, which are meant for a daemon whose identity is another one.
fn of_daemon_in_words(failure: &Failure) -> String {
    let message = &failure.message;
    match failure.stage {
        _ if failure.code == LocalCode::LimitReached => failure.to_string(),
        // The message says what to change.
        Stage::Identity if failure.code != LocalCode::ExpiredAnswer => message.clone(),
        Stage::Transport => format!(
            "{message}; start a ram-sidecar there, or correct --from or ALIBABA_CLOUD_CREDENTIALS_URI"
        ),
        _ => format!(
            "{message}; let --from or ALIBABA_CLOUD_CREDENTIALS_URI name the credentials of a ram-sidecar"
        ),
    }
}

async fn by_settings(config: Config) -> Result<Credentials, GetError> {
    let clock = Clock::machine();
    // Dropping the embedded STS would stop it.
    let (chain, _embedded_sts) =
        source::source(config.upstream, config.session, &clock, None).await?;
    let mut chain = chain.ok_or(GetError::NoRole)?;
    let lease = tokio::time::timeout(chain.timeout(), chain.mint()).await;
    let lease = lease.unwrap_or_else(|_| Err(Failure::timed_out(chain.timeout())));
    lease
        .map(|lease| lease.credentials)
        .map_err(GetError::Failure)
}

/// The variable that names the address of a daemon's credentials.
const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// The sections of the settings that it obeys: it serves nothing and writes no file.
const OBEYED: [&str; 4] = ["role.", "identity.", "sts.", "log."];

const NOTES: &str = "\
Without --from and without settings as flags, ALIBABA_CLOUD_CREDENTIALS_URI names the daemon; without it, new credentials
are obtained. The output is a secret.
Exit codes: 0 printed, 64 usage, 69 there are no credentials, 78 configuration.";
