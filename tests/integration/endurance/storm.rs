//! STS is unavailable at intervals, or fails in several ways at random.

use serde_json::Value;

use super::{observe, start_daemon, wait_until_ready};
use crate::sandbox::Sandbox;
use crate::support::{Scratch, eventually};

const PLANS: [&str; 2] = [
    "lifetime=2m,flap=1500ms/4s",
    "lifetime=2m,throttle=0.3,error=0.2,truncated=0.1,latency=50ms..400ms",
];

#[test]
fn every_request_succeeds_while_sts_fails_at_random() {
    std::thread::scope(|scope| {
        for faults in PLANS {
            scope.spawn(move || {
                let sandbox = Sandbox::start(&["--fault", "lifetime=2m"]);
                let scratch = Scratch::new();
                let file = scratch.join("credentials");
                let daemon = start_daemon(&sandbox, &file, &[]);
                wait_until_ready(&daemon);
                let ((), observations) = observe(&daemon, &file, || {
                    sandbox.set(faults);
                    // About one attempt per second, until one has failed.
                    eventually("STS has been called often enough", || {
                        daemon.signal("HUP");
                        let report = sandbox.control("GET", "");
                        let report: Value = serde_json::from_str(&report.body).unwrap();
                        let is_enough = report["Calls"].as_u64() >= Some(CALLS);
                        let faults = report["Met"].as_object();
                        let has_failed = faults.is_some_and(|faults| !faults.is_empty());
                        (is_enough && has_failed).then_some(())
                    });
                });
                for client in observations {
                    assert!(client.refusals.is_empty(), "{faults}: {client:?}");
                    assert!(client.successes > 100, "{faults}: {client:?}");
                }
            });
        }
    });
}

const CALLS: u64 = 10;
