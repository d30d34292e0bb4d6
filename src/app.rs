//! The composition root of whatever serves: builds, spawns, waits, drains.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span, debug, info};

use crate::clock::Clock;
use crate::config::{Config, Serve, Upstream};
use crate::failure::Failure;
use crate::refresh::Refresher;
use crate::serve::admin::{self, Admin};
use crate::serve::data::{self, Data};
use crate::serve::door::Visitors;
use crate::serve::metadata::{self, Metadata};
use crate::serve::offer::Offering;
use crate::serve::session::Tokens;
use crate::sink::{self, Sink};
use crate::snapshot::{Offer, Subscriber};
use crate::source::Chain;
use crate::{config, schedule, serve, snapshot, upstream, view};

/// Why it cannot serve, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; stop what uses it, or change {setting}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The setting it comes from.
        setting: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A task that never ends has ended.
    #[error("{0} ended, which it never should; restart the process and report this")]
    Ended(&'static str),
    /// A file cannot be written.
    #[error("{0}")]
    File(Failure),
    /// The operating system refuses something basic.
    #[error("cannot {what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// What credentials come from cannot be built.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
}

/// The servers, the writers and the loop, at work.
#[derive(Debug)]
pub struct App {
    /// What can be asked of it and told to it.
    pub handle: Handle,
    /// The work itself.
    pub engine: Engine,
}

/// What can be asked of an [`App`] and told to it.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The address of the credentials, secret and all.
    pub uri: SecretString,
    /// The address of the credentials for AWS SDKs, if they are served.
    pub container_uri: Option<SecretString>,
    subscriber: Subscriber,
    clock: Clock,
    files: Vec<(sink::Options, watch::Receiver<sink::State>)>,
    nudge: Arc<watch::Sender<u64>>,
    stop_asked: watch::Receiver<bool>,
}

/// The work of an [`App`].
#[derive(Debug)]
pub struct Engine {
    servers: Tasks,
    tasks: Tasks,
    stop: watch::Sender<bool>,
    close: watch::Sender<bool>,
    drain: Duration,
    _guard: upstream::Guard,
}

impl App {
    /// Builds everything and sets it to work.
    ///
    /// Everything that can be refused is tried before the first attempt to obtain credentials.
    pub async fn start(config: Config, connections: usize) -> Result<Self, Error> {
        let span = upstream::span(&config.upstream);
        Self::start_within(config, connections, span.clone())
            .instrument(span)
            .await
    }

    async fn start_within(config: Config, connections: usize, span: Span) -> Result<Self, Error> {
        let Config {
            upstream,
            session,
            serve,
            metadata,
            admin,
            files,
            drain,
            ..
        } = config;
        // A share for each of at most four listeners, and one for everything else.
        let connections = (connections / 5).clamp(16, CONNECTIONS);
        let clock = Clock::machine();
        let (publisher, subscriber, health) = snapshot::channel(view::document::render);

        let listeners = bind_data(serve.listen)?;
        let bind_metadata = |metadata: config::Metadata| {
            bind(metadata.listen, "metadata.listen").map(|bound| (bound, metadata))
        };
        let metadata = metadata.map(bind_metadata).transpose()?;
        let admin = admin
            .map(|address| bind(address, "admin.listen"))
            .transpose()?;
        let address = advertised(&listeners, &serve);
        info!(%address, path = "/api/v1/credentials/<key>", "Credentials are served");
        let uri = |prefix: &str| {
            SecretString::from(format!(
                "http://{address}{prefix}{}",
                serve.key.expose_secret()
            ))
        };
        let container_uri = serve
            .container
            .as_ref()
            .map(|_| uri(data::CONTAINER_PREFIX));
        let uri = uri(data::PREFIX);
        let (sinks, files) = sinks(&upstream, files, &subscriber, &clock).await?;
        let (source, guard) = upstream::source(upstream, session, &clock).await?;

        let (nudge, nudges) = watch::channel(0);
        let (stop, stopping) = watch::channel(false);
        let (stop_ask, stop_asked) = watch::channel(false);
        let (close, closing) = watch::channel(false);
        let mut servers = Tasks::new(span.clone());
        let offering = Offering {
            subscriber: subscriber.clone(),
            clock: clock.clone(),
        };
        let visitors = Arc::<Visitors>::default();
        for (listener, address) in listeners {
            let data = Data {
                offering: offering.clone(),
                key: serve.key.clone(),
                container: serve.container.clone(),
            };
            let admission = serve.admission.clone();
            let router = data::router(data, address.ip(), admission, Arc::clone(&visitors));
            let server = serve::run(listener, router, connections, told(closing.clone()));
            servers.spawn("the data server", server);
        }
        if let Some(((listener, address), options)) = metadata {
            let role = options.role.unwrap_or_else(|| role_name(source.as_ref()));
            info!(%address, role, "The ECS metadata dialect is spoken");
            let metadata = Metadata {
                offering,
                role,
                plain: options.plain,
                v2_only: options.v2_only,
                tokens: Tokens::new(random()?),
            };
            let uids = serve.admission.allow_uids.clone();
            let router = metadata::router(metadata, address.ip(), uids, visitors);
            let server = serve::run(listener, router, connections, told(closing.clone()));
            servers.spawn("the metadata server", server);
        }
        if let Some((listener, address)) = admin {
            info!(%address, "Probes are served");
            let router = admin::router(Admin {
                health,
                files: files.iter().map(|(_, state)| state.clone()).collect(),
                stopping,
                stop: Arc::new(stop_ask),
                clock: clock.clone(),
            });
            let server = serve::run(listener, router, connections, told(closing));
            servers.spawn("the admin server", server);
        }

        let mut tasks = Tasks::new(span);
        for sink in sinks {
            tasks.spawn_endless("a file writer", sink.run());
        }
        match source {
            Some(source) => {
                let refresher = Refresher {
                    source,
                    publisher,
                    clock: clock.clone(),
                    dice,
                    nudges,
                };
                tasks.spawn_endless("the refresher", refresher.run());
            }
            None => publisher.without_role(),
        }
        Ok(Self {
            handle: Handle {
                uri,
                container_uri,
                subscriber,
                clock,
                files,
                nudge: Arc::new(nudge),
                stop_asked,
            },
            engine: Engine {
                servers,
                tasks,
                stop,
                close,
                drain,
                _guard: guard,
            },
        })
    }
}

