//! STS comes and goes, and fails in several ways at once.

use serde_json::Value;

use super::{beside, ready, watched};
use crate::sandbox::Sandbox;
use crate::support::{Scratch, eventually};

const STORMS: [&str; 2] = [
    "lifetime=2m,flap=1500ms/4s",
    "lifetime=2m,throttle=0.3,error=0.2,truncated=0.1,latency=50ms..400ms",
];

#[test]
fn in_a_storm_of_faults_nobody_gets_anything_wrong_or_nothing() {
    std::thread::scope(|scope| {
        for faults in STORMS {
            scope.spawn(move || {
                let sandbox = Sandbox::start(&["--fault", "lifetime=2m"]);
                let scratch = Scratch::new();
                let file = scratch.join("credentials");
                let daemon = beside(&sandbox, &file, &[]);
                ready(&daemon);
                let ((), seen) = watched(&daemon, &file, || {
                    sandbox.set(faults);
                    // About one a second, so that luck leaves none of the outcomes out.
                    eventually("enough is tried", || {
                        daemon.signal("HUP");
                        let told = sandbox.ask("GET", "");
                        let told: Value = serde_json::from_str(&told.body).unwrap();
                        let is_enough = told["Calls"].as_u64() >= Some(CALLS);
                        let has_failed = told["Met"].as_object().is_some_and(|met| !met.is_empty());
                        (is_enough && has_failed).then_some(())
                    });
                });
                for seen in seen {
                    assert!(seen.refusals.is_empty(), "{faults}: {seen:?}");
                    assert!(seen.good > 100, "{faults}: {seen:?}");
                }
            });
        }
    });
}

const CALLS: u64 = 10;
