//! Exit codes: the command's own, and those of a command that never ran.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ram_sidecar::sandbox::{Fault, Options, Sandbox, Times};
use rustix::process::Signal;
use secrecy::ExposeSecret as _;

use super::{ended, exec, kill, plain, sandboxed};
use crate::access::{has, is_root};
use crate::hardening::as_nobody;
use crate::support::{Process, Scratch, environment, eventually, required};

#[test]
fn the_exit_code_is_passed_on() {
    for code in [0, 1, 7, 255] {
        let exit = format!("exit {code}");
        let (ended, _, complaint) = ended(sandboxed(&["sh", "-c", &exit]));
        assert_eq!((ended, complaint.as_str()), (Some(code), ""));
    }
}

#[test]
fn a_command_that_a_signal_killed_ends_with_128_and_its_number() {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("INT", 2)] {
        let suicide = format!("kill -{name} $$");
        let (code, ..) = ended(sandboxed(&["sh", "-c", &suicide]));
        assert_eq!(code, Some(128 + number), "{name}");
    }
}

#[test]
fn the_error_names_a_command_that_cannot_be_run() {
    let scratch = Scratch::new();
    let file = scratch.join("plain");
    std::fs::write(&file, "no program").unwrap();
    let file = super::text(&file);
    let foreign = scratch.join("foreign");
    std::fs::write(&foreign, b"\x7fELF\x01").unwrap();
    std::fs::set_permissions(&foreign, Permissions::from_mode(0o755)).unwrap();
    for (word, expected, reason) in [
        ("", 127, "it is empty; write it after --"),
        ("no-such-command", 127, "there is no such file"),
        ("/no/such/command", 127, "there is no such file"),
        (
            file,
            126,
            &format!("it is not executable; make it so with chmod +x {file}"),
        ),
        ("/usr", 126, "it is a directory; name a program in it"),
        (
            super::text(&foreign),
            126,
            "it has neither a first line such as #!/bin/sh nor is it a program of this machine",
        ),
    ] {
        let (code, output, complaint) = ended(sandboxed(&[word]));
        assert_eq!((code, output.as_str()), (Some(expected), ""), "{complaint}");
        let sentence = format!("ram-sidecar: cannot start `{word}`: {reason}");
        assert!(complaint.starts_with(&sentence), "{complaint}");
    }
}

#[test]
fn a_command_that_cannot_start_is_told_before_credentials_are_waited_for() {
    let scratch = Scratch::new();
    let script = |name: &str, mode: u32, line: &str| {
        let file = scratch.join(name);
        std::fs::write(&file, format!("{line}\necho ran\n")).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        super::text(&file).to_owned()
    };
    let closed = script("closed", 0o644, "#!/bin/sh");
    let chmod = format!("it is not executable; make it so with chmod +x {closed}");
    let below = format!("{closed}/sh");
    let interpreted = script("interpreted", 0o755, &format!("#! {closed} -e"));
    let denied = format!("this user may not execute its interpreter {closed}");
    let lost = script("lost", 0o755, "#! /no/such/shell -e");
    let returned = script("returned", 0o755, "#!/bin/sh\r");
    let circle = scratch.join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    std::fs::create_dir(scratch.join("nested")).unwrap();
    for (word, code, reason) in [
        (closed.as_str(), 126, chmod.as_str()),
        (&interpreted, 126, &denied),
        (
            &lost,
            126,
            "its interpreter /no/such/shell, which its first line names, does not exist; install that",
        ),
        (
            &returned,
            126,
            "its first line ends in a carriage return, which counts as part of the interpreter's name; save it",
        ),
        (
            super::text(&circle),
            126,
            "Too many levels of symbolic links",
        ),
        ("/usr", 126, "it is a directory"),
        (&below, 127, "there is no such file"),
        // A directory in PATH is no program.
        ("nested", 127, "there is no such file"),
        ("no-such-command", 127, "there is no such file"),
        ("", 127, "it is empty"),
    ] {
        let mut command = without_sts(&["--timeout", "5m"], &[word]);
        command.env("PATH", path_with(&[scratch.path()]));
        let (ended, _, complaint) = ended(command);
        let sentence = format!("ram-sidecar: cannot start `{word}`: {reason}");
        assert!(complaint.starts_with(&sentence), "{sentence}: {complaint}");
        assert_eq!(ended, Some(code), "{complaint}");
    }
}

