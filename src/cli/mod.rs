//! The command line, and the only reader of the environment: one file for each command.

mod admin;
mod check;
mod command_environment;
mod completions;
mod definition;
mod error;
mod exec;
mod explain;
mod exposure;
mod get;
mod health;
mod hint;
#[cfg(feature = "inject")]
mod inject;
mod input;
mod manual;
mod metadata_address;
mod output;
mod progress;
mod runtime;
#[cfg(feature = "sandbox")]
mod sandbox;
mod sections;
mod serve;
mod status;
mod stop;
mod suggested;
mod terminal;
mod wait;
#[cfg(feature = "inject")]
mod webhook;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::ArgMatches;

pub use self::error::Error;
use crate::system::{build, random};

/// A command of the program.
struct Command {
    /// The name on the command line.
    name: &'static str,
    /// What it does, in one sentence.
    about: &'static str,
    /// What an example is for, and its command line.
    examples: &'static [(&'static str, &'static str)],
    /// What the long help adds: details, and the exit codes.
    notes: &'static str,
    /// Adds the flags to the definition of the command.
    define: fn(clap::Command) -> clap::Command,
    /// Runs the command to its end, with the flags that were given.
    run: fn(&ArgMatches) -> Result<ExitCode, Error>,
}

/// Parses the command line and runs its command.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Error> {
    random::require().map_err(|error| {
        Error::System(format!("{error}; permit it in the seccomp filter of this process").into())
    })?;
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = command().try_get_matches_from(&arguments);
    let matches = matches.map_err(|error| hint::with_position(error, &arguments))?;
    let given = matches.subcommand().and_then(|(name, given)| {
        let command = COMMANDS.iter().find(|command| command.name == name)?;
        Some((command, given))
    });
    match given {
        Some((command, given)) => (command.run)(given),
        None => Err(Error::Usage("no command is given; see --help".into())),
    }
}

/// Returns the definition of the command line.
pub fn command() -> clap::Command {
    clap::Command::new("ram-sidecar")
        .version(build::VERSION)
        .long_version(LONG_VERSION.as_str())
        .about("Serves temporary Alibaba Cloud RAM role credentials to the job beside it, where its tools already look")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(COMMANDS.iter().map(Command::definition))
}

impl Command {
    fn definition(&self) -> clap::Command {
        let mut examples = String::from("Examples:");
        for (purpose, line) in self.examples {
            // Writing to a String cannot fail.
            let _ = write!(examples, "\n  {line}\n      {purpose}");
        }
        let notes = format!("{}\n\n{examples}", self.notes);
        let command = clap::Command::new(self.name)
            .about(self.about)
            .after_help(examples)
            .after_long_help(notes);
        (self.define)(command)
    }
}

/// What `--version` prints after the name of the program.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let (version, revision, features) = (build::VERSION, build::REVISION, build::FEATURES);
    format!("{version}\nrevision: {revision}\nfeatures: {features}")
});

/// The commands, in the order of the help.
const COMMANDS: &[Command] = &[
    serve::COMMAND,
    exec::COMMAND,
    get::COMMAND,
    wait::COMMAND,
    health::COMMAND,
    status::COMMAND,
    check::COMMAND,
    explain::COMMAND,
    stop::COMMAND,
    #[cfg(feature = "sandbox")]
    sandbox::COMMAND,
    #[cfg(feature = "inject")]
    inject::COMMAND,
    #[cfg(feature = "inject")]
    webhook::COMMAND,
    metadata_address::COMMAND,
    completions::COMMAND,
    manual::COMMAND,
];
