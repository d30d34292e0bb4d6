//! The composition root of `serve`: builds, spawns, waits, drains.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span, debug, info};

use crate::clock::Clock;
use crate::config::{Config, Serve, Upstream};
use crate::failure::Failure;
use crate::refresh::Refresher;
use crate::serve::routes::{self, Admin, Data};
use crate::signal::{Request, Signals};
use crate::sink::Sink;
use crate::snapshot::{Offer, Subscriber};
use crate::{process, schedule, serve, snapshot, upstream, view};

/// Why `serve` ended other than by a signal.
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

/// Serves until a signal.
pub async fn run(config: Config) -> Result<(), Error> {
    let span = upstream::span(&config.upstream);
    serve_until_stopped(config, &span)
        .instrument(span.clone())
        .await
}

async fn serve_until_stopped(config: Config, span: &Span) -> Result<(), Error> {
    let Config {
        upstream,
        session,
        serve,
        admin,
        files,
        drain,
        ..
    } = config;
    process::protect();
    // A share for each of at most three listeners, and one for everything else.
    let connections = (process::raise_open_files() / 4).clamp(16, CONNECTIONS);
    let mut signals = Signals::new().map_err(|source| Error::System {
        what: "listen to signals",
        source,
    })?;
    let clock = Clock::machine();
    let (publisher, mut subscriber, health) = snapshot::channel(view::document::render);

    // Everything that can be refused is tried before the first attempt.
    let listeners = bind_data(serve.listen)?;
    let (admin_listener, admin_address) = bind(admin, "admin.listen")?;
    let uri = uri(&listeners, &serve);
    info!(address = %admin_address, "Probes are served");
    let mut sinks = Vec::new();
    let files = if matches!(upstream, Upstream::Nothing) {
        info!("This job has no role: the URI answers 404, and no file is written");
        Vec::new()
    } else {
        files
    };
    for file in files {
        let sink = Sink::new(file, subscriber.clone(), clock.clone()).await;
        sinks.push(sink.map_err(Error::File)?);
    }
    let (source, _guard) = upstream::source(upstream, session, &clock).await?;

    let (nudge, nudges) = watch::channel(0);
    let (stop, stopping) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let mut servers = Tasks::new(span);
    for (listener, address) in listeners {
        let data = Data {
            subscriber: subscriber.clone(),
            clock: clock.clone(),
            key: serve.key.clone(),
        };
        let router = routes::data(data, address.ip());
        let server = serve::run(listener, router, connections, told(closing.clone()));
        servers.spawn("the data server", server);
    }
    let files = sinks.iter().map(Sink::state).collect();
    let router = routes::admin(Admin {
        health,
        files,
        stopping,
        clock: clock.clone(),
    });
    let server = serve::run(admin_listener, router, connections, told(closing));
    servers.spawn("the admin server", server);

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

    let first = async {
        credentials(&mut subscriber, &clock).await;
        announce(&uri);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stopped(&mut signals, &nudge) => {}
        ended = tasks.ended() => return Err(Error::Ended(ended)),
        ended = servers.ended() => return Err(Error::Ended(ended)),
        () = first => {}
    }

    info!(drain_seconds = drain.as_secs(), "Stopping");
    stop.send_replace(true);
    let leave = async {
        tokio::time::sleep(drain).await;
        close.send_replace(true);
        servers.all_ended().await;
    };
    tokio::select! {
        () = leave => {}
        () = stopped(&mut signals, &nudge) => {}
        ended = tasks.ended() => return Err(Error::Ended(ended)),
    }
    info!("Stopped");
    Ok(())
}

/// Waits for a request to stop, and passes on those to renew.
async fn stopped(signals: &mut Signals, nudge: &watch::Sender<u64>) {
    while signals.next().await == Request::Renew {
        nudge.send_modify(|count| *count += 1);
    }
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
fn uri(listeners: &[Bound], serve: &Serve) -> String {
    let mut address = listeners
        .first()
        .map_or(serve.listen, |(_, address)| *address);
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    info!(%address, path = "/api/v1/credentials/<key>", "Credentials are served");
    format!(
        "http://{address}{}{}",
        routes::PREFIX,
        serve.key.expose_secret()
    )
}

/// Prints the one line of standard output.
fn announce(uri: &str) {
    let line = format!("ALIBABA_CLOUD_CREDENTIALS_URI={uri}\n");
    let mut out = io::stdout().lock();
    // Whoever started this may have closed its standard output; that is no reason to stop serving.
    if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
        debug!("Cannot print the credentials URI: {error}");
    }
}

/// Waits until there are good credentials, or it is certain that there will be none.
async fn credentials(subscriber: &mut Subscriber, clock: &Clock) {
    while !matches!(
        subscriber.current().offer(clock.now()),
        Offer::Held(_) | Offer::Nothing
    ) {
        subscriber.changed().await;
    }
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
struct Tasks<'a> {
    set: JoinSet<&'static str>,
    span: &'a Span,
}

impl<'a> Tasks<'a> {
    fn new(span: &'a Span) -> Self {
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
