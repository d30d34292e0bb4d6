//! `sandbox` and `serve` as two processes: the daemon is started with the variables that the sandbox prints.

use std::net::SocketAddr;

use rustix::process::{Pid, Signal, kill_process};

use crate::http::{self, Reply};
use crate::serving::LISTEN;
use crate::support::{Daemon, Process, command, eventually};

mod container;
mod control;
mod faults;
mod flags;
mod oidc;
mod start;

/// A running `ram-sidecar sandbox`, killed on drop; its log must not contain the secrets that it issued.
pub(crate) struct Sandbox {
    process: Process,
    env: Vec<(String, String)>,
}

impl Sandbox {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", args)
    }

    /// Starts the sandbox on an address that a daemon may have called already.
    pub(crate) fn start_at(address: &str, args: &[&str]) -> Self {
        let args = [&["--listen", address], args].concat();
        let process = Process::start(command("sandbox", &args, &[]));
        let env = eventually("the sandbox prints its variables", || {
            let lines = process.stdout();
            let pairs = lines.iter().map(|line| line.split_once('=').unwrap());
            let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            (lines.len() == 4).then(|| owned.collect())
        });
        Self { process, env }
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        let found = self.env.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("{name} is not printed")).1
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let endpoint = self.value("ALIBABA_CLOUD_STS_ENDPOINT");
        endpoint.strip_prefix("http://").unwrap().parse().unwrap()
    }

    pub(crate) fn env(&self) -> Vec<(&str, &str)> {
        let pairs = self.env.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// Starts a daemon with the printed variables as its whole environment.
    pub(crate) fn daemon(&self) -> Daemon {
        Daemon::spawn(&LISTEN, &self.env())
    }

    pub(crate) fn control(&self, method: &str, body: &str) -> Reply {
        control(self.address(), method, body)
    }

    pub(crate) fn set(&self, faults: &str) {
        let reply = self.control("PUT", faults);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.text("Faults"), faults);
    }

    pub(crate) fn clear_faults(&self) {
        let reply = self.control("DELETE", "");
        assert_eq!(
            (reply.status, reply.text("Faults").as_str()),
            (200, ""),
            "{reply:?}"
        );
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).expect("the sandbox runs");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let log = self.process.stderr();
        let secret = self.value("ALIBABA_CLOUD_ACCESS_KEY_SECRET");
        assert!(!log.contains(secret), "a secret was logged\n{log}");
        assert!(!log.contains("CAIS"), "a security token was logged\n{log}");
    }
}

/// Sends a request to the control endpoint.
fn control(address: SocketAddr, method: &str, body: &str) -> Reply {
    let length = body.len();
    let request = format!(
        "{method} /_sandbox/faults HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    http::raw(address, &request)
}