/// Returns the path of programs, with these directories first.
fn path_with(directories: &[impl AsRef<Path>]) -> OsString {
    let path = environment("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path);
    let first = directories
        .iter()
        .map(|directory| directory.as_ref().to_owned());
    std::env::join_paths(first.chain(others)).unwrap()
}

#[test]
fn the_first_program_of_the_path_that_can_run_is_started() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.join("directory/tool")).unwrap();
    for (directory, mode) in [("closed", 0o644), ("open", 0o755)] {
        let directory = scratch.join(directory);
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("tool");
        std::fs::write(&file, "#!/bin/sh\necho ran").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    }
    let mut command = sandboxed(&["tool"]);
    let directories = ["closed", "directory", "open"].map(|name| scratch.join(name));
    command.env("PATH", path_with(&directories));
    let (code, output, complaint) = ended(command);
    assert_eq!((code, output.as_str()), (Some(0), "ran"), "{complaint}");
}

#[test]
fn what_the_kernel_refuses_to_run_is_told_with_its_remedy() {
    let scratch = Scratch::new();
    let directory = scratch.join("shut");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("plain");
    std::fs::write(&file, "no program").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    let word = super::text(&file);
    let told = |mode: u32, reason: &str| {
        std::fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        let words = [
            &as_nobody()[..],
            &[super::EXECUTABLE, "exec", "--sandbox", "--", word],
        ];
        let (code, _, complaint) = ended(plain(&words.concat()));
        let sentence = format!("ram-sidecar: cannot start `{word}`: {reason}");
        assert!(complaint.starts_with(&sentence), "{complaint}");
        assert_eq!(code, Some(126), "{complaint}");
    };
    told(
        0o755,
        "it has neither a first line such as #!/bin/sh nor is it a program of this machine",
    );
    if required("setpriv, for root", !is_root() || has("setpriv")) {
        told(
            0o000,
            &format!("this user may not search a directory above {word}"),
        );
    }
    std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_only_a_person_can_mend_ends_exec_at_once() {
    let scratch = Scratch::new();
    let file = scratch.join("config.json");
    std::fs::write(
        &file,
        r#"{"current": "p", "profiles": [{"name": "p", "mode": "AK"}]}"#,
    )
    .unwrap();
    let role = (
        "ALIBABA_CLOUD_ROLE_ARN",
        "acs:ram::1234567890123456:role/job",
    );
    let file = super::text(&file);
    let broken = scratch.join("broken.json");
    std::fs::write(&broken, r#"{"current": "p", "profiles": ["#).unwrap();
    let broken = super::text(&broken);
    let profile = ("ALIBABA_CLOUD_PROFILE", "p");
    for (variables, code, reason) in [
        (
            &[
                role,
                ("ALIBABA_CLOUD_CONFIG_FILE", file),
                ("ALIBABA_CLOUD_PROFILE", "q"),
            ][..],
            69,
            "it has no profile `q`, only p",
        ),
        (
            &[
                role,
                ("ALIBABA_CLOUD_CONFIG_FILE", "/no/such/file"),
                profile,
            ],
            69,
            "cannot use /no/such/file: No such file or directory (os error 2); make it with `aliyun configure`",
        ),
        (
            &[role, ("ALIBABA_CLOUD_CONFIG_FILE", broken), profile],
            69,
            "it is not the JSON of aliyun-cli",
        ),
        (
            &[role, ("RAM_SIDECAR_COMMAND", "/no/such/program")],
            69,
            "cannot start /no/such/program",
        ),
        (
            &[role, ("ALIBABA_CLOUD_CONFIG_FILE", "/no/such/config.json")],
            69,
            "make it with `aliyun configure`",
        ),
        (
            &[role, ("ALIBABA_CLOUD_CONFIG_FILE", broken)],
            69,
            "it is not the JSON of aliyun-cli",
        ),
    ] {
        let mut command = exec(&["--timeout", "5m", "--log-format", "text"], &["true"]);
        command.envs(variables.iter().copied());
        let (ended, _, complaint) = ended(command);
        assert_eq!(ended, Some(code), "{complaint}");
        assert!(
            complaint.contains(reason) && !complaint.contains("none within"),
            "{complaint}"
        );
        assert_eq!(complaint.matches(reason).count(), 1, "{complaint}");
    }
}

#[test]
fn a_limit_of_open_files_is_named_wherever_it_is_reached() {
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let file = super::text(&file);
    let exec = [
        super::EXECUTABLE,
        "exec",
        "--sandbox",
        "--timeout",
        "2s",
        "--file",
        file,
        "--",
    ];
    let check = [super::EXECUTABLE, "check", "--sandbox"];
    for (words, reached) in [
        (&[&exec[..], &["true"]].concat(), 71),
        (&check.to_vec(), 69),
    ] {
        let mut codes = Vec::new();
        for limit in 8..=24 {
            let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
            let (code, output, complaint) =
                ended(plain(&[&["sh", "-c", &script], &words[..]].concat()));
            let told = format!("{output}{complaint}");
            assert!(
                code == Some(0) || told.contains("(ulimit -n)"),
                "{limit}: {told}"
            );
            codes.push(code);
        }
        assert!(codes.contains(&Some(reached)), "{codes:?}");
        assert_eq!(codes.last(), Some(&Some(0)), "{codes:?}");
    }
}

#[test]
fn a_limit_on_the_size_of_files_still_ends_the_command() {
    let scratch = Scratch::new();
    let script = format!("ulimit -f 0; echo x > {}", super::text(&scratch.join("x")));
    let (code, ..) = ended(sandboxed(&["sh", "-c", &script]));
    assert_eq!(code, Some(128 + 25));
}

#[test]
fn exec_without_a_command_is_wrong_usage() {
    for words in [
        &["exec", "--sandbox"][..],
        &["exec", "--sandbox", "--"],
        &["exec", "--sandbox", "true"],
        &["exec", "--timeout", "soon", "--", "true"],
    ] {
        let (code, output, complaint) = ended(plain(&[&[super::EXECUTABLE], words].concat()));
        assert_eq!((code, output.as_str()), (Some(64), ""), "{words:?}");
        assert!(!complaint.is_empty());
    }
}

#[test]
fn bad_settings_are_refused_before_anything_runs() {
    let (code, output, complaint) = ended(exec(&["--sandbox", "--drain", "x"], &["echo", "ran"]));
    assert_eq!((code, output.as_str()), (Some(78), ""), "{complaint}");
    assert!(complaint.contains("--drain: `x`"), "{complaint}");
}

#[test]
fn an_address_in_use_prevents_the_command() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, output, complaint) =
        ended(exec(&["--sandbox", "--listen", &address], &["echo", "ran"]));
    assert_eq!((code, output.as_str()), (Some(71), ""), "{complaint}");
    assert!(complaint.contains("serve.listen"), "{complaint}");
}

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn without_sts(settings: &[&str], words: &[&str]) -> std::process::Command {
    let settings = [&["--sts-endpoint", NOWHERE], settings].concat();
    let mut command = exec(&settings, words);
    command
        .env("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1234567890123456:role/r")
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIofNobody")
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "SecretOfNobody");
    command
}

