//! HTTP requests, through the parser and the routers that are in service, with the limits that connections have there.
//!
//! The first line chooses: `d` the credentials, `m` the metadata dialect, `a` the admin listener; then `r` a client on
//! another machine, `e` no credentials yet, `v` tokens are demanded, `c` the dialect of AWS SDKs, `o` a client that keeps its
//! sending half open, `s` one that is read in small pieces. The rest is what the client sends.
//!
//! What may be answered with credentials is judged by a reading of the request that shares nothing with the one in service.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use libfuzzer_sys::fuzz_target;
use ram_sidecar::credentials::{Credentials, Lease};
use ram_sidecar::formats::json;
use ram_sidecar::metrics::{Counters, Exposition};
use ram_sidecar::refresh::store::{self, HealthReader};
use ram_sidecar::server;
use ram_sidecar::server::admin::{self, Admin, StopCallers};
use ram_sidecar::server::caller::Addresses;
use ram_sidecar::server::data::{self, AllowedCallers, Container, Data};
use ram_sidecar::server::direct::Direct;
use ram_sidecar::server::hold::Provider;
use ram_sidecar::server::imds_token::Tokens;
use ram_sidecar::server::metadata::listing::{Key, StaticValues};
use ram_sidecar::server::metadata::{self, Metadata};
use ram_sidecar::server::status::About;
use ram_sidecar::time::clock::Clock;
use ram_sidecar_fuzz::http::{Request, has_body, is_cut, read};
use ram_sidecar_fuzz::{PLANTED, clock, noon, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

const KEY: &str = "key0Of1The2Path3";
const ROLE: &str = "job";

/// Tokens are issued under this key.
const TOKEN_KEY: [u8; 32] = [7; 32];

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (choice, request) = data.split_at(end.map_or(data.len(), |end| end + 1));
    let scene = Scene::new(choice);
    run(scene.play(request));
});

/// Which listener, and who asks.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a letter of the input"
)]
struct Scene {
    listener: u8,
    is_remote: bool,
    is_empty: bool,
    demands_token: bool,
    has_container: bool,
    stays_open: bool,
    is_slow: bool,
}

impl Scene {
    fn new(choice: &[u8]) -> Self {
        let has = |flag| choice.iter().skip(1).any(|given| *given == flag);
        Self {
            listener: choice.first().copied().unwrap_or(b'd'),
            is_remote: has(b'r'),
            is_empty: has(b'e'),
            demands_token: has(b'v'),
            has_container: has(b'c'),
            stays_open: has(b'o'),
            is_slow: has(b's'),
        }
    }

    async fn play(&self, request: &[u8]) {
        let clock = clock();
        let (publisher, subscriber, health) = store::channel(json::render);
        if !self.is_empty {
            publisher.renewed(lease(), noon().after(Duration::from_secs(1800)));
        }
        let provider = Provider {
            subscriber,
            clock: clock.clone(),
        };
        let (stop, stopping) = watch::channel(false);
        let stop = Arc::new(stop);
        let (local, router, direct) = match self.listener {
            b'm' => {
                let router = self.metadata(provider);
                (IpAddr::from(metadata::ADDRESS), router, None)
            }
            b'a' => {
                let router = admin(health, &clock, (&stop, &stopping));
                (Ipv4Addr::LOCALHOST.into(), router, None)
            }
            _ => {
                let (router, direct) = self.data(provider);
                (Ipv4Addr::LOCALHOST.into(), router, Some(direct))
            }
        };
        let peer = if self.is_remote {
            IpAddr::from([203, 0, 113, 7])
        } else {
            local
        };
        let ends = if !self.is_remote && !matches!(self.listener, b'm' | b'a') {
            // Only a caller who is found is known to the direct path.
            connected()
        } else {
            Addresses::new(SocketAddr::new(peer, 40_001), SocketAddr::new(local, 80))
        };
        let answered = self.serve_connection(request, ends, router).await;
        // The caller is known now, if it was served.
        let direct = direct.and_then(|direct| match direct.read(request, || Some(ends)) {
            Poll::Ready(answer) => answer.map(|answer| answer.parts().concat()),
            Poll::Pending => None,
        });
        drop(publisher);

        let is_secret = |part: &[u8]| answered.windows(part.len()).any(|w| w == part);
        let is_told = is_secret(PLANTED.as_bytes());
        let asked = Request::read(request);
        let is_due = asked
            .as_ref()
            .is_some_and(|asked| self.is_for_credentials(asked, &clock));
        // Of a body that breaks off hyper makes an end at once, and a slow reader has not got the whole answer by then.
        if self.is_slow && has_body(request) && is_cut(&answered) {
            assert!(!is_told || is_due);
            return;
        }
        if let Some(direct) = &direct {
            // It does not wait for a client that reads slowly, or keeps its half open.
            assert_eq!(undated(direct), undated(&answered));
        }
        let Some(answer) = read(&answered, request) else {
            assert!(!*stopping.borrow());
            return;
        };
        assert_eq!(
            is_told,
            answer.status == 200 && self.listener != b'a' && holds(&answer.body)
        );
        if is_told {
            assert!(!self.is_empty && !self.is_remote && is_due);
        }
        if *stopping.borrow() {
            assert_eq!(
                (self.listener, answer.status, self.is_remote),
                (b'a', 202, false)
            );
            let is_stop = |asked: &Request| {
                asked.method == b"POST"
                    && asked.path == b"/stop"
                    && asked.comes_from_a_program(local)
            };
            assert!(asked.as_ref().is_some_and(is_stop));
        } else {
            assert_ne!(answer.status, 202);
        }
        // The status is for this machine, and not for other pages.
        let is_page = |asked: &Request| asked.path == b"/" && self.listener == b'a';
        if asked.as_ref().is_some_and(is_page) && self.is_remote {
            assert_ne!(answer.status, 200);
        }
        // And the other way round: a plain request of this kind is always answered with them.
        if let Some(plain) = Request::plain(request)
            && !self.is_empty
            && !self.is_remote
            && !self.stays_open
            && self.is_for_credentials(&plain, &clock)
        {
            assert!(
                is_told,
                "{} for {:?}",
                answer.status,
                String::from_utf8_lossy(request)
            );
            let is_container = plain.path.starts_with(data::CONTAINER_PREFIX.as_bytes());
            assert_eq!(direct.is_some(), self.listener != b'm' && !is_container);
        }
    }

