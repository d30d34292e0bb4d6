//! Counts the instructions and the allocations of what the daemon does often, with valgrind. Counts are the same on every
//! machine, unlike times; a change that exceeds a bound fails.
//!
//! ```sh
//! cargo bench --bench instructions                   # of the release profile
//! cargo bench --profile dev --bench instructions     # of the profile of the tests, as .ci/run does
//! ```
//!
//! Each case runs in a process of its own, once a few times and once [`MORE`] times more: the difference is what it costs.
#![expect(clippy::print_stdout, reason = "prints the figures")]
#![expect(clippy::expect_used, reason = "a benchmark may panic")]

use std::env;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use chrono::{DateTime, TimeDelta};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use ram_sidecar::credentials::{Credentials, Keys, Lease, RoleArn, RoleRequest};
use ram_sidecar::formats::{format, json};
use ram_sidecar::refresh::store::{self, Publisher};
use ram_sidecar::server::caller::Addresses;
use ram_sidecar::server::connections::Limit;
use ram_sidecar::server::data::{self, AllowedCallers, Data};
use ram_sidecar::server::direct::Direct;
use ram_sidecar::server::hold::Provider;
use ram_sidecar::server::{self, Service};
use ram_sidecar::sts::sign::{self, Signature, Stamp};
use ram_sidecar::sts::wire;
use ram_sidecar::time::clock::Clock;
use ram_sidecar::time::moment::Moment;
use tokio::runtime::Builder;

/// Something that the daemon does.
struct Case {
    name: &'static str,
    /// Does it so many times.
    run: fn(u64),
    /// At most so many instructions in the profile of the tests; there are fewer in that of releases.
    instructions: u64,
    /// At most so many allocations.
    allocations: u64,
}

