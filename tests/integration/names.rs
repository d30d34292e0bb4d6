//! Names are resolved by the files of a machine and its name servers, and nothing is loaded for it.
//!
//! Each test has a network and the files below `/etc` for itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::access::has;
use crate::namespace;
use crate::support::{Daemon, Ended, Scratch, command, eventually, required, run_command, under};

macro_rules! with_own_files {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                let module = concat!(module_path!(), "::in_own_namespace");
                namespace::passes_with_network_and_mounts(module, stringify!($name));
            }
        )+

        mod in_own_namespace {
            $(
                #[test]
                #[ignore = "mounts files of its own below /etc: the test of the same name runs it in a namespace"]
                fn $name() {
                    super::inside::$name();
                }
            )+
        }
    };
}

with_own_files! {
    a_limit_is_not_blamed_on_dns,
    a_name_is_found_in_hosts_or_by_dns,
    changes_of_the_files_are_noticed,
    lies_are_not_believed,
    names_are_searched_for_in_the_order_of_glibc,
    nothing_is_loaded_for_a_look_up,
    the_next_server_is_asked_when_one_fails,
    truncated_answers_are_fetched_over_tcp,
    what_a_server_does_is_told,
}

mod inside {
    use super::*;

    pub(super) fn a_limit_is_not_blamed_on_dns() {
        let _machine = Machine::new("nameserver 127.0.0.1", "");
        let _server = Server::start("127.0.0.1", |query| query.code(3));
        let get = command("get", &[], &environment("sts.example"));
        let mut is_resolved = false;
        for limit in 8..=24 {
            let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
            let ended = under(&["sh", "-c", &script], &get).output().unwrap();
            let told = String::from_utf8_lossy(&ended.stderr);
            is_resolved = told.contains("there is no such name");
            assert!(
                is_resolved || told.contains("(ulimit -n)"),
                "{limit}: {told}"
            );
            assert!(is_resolved || !told.contains("sts.endpoint"), "{told}");
        }
        assert!(is_resolved);
    }

    pub(super) fn a_name_is_found_in_hosts_or_by_dns() {
        let _machine = Machine::new("nameserver 127.0.0.1", "127.0.0.9 listed.example alias");
        let server = Server::start("127.0.0.1", |query| {
            match (query.name.as_str(), query.kind) {
                ("sts.example", 1) => query.addresses(&[[127, 0, 0, 8]]),
                _ => query.code(3),
            }
        });
        assert_eq!(called("listed.example"), "127.0.0.9");
        assert_eq!(called("ALIAS"), "127.0.0.9");
        // These are this machine.
        let host = rustix::system::uname();
        let host = host.nodename().to_str().unwrap();
        for name in ["localhost", "sts.localhost", host] {
            assert_eq!(called(name), "127.0.0.1", "{name}");
        }
        assert_eq!(server.asked(), [] as [String; 0]);
        assert_eq!(called("sts.example"), "127.0.0.8");
        assert_eq!(server.asked(), ["A sts.example", "AAAA sts.example"]);
    }

    /// A daemon that runs already follows them.
    pub(super) fn changes_of_the_files_are_noticed() {
        let machine = Machine::new("nameserver 127.0.0.1", "");
        let arguments = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let daemon = Daemon::spawn(&arguments, &environment("sts.example"));
        daemon.logged("nothing listens there");
        let message = |text: &str| {
            daemon.signal("HUP");
            eventually(text, || {
                let message = daemon.probe("/ready").text("Message");
                message.contains(text).then_some(message)
            });
        };
        machine.resolv_conf("nameserver 127.0.0.3");
        message("127.0.0.3");
        machine.hosts("127.0.0.9 sts.example");
        message("Connection refused");
    }

    pub(super) fn truncated_answers_are_fetched_over_tcp() {
        let machine = Machine::new("nameserver 127.0.0.1", "");
        let server = Server::start("127.0.0.1", |query| {
            if query.is_tcp {
                query.addresses(&[[127, 0, 0, 8]; 300])
            } else {
                query.truncated()
            }
        });
        assert_eq!(called("long.example"), "127.0.0.8");
        assert!(server.asked().contains(&"A long.example tcp".to_owned()));

        machine.resolv_conf("nameserver 127.0.0.1\noptions use-vc");
        server.forget();
        assert_eq!(called("short.example"), "127.0.0.8");
        assert!(server.asked().iter().all(|asked| asked.ends_with("tcp")));
    }

