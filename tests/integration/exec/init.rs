//! `exec` as process 1 of a container: it buries orphans, and nothing else.

use std::fs;
use std::process::Command;

use chrono::TimeDelta;
use ram_sidecar::credentials::timestamp;
use rustix::process::Signal;
use serde_json::json;

use super::{Job, ended, exec, kill, plain, program, python, read, sandboxed, text};
use crate::stubs;
use crate::support::{Scratch, eventually, required};

/// Makes it process 1 of a namespace; nothing where that is not allowed.
pub(crate) fn first(command: &Command) -> Option<Command> {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let is_allowed = plain(&[&unshare[..], &["true"]].concat()).output();
    let is_allowed = is_allowed.is_ok_and(|output| output.status.success());
    if !required("the right to make a PID namespace", is_allowed) {
        return None;
    }
    let mut whole = plain(&unshare);
    whole.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        whole.env(name, value.expect("nothing is taken away"));
    }
    Some(whole)
}

/// Leaves orphans behind that end soon, and waits until no process is dead and not buried.
const ORPHANS: &str = r#"
for i in 1 2 3 4 5 6 7 8; do (sleep 0.1 & sleep 0.0$i &) ; done
zombies() { cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '; }
while [ "$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c '(sleep) S')" -gt 0 ]; do :; done
for i in $(seq 200); do [ "$(zombies)" = 0 ] && { echo buried; exit 9; }; sleep 0.05; done
cat /proc/[0-9]*/stat; exit 1
"#;

#[test]
fn orphans_are_reaped_and_the_exit_code_is_passed_on() {
    let Some(command) = first(&sandboxed(&["bash", "-c", ORPHANS])) else {
        return;
    };
    let (code, output, complaint) = ended(command);
    assert_eq!((code, output.as_str()), (Some(9), "buried"), "{complaint}");
}

/// Finds process 1 of the namespace, as it is seen from outside.
pub(crate) fn seen_from_outside(unshare: u32) -> u32 {
    eventually("unshare has a child", || {
        let children = read(format!("/proc/{unshare}/task/{unshare}/children"))?;
        children.split_whitespace().next()?.parse().ok()
    })
}

#[test]
fn signals_from_outside_reach_the_command() {
    let (Some(python), child) = (python(), program("child.py")) else {
        return;
    };
    let Some(command) = first(&sandboxed(&[python, "-B", &child])) else {
        return;
    };
    let mut job = Job::of(command);
    let id = seen_from_outside(job.exec.id());
    for (name, signal) in [
        ("TERM", Signal::TERM),
        ("HUP", Signal::HUP),
        ("USR1", Signal::USR1),
    ] {
        kill(id, signal);
        eventually(name, || job.signals().get(name).is_some().then_some(()));
        assert_eq!(job.received(name), json!(1), "{name}");
    }
    job.end(7);
}

#[test]
fn the_exit_code_names_the_signal_that_killed_the_command() {
    let Some(command) = first(&sandboxed(&["sh", "-c", "kill -KILL $$"])) else {
        return;
    };
    assert_eq!(ended(command).0, Some(137));
}

#[test]
fn the_program_of_its_identity_is_not_reaped_with_the_orphans() {
    let scratch = Scratch::new();
    let (script, count) = (scratch.join("script"), scratch.join("count"));
    // Good for a moment only, so that the next ones are asked for at once.
    let document = |seconds| {
        json!({
            "AccessKeyId": "STS.Printed", "AccessKeySecret": "s", "SecurityToken": "t",
            "Expiration": timestamp(stubs::now() + TimeDelta::seconds(seconds)),
        })
    };
    let (soon, late) = (document(60), document(7200));
    let body = format!(
        "echo x >> {count}\n[ $(wc -l < {count}) -lt 3 ] && echo '{soon}' || echo '{late}'\n",
        count = text(&count)
    );
    fs::write(&script, body).unwrap();
    let wait = format!(
        "until [ $(wc -l < {}) -ge 3 ]; do (sleep 0.01 &); sleep 0.05; done; {ORPHANS}",
        text(&count)
    );
    let mut command = exec(&["--log-level", "info"], &["bash", "-c", &wait]);
    command.env(
        "RAM_SIDECAR_COMMAND",
        json!(["/bin/sh", script]).to_string(),
    );
    let Some(command) = first(&command) else {
        return;
    };
    let (code, output, complaint) = ended(command);
    assert_eq!((code, output.as_str()), (Some(9), "buried"), "{complaint}");
    assert!(!complaint.contains("could not be read"), "{complaint}");
}
