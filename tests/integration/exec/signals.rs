//! Signals that another process sends to `exec`: they are the command's.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::{EXECUTABLE, Job, ended, exec, plain, program, python, sandboxed};
use crate::support::{Process, Scratch, eventually};

#[test]
fn every_signal_arrives_exactly_once() {
    let Some(mut job) = Job::start(&["--sandbox"], &[]) else {
        return;
    };
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("TERM", Signal::TERM),
        ("WINCH", Signal::WINCH),
        ("CONT", Signal::CONT),
        ("ALRM", Signal::ALARM),
        ("PIPE", Signal::PIPE),
        ("VTALRM", Signal::VTALARM),
        ("PROF", Signal::PROF),
        ("IO", Signal::IO),
        ("PWR", Signal::POWER),
        ("XCPU", Signal::XCPU),
        ("XFSZ", Signal::XFSZ),
        ("URG", Signal::URG),
        ("TRAP", Signal::TRAP),
        ("ABRT", Signal::ABORT),
        ("SYS", Signal::SYS),
    ] {
        job.signal(signal);
        // Python calls POLL what others call IO.
        let names = [name, if name == "IO" { "POLL" } else { name }];
        let name = eventually(name, || {
            let received = job.signals();
            names.into_iter().find(|name| received.get(name).is_some())
        });
        assert_eq!(job.received(name), json!(1), "{name}");
    }
    job.end(7);
}

#[test]
fn a_signal_that_the_command_does_not_handle_kills_it() {
    for (signal, code) in [
        (Signal::TERM, 143),
        (Signal::HUP, 129),
        (Signal::USR1, 138),
        (Signal::QUIT, 131),
        (Signal::PIPE, 141),
    ] {
        let mut exec = Process::start(sandboxed(&["sh", "-c", "echo ready; exec sleep 600"]));
        eventually("the command runs", || exec.stdout().pop());
        super::kill(exec.id(), signal);
        assert_eq!(exec.ended(), Some(code));
    }
}

#[test]
fn a_command_that_ignores_term_is_served_until_it_ends() {
    let Some(mut job) = Job::start(&["--sandbox"], &["--ignore", "TERM"]) else {
        return;
    };
    for _ in 0..2 {
        job.signal(Signal::TERM);
        assert_eq!(job.received("TERM"), json!(null));
    }
    job.end(6);
}

#[test]
fn exec_and_command_stop_on_tstp_and_continue_on_cont() {
    let Some(python) = python() else {
        return;
    };
    let child = program("child.py");
    let mut command = exec(&["--sandbox"], &[python, "-B", &child]);
    // In a group whose parent is of another one: an orphaned group takes no notice, and these tests may run in such a one.
    command.process_group(0);
    let mut job = Job::of(command);
    job.signal(Signal::TSTP);
    for id in [job.exec.id().to_string(), job.child.to_string()] {
        eventually("it stops", || (state(&id) == "T").then_some(()));
    }
    job.signal(Signal::CONT);
    job.assert_served();
    job.end(3);
}

fn state(id: &str) -> String {
    let stat = super::read(format!("/proc/{id}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("a status");
    fields[..1].to_owned()
}

#[test]
fn a_signal_that_was_ignored_before_stays_ignored() {
    let (Some(python), child) = (python(), program("child.py")) else {
        return;
    };
    let script = "trap '' HUP USR1; exec \"$@\"";
    let command = plain(&[
        "sh",
        "-c",
        script,
        "sh",
        EXECUTABLE,
        "exec",
        "--sandbox",
        "--",
        python,
        "-B",
        &child,
    ]);
    let mut job = Job::of(command);
    job.signal(Signal::HUP);
    job.signal(Signal::USR1);
    assert_eq!(job.received("HUP"), json!(null));
    assert_eq!(job.received("USR1"), json!(null));
    job.end(0);
}

#[test]
fn a_closed_standard_error_of_its_own_does_not_touch_the_command() {
    let scratch = Scratch::new();
    let done = scratch.join("done");
    let script = format!(
        "for i in 1 2 3; do wget -qO- $ALIBABA_CLOUD_CREDENTIALS_URI >&2; sleep 0.1; done; echo x > {}",
        done.display()
    );
    let mut command = exec(
        &["--sandbox", "--log-level", "trace"],
        &["sh", "-c", &script],
    );
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(done.exists());
}

#[test]
fn an_alarm_set_before_exec_reaches_the_command() {
    let Some(python) = python() else {
        return;
    };
    let script = "import os, signal, sys; signal.alarm(2); os.execv(sys.argv[1], sys.argv[1:])";
    let sleep = ["exec", "--sandbox", "--", "sleep", "20"];
    let command: Command = plain(&[&[python, "-c", script, EXECUTABLE], &sleep[..]].concat());
    assert_eq!(ended(command).0, Some(142));
}
