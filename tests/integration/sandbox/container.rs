//! `health` in a container of `sandbox`.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::exec::init::{first, seen_from_outside};
use crate::support::{Daemon, Process, Scratch, command, eventually, under, unused_address};

#[test]
fn health_asks_the_sandbox_that_is_process_1() {
    let scratch = Scratch::new();
    let file = scratch.join("config.toml");
    // Alone, and below a program as Docker's --init starts it.
    for starter in [&[][..], &["sh", "-c", "\"$@\"; exit", "--"]] {
        let Some(container) = Container::start(starter, SANDBOX) else {
            return;
        };
        assert_eq!(container.health(&["live"], &[]), (Some(0), String::new()));
        assert_eq!(container.health(&["ready"], &[]), (Some(0), String::new()));

        let free = unused_address().to_string();
        fs::write(&file, format!("[admin]\nlisten = '{free}'")).unwrap();
        for (args, env) in [
            (&["--admin-listen", &free][..], &[][..]),
            (&["--config", file.to_str().unwrap()], &[]),
            (&[], &[("RAM_SIDECAR_ADMIN_LISTEN", &*free)]),
        ] {
            let (code, message) = container.health(&[&["live"], args].concat(), env);
            let expected = format!("ram-sidecar: no ram-sidecar answers at {free} (admin.listen)");
            assert!(message.starts_with(&expected), "{message}");
            assert_eq!(code, Some(1));
        }

        if starter.is_empty() {
            stop(container.first);
            let (code, message) = container.health(&["live"], &[]);
            let expected = format!(
                "ram-sidecar: the sandbox that is process 1 does not answer at {SANDBOX}: "
            );
            assert!(message.starts_with(&expected), "{message}");
            assert_eq!(code, Some(1));
        }
    }
}

#[test]
fn health_asks_the_daemon_beside_a_sandbox_that_is_process_1() {
    let Some(container) = Container::start(&[], SANDBOX) else {
        return;
    };
    let daemon = Daemon::spawn_under(
        &["nsenter", "--target", &container.first.to_string(), "--net"],
        &["--role-arn", "acs:ram::1234567890123456:role/job"],
        &[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5tExample"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "example-secret"),
            ("ALIBABA_CLOUD_STS_ENDPOINT", "http://127.0.0.1:1"),
        ],
    );
    daemon.data();
    eventually("the daemon says why it is not ready", || {
        let (code, message) = container.health(&["ready"], &[]);
        assert_eq!(code, Some(1), "{message}");
        message.contains("cannot call 127.0.0.1:1: ").then_some(())
    });
    assert_eq!(container.health(&["live"], &[]), (Some(0), String::new()));

    stop(daemon.id());
    let (code, message) = container.health(&["live"], &[]);
    let expected = "ram-sidecar: no ram-sidecar answers at 127.0.0.1:7003 (admin.listen)";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(code, Some(1));
}

#[test]
fn health_says_that_a_sandbox_needs_a_fixed_port() {
    let Some(container) = Container::start(&[], "127.0.0.1:0") else {
        return;
    };
    let message = "ram-sidecar: the sandbox that is process 1 listens on a free port, where the health check does not find it; give it a fixed one by --listen\n";
    assert_eq!(
        container.health(&["live"], &[]),
        (Some(1), message.to_owned())
    );
}

/// A sandbox in a network and a PID namespace of its own, where the default addresses are free.
struct Container {
    _process: Process,
    /// Process 1.
    first: u32,
}

impl Container {
    /// Starts the sandbox below `starter`; nothing if namespaces are forbidden.
    fn start(starter: &[&str], address: &str) -> Option<Self> {
        let up = "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && exec \"$@\"";
        let own_network = ["unshare", "--net", "sh", "-c", up, "--"];
        let sandbox = command("sandbox", &["--listen", address], &[]);
        let starter = [&own_network[..], starter].concat();
        let process = Process::start(first(&under(&starter, &sandbox))?);
        eventually("the sandbox prints its variables", || {
            (process.stdout().len() == 4).then_some(())
        });
        Some(Self {
            first: seen_from_outside(process.id()),
            _process: process,
        })
    }

    /// Runs `health` in it.
    fn health(&self, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
        let first = self.first.to_string();
        let starter = ["nsenter", "--target", &first, "--net", "--pid", "--mount"];
        let mut command: Command = under(&starter, &command("health", args, env));
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

/// Stops a process as a debugger does: it accepts connections, and does not answer.
fn stop(id: u32) {
    kill_process(Pid::from_raw(id.cast_signed()).unwrap(), Signal::STOP).unwrap();
}

/// The default of --listen.
const SANDBOX: &str = "127.0.0.1:7005";
