//! Two network namespaces with a wire between them: the daemon's, and another machine's.

use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{has, is_root, output};
use crate::support::{Daemon, required};

/// The address of the daemon's machine.
pub(super) const OURS: &str = "10.177.0.1";

/// The address of the other one.
pub(super) const THEIRS: &str = "10.177.0.2";

/// The address of the metadata service, which the daemon's machine owns and the other one can reach.
pub(super) const METADATA: &str = "100.100.100.200";

/// Both namespaces, removed on drop.
pub(super) struct Pair {
    ours: String,
    theirs: String,
}

impl Pair {
    /// Makes them; says aloud when that cannot be done here.
    pub(super) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let what = "root, with ip and curl and the right to make network namespaces";
        if !required(what, is_root() && has("curl") && output_of("ip netns list")) {
            return None;
        }
        let id = format!(
            "{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let pair = Self {
            ours: format!("rs-a-{id}"),
            theirs: format!("rs-b-{id}"),
        };
        let Self { ours, theirs } = &pair;
        let steps = [
            format!("ip netns add {ours}"),
            format!("ip netns add {theirs}"),
            format!("ip link add wire netns {ours} type veth peer name wire netns {theirs}"),
            format!("ip -n {ours} addr add {OURS}/24 dev wire"),
            format!("ip -n {theirs} addr add {THEIRS}/24 dev wire"),
            format!("ip -n {ours} link set wire up"),
            format!("ip -n {theirs} link set wire up"),
            format!("ip -n {ours} link set lo up"),
            format!("ip -n {ours} addr add {METADATA}/32 dev lo"),
            format!("ip -n {theirs} route add {METADATA} via {OURS}"),
        ];
        let is_made = steps.iter().all(|step| output_of(step));
        required(what, is_made).then_some(pair)
    }

    /// Starts a daemon on the one machine.
    pub(super) fn daemon(&self, args: &[&str], env: &[(&str, &str)]) -> Daemon {
        let starter = ["ip", "netns", "exec", &self.ours];
        let args = [&["--sandbox", "--admin-listen", "0.0.0.0:7003"], args].concat();
        let daemon = Daemon::spawn_under(&starter, &args, env);
        daemon.uri();
        daemon
    }

    /// Runs a program on the daemon's machine.
    pub(super) fn here(&self, words: &[&str]) -> Output {
        output(&[&["ip", "netns", "exec", &self.ours], words].concat())
    }

    /// Runs a program on the other machine.
    pub(super) fn there(&self, words: &[&str]) -> Output {
        output(&[&["ip", "netns", "exec", &self.theirs], words].concat())
    }

    /// Sets a kernel parameter of both.
    pub(super) fn set(&self, parameter: &str) {
        for ran in [
            self.here(&["sysctl", "-qw", parameter]),
            self.there(&["sysctl", "-qw", parameter]),
        ] {
            assert!(ran.status.success(), "{ran:?}");
        }
    }

    /// Makes the other machine send what is for a loopback address to the daemon's.
    pub(super) fn route_loopback_here(&self) {
        self.set("net.ipv4.conf.all.route_localnet=1");
        let theirs = &self.theirs;
        let route = format!("ip -n {theirs} route add 127.0.0.1/32 via {OURS} src {THEIRS}");
        assert!(output_of(&route));
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.ours, &self.theirs] {
            output_of(&format!("ip netns del {namespace}"));
        }
    }
}

/// Asks as curl does; returns the status and the body.
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

/// Whether a line of words succeeds.
fn output_of(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    std::process::Command::new(words[0])
        .args(&words[1..])
        .output()
        .is_ok_and(|ran| ran.status.success())
}
