//! The request to stop, which reaches the command as a signal.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Job, kill};
use crate::http;
use crate::support::{Process, eventually};

/// Sends `POST /stop` to the admin listener that the log names.
pub(super) fn ask_to_stop(exec: &Process) {
    let address = eventually("the admin listener is logged", || {
        let log = exec.stderr();
        let line = log
            .lines()
            .find(|line| line.contains("Listening for probes"))?;
        let event: Value = serde_json::from_str(line).ok()?;
        event["address"].as_str()?.parse().ok()
    });
    let request = format!("POST /stop HTTP/1.1\r\nHost: {address}\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(http::raw(address, &request).status, 202);
}

#[test]
fn a_request_to_stop_reaches_the_command_as_term_once() {
    let settings = [
        "--sandbox",
        "--admin-listen",
        "127.0.0.1:0",
        "--log-level",
        "info",
    ];
    let Some(mut job) = Job::start(&settings, &[]) else {
        return;
    };
    ask_to_stop(&job.exec);
    ask_to_stop(&job.exec);
    eventually("TERM arrives", || {
        job.signals().get("TERM").is_some().then_some(())
    });
    assert_eq!(job.received("TERM"), json!(1));
    job.end(5);
}

#[test]
fn a_command_killed_from_outside_ends_exec_with_137() {
    let Some(mut job) = Job::start(&["--sandbox"], &[]) else {
        return;
    };
    kill(job.child.as_raw_pid().unsigned_abs(), Signal::KILL);
    assert_eq!(job.exec.ended(), Some(137));
}
