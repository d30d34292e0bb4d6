//! STS fails intermittently: periodically, or at random.

use serde_json::Value;

use super::{observe, start_daemon, wait_until_ready};
use crate::sandbox::Sandbox;
use crate::support::{Scratch, eventually};

const FAULTS: [&str; 2] = [
    "lifetime=2m,flap=1500ms/4s",
    "lifetime=2m,throttle=0.3,error=0.2,truncated=0.1,latency=50ms..400ms",
];

#[test]
fn every_request_succeeds_while_sts_fails_intermittently() {
    std::thread::scope(|scope| {
        for faults in FAULTS {
            scope.spawn(move || {
                let sandbox = Sandbox::start(&["--fault", "lifetime=2m"]);
                let scratch = Scratch::new();
                let file = scratch.join("credentials");
                let daemon = start_daemon(&sandbox, &file, &[]);
                wait_until_ready(&daemon);
                let ((), observations) = observe(&daemon, &file, || {
                    sandbox.set(faults);
                    // SIGHUP renews the credentials at most once a second.
                    eventually("STS was called often enough and a fault occurred", || {
                        daemon.signal("HUP");
                        let report = sandbox.control("GET", "");
                        let report: Value = serde_json::from_str(&report.body).unwrap();
                        let has_enough_calls = report["Calls"].as_u64() >= Some(MIN_CALLS);
                        let met = report["Met"].as_object();
                        let has_met_fault = met.is_some_and(|met| !met.is_empty());
                        (has_enough_calls && has_met_fault).then_some(())
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

const MIN_CALLS: u64 = 10;