const CASES: [Case; 5] = [
    Case {
        name: "a connection with a request, and its client",
        run: connections,
        instructions: 100_000,
        allocations: 9,
    },
    Case {
        name: "a request without the router",
        run: without_router,
        instructions: 44_000,
        allocations: 2,
    },
    Case {
        name: "a request through the router",
        run: through_router,
        instructions: 70_000,
        allocations: 33,
    },
    Case {
        name: "both signatures of a call to STS",
        run: signatures,
        instructions: 430_000,
        allocations: 180,
    },
    Case {
        name: "all formats of files",
        run: formats,
        instructions: 920_000,
        allocations: 26,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if let [_, name, times] = &arguments[..] {
        let case = CASES.iter().find(|case| case.name == name);
        let times = times.parse().expect("a number");
        (case.expect("one of the cases").run)(times);
        return ExitCode::SUCCESS;
    }
    println!("{:>14} {:>12}", "instructions", "allocations");
    let mut is_exceeded = false;
    for case in CASES {
        let instructions = cost(case.name, "callgrind", "Collected : ");
        let allocations = cost(case.name, "dhat", " bytes in ");
        println!("{instructions:>14} {allocations:>12}  {}", case.name);
        if instructions > case.instructions || allocations > case.allocations {
            let (instructions, allocations) = (case.instructions, case.allocations);
            println!("{instructions:>14} {allocations:>12}  EXCEEDED: the bound");
            is_exceeded = true;
        }
    }
    ExitCode::from(u8::from(is_exceeded))
}

/// Returns what a case costs, by the number that a tool of valgrind prints after a mark.
fn cost(case: &str, tool: &str, mark: &str) -> u64 {
    let count = |times: u64| {
        let mut valgrind = Command::new("valgrind");
        valgrind
            .arg(format!("--tool={tool}"))
            .arg(format!("--{tool}-out-file=/dev/null"))
            .arg(env::current_exe().expect("a path"))
            .args([case, &times.to_string()]);
        let output = valgrind
            .output()
            .expect("valgrind is installed (apt-get install valgrind)");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        let number = told.split(mark).nth(1).expect("valgrind prints counts");
        let digits = number.split_whitespace().next().expect("a number");
        digits.replace(',', "").parse::<u64>().expect("a number")
    };
    let (few, many) = (count(FEW), count(FEW + MORE));
    many.saturating_sub(few) / MORE
}

/// What the data listener consists of, and a client that is connected to something.
struct Scene {
    router: Router,
    direct: Direct,
    client: TcpStream,
    _server: TcpListener,
    _publisher: Publisher,
}

impl Scene {
    fn addresses(&self) -> Addresses {
        let (client, server) = (self.client.local_addr(), self.client.peer_addr());
        Addresses::new(client.expect("an address"), server.expect("an address"))
    }

    /// Has the router answer a request, which makes its caller known.
    async fn route(&self) {
        let request = Request::get("/api/v1/credentials/0").header("host", "127.0.0.1:7002");
        let request = request.header("user-agent", "curl/8.5.0");
        let request = request.extension(self.addresses()).body(Body::empty());
        let service = TowerToHyperService::new(self.router.clone());
        let response = service.call(request.expect("a request")).await;
        assert_eq!(response.map(|response| response.status().as_u16()), Ok(200));
    }
}

fn scene() -> Scene {
    let clock = Clock::simulated(noon(), true);
    let (publisher, subscriber, _) = store::channel(json::render);
    let lifetime = Duration::from_secs(3600);
    let lease = Lease {
        credentials: credentials(),
        deadline: noon().after(lifetime),
        lifetime,
        skew: TimeDelta::zero(),
        served_by: "sts.aliyuncs.com".to_owned(),
        renewal: None,
    };
    publisher.renewed(lease, noon().after(lifetime / 2));
    let data = Data {
        provider: Provider { subscriber, clock },
        key: "0".into(),
        container: None,
    };
    let bound = Ipv4Addr::LOCALHOST.into();
    let (router, direct) = data::router(data, bound, AllowedCallers::default(), Arc::default());
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let client = TcpStream::connect(server.local_addr().expect("an address"));
    Scene {
        router,
        direct,
        client: client.expect("a connection"),
        _server: server,
        _publisher: publisher,
    }
}

fn connections(times: u64) {
    block_on(&mut runtime(), async {
        let scene = scene();
        let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = Service {
            router: scene.router,
            direct: Some(scene.direct),
            counter: None,
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        thread::spawn(move || {
            for _ in 0..times {
                ask(address);
            }
            drop(stop);
        });
        let stopped = async { drop(stopped.await) };
        server::run(listener, service, Limit::from(16), stopped).await;
    });
}

fn ask(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.write_all(REQUEST).expect("it reads");
    let (mut room, mut read) = ([0; 4096], 0);
    while let Ok(length @ 1..) = stream.read(&mut room[read..]) {
        read += length;
    }
    assert!(room.starts_with(b"HTTP/1.1 200 "));
}

fn without_router(times: u64) {
    // Callers are looked up once a second.
    block_on(runtime().start_paused(true), async {
        let scene = scene();
        scene.route().await;
        let addresses = scene.addresses();
        for _ in 0..times {
            let answer = scene.direct.read(REQUEST, || Some(addresses));
            assert!(matches!(black_box(answer), Poll::Ready(Some(_))));
        }
    });
}

fn through_router(times: u64) {
    // Callers are looked up once a second.
    block_on(runtime().start_paused(true), async {
        let scene = scene();
        for _ in 0..times {
            scene.route().await;
        }
    });
}

fn signatures(times: u64) {
    let role = RoleRequest {
        arn: RoleArn::parse("acs:ram::1234567890123456:role/job").expect("a role"),
        session_name: "job".to_owned(),
        duration: Duration::from_secs(3600),
        policy: None,
        external_id: None,
        source_identity: None,
    };
    let keys = Keys {
        access_key_id: "LTAI5tExample".to_owned(),
        access_key_secret: "a secret of thirty characters.".into(),
        security_token: None,
    };
    for _ in 0..times {
        for signature in [Signature::V1, Signature::V3] {
            let stamp = Stamp::new(noon().wall).expect("random numbers");
            let parameters = wire::assume_role(&role);
            let host = "sts.cn-hangzhou.aliyuncs.com";
            black_box(sign::signed(signature, host, parameters, &keys, &stamp));
        }
    }
}

fn formats(times: u64) {
    let credentials = credentials();
    for _ in 0..times {
        for (_, format) in format::FILES {
            black_box(format.file(&credentials));
        }
    }
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "STS.NUExampleExampleExample".to_owned(),
        access_key_secret: "a secret of forty-four characters, as of STS".into(),
        security_token: "token".repeat(100).into(),
        issued_at: noon().wall,
        expires_at: noon().after(Duration::from_secs(3600)).wall,
    }
}

fn noon() -> Moment {
    Moment {
        wall: DateTime::from_timestamp(1_800_014_400, 0).expect("a time"),
        boot: Duration::from_secs(5000),
    }
}

fn runtime() -> Builder {
    let mut runtime = Builder::new_current_thread();
    runtime.enable_all();
    runtime
}

fn block_on(runtime: &mut Builder, work: impl Future<Output = ()>) {
    runtime.build().expect("a runtime").block_on(work);
}

const REQUEST: &[u8] = b"GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1:7002\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

/// Enough for what is done once, such as the look-up of the caller.
const FEW: u64 = 10;

const MORE: u64 = 100;
