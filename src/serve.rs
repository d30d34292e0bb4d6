//! The accept loop: many short connections, each bounded in time and size, none able to shut out another.
//!
//! Until axum 0.9: `axum::serve` has neither a header timeout nor a connection cap.

pub mod admin;
pub(crate) mod answer;
pub mod caller;
pub mod data;
pub mod door;
pub mod guard;
pub mod metadata;
pub mod offer;
pub mod session;
pub mod token;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{Instrument as _, Span, debug, warn};

use self::caller::Ends;

/// Binds a listener whose backlog takes a burst of clients.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then finishes the requests that are under way.
///
/// At most `limit` connections are open; beyond that the one that has been silent the longest makes room.
pub async fn run(
    listener: TcpListener,
    router: Router,
    limit: usize,
    stop: impl Future<Output = ()>,
) {
    let span = Span::current();
    let room = Arc::new(Room { router, span });
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
                    connections.open(stream, Arc::clone(&room));
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

/// Stands among the extensions of an answer that must not be sent: the connection is closed in its place.
#[derive(Clone, Copy, Debug)]
pub struct Unanswered;

/// Where all the connections of a listener lead; one of it, because a crowd may be silent.
struct Room {
    router: Router,
    span: Span,
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
    fn open(&mut self, stream: TcpStream, room: Arc<Room>) {
        let busy = Arc::new(AtomicBool::new(false));
        let task = self.tasks.spawn(serve(stream, room, Arc::clone(&busy)));
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
        if timeout(WHOLE, all).await.is_err() {
            debug!("Some connections did not end and were cut off");
        }
    }
}

/// Waits for the request, and then converses.
///
/// Not an `async fn`, which would keep its arguments twice: there may be thousands of silent connections.
fn serve(
    stream: TcpStream,
    room: Arc<Room>,
    busy: Arc<AtomicBool>,
) -> impl Future<Output = ()> + Send {
    let opened = Instant::now();
    async move {
        let arrival = timeout_at(opened + HEADERS, arrival(&stream)).await;
        if !matches!(arrival, Ok(Ok(()))) {
            // What is left unread would make the close a reset. Not by tokio, which knows that there is nothing new.
            let _ = recv(&stream, &mut [0; HEADERS_MOST][..], RecvFlags::empty());
        } else if let Ok(conversation) = conversation(stream, &room, busy, opened) {
            conversation.await;
        }
    }
}

/// Waits until the whole head of a request is there, and leaves it there.
///
/// A connection that is silent, or never ends its question, costs its socket and no buffer: there may be thousands of
/// them, and an allocator gives back little of what they had.
async fn arrival(stream: &TcpStream) -> io::Result<()> {
    loop {
        // Tokio takes an accepted socket for readable until a reading has told otherwise.
        let ready = stream.ready(Interest::READABLE).await?;
        match stream.try_io(Interest::READABLE, || peek(stream)) {
            // It told otherwise, which has no effect on an end: that stays.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            outcome => return outcome,
        }
    }
}

/// Looks whether the whole head is there, and would block if not.
fn peek(stream: &TcpStream) -> io::Result<()> {
    let mut head = [0; HEADERS_MOST];
    let (length, _) = recv(stream, &mut head[..], RecvFlags::PEEK)?;
    match head.get(..length) {
        None | Some([]) => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(head) if is_partial(head) => Err(io::ErrorKind::WouldBlock.into()),
        Some(_) => Ok(()),
    }
}

/// Whether more may make a request of this. What is none, or too long, is for hyper to refuse.
fn is_partial(head: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MANY_HEADERS];
    let parsed = httparse::Request::new(&mut headers).parse(head);
    head.len() < HEADERS_MOST && parsed.is_ok_and(|status| status.is_partial())
}

/// Prepares the conversation. Boxed, so that connections that wait do not make room for it either.
fn conversation(
    stream: TcpStream,
    room: &Room,
    busy: Arc<AtomicBool>,
    opened: Instant,
) -> io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let ends = Ends::new(stream.peer_addr()?, stream.local_addr()?);
    let conversation = converse(stream, ends, room.router.clone(), busy, opened);
    Ok(Box::pin(conversation.instrument(room.span.clone())))
}

/// Reads one request and answers it, or gives the client up: each side has its time, and the head its size.
///
/// `busy` is set when the request has arrived. What the client may take counts from `opened`. Cancel safe.
pub async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    ends: Ends,
    router: Router,
    busy: Arc<AtomicBool>,
    opened: Instant,
) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        busy.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(ends);
        let answer = service.call(request);
        async move {
            let Ok(answer) = answer.await;
            match answer.extensions().get() {
                Some(Unanswered) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
                None => Ok(answer),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADERS_MOST)
        // A client may close its sending half as soon as it has asked.
        .half_close(true)
        // Clients pool connections without trying again on a reset: one request each.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout_at(opened + WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("A connection ended early: {error}"),
        Err(_) => debug!("A connection took too long and was cut off"),
    }
}

/// A burst of a few thousand connections waits here, not in retransmissions; the kernel has its own maximum.
const BACKLOG: u32 = 4096;

/// A client on the same machine has no reason to take longer for its request.
const HEADERS: Duration = Duration::from_secs(5);

/// How long a connection may be silent before it makes room for another: a client sends its request at once.
const GRACE: Duration = Duration::from_secs(1);

/// Ten times what the most talkative SDK sends; hyper's own minimum is 8 KiB.
const HEADERS_MOST: usize = 16 * 1024;

/// Beyond so many headers hyper refuses a request.
const MANY_HEADERS: usize = 100;

/// The whole life of a connection: headers, the wait for first credentials, the answer.
const WHOLE: Duration = Duration::from_secs(15);

/// Out of file descriptors: give the open connections time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Handles of ended connections that may be kept before they are looked for.
const SLACK: usize = 64;
