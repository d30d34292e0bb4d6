//! The composition root of the commands that serve: builds the parts of a daemon, runs them, and shuts them down.

mod handle;
pub(crate) mod listeners;
pub(crate) mod refused;
mod restore;
pub mod source;
mod tasks;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tracing::{Instrument as _, Span, info};

use crate::config;
use crate::config::Config;
use crate::failure::Failure;
use crate::files::credentials_file::CredentialsFile;
use crate::files::state::StateFile;
use crate::files::target::Target as _;
use crate::files::writer::Writer;
use crate::formats;
use crate::metrics::{CountedSource, CountedTarget, Counters, Exposition};
use crate::refresh::Refresher;
use crate::refresh::schedule;
use crate::refresh::source::Chain;
use crate::refresh::store;
use crate::refresh::store::{Publisher, Subscriber};
use crate::server::admin::Admin;
use crate::server::data;
use crate::server::hold::Provider;
use crate::server::imds_token::Tokens;
use crate::server::metadata::Metadata;
use crate::server::status::{About, Role};
use crate::system::{random, remedy};
use crate::time::clock::Clock;

pub use self::handle::Handle;
use self::handle::OutputFile;
use self::listeners::{Listeners, Services};
use self::refused::Refused;
use self::tasks::TaskSet;
pub use self::tasks::Tasks;

