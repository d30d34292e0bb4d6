//! The HTTP server: many short connections, each limited in time and size, so that no client can lock out another.
//!
//! Until axum 0.9: `axum::serve` has neither a header timeout nor a connection limit.

pub mod access;
pub mod admin;
pub mod caller;
pub mod caller_log;
pub mod codes;
pub mod connections;
pub mod data;
pub mod direct;
pub mod hold;
pub mod imds_token;
pub mod metadata;
pub mod peek;
pub mod probe;
pub mod request_check;
pub(crate) mod respond;
pub mod seen;
pub mod status;
pub mod token_file;

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
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
use self::connections::Limit;
use self::direct::Direct;
use self::peek::MAX_HEAD_SIZE;
use self::respond::ErrorCode;
use crate::metrics::RequestCounter;

/// Binds a listener with a backlog long enough for a burst of clients.
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

/// Returns 127.0.0.1, or `::1` on a machine whose loopback has only that.
pub fn loopback() -> IpAddr {
    let has = |ip: IpAddr| {
        let bound = UdpSocket::bind((ip, 0));
        !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
    };
    let (ipv4, ipv6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    if has(ipv4) || !has(ipv6) { ipv4 } else { ipv6 }
}

/// Serves until `stop` completes, then finishes the requests in progress.
///
/// At the limit, the oldest connection that has sent no request is closed.
pub async fn run(
    listener: TcpListener,
    service: impl Into<Service>,
    limit: impl Into<Limit>,
    stop: impl Future<Output = ()>,
) {
    let bound = listener.local_addr().ok();
    let shared = Arc::new(Shared {
        service: service.into(),
        bound: bound.filter(|bound| !bound.ip().is_unspecified()),
        span: Span::current(),
    });
    let open = |stream, peer, busy| serve(stream, peer, Arc::clone(&shared), busy);
    connections::run(listener, limit, stop, open).await;
}

/// What answers the requests of a listener.
#[derive(Debug)]
pub struct Service {
    /// Answers all requests.
    pub router: Router,
    /// Answers most requests of the listener for credentials before the router.
    pub direct: Option<Direct>,
    /// Counts the requests.
    pub counter: Option<RequestCounter>,
}

impl From<Router> for Service {
    fn from(router: Router) -> Self {
        Self {
            router,
            direct: None,
            counter: None,
        }
    }
}

/// An extension of a response that must not be sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub struct CloseWithoutResponse;

/// State shared by a listener's connections, behind one `Arc` so that idle connections stay small.
struct Shared {
    service: Service,
    /// The address to which all clients connect, unless there are several.
    bound: Option<SocketAddr>,
    span: Span,
}

impl Shared {
    fn addresses(&self, stream: &TcpStream, peer: SocketAddr) -> io::Result<Addresses> {
        let local = self.bound.map_or_else(|| stream.local_addr(), Ok)?;
        Ok(Addresses::new(peer, local))
    }

    /// Returns the answer to a request that needs no router. Pends if the request may be incomplete.
    fn answer(
        &self,
        data: &[u8],
        stream: &TcpStream,
        peer: SocketAddr,
    ) -> Poll<Option<direct::Answer>> {
        match &self.service.direct {
            Some(direct) => direct.read(data, || self.addresses(stream, peer).ok()),
            None => peek::parse(data, |_| None),
        }
    }

    /// Sends the answer, or prepares to have the router answer. Returns what is left to do.
    fn proceed(
        &self,
        answer: Option<direct::Answer>,
        stream: TcpStream,
        peer: SocketAddr,
        busy: Arc<AtomicBool>,
        opened: Instant,
    ) -> Option<Task> {
        let counter = self.service.counter.as_ref();
        let Some(answer) = answer else {
            let addresses = self.addresses(&stream, peer).ok()?;
            let (router, counter) = (self.service.router.clone(), counter.cloned());
            let serving = serve_connection(stream, addresses, router, counter, busy, opened);
            return Some(self.boxed(serving));
        };
        busy.store(true, Ordering::Relaxed);
        if let Some(counter) = counter {
            let pending = counter.arrived(data::PREFIX);
            pending.answered(StatusCode::OK.as_u16(), None);
        }
        let rest = answer.send(stream)?;
        Some(self.boxed(within_limit(rest, opened)))
    }

    fn boxed(&self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        Box::pin(task.instrument(self.span.clone()))
    }
}

/// Waits for a request, and serves it.
///
/// Not an `async fn`, whose future would store its arguments twice: there may be thousands of idle connections.
fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    busy: Arc<AtomicBool>,
) -> impl Future<Output = ()> + Send {
    let opened = Instant::now();
    async move {
        let read = |data: &[u8]| shared.answer(data, &stream, peer);
        let Ok(Ok(answer)) = peek::arrived(&stream, opened + HEADER_TIMEOUT, &read).await else {
            let _ = peek::discard(&stream);
            return;
        };
        if let Some(rest) = shared.proceed(answer, stream, peer, busy, opened) {
            rest.await;
        }
    }
}

/// What a connection does once its request has arrived. Boxed, so that the futures of idle connections do not reserve space
/// for it.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Reads one request and responds to it, within the limits on time and on the size of the request head.
///
/// Sets `busy` when the request has arrived. The time limits count from `opened`. Cancel safe.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    addresses: Addresses,
    router: Router,
    counter: Option<RequestCounter>,
    busy: Arc<AtomicBool>,
    opened: Instant,
) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        busy.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(addresses);
        let pending = counter
            .as_ref()
            .map(|counter| counter.arrived(request.uri().path()));
        let response = service.call(request);
        async move {
            let Ok(response) = response.await;
            let extensions = response.extensions();
            if extensions.get::<CloseWithoutResponse>().is_some() {
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
            }
            if let Some(pending) = pending {
                let code = extensions.get().map(|ErrorCode(code)| *code);
                pending.answered(response.status().as_u16(), code);
            }
            Ok(respond::isolated(response))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_SIZE)
        // A client may close its sending half right after its request.
        .half_close(true)
        // One request per connection: some clients pool connections and do not retry after a reset.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    within_limit(connection, opened).await;
}

/// Waits for the end of a connection, or of its time.
async fn within_limit<E: Display>(
    connection: impl Future<Output = Result<(), E>>,
    opened: Instant,
) {
    match timeout_at(opened + CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "A connection ended early"),
        Err(_) => debug!("A connection exceeded its time limit and was closed"),
    }
}

/// Enough for a burst of a few thousand connections, which would otherwise wait for retransmissions. The kernel may lower it.
const BACKLOG: u32 = 4096;

/// The limit for the request head: a client on the same machine needs less.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The limit for a whole connection: the headers, the wait for the first credentials, and the response.
pub(crate) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_connection_is_small() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (stream, peer) = accepted.unwrap();
        let shared = Shared {
            service: Router::new().into(),
            bound: None,
            span: Span::none(),
        };
        let serving = serve(stream, peer, Arc::new(shared), Arc::default());
        // With the rest of its task 384 bytes, which are allocated in steps of 128.
        let size = size_of_val(&serving);
        assert!(size <= 280, "{size}");
        drop(client);
    }
}
