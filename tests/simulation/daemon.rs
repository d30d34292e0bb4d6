//! The daemon under test: the production code from the identity to the routers and the file, but for the network.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use ram_sidecar::credentials::{Lease, RoleArn, RoleRequest};
use ram_sidecar::failure::Failure;
use ram_sidecar::files::credentials_file::CredentialsFile;
use ram_sidecar::files::state::{Binding, StateFile};
use ram_sidecar::files::writer::{self, Writer};
use ram_sidecar::formats;
use ram_sidecar::formats::format::Format;
use ram_sidecar::http::client::Outbound;
use ram_sidecar::identity::{AccessKey, File, Identity, Oidc, Value};
use ram_sidecar::refresh::Refresher;
use ram_sidecar::refresh::source::{Chain, Source};
use ram_sidecar::refresh::store::{self, HealthReader, Subscriber};
use ram_sidecar::server::caller::Addresses;
use ram_sidecar::server::data::{self, AllowedCallers, Container, Data};
use ram_sidecar::server::hold::Provider;
use ram_sidecar::server::imds_token::Tokens;
use ram_sidecar::server::metadata::listing::StaticValues;
use ram_sidecar::server::metadata::{self, Metadata};
use ram_sidecar::sts::endpoint::Endpoint;
use ram_sidecar::sts::sign::Signature;
use ram_sidecar::sts::{EndpointState, Sts};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::luck;
use crate::world::{JOB, KEY_ID, Line, MARK, PROVIDER, SESSION, VIA, World};

/// How a daemon is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// `role.duration`.
    pub(crate) duration: Duration,
    pub(crate) endpoints: usize,
    /// Whether the identity is a token file; else it is an AccessKey.
    pub(crate) has_token: bool,
    /// Whether the job's role is assumed through another.
    pub(crate) has_via: bool,
    /// Whether a state is kept for a successor.
    pub(crate) has_state: bool,
    /// The directory of the token file and of the file of credentials.
    pub(crate) directory: PathBuf,
}

impl Setup {
    pub(crate) fn token_file(&self) -> PathBuf {
        self.directory.join("token")
    }

    /// Returns the directory of the file of credentials, which may vanish.
    pub(crate) fn disk(&self) -> PathBuf {
        self.directory.join("disk")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.disk().join("credentials")
    }
}

/// A daemon at work; dropping it is killing it.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) subscriber: Subscriber,
    pub(crate) health: HealthReader,
    pub(crate) file: watch::Receiver<writer::Status>,
    pub(crate) refresh_requests: watch::Sender<u64>,
    pub(crate) attempts: Attempts,
    pub(crate) doors: Doors,
    tasks: JoinSet<Infallible>,
}

impl Daemon {
    /// Whether something has ended that never should.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.tasks.try_join_next().is_some()
    }

    pub(crate) async fn start(setup: &Setup, world: &World) -> Result<Self, Failure> {
        let clock = world.clock().clone();
        let (publisher, subscriber, health) = store::channel(formats::json::render);
        let options = CredentialsFile {
            path: setup.file(),
            format: Format::Json,
            mode: 0o600,
            uid: None,
            gid: None,
        };
        let writer = Writer::new(options, subscriber.clone(), clock.clone()).await?;
        let mut tasks = JoinSet::new();
        if setup.has_state {
            let binding = Binding::new(&[KEY_ID.to_owned()], &[], &roles(setup));
            let store = StateFile::new(setup.directory.join("state"), binding, None);
            let keeper = Writer::new(store.clone(), subscriber.clone(), clock.clone()).await?;
            match store.load(&clock).await {
                Ok(Some(left)) => publisher.renewed(left.lease, left.renew_at),
                Ok(None) => world.note("there is no state"),
                Err(refusal) => world.note(&format!("the state is ignored: {refusal}")),
            }
            tasks.spawn(keeper.run());
        }
        let (refresh_requests, refresh_requested) = watch::channel(0);
        let attempts = Attempts::default();
        let refresher = Refresher {
            source: Watched {
                chain: chain(setup, world),
                world: world.clone(),
                attempts: attempts.clone(),
            },
            publisher,
            clock: clock.clone(),
            jitter: luck::dice,
            refresh_requested,
        };
        let doors = Doors::open(&Provider {
            subscriber: subscriber.clone(),
            clock,
        });
        let file = writer.status();
        tasks.spawn(writer.run());
        tasks.spawn(refresher.run());
        Ok(Self {
            subscriber,
            health,
            file,
            refresh_requests,
            attempts,
            doors,
            tasks,
        })
    }
}

