//! The command line, and the only reader of the environment.

mod admin;
pub mod check;
mod definition;
pub mod exec;
pub mod get;
pub mod health;
#[cfg(feature = "inject")]
mod inject;
pub mod metadata_address;
mod rendered;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod serve;
pub mod stop;
pub mod wait;
#[cfg(feature = "inject")]
mod webhook;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::error::ErrorKind;
use clap_complete::Shell;
use tracing::debug;

use crate::config::settings::SETTINGS;
use crate::config::{self, Checked, Config, Mistakes};
use crate::formats::format::{Format, PRINTED};
use crate::identity::CredentialsUri;
use crate::system::process;

pub use self::admin::Admin;
pub use self::definition::command;
pub use self::rendered::{completions, manual};

/// What was asked for.
#[derive(Debug)]
pub enum Request {
    /// `serve`.
    Serve(Box<Result<Config, Mistakes>>),
    /// `exec`.
    Exec(Box<Result<Config, Mistakes>>, exec::Options),
    /// `get`.
    Get(Result<get::Origin, Mistakes>, Format),
    /// `check`.
    Check {
        /// What was found.
        checked: Box<Checked>,
        /// Print JSON.
        json: bool,
    },
    /// A question to the admin listener of a running daemon.
    Ask(Result<Listen, Mistakes>, Question),
    /// `sandbox`.
    #[cfg(feature = "sandbox")]
    Sandbox(Box<Result<config::Alone, Mistakes>>),
    /// `inject`; or what is wrong with its flags.
    #[cfg(feature = "inject")]
    Inject(Result<crate::inject::command::Options, Vec<String>>),
    /// `metadata-address`.
    MetadataAddress,
    /// `webhook`.
    #[cfg(feature = "inject")]
    Webhook(Box<Result<crate::inject::webhook::Options, Mistakes>>),
    /// `completions`.
    Completions(Shell),
    /// `manual`.
    Manual,
}

/// Where a daemon's admin listener is; none if it is off.
type Listen = Option<std::net::SocketAddr>;

/// What to ask a running daemon.
#[derive(Debug)]
pub enum Question {
    /// `health`, and the probe.
    Health(String),
    /// `wait`, and for how long.
    Wait(Duration),
    /// `stop`.
    Stop,
}

/// Reads the command line, the environment and the configuration file.
///
/// Fails with clap's error: wrong usage, or the help that was asked for.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let has_dashes = arguments.iter().any(|argument| argument == "--");
    let matches = command().try_get_matches_from(arguments);
    let matches = matches.map_err(|error| {
        if has_dashes {
            error
        } else {
            with_dashes(error)
        }
    })?;
    let Some((name, given)) = matches.subcommand() else {
        return Ok(Request::Serve(Box::new(
            checked(&matches, Vec::new()).outcome,
        )));
    };
    Ok(match name {
        "exec" => exec(given),
        "get" => get(given),
        "check" => Request::Check {
            checked: Box::new(checked(given, Vec::new())),
            json: given.get_flag("json"),
        },
        "health" => {
            let probe = given.get_one::<String>("probe").cloned();
            asked(given, Question::Health(probe.unwrap_or_default()))
        }
        "wait" => asked(given, Question::Wait(seconds(given))),
        "stop" => asked(given, Question::Stop),
        #[cfg(feature = "sandbox")]
        "sandbox" => Request::Sandbox(Box::new(config::alone(&config::Input {
            sandbox: Some(sandbox::flags::alone(given)),
            ..input(given, Vec::new())
        }))),
        #[cfg(feature = "inject")]
        "inject" => Request::Inject(inject::options(given)),
        "metadata-address" => Request::MetadataAddress,
        #[cfg(feature = "inject")]
        "webhook" => Request::Webhook(Box::new(webhook::read(given, &input(given, Vec::new())))),
        "completions" => {
            Request::Completions(given.get_one("shell").copied().unwrap_or(Shell::Bash))
        }
        "manual" => Request::Manual,
        _ => Request::Serve(Box::new(checked(given, Vec::new()).outcome)),
    })
}

/// Says what is missing where the command of `exec` stands without `--`.
fn with_dashes(error: clap::Error) -> clap::Error {
    let usage = error.to_string();
    let is_of_exec = usage.contains("Usage: ram-sidecar exec") && !usage.contains("'-");
    if error.kind() == ErrorKind::UnknownArgument && is_of_exec {
        let message = "put -- before the command: ram-sidecar exec [OPTIONS] -- CMD ARGS...";
        return command().error(
            ErrorKind::MissingRequiredArgument,
            format!("{}; {message}", first(&usage)),
        );
    }
    error
}

