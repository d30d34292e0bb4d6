//! The output of `completions` and `manual`: both contain every command and flag.

use ram_sidecar::cli;

use super::super::{has, output};
use crate::support::{Scratch, required, run_command};

/// Returns the names of all commands, and all flags without their dashes.
fn commands_and_flags() -> (Vec<String>, Vec<String>) {
    let mut command = cli::command();
    command.build();
    let (mut names, mut flags) = (Vec::new(), Vec::new());
    for sub in command.get_subcommands() {
        names.push(sub.get_name().to_owned());
        let longs = sub
            .get_arguments()
            .filter_map(|argument| argument.get_long());
        flags.extend(longs.map(str::to_owned));
    }
    flags.sort_unstable();
    flags.dedup();
    (names, flags)
}

#[test]
fn completions_of_every_shell_contain_every_command_and_flag() {
    let (names, flags) = commands_and_flags();
    assert!(names.len() > 8 && flags.len() > 30, "{names:?} {flags:?}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let printed = run_command("completions", &[shell], &[]);
        assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
        for word in names.iter().chain(&flags) {
            assert!(
                printed.stdout.contains(word.as_str()),
                "the completions of {shell} do not contain {word}"
            );
        }
        let parses = match shell {
            "bash" => Some(["bash", "-n"]),
            "fish" => Some(["fish", "--no-execute"]),
            "zsh" => Some(["zsh", "-n"]),
            _ => None,
        };
        if let Some([program, flag]) = parses.filter(|words| words[0] == "bash" || has(words[0])) {
            let scratch = Scratch::new();
            let file = scratch.join("completions");
            std::fs::write(&file, &printed.stdout).unwrap();
            let ran = output(&[program, flag, file.to_str().unwrap()]);
            assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
        }
    }
    for invalid in [&[][..], &["tcsh"]] {
        assert_eq!(run_command("completions", invalid, &[]).code, Some(64));
    }
}

#[test]
fn bash_completes_flags_and_arguments_after_a_command() {
    let printed = run_command("completions", &["bash"], &[]);
    let scratch = Scratch::new();
    let file = scratch.join("completions");
    std::fs::write(&file, &printed.stdout).unwrap();
    let script = r#"source "$0"; function=$(complete -p ram-sidecar | sed 's/.*-F \([^ ]*\).*/\1/')
        read -ra words <<< "$1"; COMP_WORDS=(ram-sidecar "${words[@]}" "$2") COMP_CWORD=$((${#words[@]} + 1))
        "$function" ram-sidecar "$2" "${words[-1]}"; echo "${COMPREPLY[@]}""#;
    for (command, prefix, completed) in [
        ("get", "--form", "--format"),
        ("serve", "--role-a", "--role-arn"),
        ("health", "", "ready"),
        ("serve --identity", "", "ecs_ram_role"),
        ("serve --log-level", "", "debug"),
        ("serve --role-preset", "pai", "pai-default"),
        ("serve --fault", "thr", "throttle-pause"),
    ] {
        let file = file.to_str().unwrap();
        let ran = output(&["bash", "-c", script, file, command, prefix]);
        let words = String::from_utf8_lossy(&ran.stdout).into_owned();
        let is_completed = words.split_whitespace().any(|word| word == completed);
        assert!(is_completed, "{command} {prefix}: {ran:?}");
    }
}

#[test]
fn manual_is_valid_and_contains_every_command_and_flag() {
    let printed = run_command("manual", &[], &[]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let source = printed.stdout;
    assert!(
        source.lines().any(|line| line.starts_with(".TH ")),
        "{source}"
    );
    let scratch = Scratch::new();
    let file = scratch.join("ram-sidecar.1");
    std::fs::write(&file, &source).unwrap();
    let file = file.to_str().unwrap();
    // As `man -l` does.
    let text = if required("groff", has("groff")) {
        let ran = output(&[
            "groff",
            "-Kutf8",
            "-man",
            "-Tutf8",
            "-ww",
            "-P-cbou",
            "-rLL=200n",
            file,
        ]);
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
        // groff uses several kinds of dashes.
        String::from_utf8_lossy(&ran.stdout).replace(['\u{2010}', '\u{2212}'], "-")
    } else {
        source.replace('\\', "")
    };
    for section in ["EXAMPLES", "FILES", "ENVIRONMENT", "EXIT STATUS"] {
        let begins = |line: &str| line == section || line == format!(".SH \"{section}\"");
        assert!(text.lines().any(begins), "no section {section}\n{text}");
    }
    let (names, flags) = commands_and_flags();
    for name in names {
        let heading = format!("RAM SIDECAR {}", name.to_uppercase().replace('-', " "));
        assert!(
            name == "help" || text.contains(&heading),
            "no section {heading}\n{text}"
        );
    }
    for flag in flags {
        assert!(
            text.contains(&format!("--{flag}")),
            "the manual does not contain --{flag}"
        );
    }
}
