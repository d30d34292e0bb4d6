//! Accepts TLS on a connection, and serves HTTP over it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::server::caller::Addresses;
use crate::server::peek::{MAX_HEAD_SIZE, arrived, discard};
use crate::server::serve_connection;

use super::certificate::Certificate;
use super::reviews::Shared;
use super::slots::{Slot, Stage};

/// Configures TLS with a certificate that is reloaded.
pub(super) fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = ring::default_provider();
    let mut config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would outlive its certificate, and use memory for clients that do not return.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves one connection; sets `busy` when a whole request has arrived.
///
/// It is not an `async fn`, which would store its arguments twice: there may be many idle connections.
pub(super) fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    busy: Arc<AtomicBool>,
) -> impl Future<Output = ()> + Send + 'static {
    let opened = Instant::now();
    let (slot, closed) = shared.slots.open(peer.ip().to_canonical(), busy);
    async move {
        let exchange = async {
            // A silent client uses no memory for a handshake.
            let is_complete = |data: &[u8]| {
                if is_partial(data) {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            };
            let deadline = opened + HANDSHAKE_TIMEOUT;
            let Ok(Ok(())) = arrived(&stream, deadline, &is_complete).await else {
                let _ = discard(&stream);
                return;
            };
            if let Ok(exchange) = exchange(stream, peer, shared, slot, opened) {
                exchange.await;
            }
        };
        tokio::select! {
            _ = closed => debug!("A connection was closed, because its host has too many"),
            () = exchange => {}
        }
    }
}

/// Does the handshake and serves HTTP; boxed, so that waiting connections use no memory for it.
fn exchange(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    slot: Slot,
    opened: Instant,
) -> io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let addresses = Addresses::new(peer, stream.local_addr()?);
    slot.advance(Stage::Handshake);
    Ok(Box::pin(async move {
        match timeout_at(opened + HANDSHAKE_TIMEOUT, shared.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                slot.advance(Stage::Request);
                // `serve_connection` sets its flag before the body has arrived; the router marks the slot after that.
                let router = shared.router(Arc::new(slot));
                serve_connection(stream, addresses, router, None, Arc::default(), opened).await;
            }
            Ok(Err(error)) => log_failure(&shared, &error),
            Err(_) => debug!("A TLS handshake timed out"),
        }
    }))
}

/// Logs a failed handshake; at most one warning about a client that rejects the certificate, because clients retry.
fn log_failure(shared: &Shared, error: &io::Error) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    if let Some(rustls::Error::AlertReceived(alert)) = cause
        && shared.is_first("a rejected certificate")
    {
        warn!(
            ?alert,
            advice = "if it is the API server, set caBundle in the webhook's configuration to the CA of the certificate, and issue the certificate for the service's name",
            "A client rejected the certificate"
        );
        return;
    }
    debug!(%error, "A TLS handshake failed");
}

/// Whether the first record of a client is an incomplete handshake; TLS rejects other or too long records.
fn is_partial(head: &[u8]) -> bool {
    match head {
        [HANDSHAKE_RECORD, _, _, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            rest.len() < length && head.len() < MAX_HEAD_SIZE
        }
        [HANDSHAKE_RECORD, ..] => true,
        _ => false,
    }
}

/// The type of a TLS record that is part of a handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// Enough for two round trips with lost packets; the API server's own timeout for everything is ten seconds by default.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_record_is_awaited_to_its_end_and_no_further() {
        for (head, expected) in [
            (&[22][..], true),
            (&[22, 3, 1, 0], true),
            (&[22, 3, 1, 0, 2, 1], true),
            (&[22, 3, 1, 0, 2, 1, 0], false),
            (&[22, 3, 1, 0, 2, 1, 0, 9], false),
            // A request without TLS is refused at once.
            (b"GET / HTTP/1.1", false),
            (&[21, 3], false),
        ] {
            assert_eq!(is_partial(head), expected, "{head:?}");
        }
        let mut long = vec![22, 3, 1, 0xff, 0xff];
        long.resize(MAX_HEAD_SIZE, 0);
        assert!(!is_partial(&long));
        long.pop();
        assert!(is_partial(&long));
    }
}
