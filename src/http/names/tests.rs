use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::exchange::Ask;
use super::*;

/// Servers that answer after a while, or never, and a record of who was asked what and when, in milliseconds.
#[derive(Clone, Default)]
struct Servers {
    answers: Arc<BTreeMap<Asked, (u64, Says)>>,
    asked: Arc<Mutex<Vec<(u64, u8, String)>>>,
    start: Option<Instant>,
}

/// A server, a name, and a kind of address.
type Asked = (u8, String, u8);

#[derive(Clone, Copy)]
enum Says {
    Address(u8),
    Nothing,
    NoSuchName,
    Fails,
}
use Says::{Address, Fails, NoSuchName, Nothing};

impl Servers {
    /// Takes server, name, kind (4 or 6), delay and answer. What is not among them is never answered.
    fn new(answers: &[(u8, &str, u8, u64, Says)]) -> Self {
        let answers = answers
            .iter()
            .map(|(server, name, kind, delay, says)| {
                ((*server, (*name).to_owned(), *kind), (*delay, *says))
            })
            .collect();
        Self {
            answers: Arc::new(answers),
            start: Some(Instant::now()),
            ..Self::default()
        }
    }

    /// Resolves a name, and returns the addresses or the reason, and how long it took.
    async fn resolve(&self, name: &str, file: &str) -> (String, u64) {
        let configuration = Configuration::parse(file, "node");
        let deadline = Instant::now() + Duration::from_millis(4500);
        let found = ask_dns(name, &configuration, self, deadline).await;
        let found = match found {
            Ok(found) => found
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        };
        (found, self.elapsed())
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.unwrap().elapsed().as_millis()).unwrap()
    }

    /// Who was asked for IPv4 addresses.
    fn asked(&self) -> Vec<(u64, u8, String)> {
        self.asked.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        self.asked().into_iter().map(|(_, _, name)| name).collect()
    }
}

impl Ask for Servers {
    async fn ask(
        &self,
        server: SocketAddr,
        question: Question,
        again: Arc<Notify>,
    ) -> Result<Answer, Reason> {
        let IpAddr::V4(ip) = server.ip() else {
            panic!("{server}")
        };
        let server = ip.octets()[3];
        let query = question.query(0);
        let mut name = Vec::new();
        let mut at = 12;
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            name.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let name = name.join(".");
        let kind = if query[at + 2] == 1 { 4 } else { 6 };
        let asked = async {
            loop {
                if kind == 4 {
                    let entry = (self.elapsed(), server, name.clone());
                    self.asked.lock().unwrap().push(entry);
                }
                again.notified().await;
            }
        };
        let Some((delay, says)) = self.answers.get(&(server, name.clone(), kind)) else {
            return asked.await;
        };
        tokio::select! {
            biased;
            never = asked => return never,
            () = tokio::time::sleep(Duration::from_millis(*delay)) => {}
        }
        match says {
            Address(last) if kind == 4 => Ok(Answer::Addresses(vec![[10, 0, 0, *last].into()])),
            Address(last) => {
                let ip = Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, (*last).into());
                Ok(Answer::Addresses(vec![ip.into()]))
            }
            Nothing => Ok(Answer::Addresses(Vec::new())),
            NoSuchName => Ok(Answer::NoSuchName),
            Fails => Err(Reason::Refused(2)),
        }
    }

    fn has_route(&self, ip: IpAddr) -> bool {
        ip != IpAddr::from([10, 0, 0, UNREACHABLE])
    }
}

/// The last number of an address to which there is no route.
const UNREACHABLE: u8 = 99;

const ONE: &str = "nameserver 10.0.0.1\n";
const TWO: &str = "nameserver 10.0.0.1\nnameserver 10.0.0.2\n";

