//! The accept loop: many short connections, each bounded in time and size, none able to shut out another.
//!
//! Until axum 0.9: `axum::serve` has neither a header timeout nor a connection cap.

pub mod access;
pub mod admin;
pub mod caller;
pub mod connections;
pub mod data;
pub mod hold;
pub mod imds_token;
pub mod metadata;
pub mod peek;
pub mod probe;
pub mod request_check;
pub(crate) mod respond;
pub mod token_file;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span, debug};

use self::caller::Addresses;
use self::peek::MAX_HEAD_SIZE;

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
/// At most `limit` connections are open; beyond that the one that has been silent the longest makes shared.
pub async fn run(
    listener: TcpListener,
    router: Router,
    limit: usize,
    stop: impl Future<Output = ()>,
) {
    let span = Span::current();
    let shared = Arc::new(Shared { router, span });
    let open = |stream, busy| serve(stream, Arc::clone(&shared), busy);
    connections::run(listener, limit, stop, open).await;
}

/// Stands among the extensions of an answer that must not be sent: the connection is closed in its place.
#[derive(Clone, Copy, Debug)]
pub struct CloseWithoutResponse;

/// Where all the connections of a listener lead; one of it, because a crowd may be silent.
struct Shared {
    router: Router,
    span: Span,
}

/// Waits for the request, and then converses.
///
/// Not an `async fn`, which would keep its arguments twice: there may be thousands of silent connections.
fn serve(
    stream: TcpStream,
    shared: Arc<Shared>,
    busy: Arc<AtomicBool>,
) -> impl Future<Output = ()> + Send {
    let opened = Instant::now();
    async move {
        if !peek::has_arrived(&stream, opened + HEADER_TIMEOUT, peek::is_partial).await {
            return;
        }
        if let Ok(conversation) = conversation(stream, &shared, busy, opened) {
            conversation.await;
        }
    }
}

/// Prepares the conversation. Boxed, so that connections that wait do not make shared for it either.
fn conversation(
    stream: TcpStream,
    shared: &Shared,
    busy: Arc<AtomicBool>,
    opened: Instant,
) -> io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let addresses = Addresses::new(stream.peer_addr()?, stream.local_addr()?);
    let conversation = serve_connection(stream, addresses, shared.router.clone(), busy, opened);
    Ok(Box::pin(conversation.instrument(shared.span.clone())))
}

/// Reads one request and answers it, or gives the client up: each side has its time, and the head its size.
///
/// `busy` is set when the request has arrived. What the client may take counts from `opened`. Cancel safe.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    addresses: Addresses,
    router: Router,
    busy: Arc<AtomicBool>,
    opened: Instant,
) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        busy.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(addresses);
        let answer = service.call(request);
        async move {
            let Ok(answer) = answer.await;
            match answer.extensions().get() {
                Some(CloseWithoutResponse) => {
                    Err(io::Error::from(io::ErrorKind::ConnectionAborted))
                }
                None => Ok(answer),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_SIZE)
        // A client may close its sending half as soon as it has asked.
        .half_close(true)
        // Clients pool connections without trying again on a reset: one request each.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout_at(opened + CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("A connection ended early: {error}"),
        Err(_) => debug!("A connection took too long and was cut off"),
    }
}

/// A burst of a few thousand connections waits here, not in retransmissions; the kernel has its own maximum.
const BACKLOG: u32 = 4096;

/// A client on the same machine has no reason to take longer for its request.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The whole life of a connection: headers, the wait for first credentials, the answer.
pub(crate) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
