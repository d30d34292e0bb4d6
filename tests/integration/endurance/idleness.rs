//! What it costs to wait for an STS that is away.

use std::time::Duration;

use super::{beside, ready};
use crate::sandbox::Sandbox;
use crate::support::{Daemon, Scratch, eventually};

#[test]
fn waiting_for_sts_costs_next_to_nothing() {
    std::thread::scope(|scope| {
        // The life of what is held, if anything is; the fault; the phase in which its cost is looked at.
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
                sandbox.set(
                    &lifetime.map_or_else(|| fault.to_owned(), |life| format!("lifetime={life}")),
                );
                let daemon = beside(&sandbox, &scratch.join("credentials"), &[]);
                if lifetime.is_some() {
                    ready(&daemon);
                    sandbox.set(fault);
                    daemon.signal("HUP");
                }
                eventually("it waits", || {
                    let told = daemon.probe("/ready");
                    (told.text("phase") == phase && told.body.contains("Code")).then_some(())
                });
                let before = ticks(&daemon);
                // A cost per time takes time to see.
                std::thread::sleep(SPAN);
                let spent = ticks(&daemon) - before;
                assert!(spent <= MOST, "{lifetime:?} {fault}: {spent} ticks");
            });
        }
    });
}

/// Returns the CPU time that a daemon has spent, its own and the kernel's for it, in hundredths of a second.
fn ticks(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.id())).expect("it runs");
    // The second field is the name in brackets, which may hold spaces.
    let (_, fields) = stat.rsplit_once(") ").expect("a status");
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |index: usize| fields[index].parse::<u64>().expect("a number");
    number(11) + number(12)
}

const SPAN: Duration = Duration::from_secs(10);

/// Some attempts of a build without optimisations that logs at trace level; a loop would take a thousand.
const MOST: u64 = 30;