#[test]
fn own_names_are_known_without_dns() {
    let hosts = b"10.0.0.7 node listed\n10.0.0.8 app.localhost";
    let cases: &[(&str, &str, &[&str])] = &[
        ("listed", "", &["10.0.0.7"]),
        ("LISTED.", "", &["10.0.0.7"]),
        ("node", "node", &["10.0.0.7"]),
        ("pod", "pod", &["127.0.0.1", "::1"]),
        ("Pod.", "pod", &["127.0.0.1", "::1"]),
        ("localhost", "", &["127.0.0.1", "::1"]),
        ("x.LocalHost.", "", &["127.0.0.1", "::1"]),
        ("app.localhost", "", &["10.0.0.8"]),
        ("localhost.example", "", &[]),
        ("notlocalhost", "", &[]),
        ("pod.example", "pod", &[]),
    ];
    for (name, host, expected) in cases {
        let listed = hosts::addresses(&hosts[..], bare(name)).unwrap();
        let found = known(bare(name), listed, host);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, *expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn both_kinds_are_asked_for_at_once() {
    let servers = Servers::new(&[
        (1, "a.b", 4, 100, Address(1)),
        (1, "a.b", 6, 200, Address(2)),
    ]);
    assert_eq!(
        servers.resolve("a.b", ONE).await,
        ("10.0.0.1 fd00::2".into(), 200)
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_ipv6_costs_little() {
    let servers = Servers::new(&[(1, "a.b", 4, 100, Address(1))]);
    assert_eq!(servers.resolve("a.b", ONE).await, ("10.0.0.1".into(), 400));
    // The other way round, and with an error instead of silence.
    let servers = Servers::new(&[(1, "a.b", 4, 0, Fails), (1, "a.b", 6, 10, Address(1))]);
    assert_eq!(servers.resolve("a.b", ONE).await, ("fd00::1".into(), 10));
}

#[tokio::test(start_paused = true)]
async fn an_address_without_a_route_is_not_enough() {
    let servers = Servers::new(&[
        (1, "a.b", 4, 0, Address(UNREACHABLE)),
        (1, "a.b", 6, 2000, Address(2)),
    ]);
    assert_eq!(
        servers.resolve("a.b", ONE).await,
        ("10.0.0.99 fd00::2".into(), 2000)
    );
}

#[tokio::test(start_paused = true)]
async fn silence_about_ipv6_does_not_hide_the_name_from_a_search() {
    let file = format!("{ONE}search x y\noptions ndots:5");
    let found = [(1, "a.b", 4, 1, Address(3)), (1, "a.b", 6, 1, Nothing)];
    // No kind of address exists: nothing is waited for.
    let servers = Servers::new(
        &[
            &found[..],
            &[
                (1, "a.b.x", 4, 1, NoSuchName),
                (1, "a.b.y", 4, 1, NoSuchName),
            ],
        ]
        .concat(),
    );
    assert_eq!(servers.resolve("a.b", &file).await, ("10.0.0.3".into(), 3));
    // Of one kind there is none, and of the other nothing is known: half of the time is for the name itself.
    let servers = Servers::new(&[&found[..], &[(1, "a.b.x", 4, 0, Nothing)]].concat());
    assert_eq!(
        servers.resolve("a.b", &file).await,
        ("10.0.0.3".into(), 2251)
    );
    let (reason, _) = Servers::new(&[(1, "a.b", 4, 0, Nothing)])
        .resolve("a.b", ONE)
        .await;
    assert_eq!(
        reason,
        "the name server 10.0.0.1 answered for one kind of address only"
    );
}

#[tokio::test(start_paused = true)]
async fn a_configuration_without_ipv6_asks_for_ipv4_only() {
    let servers = Servers::new(&[(1, "a.b", 4, 10, Address(1)), (1, "a.b", 6, 10, Address(2))]);
    let file = format!("{ONE}options no-aaaa");
    assert_eq!(servers.resolve("a.b", &file).await, ("10.0.0.1".into(), 10));
}

#[tokio::test(start_paused = true)]
async fn a_pod_searches_its_domains_first() {
    let file = format!("{ONE}search ns.svc svc\noptions ndots:5");
    let servers = Servers::new(&[
        (1, "sts.example.ns.svc", 4, 1, NoSuchName),
        (1, "sts.example.ns.svc", 6, 1, NoSuchName),
        (1, "sts.example.svc", 4, 1, Nothing),
        (1, "sts.example.svc", 6, 1, Nothing),
        (1, "sts.example", 4, 1, Address(9)),
        (1, "sts.example", 6, 1, Nothing),
    ]);
    assert_eq!(servers.resolve("sts.example", &file).await.0, "10.0.0.9");
    let names = ["sts.example.ns.svc", "sts.example.svc", "sts.example"];
    assert_eq!(servers.names(), names);
}

#[tokio::test(start_paused = true)]
async fn a_name_without_address_is_told_with_the_server_that_says_so() {
    let no = |says| Servers::new(&[(1, "a.b", 4, 1, says), (1, "a.b", 6, 1, says)]);
    let (reason, _) = no(NoSuchName).resolve("a.b", ONE).await;
    assert_eq!(
        reason,
        "the name server 10.0.0.1 says that there is no such name"
    );
    let (reason, _) = no(Nothing).resolve("a.b", ONE).await;
    assert_eq!(
        reason,
        "the name server 10.0.0.1 says that it has no address"
    );
    let (reason, _) = no(Nothing).resolve("a b", ONE).await;
    assert_eq!(reason, "it is not a host name");
}

#[tokio::test(start_paused = true)]
async fn servers_take_turns_as_often_as_configured() {
    let servers = Servers::new(&[]);
    let file = format!("{TWO}options timeout:1 attempts:2");
    let (reason, took) = servers.resolve("a.b", &file).await;
    assert_eq!(
        reason,
        "the name server 10.0.0.1 did not answer, the name server 10.0.0.2 did not answer"
    );
    let times: Vec<_> = servers
        .asked()
        .iter()
        .map(|(at, server, _)| (*at, *server))
        .collect();
    assert_eq!(times, [(0, 1), (1000, 2), (2000, 1), (3000, 2)]);
    assert_eq!(took, 4000);
}

#[tokio::test(start_paused = true)]
async fn more_patience_than_there_is_time_is_divided_among_the_servers() {
    let servers = Servers::new(&[]);
    let (_, took) = servers.resolve("a.b", TWO).await;
    let times: Vec<_> = servers
        .asked()
        .iter()
        .map(|(at, server, _)| (*at, *server))
        .collect();
    assert_eq!(times, [(0, 1), (1125, 2), (2250, 1), (3375, 2)]);
    assert_eq!(took, 4500);
    // A slow server is heard while another is asked.
    let servers = Servers::new(&[
        (1, "a.b", 4, 4000, Address(1)),
        (1, "a.b", 6, 4000, Nothing),
    ]);
    assert_eq!(servers.resolve("a.b", TWO).await, ("10.0.0.1".into(), 4000));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_followed_by_the_next_at_once_and_remembered() {
    let file = format!("{TWO}search x y");
    let mut answers = vec![(2, "a", 4, 1, Address(3)), (2, "a", 6, 1, Nothing)];
    for name in ["a.x", "a.y"] {
        for kind in [4, 6] {
            answers.push((1, name, kind, 1, Fails));
            answers.push((2, name, kind, 1, NoSuchName));
        }
    }
    let servers = Servers::new(&answers);
    assert_eq!(servers.resolve("a", &file).await, ("10.0.0.3".into(), 4));
    let asked: Vec<_> = servers
        .asked()
        .into_iter()
        .map(|(_, server, name)| (server, name))
        .collect();
    let expected = [(1, "a.x"), (2, "a.x"), (2, "a.y"), (2, "a")];
    assert_eq!(
        asked,
        expected.map(|(server, name)| (server, name.to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_by_server() {
    let servers = Servers::new(&[(1, "a.b", 4, 1, Fails), (1, "a.b", 6, 1, Fails)]);
    let (reason, took) = servers.resolve("a.b", TWO).await;
    assert_eq!(
        reason,
        "the name server 10.0.0.1 answered SERVFAIL, the name server 10.0.0.2 did not answer"
    );
    assert_eq!(took, 4500);
    let (reason, _) = Servers::new(&[]).resolve("a.b", "").await;
    assert_eq!(
        reason,
        "the name server 127.0.0.1 (assumed, because no line `nameserver` of /etc/resolv.conf has an address) did not answer"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_a_search_domain_does_not_hide_the_name_itself() {
    let file = format!("{ONE}search x y\noptions timeout:1 attempts:1");
    // Silence ends the search, an error does not.
    let servers = Servers::new(&[(1, "a", 4, 1, Address(3)), (1, "a", 6, 1, Nothing)]);
    assert_eq!(servers.resolve("a", &file).await.0, "10.0.0.3");
    assert_eq!(servers.names(), ["a.x", "a"]);

    let mut answers = vec![(1, "a", 4, 1, NoSuchName), (1, "a", 6, 1, NoSuchName)];
    for name in ["a.x", "a.y"] {
        answers.extend([(1, name, 4, 1, Fails), (1, name, 6, 1, Fails)]);
    }
    let servers = Servers::new(&answers);
    let (reason, _) = servers.resolve("a", &file).await;
    assert_eq!(reason, "the name server 10.0.0.1 answered SERVFAIL");
    assert_eq!(servers.names(), ["a.x", "a.y", "a"]);
}

#[tokio::test(start_paused = true)]
async fn rotation_begins_with_any_server() {
    let file = format!("{TWO}options rotate");
    let mut begun = [false; 2];
    for _ in 0..64 {
        let answers = [1, 2].map(|server| {
            [
                (server, "a.b", 4, 1, Address(1)),
                (server, "a.b", 6, 1, Nothing),
            ]
        });
        let servers = Servers::new(answers.as_flattened());
        servers.resolve("a.b", &file).await;
        begun[usize::from(servers.asked()[0].1 - 1)] = true;
    }
    assert_eq!(begun, [true; 2]);
}
