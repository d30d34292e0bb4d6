//! The start, the output and the shutdown of `sandbox`.

use std::net::TcpListener;
use std::process::Command;

use rustix::process::Signal;

use super::Sandbox;
use crate::http;
use crate::support::{Scratch, environment, eventually, run_command};

#[test]
fn the_printed_variables_configure_a_daemon() {
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
fn a_shell_can_read_the_output_as_a_file() {
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
        let output = shell.output().expect("sh is installed");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        assert!(printed.contains("STS.Sandbox"), "{printed}");
    }
}

#[test]
fn a_signal_stops_the_sandbox_with_exit_code_zero_while_requests_hang() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut sandbox = Sandbox::start(&["--fault", "hang"]);
        let address = sandbox.address();
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let pending = http::send(address, &request);
        eventually("the call has arrived", || {
            let report = sandbox.control("GET", "").body;
            report.contains("\"Calls\":1").then_some(())
        });
        // SIGHUP has no effect, because the sandbox has nothing to renew.
        sandbox.signal(Signal::HUP);
        assert_eq!(sandbox.control("GET", "").status, 200);
        sandbox.signal(signal);
        assert_eq!(sandbox.process.ended(), Some(0));
        assert_eq!(http::received(pending).status, 0);
    }
}

#[test]
fn an_address_in_use_is_reported_with_the_flag_that_changes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
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
        let message = ended.stderr.lines().last().unwrap();
        assert!(
            message.contains(&format!("cannot listen on {address}: ")),
            "{message}"
        );
        assert!(
            message.ends_with(&format!(", or change {setting}")),
            "{message}"
        );
    }
}
