//! What a request costs, counted: counts are the same on every machine.

use std::fs;
use std::net::{TcpListener, TcpStream};

use crate::access::has;
use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually, required};

#[test]
fn a_request_costs_nine_system_calls_at_most() {
    let calls = calls_of_a_request(&[], |_| ());
    assert!(calls.len() <= LIMIT, "{calls:#?}");
}

#[test]
fn a_request_costs_no_more_beside_many_files_listeners_callers_and_connections() {
    let scratch = Scratch::new();
    let files: Vec<_> = ["json", "json-camel", "env", "ini", "aws", "aliyun-cli"]
        .iter()
        .map(|format| format!("{},format={format}", scratch.join(format).display()))
        .collect();
    let mut flags = vec!["--container", "--metadata-listen", "127.0.0.1:0"];
    flags.extend(files.iter().flat_map(|file| ["--file", file]));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut open = Vec::new();
    let calls = calls_of_a_request(&flags, |daemon| {
        let (data, other) = (daemon.data(), other.local_addr().unwrap());
        let connect = |address| TcpStream::connect(address).unwrap();
        open.extend((0..100).flat_map(|_| [data, other]).map(connect));
        for caller in 0..100 {
            let head = format!("Host: localhost\r\nUser-Agent: caller-{caller}\r\n\r\n");
            let request = format!("GET /api/v1/credentials/0 HTTP/1.1\r\n{head}");
            assert_eq!(daemon.raw(&request).status, 200);
        }
    });
    assert!(calls.len() <= LIMIT, "{calls:#?}");
}

/// Returns the system calls of the thread that serves, from one response to the next: the median of 30 requests.
fn calls_of_a_request(flags: &[&str], before: impl FnOnce(&Daemon)) -> Vec<String> {
    if !required("strace", has("strace")) {
        return Vec::new();
    }
    let scratch = Scratch::new();
    let trace = scratch.join("trace");
    let starter = ["strace", "-D", "-f", "-o", trace.to_str().unwrap()];
    let arguments = [&["--sandbox"], &LISTEN[..], flags].concat();
    let mut daemon = Daemon::spawn_under(&starter, &arguments, &[]);
    daemon.uri();
    before(&daemon);
    for _ in 0..30 {
        assert_eq!(daemon.credentials().status, 200);
    }
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    let trace = eventually("strace has ended", || {
        let trace = fs::read_to_string(&trace).ok()?;
        trace.contains("+++ exited with 0 +++").then_some(trace)
    });
    // In some of the intervals a caller is looked up, once a second.
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
            calls.push(line.to_owned());
        }
    }
    let mut last = costs.split_off(costs.len() - 30);
    last.sort_by_key(Vec::len);
    last.swap_remove(15)
}

/// Seven, and two where the client is slow.
const LIMIT: usize = 9;
