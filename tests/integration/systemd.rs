//! The daemon as a service of systemd: its notifications, and the unit.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::sandbox::Sandbox;
use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually};
use crate::toolchains::tool;

/// Receives notifications as systemd does.
struct Systemd {
    scratch: Scratch,
    socket: UnixDatagram,
}

impl Systemd {
    fn new() -> Self {
        let scratch = Scratch::new();
        let socket = UnixDatagram::bind(scratch.join("notify")).unwrap();
        let timeout = Some(Duration::from_secs(20));
        socket.set_read_timeout(timeout).unwrap();
        Self { scratch, socket }
    }

    fn path(&self) -> String {
        self.scratch.join("notify").to_str().unwrap().to_owned()
    }

    fn daemon(&self, args: &[&str], env: &[(&str, &str)]) -> Daemon {
        let path = self.path();
        let env = [&[("NOTIFY_SOCKET", path.as_str())], env].concat();
        Daemon::spawn(&[&LISTEN[..], args].concat(), &env)
    }

    /// Returns the next message that contains `word`.
    fn received(&self, word: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer);
            let length = length.unwrap_or_else(|error| panic!("{word}: {error}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.contains(word) {
                return message;
            }
            assert!(!message.contains("READY=1"), "before {word}: {message}");
        }
    }
}

#[test]
fn it_notifies_readiness_with_the_expiry_and_the_stop() {
    let systemd = Systemd::new();
    let mut daemon = systemd.daemon(&["--sandbox"], &[]);
    let message = systemd.received("READY=1");
    let status = message.lines().next().unwrap();
    assert!(
        status.starts_with("STATUS=Serving credentials until 2"),
        "{message}"
    );
    assert_eq!(daemon.probe("/ready").status, 200);
    daemon.signal("TERM");
    systemd.received("STOPPING=1");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn without_credentials_it_notifies_the_cause_and_is_not_ready() {
    let systemd = Systemd::new();
    let sandbox = Sandbox::start(&["--fault", "error"]);
    let daemon = systemd.daemon(&[], &sandbox.env());
    let message = systemd.received("STATUS=Waiting for the first credentials: ");
    assert!(message.contains("InternalError"), "{message}");
    assert!(!message.contains("READY"), "{message}");
    sandbox.clear_faults();
    daemon.signal("HUP");
    let message = systemd.received("READY=1");
    assert!(message.contains("STATUS=Serving"), "{message}");
}

#[test]
fn a_full_notification_socket_delays_nothing() {
    let systemd = Systemd::new();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"STATUS=full", systemd.path()).is_ok() {}
    let mut daemon = systemd.daemon(&["--sandbox"], &[]);
    assert_eq!(daemon.credentials().status, 200);
    daemon.logged("Cannot notify systemd");
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn the_unit_is_valid_and_exposes_little() {
    let Some(mut verify) = tool("systemd-analyze") else {
        return;
    };
    let scratch = Scratch::new();
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd/ram-sidecar.service");
    let unit = fs::read_to_string(unit).unwrap();
    let installed = "/usr/local/bin/ram-sidecar";
    assert!(unit.contains(installed));
    let file = scratch.join("ram-sidecar.service");
    fs::write(
        &file,
        unit.replace(installed, env!("CARGO_BIN_EXE_ram-sidecar")),
    )
    .unwrap();

    let result = all(verify.arg("verify").arg(&file));
    assert_eq!(result, (true, String::new()));
    // A misspelt line is reported, so that no output means no error.
    let misspelt = scratch.join("misspelt.service");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&misspelt, text.replace("LockPersonality", "LockPersonalty")).unwrap();
    let (_, output) = all(Command::new("systemd-analyze").arg("verify").arg(&misspelt));
    assert!(output.contains("LockPersonalty"), "{output}");

    let mut exposure = Command::new("systemd-analyze");
    exposure.args(["security", "--offline=true", "--no-pager", "--threshold=20"]);
    let (is_below, output) = all(exposure.arg(&file));
    assert!(is_below, "more than 2.0 of 10: {output}");
}

fn all(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

#[test]
fn exec_leaves_notifications_to_its_command() {
    let systemd = Systemd::new();
    let script = "test -S \"$NOTIFY_SOCKET\"";
    let ended = crate::support::run_command(
        "exec",
        &["--sandbox", "--", "sh", "-c", script],
        &[("NOTIFY_SOCKET", &systemd.path())],
    );
    assert_eq!(ended.code, Some(0));
    systemd.socket.set_nonblocking(true).unwrap();
    assert!(
        systemd.socket.recv(&mut [0; 16]).is_err(),
        "it sent a notification"
    );
    eventually("the socket is still there", || {
        Path::new(&systemd.path()).exists().then_some(())
    });
}
