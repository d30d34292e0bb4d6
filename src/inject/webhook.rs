//! The admission webhook: adds the sidecar to pods as they are created, when the API server sends a review over TLS.
//!
//! It has no credentials and no state. Every client that can reach it can send it a review, so memory and time are bounded:
//! for connections, for bodies, and for the values in them.

mod accounts;
mod body;
mod certificate;
mod metrics;
mod reviews;
pub mod settings;
mod slots;
mod tls;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::daemon::Error;
use crate::daemon::listeners::bind;
use crate::inject;
use crate::inject::admission::Policy;
use crate::server::connections;
use crate::system::log;
use crate::system::process;
use crate::system::signal::{Request, Signals};

pub use self::accounts::Accounts;
pub use self::certificate::{Certificate, Error as CertificateError};

use self::body::Budget;
use self::metrics::Counters;
use self::reviews::Shared;
use self::slots::Slots;

/// The settings of the webhook.
#[derive(Debug)]
pub struct Options {
    /// The address of reviews and probes.
    pub listen: SocketAddr,
    /// The server's certificate and key.
    pub certificate: Certificate,
    /// What to do with pods that cannot have the sidecar.
    pub policy: Policy,
    /// How to read service accounts; `None` if they are not read.
    pub accounts: Option<Accounts>,
    /// How long it still answers reviews after the signal to stop, because the cluster may still send them.
    pub drain: Duration,
    /// The defaults of every request: a pod and its service account take precedence.
    pub defaults: inject::Request,
    /// The log's format and level.
    pub log: log::Options,
}

/// Serves until a signal to stop; a second one ends the drain.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(|source| Error::System {
        what: "listen to signals",
        source,
    })?;
    let (listener, address) = bind(options.listen, "--listen")?;
    let certificate = Arc::new(options.certificate);
    let counters = Counters::default();
    let metrics = counters.expose(Arc::clone(&certificate));
    let acceptor = tls::acceptor(certificate).map_err(|error| Error::System {
        what: "set up TLS",
        source: std::io::Error::other(error),
    })?;
    let limit = (process::raise_open_files() / 2).clamp(32, MAX_CONNECTIONS);
    let (stop_sender, stopping) = watch::channel(false);
    let shared = Arc::new(Shared {
        acceptor,
        defaults: options.defaults,
        policy: options.policy,
        accounts: options.accounts,
        is_old: AtomicBool::new(false),
        stopping,
        slots: Arc::new(Slots::new(limit)),
        bodies: Budget::default(),
        counters,
        metrics,
        logged: Mutex::new(BTreeSet::new()),
    });
    read_version(&shared).await;
    info!(%address, path = "/inject", "Listening for reviews");
    let stop = async {
        stop_requested(&mut signals).await;
        stop_sender.send_replace(true);
        info!(drain_seconds = options.drain.as_secs(), "Stopping");
        tokio::select! {
            () = sleep(options.drain) => {}
            () = stop_requested(&mut signals) => {}
        }
    };
    let open = |stream, peer, busy| tls::serve(stream, peer, Arc::clone(&shared), busy);
    let read_versions = async {
        loop {
            sleep(VERSION_PERIOD).await;
            read_version(&shared).await;
        }
    };
    tokio::select! {
        () = connections::run(listener, limit, stop, open) => {}
        () = read_versions => {}
    }
    Ok(())
}

/// Reads whether the cluster has native sidecars. While its version is unknown, the last one is assumed, at first a new one.
async fn read_version(shared: &Shared) {
    let Some(accounts) = &shared.accounts else {
        return;
    };
    match accounts.minor_version().await {
        Ok(minor) => {
            let is_old = minor < FIRST_WITH_NATIVE;
            if shared.is_old.swap(is_old, Ordering::Relaxed) != is_old {
                info!(
                    minor,
                    is_old, "The cluster's version decides between native and classic sidecars"
                );
            }
        }
        Err(reason) => warn!(
            error = %reason,
            advice = "before Kubernetes 1.29, run with --classic",
            "The cluster's version is unknown"
        ),
    }
}

/// The minor version of Kubernetes in which native sidecars are on by default.
const FIRST_WITH_NATIVE: u32 = 29;

/// A cluster is upgraded once in months.
const VERSION_PERIOD: Duration = Duration::from_secs(600);

/// Waits for a signal to stop; ignores a signal to renew, because changed files are always reloaded.
async fn stop_requested(signals: &mut Signals) {
    while signals.next().await == Request::Renew {}
}

/// Limits concurrent connections, most of which may be silent: those use no memory but that of their sockets.
const MAX_CONNECTIONS: usize = 8192;
