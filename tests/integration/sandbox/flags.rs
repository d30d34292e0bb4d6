//! Invalid flags, and the flags of the commands that embed the sandbox.

use super::control;
use crate::serving::LISTEN;
use crate::support::{Daemon, check, run_command, unused_address};

#[test]
fn all_invalid_flags_are_reported_together() {
    let sandbox = [
        "--listen",
        "0.0.0.0:7005",
        "--fault",
        "nope,lifetime=1s,latency=1d",
        "--log-level",
        "loud",
    ];
    let embedded = [
        "--sandbox",
        "--sandbox-listen",
        "0.0.0.0:7005",
        "--fault",
        "nope,lifetime=1s",
        "--fault",
        "latency=1d",
    ];
    for (name, args, prefix, last) in [
        (
            "sandbox",
            &sandbox[..],
            "",
            Some("--log-level: `loud` is not a level; "),
        ),
        ("serve", &embedded, "sandbox-", None),
    ] {
        let ended = run_command(name, args, &[]);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(78), ""),
            "{}",
            ended.stderr
        );
        let mut lines = ended.stderr.lines().skip(1);
        for error in [
            &*format!("--{prefix}listen: 0.0.0.0:7005 can be reached from other machines; listen on 127.0.0.1 or [::1]"),
            "--fault: `nope` is not a fault; the faults are down, hang, ",
            "--fault: lifetime: `1s` is too short; choose 2s or more",
            "--fault: latency: `1d` is not a duration; ",
        ]
        .into_iter()
        .chain(last)
        {
            let reported = lines.next().unwrap_or_default().trim_start();
            assert!(reported.starts_with(error), "\n{reported}\n{error}");
        }
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn flags_of_the_sandbox_without_it_are_a_usage_error() {
    for args in [
        &["serve", "--fault", "down"][..],
        &["serve", "--sandbox-listen", "127.0.0.1:0"],
        &["exec", "--fault", "down", "--", "true"],
        &["check", "--fault", "down"],
        &["get", "--sandbox"],
        &["sandbox", "--sandbox-listen", "127.0.0.1:0"],
        &["sandbox", "--role-arn", "x"],
        &["sandbox", "stray"],
    ] {
        let ended = run_command(args[0], &args[1..], &[]);
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn check_and_exec_accept_faults_of_their_sandbox() {
    let (code, report) = check(&["--sandbox", "--fault", "deny"], &[]);
    assert_eq!(code, Some(69), "{report}");
    assert!(report.contains("NoPermission"), "{report}");

    let ended = run_command("exec", &["--sandbox", "--fault", "deny", "--", "true"], &[]);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(ended.stderr.contains("NoPermission"), "{}", ended.stderr);
}

#[test]
fn the_embedded_sandbox_listens_on_the_given_address() {
    let address = unused_address();
    let text = address.to_string();
    let args = [&["--sandbox", "--sandbox-listen", &text], &LISTEN[..]].concat();
    let daemon = Daemon::spawn(&args, &[]);
    daemon.uri();
    assert_eq!(control(address, "GET", "").text("Faults"), "");
}
