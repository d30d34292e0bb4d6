//! `completions`: prints the completions of a shell.

use std::process::ExitCode;

use clap::{Arg, value_parser};
use clap_complete::Shell;

use super::Command;
use super::output::print_until_closed;

pub(super) const COMMAND: Command = Command {
    name: "completions",
    about: "Prints the completions of a shell",
    examples: &[
        (
            "for bash, for all users",
            "ram-sidecar completions bash > /usr/share/bash-completion/completions/ram-sidecar",
        ),
        ("for this zsh", "source <(ram-sidecar completions zsh)"),
    ],
    notes: NOTES,
    define,
    run: |given| {
        let shell = given.get_one("shell").copied().unwrap_or(Shell::Bash);
        print_until_closed(completions(shell).as_bytes(), "the completions")?;
        Ok(ExitCode::SUCCESS)
    },
};

fn define(command: clap::Command) -> clap::Command {
    command.arg(
        Arg::new("shell")
            .value_name("SHELL")
            .required(true)
            .value_parser(value_parser!(Shell))
            .help("bash, elvish, fish, powershell or zsh"),
    )
}

fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "ram-sidecar", &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    match shell {
        // Until clap_complete names the same function twice the same way where a program has a hyphen.
        Shell::Bash => text.replace("ram__subcmd__sidecar__subcmd__", "ram__sidecar__subcmd__"),
        _ => text,
    }
}

const NOTES: &str = "\
Exit codes: 0 printed, 64 usage, 71 standard output cannot be written.";
