//! `manual`: prints the manual page, which is rendered from the definition of the command line.

use std::io;
use std::process::ExitCode;

use clap::ArgMatches;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::error::EXIT_CODES;
use super::output::print_until_closed;
use super::{COMMANDS, Command, Error};
use crate::config::settings::SETTINGS;

pub(super) const COMMAND: Command = Command {
    name: "manual",
    about: "Prints the manual page",
    examples: &[
        ("shows it", "ram-sidecar manual | man -l -"),
        (
            "installs it",
            "ram-sidecar manual > /usr/local/share/man/man1/ram-sidecar.1",
        ),
    ],
    notes: "Exit codes: 0 printed, 71 standard output cannot be written.",
    define: |command| command,
    run,
};

fn run(_: &ArgMatches) -> Result<ExitCode, Error> {
    let mut page = Vec::new();
    render(&mut page).map_err(|error| Error::Software(error.into()))?;
    print_until_closed(&page, "the manual page")?;
    Ok(ExitCode::SUCCESS)
}

/// Renders the manual page: every command, one after the other, and what they share.
///
/// Fails only if `out` does.
fn render(out: &mut dyn io::Write) -> io::Result<()> {
    let mut command = super::command();
    command.build();
    let whole = Man::new(command.clone());
    whole.render_title(out)?;
    whole.render_name_section(out)?;
    whole.render_synopsis_section(out)?;
    whole.render_description_section(out)?;
    for (definition, Command { notes, .. }) in command.get_subcommands().zip(COMMANDS) {
        let man = Man::new(definition.clone());
        let name = definition.get_display_name();
        let title = name.unwrap_or_default().to_uppercase().replace('-', " ");
        Roff::new().control("SH", [title.as_str()]).to_writer(out)?;
        man.render_description_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_options_section(out)?;
        let mut section = Roff::new();
        section.control("SH", ["NOTES"]);
        for line in notes.lines() {
            section.text([roman(line)]).control("br", []);
        }
        section.to_writer(out)?;
    }
    let examples = COMMANDS.iter().flat_map(|command| command.examples);
    let examples = examples.map(|(purpose, line)| ((*line).to_owned(), *purpose));
    let files = FILES.map(|(path, meaning)| (path.to_owned(), meaning));
    let variables = SETTINGS
        .iter()
        .map(|setting| (setting.variable(), setting.help));
    let codes = EXIT_CODES.map(|(code, meaning)| (code.to_string(), meaning));
    list("EXAMPLES", examples).to_writer(out)?;
    list("FILES", files).to_writer(out)?;
    list("ENVIRONMENT", variables).to_writer(out)?;
    list("EXIT STATUS", codes).to_writer(out)
}

/// Renders a section of terms and their meanings.
fn list(title: &str, entries: impl IntoIterator<Item = (String, &'static str)>) -> Roff {
    let mut section = Roff::new();
    section.control("SH", [title]);
    for (term, meaning) in entries {
        section
            .control("TP", [])
            .text([bold(term)])
            .text([roman(meaning)]);
    }
    section
}

/// The files that the program reads or writes by default, or by the documentation of others.
const FILES: [(&str, &str); 4] = [
    (
        "/etc/ram-sidecar/ram-sidecar.toml",
        "The settings, as the systemd service reads them; elsewhere --config names the file.",
    ),
    (
        "/mnt/.alibabacloud/credentials",
        "The file of PAI; --file writes it in the same form.",
    ),
    (
        "~/.aliyun/config.json",
        "The profiles of aliyun-cli, for identity.type profile.",
    ),
    (
        "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token",
        "The service account token that ACK's webhook for RRSA mounts; ALIBABA_CLOUD_OIDC_TOKEN_FILE names it.",
    ),
];
