//! The connections of listeners. Their number is limited; the oldest that has sent no request is closed for a new one.
//!
//! Whoever is closed connects again, so that the room for connections decides how many silent ones delay nobody. All
//! listeners share it, because few of them are flooded at a time.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::CONNECTION_TIMEOUT;
use super::caller::diag;
use crate::system::remedy;

/// Accepts connections until `stop` completes, then waits for those whose requests have arrived.
///
/// `serve` returns the future that serves a connection, and sets the flag once its request has arrived. At the limit the
/// oldest connection of this listener that has sent no request is closed.
pub async fn run<F>(
    listener: TcpListener,
    limit: impl Into<Limit>,
    stop: impl Future<Output = ()>,
    serve: impl Fn(TcpStream, SocketAddr, Arc<AtomicBool>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = Connections {
        limit: limit.into(),
        tasks: JoinSet::new(),
        idle: VecDeque::new(),
    };
    let mut stop = pin!(stop);
    let mut is_failing = false;
    loop {
        // While the limit is reached, check again when the oldest connection has had time to send a request.
        let full_until = connections.evict();
        tokio::select! {
            () = &mut stop => break,
            () = connections.ended() => {}
            () = sleep_until(full_until.unwrap_or_else(Instant::now)), if full_until.is_some() => {}
            accepted = listener.accept(), if full_until.is_none() => match accepted {
                Ok((stream, peer)) => {
                    is_failing = false;
                    connections.open(|busy| serve(stream, peer, busy));
                    // A flood of connections must not keep those that are open waiting.
                    others_first().await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        warn!(error = remedy::told(&error), "Cannot accept connections");
                    }
                    // A caller without an answer is worse than one that is looked up slowly.
                    diag::release();
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
    drop(listener);
    connections.finish().await;
}

/// Lets the tasks run that can. Unlike tokio's `yield_now` it does not ask the kernel for events first, which the runtime does
/// often enough.
async fn others_first() {
    let mut is_first = true;
    poll_fn(|context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// How many connections may be open.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The connections of all listeners that share the limit.
    open: Arc<AtomicUsize>,
    /// At most so many, beside those of `reserved`.
    shared: usize,
    /// So many of each listener, whatever the others have open.
    reserved: usize,
}

impl Limit {
    /// Creates a limit for several listeners, whose connections are counted in `open`.
    pub fn new(open: Arc<AtomicUsize>, shared: usize, reserved: usize) -> Self {
        Self {
            open,
            shared,
            reserved,
        }
    }

    /// Whether it is reached for a listener with so many connections.
    fn is_reached(&self, own: usize) -> bool {
        own >= self.reserved && self.open.load(Ordering::Relaxed) >= self.shared
    }
}

/// The limit of a single listener.
impl From<usize> for Limit {
    fn from(limit: usize) -> Self {
        Self::new(Arc::default(), limit, 0)
    }
}

struct Connections {
    limit: Limit,
    tasks: JoinSet<()>,
    /// From the oldest to the newest; those whose request has arrived or that have ended are removed some time later.
    idle: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// Whether its request has arrived.
    busy: Arc<AtomicBool>,
    opened: Instant,
}

impl Connection {
    fn is_idle(&self) -> bool {
        !self.busy.load(Ordering::Relaxed) && !self.task.is_finished()
    }
}

impl Connections {
    fn open<F>(&mut self, serve: impl FnOnce(Arc<AtomicBool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let busy = Arc::new(AtomicBool::new(false));
        let task = self.tasks.spawn(serve(Arc::clone(&busy)));
        self.limit.open.fetch_add(1, Ordering::Relaxed);
        self.idle.push_back(Connection {
            task,
            busy,
            opened: Instant::now(),
        });
    }

    /// Returns `None` if one more connection may be accepted, otherwise the time to check again.
    ///
    /// At the limit, closes the oldest connection that has sent no request, unless it is younger than
    /// [`IDLE_GRACE`].
    fn evict(&mut self) -> Option<Instant> {
        if !self.limit.is_reached(self.tasks.len()) {
            return None;
        }
        // Those that have ended but were not yet waited for.
        while self.tasks.try_join_next().is_some() {
            self.limit.open.fetch_sub(1, Ordering::Relaxed);
        }
        if !self.limit.is_reached(self.tasks.len()) {
            return None;
        }
        let now = Instant::now();
        while let Some(oldest) = self.idle.front() {
            if oldest.is_idle() {
                let until = oldest.opened + IDLE_GRACE;
                if until > now {
                    return Some(until);
                }
                oldest.task.abort();
                self.idle.pop_front();
                break;
            }
            self.idle.pop_front();
        }
        Some(now + IDLE_GRACE)
    }

    /// Waits until a connection has ended. Pends while there is none.
    async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
        self.limit.open.fetch_sub(1, Ordering::Relaxed);
        // A handle retains the memory of its task, so the handles of ended tasks must not accumulate.
        if self.idle.len() > 2 * self.tasks.len() + ENDED_LIMIT {
            self.idle.retain(Connection::is_idle);
        }
    }

    async fn finish(mut self) {
        for connection in self.idle.iter().filter(|connection| connection.is_idle()) {
            connection.task.abort();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(CONNECTION_TIMEOUT, all).await.is_err() {
            debug!("Some connections did not end and were closed");
        }
    }
}

/// The minimum age at which a connection without a request may be closed for another: clients send their request at once.
///
/// At the limit a client waits so long, at most, for each generation of connections that are in the backlog before its own;
/// clients of the metadata dialect give up after a second.
const IDLE_GRACE: Duration = Duration::from_millis(250);

/// The backoff after a failed accept: when no file descriptor is free, open connections need time to end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How many handles of ended connections are tolerated before they are removed.
const ENDED_LIMIT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_its_own_connections_whatever_others_have() {
        let limit = Limit::new(Arc::default(), 10, 2);
        for (open, own, is_reached) in [
            (9, 9, false),
            (10, 10, true),
            (10, 2, true),
            (10, 1, false),
            (11, 0, false),
        ] {
            limit.open.store(open, Ordering::Relaxed);
            assert_eq!(limit.is_reached(own), is_reached, "{own} of {open}");
        }
    }
}