impl Handle {
    /// Waits until there are good credentials, or it is certain that there will be none.
    pub async fn credentials(&self) {
        while !matches!(self.offer(), Offer::Held(_) | Offer::Nothing) {
            self.subscriber.clone().changed().await;
        }
    }

    /// Waits like [`Self::credentials`], and until every file holds them.
    ///
    /// Fails as soon as only a human can mend what is wrong.
    pub async fn ready(&self) -> Result<(), Arc<Failure>> {
        let mut subscriber = self.subscriber.clone();
        loop {
            match subscriber.current().offer(self.clock.now()) {
                Offer::Nothing => return Ok(()),
                Offer::Held(_) => break,
                Offer::Refusal(failure) => return Err(failure),
                Offer::Wait(_) => subscriber.changed().await,
            }
        }
        for (_, state) in &self.files {
            let is_written = |state: &sink::State| matches!(state, sink::State::Written(_));
            // The writer goes away with the whole process.
            let _ = state.clone().wait_for(is_written).await;
        }
        Ok(())
    }

    /// Says what has been in the way so far, if anything has.
    pub fn trouble(&self) -> Option<Arc<Failure>> {
        let failed = |(_, state): &(_, watch::Receiver<sink::State>)| match &*state.borrow() {
            sink::State::Failed(failure) => Some(Arc::clone(failure)),
            _ => None,
        };
        match self.offer() {
            Offer::Refusal(failure) | Offer::Wait(Some(failure)) => Some(failure),
            Offer::Wait(None) => None,
            Offer::Held(_) | Offer::Nothing => self.files.iter().find_map(failed),
        }
    }

    fn offer(&self) -> Offer {
        self.subscriber.clone().current().offer(self.clock.now())
    }

    /// Asks for new credentials now.
    pub fn renew(&self) {
        self.nudge.send_modify(|count| *count += 1);
    }

    /// Waits until a program asks this process to stop, on the admin listener. Pends for ever where there is none.
    pub async fn stop_asked(&self) {
        if self
            .stop_asked
            .clone()
            .wait_for(|asked| *asked)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Removes the files that hold credentials of this process. Best effort.
    pub async fn withdraw_files(self) {
        let written = self.files.into_iter().filter_map(|(options, state)| {
            let sink::State::Written(expires_at) = *state.borrow() else {
                return None;
            };
            Some((options, expires_at))
        });
        let written: Vec<_> = written.collect();
        let removing = tokio::task::spawn_blocking(move || {
            for (options, expires_at) in written {
                sink::withdraw(&options, expires_at);
            }
        });
        // A file system that hangs must not keep the process.
        let _ = tokio::time::timeout(REMOVAL, removing).await;
    }
}

impl Engine {
    /// Waits until something has ended that never should. Cancel safe.
    pub async fn ended(&mut self) -> Error {
        let ended = tokio::select! {
            ended = self.tasks.ended() => ended,
            ended = self.servers.ended() => ended,
        };
        Error::Ended(ended)
    }