    pub(super) fn lies_are_not_believed() {
        let _machine = Machine::new("nameserver 127.0.0.1\noptions timeout:1 attempts:1", "");
        let _server = Server::start("127.0.0.1", |query| {
            let mut lies = query.lies();
            if query.name == "sts.example" {
                lies.extend(query.addresses(&[[127, 0, 0, 8]]));
            }
            lies
        });
        assert_eq!(called("sts.example"), "127.0.0.8");
        let failure = refusal("lies.example");
        assert!(
            failure.contains("the name server 127.0.0.1 did not answer"),
            "{failure}"
        );
    }

    pub(super) fn the_next_server_is_asked_when_one_fails() {
        let file = "nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver 127.0.0.3";
        let _machine = Machine::new(file, "");
        // The first is absent, the second fails.
        let failing = Server::start("127.0.0.2", |query| query.code(2));
        let _good = Server::start("127.0.0.3", |query| query.addresses(&[[127, 0, 0, 8]]));
        let start = Instant::now();
        assert_eq!(called("sts.example"), "127.0.0.8");
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
        assert!(!failing.asked().is_empty());
        // A silent one does not take the time of the others.
        let _silent = Server::start("127.0.0.1", |_| Vec::new());
        assert_eq!(called("sts.example"), "127.0.0.8");
    }

    pub(super) fn what_a_server_does_is_told() {
        let machine = Machine::new("nameserver 127.0.0.1\nnameserver 127.0.0.2", "");
        let _one = Server::start("127.0.0.1", |query| match query.name.as_str() {
            "absent.example" => query.code(3),
            "empty.example" => query.code(0),
            "failing.example" => query.code(2),
            "refused.example" => query.code(5),
            "loop.example" => query.alias("loop.example"),
            _ => Vec::new(),
        });
        let cases = [
            (
                "absent.example",
                "the name server 127.0.0.1 says that there is no such name",
            ),
            (
                "empty.example",
                "the name server 127.0.0.1 says that it has no address",
            ),
            (
                "failing.example",
                "the name server 127.0.0.1 answered SERVFAIL, the name server 127.0.0.2 cannot be asked: nothing listens there",
            ),
            ("refused.example", "127.0.0.1 answered REFUSED"),
            (
                "loop.example",
                "127.0.0.1 answered with a malformed message",
            ),
            ("silent.example", "the name server 127.0.0.1 did not answer"),
        ];
        for (name, reason) in cases {
            let failure = refusal(name);
            let expected = format!("cannot call {name}: its name cannot be resolved (");
            assert!(
                failure.contains(&expected) && failure.contains(reason),
                "{failure}"
            );
        }
        machine.resolv_conf("");
        machine.resolv_conf("# nothing");
        let failure = refusal("silent.example");
        let reason = "the name server 127.0.0.1 (assumed, because no line `nameserver` of /etc/resolv.conf has an address)";
        assert!(failure.contains(reason), "{failure}");
    }

    pub(super) fn names_are_searched_for_in_the_order_of_glibc() {
        if !required("getent", has("getent")) {
            return;
        }
        let machine = Machine::new("", "");
        machine.mount("/etc/nsswitch.conf", "hosts: files dns\n");
        let server = Server::start("127.0.0.1", |query| match query.name.as_str() {
            name if name.starts_with("broken") => query.code(2),
            name if name.starts_with("empty") => query.code(0),
            _ => query.code(3),
        });
        let files = [
            "",
            "search a.example b.example",
            "search a.example b.example\noptions ndots:2",
            "search ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5",
            "domain c.example\noptions ndots:0",
            "search a.example\ndomain b.example",
            "search a.example . b.example",
        ];
        let names = [
            "sts",
            "sts.example",
            "sts.cn-hangzhou.example",
            "sts.example.",
            "empty.x",
            "broken.x",
            "broken",
        ];
        for file in files {
            machine.resolv_conf(&format!("nameserver 127.0.0.1\noptions attempts:1\n{file}"));
            for name in names {
                let order = || {
                    let mut seen = BTreeSet::new();
                    let mut asked = server.asked();
                    asked.retain(|asked| asked.starts_with("A ") && seen.insert(asked.clone()));
                    server.forget();
                    asked
                };
                refusal(name);
                let ours = order();
                let getent = Command::new("getent")
                    .args(["ahosts", name])
                    .output()
                    .unwrap();
                assert!(!getent.status.success() && !ours.is_empty(), "{name}");
                assert_eq!(ours, order(), "{name} by {file}");
            }
        }
    }

