//! Two connected network namespaces: one for the daemon, one that stands for another machine.

use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{has, is_root, output};
use crate::support::{Daemon, required};

/// The address of the daemon's machine.
pub(super) const LOCAL: &str = "10.177.0.1";

/// The address of the other machine.
pub(super) const REMOTE: &str = "10.177.0.2";

/// The address of the metadata service, which the daemon's machine owns and the other one can reach.
pub(super) const METADATA: &str = "100.100.100.200";

/// Both namespaces, removed on drop.
pub(super) struct Pair {
    local: String,
    remote: String,
}

impl Pair {
    /// Creates the namespaces; returns `None`, and reports a skipped test, if that is impossible here.
    pub(super) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let what = "root, with ip and curl and the permission to create network namespaces";
        if !required(what, is_root() && has("curl") && succeeds("ip netns list")) {
            return None;
        }
        let id = format!(
            "{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let pair = Self {
            local: format!("rs-a-{id}"),
            remote: format!("rs-b-{id}"),
        };
        let Self { local, remote } = &pair;
        let steps = [
            format!("ip netns add {local}"),
            format!("ip netns add {remote}"),
            format!("ip link add link0 netns {local} type veth peer name link0 netns {remote}"),
            format!("ip -n {local} addr add {LOCAL}/24 dev link0"),
            format!("ip -n {remote} addr add {REMOTE}/24 dev link0"),
            format!("ip -n {local} link set link0 up"),
            format!("ip -n {remote} link set link0 up"),
            format!("ip -n {local} link set lo up"),
            format!("ip -n {local} addr add {METADATA}/32 dev lo"),
            format!("ip -n {remote} route add {METADATA} via {LOCAL}"),
        ];
        let is_created = steps.iter().all(|step| succeeds(step));
        required(what, is_created).then_some(pair)
    }

    /// Starts a daemon on its machine.
    pub(super) fn daemon(&self, args: &[&str], env: &[(&str, &str)]) -> Daemon {
        let starter = ["ip", "netns", "exec", &self.local];
        let args = [&["--sandbox", "--admin-listen", "0.0.0.0:7003"], args].concat();
        let daemon = Daemon::spawn_under(&starter, &args, env);
        daemon.uri();
        daemon
    }

    /// Runs a program on the daemon's machine.
    pub(super) fn local(&self, words: &[&str]) -> Output {
        output(&[&["ip", "netns", "exec", &self.local], words].concat())
    }

    /// Runs a program on the other machine.
    pub(super) fn remote(&self, words: &[&str]) -> Output {
        output(&[&["ip", "netns", "exec", &self.remote], words].concat())
    }

    /// Sets a kernel parameter in both namespaces.
    pub(super) fn set(&self, parameter: &str) {
        for ran in [
            self.local(&["sysctl", "-qw", parameter]),
            self.remote(&["sysctl", "-qw", parameter]),
        ] {
            assert!(ran.status.success(), "{ran:?}");
        }
    }

    /// Makes the other machine route packets for 127.0.0.1 to the daemon's machine.
    pub(super) fn route_loopback_to_daemon(&self) {
        self.set("net.ipv4.conf.all.route_localnet=1");
        let remote = &self.remote;
        let route = format!("ip -n {remote} route add 127.0.0.1/32 via {LOCAL} src {REMOTE}");
        assert!(succeeds(&route));
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.local, &self.remote] {
            succeeds(&format!("ip netns del {namespace}"));
        }
    }
}

/// Runs curl; returns the status and the body.
pub(super) fn curl(run: impl Fn(&[&str]) -> Output, words: &[&str]) -> (String, String) {
    let always = [
        "curl",
        "-s",
        "-m",
        "10",
        "--noproxy",
        "*",
        "-w",
        "\n%{http_code}",
    ];
    let ran = run(&[&always, words].concat());
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("curl writes a status");
    (status.to_owned(), body.to_owned())
}

/// Runs a command line, and returns whether it succeeds.
fn succeeds(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    std::process::Command::new(words[0])
        .args(&words[1..])
        .output()
        .is_ok_and(|ran| ran.status.success())
}
