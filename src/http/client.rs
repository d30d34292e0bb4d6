//! The HTTP client: TLS 1.2 or later, bounded in time and size, no redirects, no idle connections, no retry.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Method, redirect};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::failure::{Failure, LocalCode, Stage, error_chain};
use crate::http::names::Resolver;
use crate::http::proxy::Proxy;
use crate::http::response::Response;
use crate::http::{address, cause};

/// How calls leave this machine.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// The certificate authorities to trust, instead of the bundled ones.
    pub roots: Option<Vec<CertificateDer<'static>>>,
    /// The proxy; the client does not read the environment.
    pub proxy: Option<Proxy>,
}

/// How a client connects.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom to trust, and the proxy.
    pub outbound: Outbound,
    /// The timeout of connecting.
    pub connect: Duration,
    /// The timeout of a whole call, up to the last byte of the response.
    pub total: Duration,
}

impl Outbound {
    /// Returns the same without the proxy, for a service on this machine.
    #[must_use]
    pub fn direct(self) -> Self {
        Self {
            proxy: None,
            ..self
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            outbound: Outbound::default(),
            connect: CONNECT,
            total: TOTAL,
        }
    }
}

/// A request to a service.
#[derive(Debug)]
pub struct Call<'a> {
    /// The method: `GET`, `POST` or `PUT`.
    pub method: Method,
    /// The URL, with its query.
    pub url: &'a str,
    /// The headers, by lower-case name. Their values are never logged.
    pub headers: &'a [(&'static str, Zeroizing<String>)],
    /// The form body. Its `Content-Type` must be among `headers`.
    pub form: Option<Zeroizing<String>>,
}

/// An HTTP client.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<dyn Transport>,
}

/// Sends calls: over the network, or to a simulation of it.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a call and returns the whole response, whatever its status. Cancel safe.
    fn send<'a>(&'a self, call: Call<'a>) -> ResponseFuture<'a>;
}

/// The future of a response.
pub type ResponseFuture<'a> = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send + 'a>>;

/// Why a client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured certificate is not a valid certificate authority.
    #[error("cannot use a certificate of the CA file")]
    Root(#[source] rustls::Error),
    /// TLS or the HTTP client could not be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(
            Stage::Transport,
            LocalCode::RequestFailed,
            error_chain(&error),
        )
    }
}

impl Client {
    /// Creates a client that calls over the network.
    #[expect(clippy::disallowed_methods, reason = "it gets the resolver")]
    pub fn new(options: Options) -> Result<Self, Error> {
        let client_error = |error: reqwest::Error| Error::Client(error.into());
        let mut builder = reqwest::Client::builder()
            .dns_resolver(Resolver {
                timeout: options.connect.mul_f32(FOR_NAMES),
            })
            .tls_backend_preconfigured(tls(options.outbound.roots)?)
            .redirect(redirect::Policy::none())
            .connect_timeout(options.connect)
            .timeout(options.total)
            // Calls are about half an hour apart: an idle connection would be closed by then.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .user_agent(concat!("ram-sidecar/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = &options.outbound.proxy {
            builder = builder.proxy(proxy.build().map_err(client_error)?);
        }
        Ok(Self::with_transport(Network {
            client: builder.build().map_err(client_error)?,
            proxy: options.outbound.proxy,
        }))
    }

    /// Creates a client that sends its calls through `transport`.
    pub fn with_transport(transport: impl Transport + 'static) -> Self {
        Self {
            transport: Arc::new(transport),
        }
    }

    /// Sends a call and returns the whole response, whatever its status. Cancel safe.
    pub async fn call(&self, call: Call<'_>) -> Result<Response, Failure> {
        let url = call.url;
        let sent = self.transport.send(call).await;
        sent.map_err(|failure| Failure {
            host: Some(host(url).into()),
            ..failure
        })
    }
}

/// The network, and the proxy through which some of it is reached.
#[derive(Debug)]
struct Network {
    client: reqwest::Client,
    proxy: Option<Proxy>,
}

impl Transport for Network {
    fn send<'a>(&'a self, call: Call<'a>) -> ResponseFuture<'a> {
        Box::pin(send(self, call))
    }
}

async fn send(network: &Network, call: Call<'_>) -> Result<Response, Failure> {
    let mut request = network.client.request(call.method, call.url);
    for (name, value) in call.headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message = format!("cannot send the header {name}: its value is not text");
            Failure::new(Stage::Transport, LocalCode::RequestFailed, message)
        })?;
        value.set_sensitive(true);
        request = request.header(*name, value);
    }
    if let Some(form) = call.form {
        request = request.body(Bytes::from_owner(form));
    }
    let host = host(call.url);
    let proxy = network.proxy.as_ref();
    let proxy = proxy.filter(|proxy| proxy.serves(call.url));
    let failed = |error| cause::failure(&host, proxy, error);
    let mut response = request.send().await.map_err(failed)?;
    // Allocated in full: a growing vector would leave copies behind that are not wiped.
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_LIMIT));
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > BODY_LIMIT {
            let message = format!("{host} answered with more than {BODY_LIMIT} bytes");
            let failure = Failure::new(Stage::Answer, LocalCode::AnswerTooLarge, message);
            return Err(failure);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response::new(
        response.status().as_u16(),
        response.headers(),
        body,
    ))
}

fn tls(roots: Option<Vec<CertificateDer<'static>>>) -> Result<ClientConfig, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(roots) => {
            for root in roots {
                store.add(root).map_err(Error::Root)?;
            }
        }
        None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Client(error.into()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Returns the host of a URL, followed by the port unless it is the default.
fn host(url: &str) -> String {
    let url = url::Url::parse(url).ok();
    let host = url.as_ref().and_then(address::host_and_port);
    host.unwrap_or_else(|| "the service".to_owned())
}

/// Allows for a slow round trip and two lost packets.
const CONNECT: Duration = Duration::from_secs(5);

/// The part of the timeout of connecting that resolving the name may take: its error says more than that of the timeout.
const FOR_NAMES: f32 = 0.9;

/// The timeout of a call to STS.
pub const TOTAL: Duration = Duration::from_secs(10);

/// Far above any response of STS: its tokens have no documented limit, but have a few KB in practice.
const BODY_LIMIT: usize = 256 * 1024;
