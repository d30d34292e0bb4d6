//! `health` in a container of `sandbox`.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::exec::init::{first, seen_from_outside};
use crate::support::{Process, command, eventually, under, unused_address};

#[test]
fn health_asks_the_sandbox_that_is_process_1() {
    let address = unused_address().to_string();
    let sandbox = command("sandbox", &["--listen", &address], &[]);
    // Alone, and below a program as Docker's --init starts it.
    for starter in [&[][..], &["sh", "-c", "\"$@\"; exit", "--"]] {
        let Some(command) = first(&under(starter, &sandbox)) else {
            return;
        };
        let process = Process::start(command);
        eventually("the sandbox prints its variables", || {
            (process.stdout().len() == 4).then_some(())
        });
        let first = seen_from_outside(process.id());
        assert_eq!(health(first, &["live"]), (Some(0), String::new()));
        assert_eq!(health(first, &["ready"]), (Some(0), String::new()));

        let free = unused_address().to_string();
        let (code, message) = health(first, &["live", "--admin-listen", &free]);
        let expected = format!("ram-sidecar: no ram-sidecar answers at {free} (admin.listen)");
        assert!(message.starts_with(&expected), "{message}");
        assert_eq!(code, Some(1));

        if starter.is_empty() {
            kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::STOP).unwrap();
            let (code, message) = health(first, &["live"]);
            let expected = format!(
                "ram-sidecar: the sandbox that is process 1 does not answer at {address}: "
            );
            assert!(message.starts_with(&expected), "{message}");
            assert_eq!(code, Some(1));
        }
    }
}

/// Runs `health` beside process 1 of a namespace.
fn health(first: u32, args: &[&str]) -> (Option<i32>, String) {
    let first = first.to_string();
    let starter = ["nsenter", "--target", &first, "--pid", "--mount"];
    let mut command: Command = under(&starter, &command("health", args, &[]));
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}
