//! The connections of a listener: so many at the most, of which the one that has been silent the longest makes room.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::CONNECTION_TIMEOUT;

/// Accepts until `stop`, then lets those connections end whose requests have arrived.
///
/// `serve` makes of a connection what becomes of it, and sets the flag once its request has arrived. At most `limit` are
/// open; beyond that the one that has been silent the longest makes room.
pub async fn run<F>(
    listener: TcpListener,
    limit: usize,
    stop: impl Future<Output = ()>,
    serve: impl Fn(TcpStream, Arc<AtomicBool>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = Connections::default();
    let mut stop = pin!(stop);
    let mut is_refused = false;
    loop {
        // Without room, look again when the oldest connection has had its chance.
        let full_until = connections.make_room(limit);
        tokio::select! {
            () = &mut stop => break,
            () = connections.ended() => {}
            () = sleep_until(full_until.unwrap_or_else(Instant::now)), if full_until.is_some() => {}
            accepted = listener.accept(), if full_until.is_none() => match accepted {
                Ok((stream, _)) => {
                    is_refused = false;
                    connections.open(|busy| serve(stream, busy));
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_refused, true) {
                        warn!("Cannot accept connections: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.finish().await;
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// From the oldest to the youngest.
    open: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// Whether its request has arrived.
    busy: Arc<AtomicBool>,
    opened: Instant,
}

impl Connections {
    fn open<F>(&mut self, serve: impl FnOnce(Arc<AtomicBool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let busy = Arc::new(AtomicBool::new(false));
        let task = self.tasks.spawn(serve(Arc::clone(&busy)));
        self.open.push_back(Connection {
            task,
            busy,
            opened: Instant::now(),
        });
    }

    /// Returns nothing when one more connection may be accepted, else when to ask again.
    ///
    /// Closes the connection that has been silent the longest, whose end makes the room, but not one that is so young
    /// that its request may be on its way.
    fn make_room(&mut self, limit: usize) -> Option<Instant> {
        if self.tasks.len() < limit {
            return None;
        }
        self.forget_ended();
        let now = Instant::now();
        let is_silent = |connection: &Connection| !connection.busy.load(Ordering::Relaxed);
        let oldest = self.open.iter().position(is_silent);
        match oldest.and_then(|index| self.open.get(index)) {
            Some(young) if young.opened + GRACE > now => Some(young.opened + GRACE),
            _ => {
                if let Some(connection) = oldest.and_then(|index| self.open.remove(index)) {
                    connection.task.abort();
                }
                Some(now + GRACE)
            }
        }
    }

    /// Waits until a connection has ended. Pends while there is none.
    async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
        // A handle keeps the memory of its task, so the ended ones must not pile up; nor is each worth a search.
        if self.open.len() > 2 * self.tasks.len() + SLACK {
            self.forget_ended();
        }
    }

    fn forget_ended(&mut self) {
        self.open
            .retain(|connection| !connection.task.is_finished());
    }

    async fn finish(mut self) {
        for connection in &self.open {
            if !connection.busy.load(Ordering::Relaxed) {
                connection.task.abort();
            }
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(CONNECTION_TIMEOUT, all).await.is_err() {
            debug!("Some connections did not end and were cut off");
        }
    }
}

/// How long a connection may be silent before it makes room for another: a client sends its request at once.
const GRACE: Duration = Duration::from_secs(1);

/// Out of file descriptors: give the open connections time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Handles of ended connections that may be kept before they are looked for.
const SLACK: usize = 64;