/// Returns what is wrong, out of a message of clap.
fn first(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line)
}

fn exec(given: &ArgMatches) -> Request {
    let words = given.get_many::<OsString>("command").unwrap_or_default();
    // Two of them at a time must not meet, and nobody else is to ask.
    let defaults = vec![
        ("serve.listen", "127.0.0.1:0".to_owned()),
        ("serve.key", random_key()),
        ("admin.listen", "off".to_owned()),
        ("log.level", "warn".to_owned()),
    ];
    let options = exec::Options {
        command: words.cloned().collect(),
        timeout: seconds(given),
        hidden: hidden(),
        has_proxy: ["HTTP_PROXY", "http_proxy"]
            .iter()
            .any(|name| variable(name).is_some_and(|value| !value.is_empty())),
    };
    Request::Exec(Box::new(checked(given, defaults).outcome), options)
}

/// 128 random bits, in characters that no client encodes; nothing if there is no randomness, which is refused later.
fn random_key() -> String {
    getrandom::u64()
        .and_then(|high| Ok((high, getrandom::u64()?)))
        .map(|(high, low)| format!("{high:016x}{low:016x}"))
        .unwrap_or_default()
}

/// Returns the variables that tell this process who it is and what to do: none of a command's business.
fn hidden() -> Vec<OsString> {
    let ours = |name: &OsString| {
        let name = name.to_string_lossy();
        let is_setting = SETTINGS
            .iter()
            .any(|setting| setting.variable == name && !setting.key.starts_with("sts."));
        is_setting || name.starts_with("RAM_SIDECAR_")
    };
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(ours)
        .collect()
}

fn get(given: &ArgMatches) -> Request {
    let format = given
        .get_one::<String>("format")
        .map_or("json", String::as_str);
    let format = Format::named(format, &PRINTED).unwrap_or(Format::Json);
    // Not every command has every flag.
    let is_given = |name: &str| given.try_contains_id(name).unwrap_or_default();
    let has_settings = is_given("config")
        || SETTINGS
            .iter()
            .any(|setting| setting.flag.is_some() && is_given(setting.key));
    let from = given.get_one::<String>("from").cloned();
    let name = if from.is_some() { "--from" } else { URI };
    let uri = from.or_else(|| {
        let uri = variable(URI).filter(|uri| !uri.is_empty() && !has_settings)?;
        Some(uri.to_string_lossy().into_owned())
    });
    let origin = if let Some(uri) = uri {
        CredentialsUri::parse(&uri)
            .map(|uri| get::Origin::Daemon(Box::new(uri)))
            .map_err(|reason| Mistakes(vec![format!("{name}: {reason}")]))
    } else {
        let defaults = vec![("log.level", "warn".to_owned())];
        let config = checked(given, defaults).outcome;
        config.map(|config| get::Origin::Settings(Box::new(config)))
    };
    Request::Get(origin, format)
}

fn asked(given: &ArgMatches, question: Question) -> Request {
    Request::Ask(config::admin(&input(given, Vec::new())), question)
}

fn seconds(given: &ArgMatches) -> Duration {
    let timeout = given.get_one::<Duration>("timeout");
    timeout.copied().unwrap_or_default()
}

fn checked(matches: &ArgMatches, defaults: Vec<(&'static str, String)>) -> Checked {
    config::check(&input(matches, defaults))
}

fn input(matches: &ArgMatches, defaults: Vec<(&'static str, String)>) -> config::Input<'static> {
    // Not every command has every flag.
    let flag = |name: &str| {
        let values = matches.try_get_many::<String>(name).ok().flatten()?;
        Some(values.cloned().collect::<Vec<String>>())
    };
    let file = flag("config").and_then(|mut paths| paths.pop());
    let file = file.map(PathBuf::from).or_else(|| {
        variable("RAM_SIDECAR_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    config::Input {
        flags: SETTINGS
            .iter()
            .filter(|setting| setting.flag.is_some())
            .filter_map(|setting| flag(setting.key).map(|values| (setting.key, values)))
            .collect(),
        variable: &variable,
        file,
        host_name: process::host_name(),
        defaults,
        #[cfg(feature = "sandbox")]
        sandbox: sandbox::flags::asked_for(matches),
    }
}

/// Whether systemd has started this process and wants to be told how it is.
pub fn is_service() -> bool {
    variable("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The variable that tells where a daemon serves.
const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// Prints what leads clients here, in one piece, on a standard output that has no other use.
fn announce(lines: &str) {
    let mut out = io::stdout().lock();
    // Whoever started this may have closed its standard output; that is no reason to stop serving.
    if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        debug!("Cannot print how to be reached: {error}");
    }
}
