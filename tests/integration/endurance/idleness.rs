//! The CPU time that a daemon uses while STS is unavailable.

use std::time::Duration;

use super::{start_daemon, wait_until_ready};
use crate::sandbox::Sandbox;
use crate::support::{Daemon, Scratch, eventually};

#[test]
fn a_daemon_that_waits_for_sts_uses_little_cpu_time() {
    std::thread::scope(|scope| {
        // The lifetime of the current credentials, if there are any; the fault; the phase that is measured.
        for (lifetime, fault, phase) in [
            (None, "down", "pending"),
            (None, "hang", "pending"),
            (None, "deny", "pending"),
            (Some("10m"), "down", "failing"),
            (Some("10m"), "hang", "failing"),
            (Some("4s"), "down", "expired"),
        ] {
            scope.spawn(move || {
                let (sandbox, scratch) = (Sandbox::start(&[]), Scratch::new());
                sandbox.set(&lifetime.map_or_else(
                    || fault.to_owned(),
                    |lifetime| format!("lifetime={lifetime}"),
                ));
                let daemon = start_daemon(&sandbox, &scratch.join("credentials"), &[]);
                if lifetime.is_some() {
                    wait_until_ready(&daemon);
                    sandbox.set(fault);
                    daemon.signal("HUP");
                }
                eventually("the daemon waits", || {
                    let reply = daemon.probe("/ready");
                    (reply.text("phase") == phase && reply.body.contains("Code")).then_some(())
                });
                let before = ticks(&daemon);
                // CPU time per second can only be measured over some seconds.
                std::thread::sleep(MEASURED_FOR);
                let spent = ticks(&daemon) - before;
                assert!(spent <= MAX_TICKS, "{lifetime:?} {fault}: {spent} ticks");
            });
        }
    });
}

/// Returns the CPU time that a daemon has used, in user and kernel mode, in hundredths of a second.
fn ticks(daemon: &Daemon) -> u64 {
    let stat =
        std::fs::read_to_string(format!("/proc/{}/stat", daemon.id())).expect("the daemon runs");
    // The second field is the name in brackets, which may contain spaces.
    let (_, fields) = stat.rsplit_once(") ").expect("a status");
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |index: usize| fields[index].parse::<u64>().expect("a number");
    number(11) + number(12)
}

const MEASURED_FOR: Duration = Duration::from_secs(10);

/// Enough for some attempts of a build without optimisations that logs at trace level; a busy loop would use a thousand.
const MAX_TICKS: u64 = 30;
