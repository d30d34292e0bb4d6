//! The start and the end of `sandbox`, and what it prints.

use std::net::TcpListener;
use std::process::Command;

use rustix::process::Signal;

use super::Sandbox;
use crate::http;
use crate::support::{Scratch, environment, eventually, run_command};

#[test]
fn what_it_prints_leads_a_daemon_to_it() {
    let sandbox = Sandbox::start(&[]);
    let names: Vec<&str> = sandbox.env().iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "ALIBABA_CLOUD_STS_ENDPOINT",
            "ALIBABA_CLOUD_ROLE_ARN",
            "ALIBABA_CLOUD_ACCESS_KEY_ID",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        ]
    );
    let daemon = sandbox.daemon();
    daemon.uri();
    let reply = daemon.credentials();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.text("AccessKeyId").starts_with("STS.Sandbox"));
}

#[test]
fn what_it_prints_is_a_file_that_a_shell_reads() {
    let sandbox = Sandbox::start(&[]);
    let scratch = Scratch::new();
    let file = scratch.join("env");
    std::fs::write(&file, sandbox.process.stdout().join("\n")).unwrap();
    for script in [
        r#"set -a; . "$1"; exec "$2" get --format process"#,
        r#"eval "export $(cat "$1" | tr '\n' ' ')"; exec "$2" get --format process"#,
    ] {
        let mut shell = Command::new("sh");
        shell.args(["-euc", script, "sh"]).arg(&file);
        shell.arg(env!("CARGO_BIN_EXE_ram-sidecar")).env_clear();
        shell.envs(environment("PATH").map(|path| ("PATH", path)));
        let output = shell.output().expect("there is a shell");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        assert!(printed.contains("STS.Sandbox"), "{printed}");
    }
}

#[test]
fn a_signal_ends_it_with_zero_whatever_hangs() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut sandbox = Sandbox::start(&["--fault", "hang"]);
        let address = sandbox.address();
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let waiting = http::send(address, &request);
        eventually("the call has arrived", || {
            let told = sandbox.ask("GET", "").body;
            told.contains("\"Calls\":1").then_some(())
        });
        // There is nothing to renew, so this one changes nothing.
        sandbox.signal(Signal::HUP);
        assert_eq!(sandbox.ask("GET", "").status, 200);
        sandbox.signal(signal);
        assert_eq!(sandbox.process.ended(), Some(0));
        assert_eq!(http::received(waiting).status, 0);
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_the_flag_to_change() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap().to_string();
    for (name, flags, setting) in [
        ("sandbox", &["--listen", &address][..], "--listen"),
        (
            "serve",
            &[
                "--sandbox",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "off",
                "--sandbox-listen",
                &address,
            ],
            "--sandbox-listen",
        ),
    ] {
        let ended = run_command(name, flags, &[]);
        assert_eq!(ended.code, Some(71), "{}", ended.stderr);
        let told = ended.stderr.lines().last().unwrap();
        assert!(
            told.contains(&format!("cannot listen on {address}: ")),
            "{told}"
        );
        assert!(
            told.ends_with(&format!("stop what uses it, or change {setting}")),
            "{told}"
        );
    }
}
