//! On a terminal, waiting for credentials is visible.

use crate::serving::sandbox;
use crate::support::{on_terminal, run_command};

/// Asserts that the attempts are shown, each once, with a code and the time of the next.
fn assert_attempts(shown: &str, first: u32) {
    for number in [first, first + 1] {
        let start = format!("Attempt {number} failed (");
        let lines: Vec<&str> = shown.lines().filter(|it| it.starts_with(&start)).collect();
        assert_eq!(lines.len(), 1, "{start} {shown}");
        assert!(lines[0].contains("); next try in "), "{shown}");
    }
}

#[test]
fn exec_shows_each_attempt_on_a_terminal_and_only_there() {
    let waiting = "exec --sandbox --fault down --timeout 5s";
    let Some(shown) = on_terminal(&format!("{waiting} -- true"), &[]) else {
        return;
    };
    assert_attempts(&shown, 1);
    for quiet in ["--log-format json", "--log-level off"] {
        let shown = on_terminal(&format!("{waiting} {quiet} -- true"), &[]).unwrap();
        assert!(!shown.contains("Attempt"), "{quiet}: {shown}");
    }
    let arguments: Vec<&str> = waiting.split(' ').skip(1).chain(["--", "true"]).collect();
    let piped = run_command("exec", &arguments, &[]).stderr;
    assert!(!piped.contains("Attempt "), "{piped}");
}

#[test]
fn serve_shows_each_attempt_while_it_has_no_credentials() {
    // The terminal closes when the shell of `script` ends, and with it the daemon.
    let serve = "serve --sandbox --fault down --listen 127.0.0.1:0 --admin-listen off & sleep 4; kill $!; wait";
    if let Some(shown) = on_terminal(serve, &[]) {
        assert_attempts(&shown, 1);
        assert!(shown.contains("ERROR"), "{shown}");
    }
}

#[test]
fn wait_shows_each_attempt_of_the_daemon() {
    let daemon = sandbox(&["--fault", "down"], &[]);
    let wait = format!("wait --admin-listen {} --timeout 6s", daemon.admin());
    if let Some(shown) = on_terminal(&wait, &[]) {
        let first = shown.split("Attempt ").nth(1).expect("an attempt");
        let first = first.split(' ').next().unwrap().parse().unwrap();
        assert_attempts(&shown, first);
    }
}
