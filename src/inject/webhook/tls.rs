//! From a connection to a conversation behind TLS.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::server::caller::Addresses;
use crate::server::peek::{MAX_HEAD_SIZE, has_arrived};
use crate::server::serve_connection;

use super::certificate::Certificate;
use super::reviews::Room;

/// Prepares to shake hands with a certificate that may change.
pub(super) fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = ring::default_provider();
    let mut config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is resumed would outlive its certificate, and be kept for clients that never come again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves one connection; `busy` is set when its request has arrived as a whole.
///
/// Not an `async fn`, which would keep its arguments twice: there may be many silent connections.
pub(super) fn serve(
    stream: TcpStream,
    room: Arc<Room>,
    busy: Arc<AtomicBool>,
) -> impl Future<Output = ()> + Send + 'static {
    let opened = Instant::now();
    async move {
        // Who does not even begin costs no memory of the handshake.
        if !has_arrived(&stream, opened + HANDSHAKE, is_partial).await {
            return;
        }
        if let Ok(conversation) = conversation(stream, room, busy, opened) {
            conversation.await;
        }
    }
}

/// Prepares the handshake and what follows. Boxed, so that connections that wait do not make room for it.
fn conversation(
    stream: TcpStream,
    room: Arc<Room>,
    busy: Arc<AtomicBool>,
    opened: Instant,
) -> io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let addresses = Addresses::new(stream.peer_addr()?, stream.local_addr()?);
    Ok(Box::pin(async move {
        match timeout_at(opened + HANDSHAKE, room.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                // The flag that it sets itself is set before the body is there.
                serve_connection(stream, addresses, room.router(busy), Arc::default(), opened)
                    .await;
            }
            Ok(Err(error)) => failed(&room, &error),
            Err(_) => debug!("A handshake took too long and was cut off"),
        }
    }))
}

/// Tells of a client that does not trust the certificate; once, because it comes again.
fn failed(room: &Room, error: &io::Error) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    if let Some(rustls::Error::AlertReceived(alert)) = cause
        && room.is_new("a refused certificate")
    {
        warn!(
            ?alert,
            "A client refuses the certificate; if it is the API server, caBundle of the webhook's configuration must be the CA of the certificate, and the certificate must be for the service's name"
        );
        return;
    }
    debug!("A handshake ended early: {error}");
}

/// Whether more may make the first record of a client of this. What is none, or too long, is for TLS to refuse.
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

/// The type of a record that is part of a handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// Two round trips and what is lost of them; the API server itself waits no longer than ten seconds for everything.
const HANDSHAKE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_waited_for_to_its_end_and_no_further() {
        for (head, expected) in [
            (&[22][..], true),
            (&[22, 3, 1, 0], true),
            (&[22, 3, 1, 0, 2, 1], true),
            (&[22, 3, 1, 0, 2, 1, 0], false),
            (&[22, 3, 1, 0, 2, 1, 0, 9], false),
            // What is no handshake is told so at once.
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
