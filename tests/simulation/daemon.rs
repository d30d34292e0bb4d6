//! The daemon under test: the production code from the identity to the routers and the file, without the network.

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
use ram_sidecar::http::client::Client;
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

use crate::random;
use crate::world::{Connection, JOB, KEY_ID, PROVIDER, SECRET_MARKER, SESSION, VIA, World};

/// The settings of a daemon.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// `role.duration`.
    pub(crate) duration: Duration,
    pub(crate) endpoints: usize,
    /// Whether the identity is a token file instead of an AccessKey.
    pub(crate) has_token: bool,
    /// Whether the job's role is assumed through another.
    pub(crate) has_via: bool,
    /// Whether the state is saved for the next process.
    pub(crate) has_state: bool,
    /// The directory of the token file and of the file of credentials.
    pub(crate) directory: PathBuf,
}

impl Setup {
    pub(crate) fn token_file(&self) -> PathBuf {
        self.directory.join("token")
    }

    /// Returns the directory of the file of credentials, which may become unavailable.
    pub(crate) fn disk(&self) -> PathBuf {
        self.directory.join("disk")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.disk().join("credentials")
    }
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) subscriber: Subscriber,
    pub(crate) health: HealthReader,
    pub(crate) file: watch::Receiver<writer::Status>,
    pub(crate) refresh_requests: watch::Sender<u64>,
    pub(crate) attempts: Attempts,
    pub(crate) routers: Routers,
    tasks: JoinSet<Infallible>,
}

impl Daemon {
    /// Whether a task has ended, which none should.
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
            let state_writer =
                Writer::new(store.clone(), subscriber.clone(), clock.clone()).await?;
            match store.load(&clock).await {
                Ok(Some(restored)) => publisher.renewed(restored.lease, restored.renew_at),
                Ok(None) => world.record("there is no state"),
                Err(refusal) => world.record(&format!("the state is ignored: {refusal}")),
            }
            tasks.spawn(state_writer.run());
        }
        let (refresh_requests, refresh_requested) = watch::channel(0);
        let attempts = Attempts::default();
        let refresher = Refresher {
            source: RecordingSource {
                chain: chain(setup, world),
                world: world.clone(),
                attempts: attempts.clone(),
            },
            publisher,
            clock: clock.clone(),
            jitter: random::jitter,
            refresh_requested,
        };
        let routers = Routers::new(&Provider {
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
            routers,
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
            id: Value::Inline(KEY_ID.into()),
            secret: Value::Inline(format!("{SECRET_MARKER}-access-key").into()),
            token: None,
        })
    };
    let endpoints = (0..setup.endpoints).map(|index| {
        let endpoint = Endpoint::parse(&format!("sts{index}.aliyuncs.com")).unwrap();
        let world = world.clone();
        EndpointState::new(
            endpoint,
            Client::with_transport(Connection { world, index }),
        )
    });
    let clock = world.clock().clone();
    let sts = Sts::new(endpoints.collect(), Signature::V1, clock.clone());
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

/// One attempt of the refresher. Its times stop while the machine is suspended.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) started_at: Duration,
    /// When it ended, and with which lifetime or failure.
    pub(crate) ended: Option<(Duration, Result<Duration, Failure>)>,
}

/// All attempts of one daemon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<Mutex<Vec<Attempt>>>);

impl Attempts {
    /// Returns the attempts from an index on.
    pub(crate) fn from(&self, index: usize) -> Vec<Attempt> {
        self.0.lock().unwrap()[index..].to_vec()
    }

    /// Counts the failed attempts that started after `since`.
    pub(crate) fn failed(&self, since: Duration) -> usize {
        let attempts = self.0.lock().unwrap();
        let recent = attempts.iter().rev().take_while(|a| a.started_at > since);
        recent
            .filter(|a| matches!(a.ended, Some((_, Err(_)))))
            .count()
    }
}

/// The production source, which also records each attempt.
struct RecordingSource {
    chain: Chain,
    world: World,
    attempts: Attempts,
}

impl Source for RecordingSource {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let attempt = Attempt {
            started_at: self.world.uptime(),
            ended: None,
        };
        self.attempts.0.lock().unwrap().push(attempt);
        let outcome = self.chain.mint().await;
        let lifetime = outcome.as_ref().map(|lease| lease.lifetime);
        let ended = Some((self.world.uptime(), lifetime.map_err(Clone::clone)));
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

/// How a client requests credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Uri,
    Container,
    Metadata,
}

impl Dialect {
    pub(crate) const ALL: [Self; 3] = [Self::Uri, Self::Container, Self::Metadata];
}

/// The routers of the listeners.
#[derive(Clone)]
pub(crate) struct Routers {
    data: TowerToHyperService<Router>,
    metadata: TowerToHyperService<Router>,
}

impl std::fmt::Debug for Routers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routers").finish_non_exhaustive()
    }
}

impl Routers {
    fn new(provider: &Provider) -> Self {
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
        let address = [127, 0, 0, 1].into();
        let (data, _) = data::router(data, address, AllowedCallers::default(), Arc::default());
        let metadata = metadata::router(metadata, None, Arc::default());
        Self {
            data: TowerToHyperService::new(data),
            metadata: TowerToHyperService::new(metadata),
        }
    }

    /// Requests credentials as a client of the dialect does. Returns the status and the body.
    pub(crate) async fn request(&self, dialect: Dialect) -> (u16, String) {
        let (router, host, path) = match dialect {
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
        let response = router.call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}
