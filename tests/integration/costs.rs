//! What a request costs, counted: counts are the same on every machine.

use std::fs;

use crate::access::has;
use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually, required};

#[test]
fn a_request_costs_nine_system_calls_at_most() {
    if !required("strace", has("strace")) {
        return;
    }
    let scratch = Scratch::new();
    let trace = scratch.join("trace");
    let starter = ["strace", "-D", "-f", "-o", trace.to_str().unwrap()];
    let arguments = [&["--sandbox"], &LISTEN[..]].concat();
    let mut daemon = Daemon::spawn_under(&starter, &arguments, &[]);
    daemon.uri();
    for _ in 0..30 {
        assert_eq!(daemon.credentials().status, 200);
    }
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    let trace = eventually("strace has ended", || {
        let trace = fs::read_to_string(&trace).ok()?;
        trace.contains("+++ exited with 0 +++").then_some(trace)
    });
    // Of the thread that serves, from one response to the next. In some a caller is looked up, once a second.
    let thread = trace.lines().find(|line| line.contains(" accept4("));
    let thread = thread.and_then(|line| line.split(' ').next()).unwrap();
    let mut costs = Vec::new();
    let mut calls = Vec::new();
    for line in trace.lines().filter(|line| line.starts_with(thread)) {
        if line.contains(" writev(") {
            costs.push(std::mem::take(&mut calls));
        }
        // The standard library checks descriptors where it is built for debugging.
        if !line.contains(" resumed>") && !line.contains("F_GETFD") {
            calls.push(line);
        }
    }
    costs.sort_by_key(Vec::len);
    let median = &costs[costs.len() / 2];
    assert!(median.len() <= 9, "{median:#?}");
}
