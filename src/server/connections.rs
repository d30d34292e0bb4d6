//! The connections of a listener. Their number is limited; the oldest that has sent no request is closed for a new one.

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

/// Accepts connections until `stop` completes, then waits for those whose requests have arrived.
///
/// `serve` returns the future that serves a connection, and sets the flag once its request has arrived. At most `limit`
/// connections are open; beyond that the oldest that has sent no request is closed.
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
    let mut is_failing = false;
    loop {
        // While the limit is reached, check again when the oldest connection has had time to send a request.
        let full_until = connections.evict(limit);
        tokio::select! {
            () = &mut stop => break,
            () = connections.ended() => {}
            () = sleep_until(full_until.unwrap_or_else(Instant::now)), if full_until.is_some() => {}
            accepted = listener.accept(), if full_until.is_none() => match accepted {
                Ok((stream, _)) => {
                    is_failing = false;
                    connections.open(|busy| serve(stream, busy));
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        warn!("Cannot accept connections: {error}");
                    }
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
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
    /// From the oldest to the newest.
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

    /// Returns `None` if one more connection may be accepted, otherwise the time to check again.
    ///
    /// At the limit, closes the oldest connection that has sent no request, unless it is younger than
    /// [`IDLE_GRACE`].
    fn evict(&mut self, limit: usize) -> Option<Instant> {
        if self.tasks.len() < limit {
            return None;
        }
        self.remove_ended();
        let now = Instant::now();
        let is_idle = |connection: &Connection| !connection.busy.load(Ordering::Relaxed);
        let oldest = self.open.iter().position(is_idle);
        match oldest.and_then(|index| self.open.get(index)) {
            Some(new) if new.opened + IDLE_GRACE > now => Some(new.opened + IDLE_GRACE),
            _ => {
                if let Some(connection) = oldest.and_then(|index| self.open.remove(index)) {
                    connection.task.abort();
                }
                Some(now + IDLE_GRACE)
            }
        }
    }

    /// Waits until a connection has ended. Pends while there is none.
    async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
        // A handle retains the memory of its task, so the handles of ended tasks must not accumulate.
        if self.open.len() > 2 * self.tasks.len() + ENDED_LIMIT {
            self.remove_ended();
        }
    }

    fn remove_ended(&mut self) {
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
            debug!("Some connections did not end and were closed");
        }
    }
}

/// The minimum age at which a connection without a request may be closed for another: clients send their request at once.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// The backoff after a failed accept: when no file descriptor is free, open connections need time to end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How many handles of ended connections are tolerated before they are removed.
const ENDED_LIMIT: usize = 64;