/// Why a daemon cannot start, or has to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener cannot be bound.
    #[error("cannot listen on {address}: {source}; {remedy}, or change {setting}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The setting it comes from.
        setting: &'static str,
        /// The error of the operating system.
        source: io::Error,
        /// What to do about it.
        remedy: String,
    },
    /// A limit keeps a listener from being made, whatever its address.
    #[error("cannot listen on {address}: {}", remedy::told(.source))]
    Limit {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A task has ended that runs as long as the process.
    #[error("{0} ended unexpectedly; restart the process and report this")]
    Ended(&'static str),
    /// A file cannot be written.
    #[error("{0}")]
    File(Failure),
    /// A basic call of the operating system failed.
    #[error("cannot {what}: {}", remedy::told(.source))]
    System {
        /// What was attempted.
        what: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The source of credentials cannot be built.
    #[error(transparent)]
    Upstream(#[from] source::Error),
}

impl Error {
    /// Explains why addresses cannot be bound, of which it shows the first.
    ///
    /// # Panics
    ///
    /// Without any.
    pub(crate) fn bind(mut refused: Vec<Refused>) -> Self {
        let remedy = refused::remedy(&refused);
        let Refused {
            address,
            setting,
            source,
        } = refused.swap_remove(0);
        if remedy::of(&source).is_some() {
            return Self::Limit { address, source };
        }
        Self::Bind {
            address,
            setting,
            source,
            remedy,
        }
    }
}

/// A running daemon: its servers, file writers and refresher.
#[derive(Debug)]
pub struct App {
    /// Its addresses, its state, and requests to it.
    pub handle: Handle,
    /// Its tasks.
    pub tasks: Tasks,
}

impl App {
    /// Builds and starts everything, within a limit of `open_files` open files.
    ///
    /// Returns errors of addresses, of the state and of files before the first attempt to obtain credentials; those of a slow
    /// volume beside it, and before any are served.
    pub async fn start(config: Config, open_files: usize) -> Result<Self, Error> {
        let span = source::span(&config.upstream);
        Self::start_within(config, open_files, span.clone())
            .instrument(span)
            .await
    }

    async fn start_within(config: Config, open_files: usize, span: Span) -> Result<Self, Error> {
        let Config {
            upstream,
            session,
            serve,
            metadata,
            admin,
            files,
            state,
            drain,
            ..
        } = config;
        let clock = Clock::machine();
        // What nobody can read is not counted.
        let counters = admin.listen.map(|_| Counters::default());
        let (publisher, subscriber, health) = store::channel(formats::json::render);
        let listeners = Listeners::bind(serve.listen, metadata.as_ref(), admin.listen)?;
        let address = listeners.advertised(serve.listen);
        let container = serve.container.clone();
        let metadata_address = listeners.metadata();
        let metadata_uids = metadata
            .as_ref()
            .and_then(|options| options.allow_uids.clone());
        let (uri, container_uri) = uris(address, &serve);
        let saved = (state, &upstream, &session, counters.as_ref());
        let state_writer = restore::restore(saved, &publisher, &subscriber, &clock).await?;
        let (source, embedded_sts) =
            source::source(upstream, session, &clock, counters.as_ref()).await?;

        let (refresh_requests, refresh_requested) = watch::channel(0);
        let (stop, stopping) = watch::channel(false);
        let (stop_request, stop_requested) = watch::channel(false);
        let (close, closing) = watch::channel(false);
        let provider = Provider {
            subscriber: subscriber.clone(),
            clock: clock.clone(),
        };
        let metadata = metadata
            .map(|options| metadata_endpoint(options, provider.clone(), source.as_ref()))
            .transpose()?;
        let about = about(source.as_ref(), &listeners, &clock);
        let has_role = source.is_some();
        let source =
            source.map(|source| CountedSource::new(source, clock.clone(), counters.as_ref()));
        let mut others = TaskSet::new(span.clone());
        let trial = writers(files, has_role, (&subscriber, &clock), counters.as_ref());
        let refreshing = || refresh(&mut others, source, publisher, &clock, refresh_requested);
        let (writers, files) = soon_before(trial, refreshing).await?;
        info!(%address, path = "/api/v1/credentials/<key>", "Listening for requests for credentials");
        let shown = counters.clone().unwrap_or_default();
        let metrics = Exposition::of_daemon(&shown, health.clone(), clock.clone());
        let servers = listeners.serve(
            Services {
                provider,
                serve,
                metadata,
                metadata_uids,
                admin: Admin {
                    health,
                    about,
                    files: files.iter().map(OutputFile::shown).collect(),
                    state: state_writer.as_ref().map(Writer::status),
                    stopping,
                    stop: Arc::new(stop_request),
                    clock: clock.clone(),
                    caller_log: Arc::default(),
                    stop_callers: admin.stop_callers,
                    hosts: admin.hosts,
                    counters: shown,
                    metrics: Arc::new(metrics),
                },
                counters,
            },
            open_files,
            &closing,
            span,
        );
        write(&mut others, writers, state_writer);
        Ok(Self {
            handle: Handle {
                uri,
                container_uri,
                container_token_file: container
                    .and_then(|container| container.token_file)
                    .map(|file| file.path().to_owned()),
                metadata: metadata_address,
                subscriber,
                clock,
                files,
                refresh_requests: Arc::new(refresh_requests),
                stop_requested,
            },
            tasks: Tasks {
                servers,
                others,
                stop,
                close,
                drain,
                _embedded_sts: embedded_sts,
            },
        })
    }
}

/// Returns the URI of the credentials, and that for AWS SDKs if they are served.
fn uris(address: SocketAddr, serve: &config::Serve) -> (SecretString, Option<SecretString>) {
    let uri = |prefix: &str| {
        let key = serve.key.expose_secret();
        SecretString::from(format!("http://{address}{prefix}{key}"))
    };
    let container = serve.container.as_ref();
    let container = container.map(|_| uri(data::CONTAINER_PREFIX));
    (uri(data::PREFIX), container)
}

/// Describes what does not change while the daemon runs.
fn about(source: Option<&Chain>, listeners: &Listeners, clock: &Clock) -> About {
    let roles = source.iter().flat_map(|chain| &chain.roles);
    let endpoints = source.iter().flat_map(|chain| chain.sts.hosts());
    About {
        started: clock.now(),
        identity: source.map(|chain| chain.identity.kind()),
        roles: roles
            .map(|role| Role {
                arn: role.arn.to_string(),
                session_name: role.session_name.clone(),
            })
            .collect(),
        endpoints: endpoints.map(str::to_owned).collect(),
        listeners: listeners.addresses(),
    }
}

/// Starts the writers of the files and of the state.
fn write(
    tasks: &mut TaskSet,
    files: Vec<Writer<CountedTarget<CredentialsFile>>>,
    state: Option<Writer<CountedTarget<StateFile>>>,
) {
    for writer in files {
        tasks.spawn_endless("a file writer", writer.run());
    }
    if let Some(writer) = state {
        tasks.spawn_endless("the state writer", writer.run());
    }
}

/// Starts the refresher, if the job has a role.
fn refresh(
    tasks: &mut TaskSet,
    source: Option<CountedSource<Chain>>,
    publisher: Publisher,
    clock: &Clock,
    refresh_requested: watch::Receiver<u64>,
) {
    let Some(source) = source else {
        return publisher.without_role();
    };
    let refresher = Refresher {
        source,
        publisher,
        clock: clock.clone(),
        jitter,
        refresh_requested,
    };
    tasks.spawn_endless("the refresher", refresher.run());
}

/// Builds the metadata endpoint.
fn metadata_endpoint(
    options: config::Metadata,
    provider: Provider,
    source: Option<&Chain>,
) -> Result<Metadata, Error> {
    let key = random::bytes().map_err(|error| Error::System {
        what: "make the key of metadata tokens",
        source: io::Error::other(error),
    })?;
    Ok(Metadata {
        provider,
        role: options.role.unwrap_or_else(|| role_name(source)),
        static_values: options.static_values,
        v2_only: options.v2_only,
        tokens: Tokens::new(key),
    })
}

/// Returns the name of the job's role, as the metadata service of an instance lists it.
fn role_name(source: Option<&Chain>) -> String {
    let role = source.and_then(|chain| chain.roles.last());
    // A service role has a path before its name.
    let name = role.and_then(|role| role.arn.name().rsplit('/').next());
    name.unwrap_or("ram-sidecar").to_owned()
}

/// Waits for the trial of the files, and begins to refresh after it, or beside it if it takes longer than
/// [`FILES_HEAD_START`].
async fn soon_before<T>(
    trial: impl Future<Output = Result<T, Error>>,
    refresh: impl FnOnce(),
) -> Result<T, Error> {
    let mut trial = pin!(trial);
    let tried = timeout(FILES_HEAD_START, &mut trial).await.ok();
    let tried = tried.transpose()?;
    refresh();
    match tried {
        Some(tried) => Ok(tried),
        None => trial.await,
    }
}

/// Tries whether the files can be written, at the same time but for those of one directory, and returns their writers.
///
/// The trial also removes what a killed process has left, which needs the directory for itself.
///
/// Returns the error of the first that cannot be written, once all were tried: a trial that is interrupted leaves its file.
async fn writers(
    files: Vec<CredentialsFile>,
    has_role: bool,
    (subscriber, clock): (&Subscriber, &Clock),
    counters: Option<&Counters>,
) -> Result<(Vec<Writer<CountedTarget<CredentialsFile>>>, Vec<OutputFile>), Error> {
    if !has_role {
        info!("This job has no role: the URI answers 404, and no file is written");
        return Ok((Vec::new(), Vec::new()));
    }
    let mut turns: HashMap<PathBuf, Arc<Mutex<()>>> = HashMap::new();
    let mut trials = Vec::new();
    for options in files {
        let counted = CountedTarget::new(options.clone(), options.format.name(), counters);
        let writer = Writer::new(counted, subscriber.clone(), clock.clone());
        let directory = options.path.parent().map(Path::to_owned);
        let turn = Arc::clone(turns.entry(directory.unwrap_or_default()).or_default());
        let trial = async move {
            let _turn = turn.lock().await;
            writer.await
        };
        trials.push((options, tokio::spawn(trial.in_current_span())));
    }
    let mut tried = Vec::new();
    for (options, writer) in trials {
        let ended = |error| Err(options.failure(&io::Error::other(error)));
        tried.push((writer.await.unwrap_or_else(ended), options));
    }
    let (mut writers, mut outputs) = (Vec::new(), Vec::new());
    for (writer, options) in tried {
        let writer = writer.map_err(Error::File)?;
        outputs.push(OutputFile {
            options,
            status: writer.status(),
            ownership: writer.ownership(),
        });
        writers.push(writer);
    }
    Ok((writers, outputs))
}

/// How long the trial of the files delays the first attempt: local disks take less, and where one fails STS is not asked.
const FILES_HEAD_START: Duration = Duration::from_millis(20);

/// Draws jitter from 0 to 1, or returns 0.5 if the kernel provides no randomness.
fn jitter() -> schedule::Jitter {
    random::bytes().map_or(0.5, |bytes| {
        f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    })
}