    pub(super) fn nothing_is_loaded_for_a_look_up() {
        if !required("strace", has("strace")) {
            return;
        }
        let machine = Machine::new("nameserver 127.0.0.1\noptions timeout:1 attempts:1", "");
        let lines = [
            "files dns myhostname",
            "files mdns4_minimal [NOTFOUND=return] dns",
            "files resolve [!UNAVAIL=return] dns",
        ];
        machine.mount("/etc/nsswitch.conf", "");
        let trace = machine.scratch.join("trace");
        for line in lines {
            fs::write(
                "/etc/nsswitch.conf",
                format!("passwd: files systemd\nhosts: {line}\n"),
            )
            .unwrap();
            let mut traced = Command::new("strace");
            traced
                .args(["-f", "-e", "trace=openat,open,open_tree,memfd_create", "-o"])
                .arg(&trace);
            let inner = command("get", &[], &environment("sts.local"));
            traced
                .arg(inner.get_program())
                .args(inner.get_args())
                .env_clear();
            traced.envs(
                inner
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
            let output = traced.output().unwrap();
            assert_eq!(output.status.code(), Some(69), "{output:?}");
            let opened = fs::read_to_string(&trace).unwrap();
            // A dynamic program has loaded its libraries when it begins.
            let (_, after) = opened.split_once("/etc/hosts").expect("a look-up");
            assert!(!after.contains(".so"), "{after}");
            assert!(
                !opened.contains("nsswitch") && !opened.contains("libnss"),
                "{opened}"
            );
        }
    }
}

/// This machine, with its own files below `/etc`.
struct Machine {
    scratch: Scratch,
}

impl Machine {
    fn new(resolv_conf: &str, hosts: &str) -> Self {
        let machine = Self {
            scratch: Scratch::new(),
        };
        machine.mount("/etc/resolv.conf", resolv_conf);
        machine.mount("/etc/hosts", hosts);
        machine
    }

    /// Puts a file of the test over one of the machine, within this namespace.
    fn mount(&self, path: &str, content: &str) {
        let file: PathBuf = self.scratch.join(path.rsplit('/').next().unwrap());
        fs::write(&file, content).unwrap();
        let mut mount = Command::new("mount");
        let status = mount.arg("--bind").arg(&file).arg(path).status().unwrap();
        assert!(status.success(), "{path}");
    }

    fn resolv_conf(&self, content: &str) {
        fs::write(self.scratch.join("resolv.conf"), content).unwrap();
    }