    fn data(&self, provider: Provider) -> (Router, Direct) {
        let data = Data {
            provider,
            key: KEY.into(),
            container: self.has_container.then_some(Container { token_file: None }),
        };
        data::router(
            data,
            Ipv4Addr::LOCALHOST.into(),
            AllowedCallers::default(),
            Arc::default(),
        )
    }

    fn metadata(&self, provider: Provider) -> Router {
        let metadata = Metadata {
            provider,
            role: ROLE.to_owned(),
            static_values: StaticValues::from([(Key::Region, "cn-hangzhou".to_owned())]),
            v2_only: self.demands_token,
            tokens: Tokens::new(TOKEN_KEY),
        };
        metadata::router(metadata, None, Arc::default())
    }

    /// Sends what the client sends, and returns what it gets, which is all there within the life of a connection.
    async fn serve_connection(&self, request: &[u8], ends: Addresses, router: Router) -> Vec<u8> {
        let opened = Instant::now();
        let room = if self.is_slow { 7 } else { 1 << 16 };
        let (client, server) = tokio::io::duplex(room);
        let (mut from, mut to) = tokio::io::split(client);
        let serving = server::serve_connection(server, ends, router, None, Arc::default(), opened);
        let sending = async {
            // The server may have answered and gone.
            let _ = to.write_all(request).await;
            if !self.stays_open {
                let _ = to.shutdown().await;
            }
        };
        let mut answered = Vec::new();
        let receiving = async {
            let _ = from.read_to_end(&mut answered).await;
        };
        tokio::join!(serving, sending, receiving);
        assert!(opened.elapsed() <= LIFE, "{:?}", opened.elapsed());
        answered
    }

    /// Whether a request may be answered with credentials.
    fn is_for_credentials(&self, asked: &Request, clock: &Clock) -> bool {
        let small = asked.path.to_ascii_lowercase();
        let path = |start: &str, end: &str, given: &[u8]| given == [start, end].concat().as_bytes();
        match self.listener {
            b'm' => {
                let token = asked.first(b"x-aliyun-ecs-metadata-token");
                let has_token = match token {
                    Some(token) => Tokens::new(TOKEN_KEY).is_valid(token, clock.now().boot),
                    None => !self.demands_token,
                };
                asked.method == b"GET"
                    && path("/latest/meta-data/ram/security-credentials/", ROLE, &small)
                    && asked.comes_from_a_program(metadata::ADDRESS.into())
                    && has_token
            }
            b'a' => false,
            _ => {
                asked.method == b"GET"
                    && (path("/api/v1/credentials/", KEY, &asked.path)
                        || (self.has_container && path("/api/v1/container/", KEY, &asked.path)))
                    && asked.comes_from_a_program(Ipv4Addr::LOCALHOST.into())
            }
        }
    }
}

fn holds(body: &[u8]) -> bool {
    body.windows(PLANTED.len()).any(|w| w == PLANTED.as_bytes())
}

fn lease() -> Lease {
    let now = noon();
    let hour = Duration::from_secs(3600);
    let credentials = Credentials {
        access_key_id: "STS.Example".to_owned(),
        access_key_secret: PLANTED.into(),
        security_token: format!("token+of/{PLANTED}==").into(),
        issued_at: now.wall,
        expires_at: now.after(hour).wall,
    };
    Lease {
        credentials,
        deadline: now.after(hour),
        lifetime: hour,
        skew: chrono::TimeDelta::zero(),
        served_by: "sts.aliyuncs.com".to_owned(),
        renewal: None,
    }
}

/// Returns an answer without the time, which is the same second only by chance.
fn undated(answer: &[u8]) -> Vec<&[u8]> {
    let lines = answer.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.starts_with(b"date: ")).collect()
}

/// Returns the addresses of a connection of this process.
fn connected() -> Addresses {
    static CONNECTION: OnceLock<(TcpListener, TcpStream)> = OnceLock::new();
    let (_, client) = CONNECTION.get_or_init(|| {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let client = TcpStream::connect(server.local_addr().expect("an address"));
        (server, client.expect("a connection"))
    });
    let (client, server) = (client.local_addr(), client.peer_addr());
    Addresses::new(client.expect("an address"), server.expect("an address"))
}

/// No connection lives longer.
const LIFE: Duration = Duration::from_secs(15);

fn admin(
    health: HealthReader,
    clock: &Clock,
    (stop, stopping): (&Arc<watch::Sender<bool>>, &watch::Receiver<bool>),
) -> Router {
    let counters = Counters::default();
    let metrics = Exposition::of_daemon(&counters, health.clone(), clock.clone());
    admin::router(Admin {
        health,
        about: About {
            started: noon(),
            identity: None,
            roles: Vec::new(),
            endpoints: Vec::new(),
            listeners: Vec::new(),
        },
        files: Vec::new(),
        state: None,
        stopping: stopping.clone(),
        stop: Arc::clone(stop),
        clock: clock.clone(),
        caller_log: Arc::default(),
        counters,
        metrics: Arc::new(metrics),
        stop_callers: StopCallers::Anyone(None),
        hosts: Vec::new(),
    })
}
