//! `explain`: which credentials each client will use in this environment, and why. It reads only, and prints no secret.

mod ask;
mod here;
#[cfg(feature = "inject")]
mod manifest;
mod report;

use std::ffi::{OsStr, OsString};
use std::path::Path;
#[cfg(feature = "inject")]
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::command_environment::{self, Server, assumed};
use super::definition::with_settings;
use super::output::print_until_closed;
use super::runtime::block_on;
use super::{Command, Error, terminal};
use crate::chains::{CLIENTS, Client, Environment, Explained, Outlook, Served, explain};
use crate::system::process;

use self::here::Here;
use self::report::Report;

pub(super) const COMMAND: Command = Command {
    name: "explain",
    about: "Says which credentials each SDK and tool will use in this environment, and what stands in the way of ours",
    examples: &[
        ("in the shell of a job", "ram-sidecar explain"),
        (
            "what train.py would find as a command of exec",
            "ram-sidecar explain --client python -- python train.py",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let names = CLIENTS.iter().map(|client| client.name);
    let command =
        command
            .arg(
                Arg::new("client")
                    .long("client")
                    .value_name("NAME")
                    .action(ArgAction::Append)
                    .value_parser(PossibleValuesParser::new(names))
                    .help("Explain this client only; repeat the flag for more"),
            )
            .arg(Arg::new("ask").long("ask").action(ArgAction::SetTrue).help(
                "Ask STS whose the credentials are, and try the metadata service, for a second",
            ))
            .arg(
                Arg::new("json")
                    .long("json")
                    .action(ArgAction::SetTrue)
                    .help("Print the report as JSON"),
            );
    #[cfg(feature = "inject")]
    let command = command.arg(
        Arg::new("filename")
            .short('f')
            .long("filename")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .action(ArgAction::Append)
            .conflicts_with_all(["ask", "command"])
            .help("Explain the containers of a manifest instead, or - for standard input; repeat the flag for more"),
    );
    // The flags of exec that change what clients find.
    let environment = command_environment::with_flags(with_settings(
        clap::Command::new(""),
        &["container.", "metadata.", "file"],
    ));
    let environment = environment.get_arguments().cloned();
    let environment = environment.map(|flag| flag.requires("command"));
    command.args(environment).arg(
        Arg::new("command")
            .value_name("CMD")
            .value_parser(value_parser!(OsString))
            .num_args(1..)
            .last(true)
            .help("Explain what exec would give this command with the same flags, after --"),
    )
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    process::protect(false);
    // Such as `-- $CMD` with nothing in CMD.
    let ends_early = std::env::args_os()
        .next_back()
        .is_some_and(|last| last == "--");
    if ends_early && !given.contains_id("command") {
        let reason =
            "no command follows --; name one, or leave -- away to explain this environment";
        return Err(Error::Usage(reason.into()));
    }
    let names: Option<Vec<&String>> = given.get_many("client").map(Iterator::collect);
    let is_chosen = |client: &&Client| {
        let names = names.as_ref();
        names.is_none_or(|names| names.iter().any(|name| *name == client.name))
    };
    let clients: Vec<&'static Client> = CLIENTS.iter().filter(is_chosen).collect();
    let is_selected = names.is_some();
    #[cfg(feature = "inject")]
    let report = match given.get_many::<PathBuf>("filename") {
        Some(files) => manifest::report(files, &clients, is_selected)?,
        None => here(given, &clients, is_selected)?,
    };
    #[cfg(not(feature = "inject"))]
    let report = here(given, &clients, is_selected)?;
    let text = if given.get_flag("json") {
        report.json()
    } else {
        let output = std::io::stdout();
        report.text(terminal::has_colour(&output), terminal::columns(&output))
    };
    print_until_closed(format!("{}\n", text.trim_end()).as_bytes(), "the report")?;
    if report.good {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Error::NotOurs)
    }
}

/// Explains the environment of this process, or of a command of `exec`.
fn here(
    given: &ArgMatches,
    clients: &[&'static Client],
    is_selected: bool,
) -> Result<Report, Error> {
    let asks = given.get_flag("ask");
    let assumed = if given.contains_id("command") {
        Some(assumed(given)?)
    } else {
        None
    };
    block_on(Some(0), async {
        let here = match assumed {
            Some(assumed) => Here::below(&assumed, asks).await,
            None => Here::look(asks).await,
        };
        let explained = here.with_surroundings(|at| {
            let explained = clients.iter().map(|client| explain(client, at));
            explained.collect::<Vec<_>>()
        });
        let mut report = Report::new(is_selected, Environment::Process);
        report.program = given.get_one::<OsString>("command").cloned();
        let callers = if asks {
            ask::callers(&explained).await
        } else {
            Vec::new()
        };
        report.add("", &explained, &callers);
        report
    })
}

/// Clients that will not use ours, and why.
pub(super) struct Stray {
    /// Their names.
    pub(super) clients: Vec<&'static str>,
    /// What keeps them from ours.
    pub(super) what: String,
    /// What corrects it.
    pub(super) fix: String,
}

/// Returns what keeps clients of a command from the credentials of its server: those whose chains lead there, and others that would
/// use credentials of somebody else. An SDK of AWS that is not served may have keys of AWS, and a program that is not the command
/// keys that its user wants. Blocks.
pub(super) fn strays(
    command: &std::process::Command,
    server: &Server,
    answer: Option<Served>,
) -> Vec<Stray> {
    let here = Here::of_command(command, server, answer);
    let explained = here.with_surroundings(|at| {
        let explained = CLIENTS.iter().map(|client| explain(client, at));
        explained.collect::<Vec<_>>()
    });
    let program = command.get_program();
    let is_stray = |one: &Explained| {
        let reads_container = one.client.reads_container();
        match server.container_uri {
            _ if one.client.program.is_some() && !is_program(one.client, program) => false,
            _ if one.client.reads_uri() => true,
            Some(_) if reads_container => true,
            _ => one.outlook == Outlook::Others && !reads_container,
        }
    };
    let mut strays: Vec<Stray> = Vec::new();
    for one in explained.iter().filter(|one| is_stray(one)) {
        let Some(fix) = one.fix(Environment::Process) else {
            continue;
        };
        let fix = fix.to_string();
        match strays.iter_mut().find(|stray| stray.fix == fix) {
            Some(stray) => stray.clients.push(one.client.name),
            None => strays.push(Stray {
                clients: vec![one.client.name],
                what: one.instead(),
                fix,
            }),
        }
    }
    strays
}

/// Whether a client is the program of a command.
fn is_program(client: &Client, program: &OsStr) -> bool {
    let name = Path::new(program).file_name();
    client.program.is_some_and(|own| name == Some(own.as_ref()))
}

const NOTES: &str = "\
It reads variables and the files that the clients read, and asks nobody but the server of ALIBABA_CLOUD_CREDENTIALS_URI, if
that is on loopback, and a metadata service whose address is this machine; to the port of AWS_CONTAINER_CREDENTIALS_FULL_URI
on loopback it only connects. \"Ours\" are the credentials of the server of ALIBABA_CLOUD_CREDENTIALS_URI. A client whose chain
cannot lead to it counts only if it finds others; those chosen with --client, and a program that is CMD itself, always count.
The reference has the chains, with their sources, and the JSON of the report. Lines fit COLUMNS, or the terminal, or 80
columns, except those for a shell.
Exit codes: 0 every client that counts will use ours, 1 one of them will not, 64 usage, 65 a manifest that cannot be used,
71 cannot read or print, 78 the settings of exec cannot be used.";
