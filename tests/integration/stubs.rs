//! The basis of the stub services: a small HTTP server, and the credentials that STS issued.
//!
//! A stub lives in a task of the test's runtime, so blocking calls in such a test must run on another thread.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, StatusCode};
use chrono::{DateTime, Utc};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ram_sidecar::time::clock::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What STS issued under one `AccessKeyId`.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) access_key_secret: String,
    pub(crate) security_token: String,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Finds what STS issued, by the `AccessKeyId`.
pub(crate) type Lookup = Arc<dyn Fn(&str) -> Option<Issued> + Send + Sync>;

/// One request as a stub sees it.
#[derive(Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The host and the port of the target, which only a proxy receives.
    pub(crate) authority: Option<String>,
    /// The path as it was sent, still percent-encoded.
    pub(crate) path: String,
    /// The query as it was sent, without the question mark.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// Returns the value of a header; empty if the request has none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Returns the query's parameters, decoded, in the order in which they were sent.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        pairs(&self.query)
    }

    /// Returns the decoded value of a parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters()
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

/// What a stub answers.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// The reason for a refusal; nothing when the request was accepted.
    pub(crate) rejection: Option<String>,
}

impl Reply {
    /// Makes the answer to a request that was accepted.
    pub(crate) fn accepted(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            content_type,
            body: body.into(),
            ..Self::default()
        }
    }

    /// Makes the answer to a request for an object: the range that was requested, or all of it.
    pub(crate) fn object(request: &Request, content: &Bytes) -> Self {
        let mut reply = Self::accepted("application/octet-stream", content.clone());
        reply.headers = vec![
            ("accept-ranges", "bytes".to_owned()),
            ("etag", ETAG.to_owned()),
            ("last-modified", "Tue, 21 May 2024 10:39:29 GMT".to_owned()),
        ];
        if let Some(range) = range(request.header("range"), content.len()) {
            reply.status = StatusCode::PARTIAL_CONTENT;
            let (first, last) = (range.start, range.end - 1);
            let text = format!("bytes {first}-{last}/{}", content.len());
            reply.headers.push(("content-range", text));
            reply.body = content.slice(range);
        }
        reply
    }
}

/// Parses a `Range` of bytes: `bytes=2-5`, `bytes=2-`, `bytes=-3`.
fn range(header: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse().ok(), last.parse::<usize>().ok()) {
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
        (Some(first), None) => first..length,
        (None, Some(count)) => length.saturating_sub(count)..length,
        (None, None) => return None,
    };
    (range.start < range.end).then_some(range)
}

/// A stub service, as a rule on a free port of the loopback address; it ends when it is dropped.
pub(crate) struct Stub {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    accepted: Vec<String>,
    rejections: Vec<String>,
}

impl Stub {
    /// Serves `answer` in a task of the current runtime.
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer)
    }

    /// Serves `answer` at an address; the request for which it gives nothing is never answered.
    pub(crate) fn start_at<R: Into<Option<Reply>> + 'static>(
        address: &str,
        answer: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(address).expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        listener
            .set_nonblocking(true)
            .expect("a socket can be made non-blocking");
        let listener = TcpListener::from_std(listener).expect("a stub starts within a runtime");
        let log = Arc::<Mutex<Log>>::default();
        let answer = move |request: &Request| answer(request).into();
        let task = tokio::spawn(accept(listener, Arc::new(answer), Arc::clone(&log)));
        Self { address, log, task }
    }

    /// Returns the URL of the root.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the request lines that were accepted so far.
    pub(crate) fn accepted(&self) -> Vec<String> {
        self.log.lock().unwrap().accepted.clone()
    }

    /// Returns the reasons for which requests were refused so far.
    pub(crate) fn rejections(&self) -> Vec<String> {
        self.log.lock().unwrap().rejections.clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the present time.
pub(crate) fn now() -> DateTime<Utc> {
    Clock::machine().now().wall
}

/// Splits a form or a query into its decoded parameters.
pub(crate) fn pairs(encoded: &str) -> Vec<(String, String)> {
    encoded
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (form_decoded(key), form_decoded(value)))
        .collect()
}

/// Replaces each `%XX`.
pub(crate) fn decoded(text: &str) -> String {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Replaces each byte but the unreserved ones, and those of `unchanged`, by `%XX`.
pub(crate) fn encoded(text: &str, unchanged: &str) -> String {
    use std::fmt::Write as _;

    text.bytes().fold(String::new(), |mut out, byte| {
        let character = char::from(byte);
        if byte.is_ascii_alphanumeric()
            || "-_.~".contains(character)
            || unchanged.contains(character)
        {
            out.push(character);
        } else {
            write!(out, "%{byte:02X}").expect("a String takes any text");
        }
        out
    })
}

fn form_decoded(text: &str) -> String {
    decoded(&text.replace('+', " "))
}

async fn accept<A>(listener: TcpListener, answer: Arc<A>, log: Arc<Mutex<Log>>)
where
    A: Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&answer), Arc::clone(&log)));
    }
}

async fn converse<A>(stream: TcpStream, answer: Arc<A>, log: Arc<Mutex<Log>>)
where
    A: Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
{
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), LIMIT);
        let request = read(head, body.await.map_err(std::io::Error::other)?);
        let Some(reply) = answer(&request) else {
            return std::future::pending().await;
        };
        let mut log = log.lock().unwrap();
        match &reply.rejection {
            Some(reason) => log.rejections.push(reason.clone()),
            None => log
                .accepted
                .push(format!("{} {}", request.method, request.path)),
        }
        let mut response = Response::builder().status(reply.status);
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            response = response.header("retry-after", RETRY_AFTER);
        }
        for (name, value) in &reply.headers {
            response = response.header(*name, value);
        }
        response
            .header("content-type", reply.content_type)
            .header("x-oss-request-id", REQUEST_ID)
            .header("x-odps-request-id", REQUEST_ID)
            .body(Body::from(reply.body))
            .map_err(std::io::Error::other)
    });
    // A client that disconnects is not an error of the stub.
    // As the services spell them, which JindoSDK depends on.
    let _ = http1::Builder::new()
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn read(head: Parts, body: Bytes) -> Request {
    Request {
        method: head.method.to_string(),
        authority: head.uri.authority().map(ToString::to_string),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    }
}

/// More than any client of a stub sends.
const LIMIT: usize = 1 << 20;

/// The `Retry-After` of a stub that throttles, in seconds.
pub(crate) const RETRY_AFTER: u64 = 120;

/// The `ETag` of every object.
pub(crate) const ETAG: &str = "\"5B3C1A2E053D763E1B002CC607C5A0FE\"";

pub(crate) const REQUEST_ID: &str = "64A1B2C3D4E5F60718293A4B";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_round_trips() {
        let awkward = "a/b+c d|é%~";
        assert_eq!(encoded(awkward, ""), "a%2Fb%2Bc%20d%7C%C3%A9%25~");
        assert_eq!(encoded(awkward, "/"), "a/b%2Bc%20d%7C%C3%A9%25~");
        assert_eq!(decoded(&encoded(awkward, "")), awkward);
        assert_eq!(decoded("100%"), "100%");
    }
}
