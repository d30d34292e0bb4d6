//! The HTTP client: TLS 1.2 or later, bounded in time and size, no redirects, no idle connections, no retry.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, HeaderValue};
use reqwest::{Method, redirect};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::failure::{Failure, OwnCode, Stage};
use crate::http::response::Answer;
use crate::http::{address, cause};

/// How to reach the outside.
#[derive(Clone, Debug)]
pub struct Options {
    /// The certificate authorities to trust, instead of the bundled ones.
    pub roots: Option<Vec<CertificateDer<'static>>>,
    /// Ignore the proxy that the environment names.
    pub direct: bool,
    /// How long a connection may take.
    pub connect: Duration,
    /// How long a call may take from its beginning to the last byte of the answer.
    pub total: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            roots: None,
            direct: false,
            connect: CONNECT,
            total: TOTAL,
        }
    }
}

/// What is asked.
#[derive(Debug)]
pub struct Call<'a> {
    /// The method: `GET`, `POST` or `PUT`.
    pub method: Method,
    /// The whole address.
    pub url: &'a str,
    /// The headers, by lower-case name. Their values are never logged.
    pub headers: &'a [(&'static str, Zeroizing<String>)],
    /// The body; none has no `Content-Type`.
    pub form: Option<Zeroizing<String>>,
}

/// The client.
#[derive(Clone, Debug)]
pub struct Outbound {
    carrier: Arc<dyn Carrier>,
}

/// What carries one call to its service, and the answer back: the network, or a simulation of it.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// Makes a call and reads the whole answer, whatever its status. Cancel safe.
    fn carry<'a>(&'a self, call: Call<'a>) -> Carried<'a>;
}

/// A call that is under way.
pub type Carried<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A given certificate authority is not one.
    #[error("cannot use a certificate of the CA file")]
    Root(#[source] rustls::Error),
    /// The TLS or HTTP set-up was refused.
    #[error("cannot set up the HTTP client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Outbound {
    /// Makes a client.
    pub fn new(options: Options) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(options.roots)?)
            .redirect(redirect::Policy::none())
            .connect_timeout(options.connect)
            .timeout(options.total)
            // Used every half hour: an idle connection would only be there to break.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("ram-sidecar/", env!("CARGO_PKG_VERSION")));
        if options.direct {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| Error::Client(error.into()))?;
        Ok(Self::over(client))
    }

    /// Makes a client whose calls are carried by `carrier`.
    pub fn over(carrier: impl Carrier + 'static) -> Self {
        Self {
            carrier: Arc::new(carrier),
        }
    }

    /// Makes a call and reads the whole answer, whatever its status. Cancel safe.
    pub async fn call(&self, call: Call<'_>) -> Result<Answer, Failure> {
        self.carrier.carry(call).await
    }
}

impl Carrier for reqwest::Client {
    fn carry<'a>(&'a self, call: Call<'a>) -> Carried<'a> {
        Box::pin(send(self, call))
    }
}

async fn send(client: &reqwest::Client, call: Call<'_>) -> Result<Answer, Failure> {
    let mut request = client.request(call.method, call.url);
    for (name, value) in call.headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message = format!("cannot send the header {name}: its value is no text");
            Failure::new(Stage::Transport, OwnCode::RequestFailed, message)
        })?;
        value.set_sensitive(true);
        request = request.header(*name, value);
    }
    if let Some(form) = call.form {
        request = request.body(Bytes::from_owner(form));
    }
    let place = place(call.url);
    let failed = |error| cause::failure(&place, error);
    let mut response = request.send().await.map_err(failed)?;
    // At its full size from the start: a growing vector would leave unwiped copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_LIMIT));
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > BODY_LIMIT {
            let message = format!("{place} answered more than {BODY_LIMIT} bytes");
            return Err(Failure::new(
                Stage::Answer,
                OwnCode::AnswerTooLarge,
                message,
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(answer(response.status().as_u16(), response.headers(), body))
}

/// Reads what the head of an answer says; its body is taken as it is.
pub fn answer(status: u16, headers: &HeaderMap, body: Zeroizing<Vec<u8>>) -> Answer {
    let request_id = headers.get("x-acs-request-id");
    Answer {
        status,
        date: date(headers),
        retry_after: retry_after(headers),
        request_id: request_id.and_then(|id| Some(id.to_str().ok()?.to_owned())),
        body,
    }
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

/// Returns the host of an address, with its port if that is not the usual one.
fn place(url: &str) -> String {
    let url = url::Url::parse(url).ok();
    let place = url.as_ref().and_then(address::host_and_port);
    place.unwrap_or_else(|| "the service".to_owned())
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|date| date.to_utc())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name| text(name).and_then(|text| text.parse().ok());
    // A number of seconds, or a date, by the clock that wrote the Date header.
    let until = text("retry-after").and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let by_date = until.and_then(|until| (until.to_utc() - date(headers)?).to_std().ok());
    let seconds = number("retry-after").map(Duration::from_secs);
    let millis = number("x-acs-retry-after").map(Duration::from_millis);
    seconds.or(by_date).max(millis)
}

/// Longer than any round trip and two lost packets.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that a call to STS may take.
pub const TOTAL: Duration = Duration::from_secs(10);

/// Far above any answer of STS: its tokens have no documented limit, but are of a few KB.
const BODY_LIMIT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn longer_retry_header_wins_and_malformed_ones_are_ignored() {
        for (pairs, expected) in [
            (vec![], None),
            (vec![("retry-after", "7")], Some(Duration::from_secs(7))),
            (
                vec![("x-acs-retry-after", "2500")],
                Some(Duration::from_millis(2500)),
            ),
            (
                vec![("retry-after", "1"), ("x-acs-retry-after", "2500")],
                Some(Duration::from_millis(2500)),
            ),
            (vec![("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], None),
            (
                vec![
                    ("date", "Wed, 21 Oct 2015 07:27:00 GMT"),
                    ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
                ],
                Some(Duration::from_secs(60)),
            ),
            (vec![("retry-after", "-1")], None),
        ] {
            assert_eq!(retry_after(&headers(&pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_date_header_is_read() {
        let read = date(&headers(&[("date", "Tue, 21 May 2024 10:39:29 GMT")])).unwrap();
        assert_eq!(read.timestamp(), 1_716_287_969);
        assert_eq!(date(&headers(&[("date", "yesterday")])), None);
    }
}
