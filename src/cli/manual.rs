//! `manual`: prints the manual page, which is rendered from the definition of the command line.

use std::io;
use std::process::ExitCode;

use clap::ArgMatches;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::output::print_if_open;
use super::{Command, Error};

pub(super) const COMMAND: Command = Command {
    name: "manual",
    define: |command| command.about("Prints the manual page, for `man -l -`"),
    run,
};

fn run(_: &ArgMatches) -> Result<ExitCode, Error> {
    let mut page = Vec::new();
    render(&mut page).map_err(|error| Error::Software(error.into()))?;
    print_if_open(&page);
    Ok(ExitCode::SUCCESS)
}

/// Renders the manual page: every command, one after the other.
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
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        let man = Man::new(sub.clone());
        let name = sub.get_display_name().unwrap_or_else(|| sub.get_name());
        let title = name.to_uppercase().replace('-', " ");
        Roff::new().control("SH", [title.as_str()]).to_writer(out)?;
        man.render_description_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_options_section(out)?;
        if let Some(notes) = sub.get_after_help() {
            let mut section = Roff::new();
            section.control("SH", ["NOTES"]);
            for line in notes.to_string().lines() {
                section.text([roman(line)]).control("br", []);
            }
            section.to_writer(out)?;
        }
    }
    Ok(())
}
