//! What is generated from the definition of the command line: the manual page and the completions.

use std::io;

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::command;

/// Renders the manual page: every command, one after the other.
///
/// Fails only if `out` does.
pub fn manual(out: &mut dyn io::Write) -> io::Result<()> {
    let mut command = command();
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

/// Renders the completions of a shell.
pub fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "ram-sidecar", &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    match shell {
        // Until clap_complete names the same function twice the same way where a program has a hyphen.
        Shell::Bash => text.replace("ram__subcmd__sidecar__subcmd__", "ram__sidecar__subcmd__"),
        _ => text,
    }
}