#[test]
fn a_command_without_credentials_is_not_started() {
    let (code, output, complaint) = ended(without_sts(&["--timeout", "1s"], &["echo", "ran"]));
    assert_eq!((code, output.as_str()), (Some(69), ""), "{complaint}");
    for part in [
        "`echo` was not started, because there are no credentials for it: none within 1 s (--timeout)",
        "Connection refused",
        "127.0.0.1:1",
    ] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    assert!(!complaint.contains("SecretOfNobody"), "{complaint}");
}

#[test]
fn an_attempt_that_has_not_ended_is_not_blamed_on_sts() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let settings = ["--timeout", "1s", "--sts-endpoint", &endpoint];
    let mut command = exec(&settings, &["true"]);
    command
        .env("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1234567890123456:role/r")
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIofNobody")
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "SecretOfNobody");
    let (code, _, complaint) = ended(command);
    assert_eq!(code, Some(69), "{complaint}");
    assert!(
        complaint.contains("none within 1 s (--timeout); the first attempt has not ended yet"),
        "{complaint}"
    );
}

#[test]
fn a_fatal_refusal_is_reported_at_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sts = runtime
        .block_on(Sandbox::start(Options::default()))
        .unwrap();
    let refusal = Fault::Refusal {
        status: 403,
        code: "NoPermission".to_owned(),
        message: "You are not authorized".to_owned(),
    };
    sts.inject(refusal, Times::UntilCleared);
    // Far beyond the patience of this test.
    let mut command = exec(
        &["--timeout", "1h", "--sts-endpoint", &sts.endpoint()],
        &["echo", "ran"],
    );
    command
        .env("ALIBABA_CLOUD_ROLE_ARN", sts.role_arn())
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id())
        .env(
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            sts.access_key_secret().expose_secret(),
        );
    let mut exec = Process::start(command);
    assert_eq!(exec.ended(), Some(69));
    assert_eq!(exec.stdout(), Vec::<String>::new());
    assert!(exec.stderr().contains("NoPermission"), "{}", exec.stderr());
}