    /// Serves on for the drain, finishes the requests that are under way, and ends; at once when `impatient` does.
    pub async fn leave(mut self, impatient: impl Future<Output = ()>) -> Result<(), Error> {
        let span = self.tasks.span.clone();
        let leaving = async {
            info!(drain_seconds = self.drain.as_secs(), "Stopping");
            self.stop.send_replace(true);
            let leave = async {
                tokio::time::sleep(self.drain).await;
                self.close.send_replace(true);
                self.servers.all_ended().await;
            };
            tokio::select! {
                () = leave => {}
                () = impatient => {}
                ended = self.tasks.ended() => return Err(Error::Ended(ended)),
            }
            info!("Stopped");
            Ok(())
        };
        leaving.instrument(span).await
    }
}

/// Returns the name of the job's role, as the metadata service of an instance would give it.
fn role_name(source: Option<&Chain>) -> String {
    let role = source.and_then(|chain| chain.roles.last());
    // A service role has a path before its name.
    let name = role.and_then(|role| role.arn.name().rsplit('/').next());
    name.unwrap_or("ram-sidecar").to_owned()
}

type Sinks = (
    Vec<Sink>,
    Vec<(sink::Options, watch::Receiver<sink::State>)>,
);

async fn sinks(
    upstream: &Upstream,
    files: Vec<sink::Options>,
    subscriber: &Subscriber,
    clock: &Clock,
) -> Result<Sinks, Error> {
    let (mut sinks, mut states) = (Vec::new(), Vec::new());
    if matches!(upstream, Upstream::Nothing) {
        info!("This job has no role: the URI answers 404, and no file is written");
        return Ok((sinks, states));
    }
    for options in files {
        let sink = Sink::new(options.clone(), subscriber.clone(), clock.clone()).await;
        let sink = sink.map_err(Error::File)?;
        states.push((options, sink.state()));
        sinks.push(sink);
    }
    Ok((sinks, states))
}

/// Returns a key that nobody knows.
fn random() -> Result<[u8; 32], Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Error::System {
        what: "get randomness",
        source: io::Error::other(error),
    })?;
    Ok(key)
}

type Bound = (TcpListener, SocketAddr);

fn bind(address: SocketAddr, setting: &'static str) -> Result<Bound, Error> {
    let bound = serve::bind(address).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| Error::Bind {
        address,
        setting,
        source,
    })
}

/// Binds the data listener, and for 127.0.0.1 the same port of `::1`: `localhost` may mean either.
fn bind_data(listen: SocketAddr) -> Result<Vec<Bound>, Error> {
    let setting = "serve.listen";
    if listen.ip() != IpAddr::from(Ipv4Addr::LOCALHOST) {
        return Ok(vec![bind(listen, setting)?]);
    }
    let mut tries = PORT_TRIES;
    loop {
        let first = bind(listen, setting)?;
        let twin = SocketAddr::from((Ipv6Addr::LOCALHOST, first.1.port()));
        match bind(twin, setting) {
            Ok(second) => return Ok(vec![first, second]),
            Err(Error::Bind { source, .. }) if source.kind() != io::ErrorKind::AddrInUse => {
                debug!("This machine has no [::1]: {source}");
                return Ok(vec![first]);
            }
            // A free port of one family may be taken in the other.
            Err(_) if listen.port() == 0 && tries > 0 => tries -= 1,
            Err(error) => return Err(error),
        }
    }
}

/// Returns the address to advertise, with an IPv4 literal where there is a choice: Python's SDK fails on IPv6 literals.
fn advertised(listeners: &[Bound], serve: &Serve) -> SocketAddr {
    let mut address = listeners
        .first()
        .map_or(serve.listen, |(_, address)| *address);
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

async fn told(mut closing: watch::Receiver<bool>) {
    // The sender going away means the same.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Throws the dice; without randomness from the kernel they show the middle.
fn dice() -> schedule::Dice {
    getrandom::u32().map_or(0.5, |random| {
        f64::from(random) / (f64::from(u32::MAX) + 1.0)
    })
}

/// Named tasks, each marked by the span.
#[derive(Debug)]
struct Tasks {
    set: JoinSet<&'static str>,
    span: Span,
}

impl Tasks {
    fn new(span: Span) -> Self {
        Self {
            set: JoinSet::new(),
            span,
        }
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let named = async move {
            task.await;
            name
        };
        self.set.spawn(named.instrument(self.span.clone()));
    }

    fn spawn_endless(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Infallible> + Send + 'static,
    ) {
        self.spawn(name, async move { match task.await {} });
    }

    /// Waits until one has ended.
    async fn ended(&mut self) -> &'static str {
        match self.set.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) => "a task that panicked",
            None => std::future::pending().await,
        }
    }

    async fn all_ended(&mut self) {
        while self.set.join_next().await.is_some() {}
    }
}

/// Connections to one listener that are open at the same time, where the limit of open files allows.
const CONNECTIONS: usize = 4096;

const PORT_TRIES: u32 = 16;

/// Removing a file takes no time, unless its file system hangs.
const REMOVAL: Duration = Duration::from_secs(2);
