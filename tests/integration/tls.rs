//! STS behind TLS, with a host name, and behind a proxy.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ram_sidecar::sandbox::Sandbox;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::Scratch;
use crate::upstream::{beside, sts};

const NAME: &str = "sts.sandbox.example";

/// A TLS server for 127.0.0.1 and [`NAME`] that forwards to another server, and the CA of its certificate.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) ca: String,
}

impl Front {
    async fn before(sts: &Sandbox) -> Self {
        Self::start(sts.endpoint().trim_start_matches("http://")).await
    }

    /// Starts a server that forwards to the address `behind`.
    pub(crate) async fn start(behind: &str) -> Self {
        let names = vec!["127.0.0.1".to_owned(), NAME.to_owned()];
        Self::certified(behind, CertificateParams::new(names).unwrap()).await
    }

    /// Starts a server that forwards to `behind`, with the given certificate.
    pub(crate) async fn certified(behind: &str, certificate: CertificateParams) -> Self {
        Self::start_at("127.0.0.1:0", behind, certificate).await
    }

    /// Starts such a server at an address.
    pub(crate) async fn start_at(
        address: &str,
        behind: &str,
        certificate: CertificateParams,
    ) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&ca_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&params, &ca_key);
        let certificate = certificate.signed_by(&key, &issuer).unwrap();

        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = behind.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    // Some clients reject the certificate.
                    if let Ok(mut client) = acceptor.accept(client).await {
                        let mut server = TcpStream::connect(behind).await.unwrap();
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, ca }
    }
}

/// Starts a proxy that tunnels every CONNECT to the address `to`. Returns its URL and the count of those for [`NAME`].
async fn proxy(to: SocketAddr) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:p@ss@{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let mut client = BufReader::new(client);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                client.read_line(&mut head).await.unwrap();
            }
            if head.starts_with(&format!("CONNECT {NAME}:443 "))
                && head.contains("proxy-authorization: Basic dXNlcjpwQHNz\r\n")
            {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            client
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await
                .unwrap();
            let mut server = TcpStream::connect(to).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (url, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_ca_replaces_the_bundled_roots() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let front = Front::before(&sts).await;
    let ca_file = scratch.join("ca.pem");
    fs::write(&ca_file, &front.ca).unwrap();
    let endpoint = format!("https://{}", front.address);

    let args = [
        "--sts-endpoint",
        &endpoint,
        "--ca-file",
        ca_file.to_str().unwrap(),
    ];
    let daemon = beside(&sts, &args, &[]);
    daemon.uri();
    assert_eq!(daemon.credentials().status, 200);

    let daemon = beside(&sts, &args[..2], &[]);
    let reply = daemon.credentials();
    assert_eq!(
        (reply.status, reply.text("Code")),
        (503, "TlsUntrusted".to_owned())
    );
    let sentence = reply.text("Message");
    assert!(
        sentence.contains("UnknownIssuer") && sentence.contains("set sts.ca_file"),
        "{sentence}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sts_is_called_through_the_proxy_of_the_environment() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let front = Front::before(&sts).await;
    let (proxy, count) = proxy(front.address).await;
    let ca_file = scratch.join("ca.pem");
    fs::write(&ca_file, &front.ca).unwrap();

    let args = [
        "--sts-endpoint",
        NAME,
        "--ca-file",
        ca_file.to_str().unwrap(),
    ];
    // An empty variable counts as unset, and REQUEST_METHOD, the mark of a CGI script, changes nothing.
    let environment = [
        ("HTTPS_PROXY", ""),
        ("https_proxy", proxy.as_str()),
        ("REQUEST_METHOD", "GET"),
    ];
    let daemon = beside(&sts, &args, &environment);
    daemon.uri();
    assert_eq!(count.load(Ordering::Relaxed), 1);

    // The name exists behind the proxy only.
    let daemon = beside(&sts, &args, &[]);
    let reply = daemon.credentials();
    assert_eq!(
        (reply.status, reply.text("Code")),
        (503, "DnsFailed".to_owned())
    );
    assert!(reply.text("Message").contains(NAME), "{reply:?}");

    // Requests to a loopback endpoint bypass the proxy.
    let direct = beside(&sts, &[], &[("HTTP_PROXY", &proxy), ("ALL_PROXY", &proxy)]);
    direct.uri();
    assert_eq!(count.load(Ordering::Relaxed), 1);
}