#[test]
fn a_signal_ends_the_wait_for_credentials() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut exec = waiting(&[]);
        kill(exec.id(), signal);
        assert_eq!(exec.ended(), Some(code));
        assert_eq!(exec.stdout(), Vec::<String>::new());
    }
}

fn waiting(settings: &[&str]) -> Process {
    let exec = Process::start(without_sts(
        &[&["--timeout", "1h"], settings].concat(),
        &["echo", "ran"],
    ));
    eventually("it has asked in vain", || {
        exec.stderr().contains("No credentials").then_some(())
    });
    exec
}

#[test]
fn the_server_stops_if_credentials_do_not_arrive() {
    let mut exec = waiting(&["--drain", "1h"]);
    kill(exec.id(), Signal::TERM);
    assert_eq!(exec.ended(), Some(143));
}

#[test]
fn a_request_to_stop_ends_the_wait_for_credentials() {
    let mut exec = waiting(&["--admin-listen", "127.0.0.1:0", "--log-level", "info"]);
    super::stopping::ask_to_stop(&exec);
    assert_eq!(exec.ended(), Some(143));
    assert_eq!(exec.stdout(), Vec::<String>::new());
}

#[test]
fn a_command_without_a_role_is_run() {
    let (code, output, complaint) = ended(exec(&["--role-preset", "none"], &["echo", "ran"]));
    assert_eq!((code, output.as_str()), (Some(0), "ran"), "{complaint}");
}

#[test]
fn the_command_is_started_when_sts_comes_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sts = runtime
        .block_on(Sandbox::start(Options::default()))
        .unwrap();
    sts.inject(Fault::InternalError, Times::Next(2));
    let mut command = exec(&["--sts-endpoint", &sts.endpoint()], &["echo", "ran"]);
    command
        .env("ALIBABA_CLOUD_ROLE_ARN", sts.role_arn())
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id())
        .env(
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            sts.access_key_secret().expose_secret(),
        );
    let (code, output, complaint) = ended(command);
    assert_eq!((code, output.as_str()), (Some(0), "ran"), "{complaint}");
}