    fn hosts(&self, content: &str) {
        fs::write(self.scratch.join("hosts"), content).unwrap();
    }
}

/// Returns the address that is called for a name.
fn called(name: &str) -> String {
    let ports: Vec<TcpListener> = ["127.0.0.1", "127.0.0.8", "127.0.0.9"]
        .iter()
        .map(|ip| TcpListener::bind((*ip, 443)).unwrap())
        .collect();
    let calling = thread::spawn({
        let name = name.to_owned();
        move || get(&name)
    });
    let called = eventually("a call", || {
        ports.iter().find_map(|port| {
            port.set_nonblocking(true).unwrap();
            port.accept()
                .ok()
                .map(|_| port.local_addr().unwrap().ip().to_string())
        })
    });
    drop(ports);
    calling.join().unwrap();
    called
}

/// Returns why no credentials can be got from an endpoint.
fn refusal(name: &str) -> String {
    let ended = get(name);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    ended.stderr
}

fn get(endpoint: &str) -> Ended {
    run_command("get", &[], &environment(endpoint))
}

fn environment(endpoint: &str) -> [(&'static str, &str); 5] {
    [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIexample"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "the0secret1of2the3user"),
        (
            "ALIBABA_CLOUD_ROLE_ARN",
            "acs:ram::1234567890123456:role/job",
        ),
        ("ALIBABA_CLOUD_STS_ENDPOINT", endpoint),
        ("RAM_SIDECAR_LOG", "info"),
    ]
}

/// A name server, over UDP and TCP.
struct Server {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts it at port 53. The function returns the messages to send.
    fn start(ip: &str, answer: fn(&Query) -> Vec<Vec<u8>>) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let udp = UdpSocket::bind((ip, 53)).unwrap();
        let tcp = TcpListener::bind((ip, 53)).unwrap();
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            loop {
                let (length, client) = udp.recv_from(&mut buffer).unwrap();
                let query = Query::read(&buffer[..length], false);
                log.lock().unwrap().push(query.to_string());
                for message in answer(&query) {
                    udp.send_to(&message, client).unwrap();
                }
            }
        });
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut message).unwrap();
                let query = Query::read(&message, true);
                log.lock().unwrap().push(query.to_string());
                for message in answer(&query) {
                    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length[..], &message].concat()).unwrap();
                }
            }
        });
        Self { asked }
    }

    /// Returns what was asked so far; the two kinds of address are asked for in any order.
    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        if asked.len() == 2 {
            asked.sort();
        }
        asked
    }

    fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }
}

struct Query {
    bytes: Vec<u8>,
    name: String,
    kind: u8,
    is_tcp: bool,
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind == 1 { "A" } else { "AAAA" };
        write!(
            f,
            "{kind} {}{}",
            self.name,
            if self.is_tcp { " tcp" } else { "" }
        )
    }
}

impl Query {
    fn read(message: &[u8], is_tcp: bool) -> Self {
        let mut labels = Vec::new();
        let mut at = 12;
        while message[at] != 0 {
            let end = at + 1 + usize::from(message[at]);
            labels.push(String::from_utf8(message[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        Self {
            bytes: message[..at + 5].to_vec(),
            name: labels.join("."),
            kind: message[at + 2],
            is_tcp,
        }
    }

    fn message(&self, flags: u8, code: u8, records: &[(u8, Vec<u8>)]) -> Vec<Vec<u8>> {
        let mut message = self.bytes.clone();
        message[2] = 0x81 | flags;
        message[3] = 0x80 | code;
        message[6..12].fill(0);
        message[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        for (kind, data) in records {
            message.extend_from_slice(&[0xC0, 12, 0, *kind, 0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend_from_slice(data);
        }
        vec![message]
    }

    fn code(&self, code: u8) -> Vec<Vec<u8>> {
        self.message(0, code, &[])
    }

    fn truncated(&self) -> Vec<Vec<u8>> {
        self.message(2, 0, &[])
    }

    /// Answers with IPv4 addresses; there are no others.
    fn addresses(&self, addresses: &[[u8; 4]]) -> Vec<Vec<u8>> {
        let records: Vec<_> = addresses.iter().map(|ip| (1, ip.to_vec())).collect();
        self.message(0, 0, if self.kind == 1 { &records } else { &[] })
    }

    fn alias(&self, name: &str) -> Vec<Vec<u8>> {
        let labels = name
            .split('.')
            .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
        self.message(0, 0, &[(5, labels.chain([0]).collect())])
    }

    /// Answers to other queries, and what is no answer, all with the address of somebody else.
    fn lies(&self) -> Vec<Vec<u8>> {
        let lie = self.message(0, 0, &[(1, vec![127, 0, 0, 9])]).remove(0);
        let change = |at: usize, mask: u8| {
            let mut lie = lie.clone();
            lie[at] ^= mask;
            lie
        };
        vec![
            change(0, 1),
            change(1, 1),
            change(2, 0x80),
            change(5, 1),
            change(14, 1),
            lie[..11].to_vec(),
            Vec::new(),
            vec![0xFF; 1400],
        ]
    }
}