fn chain(setup: &Setup, world: &World) -> Chain {
    let identity = if setup.has_token {
        Identity::Oidc(Oidc {
            provider_arn: PROVIDER.to_owned(),
            token_file: File::new(setup.token_file()),
        })
    } else {
        Identity::AccessKey(AccessKey {
            id: Value::Given(KEY_ID.into()),
            secret: Value::Given(format!("{MARK}-access-key").into()),
            token: None,
        })
    };
    let places = (0..setup.endpoints).map(|place| {
        let endpoint = Endpoint::parse(&format!("sts{place}.aliyuncs.com")).unwrap();
        let world = world.clone();
        EndpointState::new(endpoint, Outbound::over(Line { world, place }))
    });
    let clock = world.clock().clone();
    let sts = Sts::new(places.collect(), Signature::V1, clock.clone());
    Chain::new(identity, sts, roles(setup), clock)
}

fn roles(setup: &Setup) -> Vec<RoleRequest> {
    let role = |arn, duration| RoleRequest {
        arn: RoleArn::parse(arn).unwrap(),
        session_name: SESSION.to_owned(),
        duration,
        policy: None,
        external_id: None,
        source_identity: None,
    };
    let mut roles = vec![role(JOB, setup.duration)];
    if setup.has_via {
        roles.insert(0, role(VIA, Duration::from_secs(900)));
    }
    roles
}

/// One attempt of the refresher, by the time that stands still while the machine is suspended.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) began: Duration,
    /// When it ended and how: with credentials that live so long, or with a failure.
    pub(crate) ended: Option<(Duration, Result<Duration, Failure>)>,
}

/// All attempts of one daemon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<Mutex<Vec<Attempt>>>);

impl Attempts {
    /// Returns the attempts from a number on.
    pub(crate) fn from(&self, number: usize) -> Vec<Attempt> {
        self.0.lock().unwrap()[number..].to_vec()
    }

    /// Counts those that have failed and began after `since`.
    pub(crate) fn failed(&self, since: Duration) -> usize {
        let attempts = self.0.lock().unwrap();
        let recent = attempts.iter().rev().take_while(|a| a.began > since);
        recent
            .filter(|a| matches!(a.ended, Some((_, Err(_)))))
            .count()
    }
}

/// The production source, and a note of each attempt.
struct Watched {
    chain: Chain,
    world: World,
    attempts: Attempts,
}

impl Source for Watched {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let began = self.world.awake();
        let attempt = Attempt { began, ended: None };
        self.attempts.0.lock().unwrap().push(attempt);
        let outcome = self.chain.mint().await;
        let known = outcome.as_ref().map(|lease| lease.lifetime);
        let ended = Some((self.world.awake(), known.map_err(Clone::clone)));
        if let Some(last) = self.attempts.0.lock().unwrap().last_mut() {
            last.ended = ended;
        }
        outcome
    }

    fn failovers(&mut self) -> Vec<Failure> {
        self.chain.failovers()
    }

    fn timeout(&self) -> Duration {
        self.chain.timeout()
    }
}

/// The dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Uri,
    Container,
    Metadata,
}

impl Dialect {
    pub(crate) const ALL: [Self; 3] = [Self::Uri, Self::Container, Self::Metadata];
}

/// The routers, as the listeners have them.
#[derive(Clone)]
pub(crate) struct Doors {
    data: TowerToHyperService<Router>,
    metadata: TowerToHyperService<Router>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

impl Doors {
    fn open(provider: &Provider) -> Self {
        let data = Data {
            provider: provider.clone(),
            key: "0".into(),
            container: Some(Container { token_file: None }),
        };
        let metadata = Metadata {
            provider: provider.clone(),
            role: "job".to_owned(),
            static_values: StaticValues::default(),
            v2_only: false,
            tokens: Tokens::new([7; 32]),
        };
        let bound = [127, 0, 0, 1].into();
        let data = data::router(data, bound, AllowedCallers::default(), Arc::default());
        let metadata = metadata::router(metadata, None, Arc::default());
        Self {
            data: TowerToHyperService::new(data),
            metadata: TowerToHyperService::new(metadata),
        }
    }

    /// Asks for credentials as a client of the dialect does; returns the status and the body.
    pub(crate) async fn ask(&self, dialect: Dialect) -> (u16, String) {
        let (door, host, path) = match dialect {
            Dialect::Uri => (&self.data, "127.0.0.1", "/api/v1/credentials/0"),
            Dialect::Container => (&self.data, "127.0.0.1", "/api/v1/container/0"),
            Dialect::Metadata => (
                &self.metadata,
                "100.100.100.200",
                "/latest/meta-data/ram/security-credentials/job",
            ),
        };
        let address = format!("{host}:80").parse().unwrap();
        let request = Request::builder()
            .uri(path)
            .header("host", host)
            .extension(Addresses::new(address, address))
            .body(Body::empty())
            .unwrap();
        let response = door.call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}
