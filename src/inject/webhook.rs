//! `webhook`: adds the sidecar to pods as they are created, asked by the API server over TLS.
//!
//! It holds no credentials and no state. Whoever can reach it can send it a review, so that memory and time are bounded: of
//! each connection, of bodies, of what is read from them.

mod accounts;
mod certificate;
mod reviews;
pub mod settings;
mod tls;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tracing::info;

use crate::daemon::Error;
use crate::inject;
use crate::inject::admission::Policy;
use crate::server::{self, connections};
use crate::system::log;
use crate::system::process;
use crate::system::signal::{Request, Signals};

pub use self::accounts::{Accounts, Name};
pub use self::certificate::Certificate;

use self::reviews::{LARGE, Room};

/// What it is started with.
#[derive(Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate.
    pub certificate: Certificate,
    /// What becomes of pods that cannot have the sidecar.
    pub policy: Policy,
    /// Where to ask for service accounts, if they are read.
    pub accounts: Option<Accounts>,
    /// How long it answers on when it is told to stop: until then the cluster may still send reviews.
    pub drain: Duration,
    /// The defaults of every request: a pod and its service account take precedence.
    pub defaults: inject::Request,
    /// How to log.
    pub log: log::Options,
}

/// Serves until a signal; a second one cuts the drain short.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(|source| Error::System {
        what: "listen to signals",
        source,
    })?;
    let (listener, address) = bind(options.listen)?;
    let acceptor = tls::acceptor(Arc::new(options.certificate)).map_err(|error| Error::System {
        what: "set up TLS",
        source: std::io::Error::other(error),
    })?;
    let (leave, leaving) = watch::channel(false);
    let room = Arc::new(Room {
        acceptor,
        defaults: options.defaults,
        policy: options.policy,
        accounts: options.accounts,
        leaving,
        large: Semaphore::new(LARGE),
        told: Mutex::new(BTreeSet::new()),
    });
    info!(%address, path = "/inject", "Reviews are answered");
    let limit = (process::raise_open_files() / 2).clamp(16, CONNECTIONS);
    let stop = async {
        stopped(&mut signals).await;
        leave.send_replace(true);
        info!(drain = ?options.drain, "Stopping");
        tokio::select! {
            () = sleep(options.drain) => {}
            () = stopped(&mut signals) => {}
        }
    };
    let open = |stream, busy| tls::serve(stream, Arc::clone(&room), busy);
    connections::run(listener, limit, stop, open).await;
    Ok(())
}

/// Waits for a request to stop. There is nothing to renew: files are followed anyway.
async fn stopped(signals: &mut Signals) {
    while signals.next().await == Request::Renew {}
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = server::bind(address).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| Error::Bind {
        address,
        setting: "--listen",
        source,
    })
}

/// Connections at a time. Reviews come one by one; a crowd that is silent makes room within seconds.
const CONNECTIONS: usize = 512;
