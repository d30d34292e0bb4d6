//! `--help`, `-h`, and what a wrong command line is answered with.

use ram_sidecar::cli;
use ram_sidecar::config::settings::SETTINGS;

use crate::support::run_command;

fn printed(command: &str, arguments: &[&str]) -> String {
    let printed = run_command(command, arguments, &[]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    printed.stdout
}

fn commands() -> Vec<String> {
    let command = cli::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn short_help_fits_a_screen_and_long_help_has_every_variable() {
    let short = printed("serve", &["-h"]);
    assert!(short.lines().count() < 60, "{short}");
    assert!(
        short.lines().all(|line| line.chars().count() <= 140),
        "{short}"
    );
    assert!(!short.contains("[env:"), "{short}");
    let long = printed("serve", &["--help"]);
    for setting in SETTINGS.iter().filter(|setting| setting.flag().is_some()) {
        let flag = format!("--{}", setting.flag().unwrap());
        assert!(long.contains(&flag), "{flag}");
        assert_eq!(
            short.contains(&format!("{flag} ")) || short.contains(&format!("{flag}[")),
            setting.is_common,
            "{flag}"
        );
        assert!(
            long.contains(&format!("[env: {}]", setting.variable())),
            "{flag}"
        );
    }
}

#[test]
fn flags_are_grouped_by_what_they_configure() {
    for command in ["serve", "exec", "check"] {
        let help = printed(command, &["--help"]);
        let headings: Vec<&str> = help
            .lines()
            .filter(|line| !line.starts_with(' ') && line.ends_with(':'))
            .collect();
        let groups = [
            "Role:",
            "Identity:",
            "STS:",
            "Serving:",
            "Files:",
            "Logging:",
        ];
        let found: Vec<&str> = headings
            .into_iter()
            .filter(|line| groups.contains(line))
            .collect();
        assert_eq!(found, groups, "{help}");
    }
}

#[test]
fn every_command_has_two_examples_that_name_it() {
    for name in commands() {
        for flag in ["-h", "--help"] {
            let help = printed(&name, &[flag]);
            let examples = help
                .split("Examples:\n")
                .nth(1)
                .unwrap_or_else(|| panic!("{help}"));
            let is_example = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
            let lines: Vec<&str> = examples.lines().filter(is_example).collect();
            assert_eq!(lines.len(), 2, "{help}");
            assert!(
                lines
                    .iter()
                    .any(|line| line.contains(&format!("ram-sidecar {name}"))),
                "{help}"
            );
        }
    }
}

#[test]
fn flags_that_a_command_would_ignore_are_errors() {
    for arguments in [
        &["--file", "/tmp/credentials"][..],
        &["--listen", "127.0.0.1:0"],
        &["--state", "/tmp/state"],
        &["--drain", "1s"],
    ] {
        let ended = run_command("get", arguments, &[]);
        assert_eq!(ended.code, Some(64), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("unexpected argument"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(
        run_command("exec", &["--state", "/tmp/state", "--", "true"], &[]).code,
        Some(64)
    );
}

#[test]
fn exec_shows_its_own_defaults() {
    let help = printed("exec", &["--help"]);
    for default in ["127.0.0.1:0", "128 random bits", "off", "warn"] {
        assert!(
            help.contains(&format!("[default: {default}]")),
            "{default}\n{help}"
        );
    }
    for default in ["127.0.0.1:7002", "127.0.0.1:7003"] {
        assert!(!help.contains(default), "{default}\n{help}");
    }
}

#[test]
fn misplaced_words_are_answered_with_their_place_and_no_others() {
    for (command, arguments, tip) in [
        (
            "exec",
            &["python", "x.py"][..],
            "`ram-sidecar exec [OPTIONS] -- python …`",
        ),
        (
            "exec",
            &["--key", "planted", "python", "planted"],
            "`ram-sidecar exec [OPTIONS] -- python …`",
        ),
        (
            "inject",
            &["x.yaml"],
            "`ram-sidecar inject [OPTIONS] -f x.yaml`",
        ),
    ] {
        let ended = run_command(command, arguments, &[]);
        assert_eq!(ended.code, Some(64), "{}", ended.stderr);
        assert!(ended.stderr.contains(tip), "{tip}\n{}", ended.stderr);
        assert!(!ended.stderr.contains("planted"), "{}", ended.stderr);
    }
}
