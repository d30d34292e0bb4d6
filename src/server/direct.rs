//! Answers the plain request of a known caller from the rendered document, without hyper and routers, which cost more than all
//! checks.
//!
//! Whatever is unusual in a request, its caller or the credentials is left to them: they refuse, log, wait and look callers up.
//! The checks are the same functions in both places, and the fuzz target `http` compares the answers.

use std::fmt::{self, Write as _};
use std::io::{self, Cursor, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode, Version};
use bytes::{Buf as _, Bytes, buf::Chain};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::refresh::store::Offer;

use super::access::Access;
use super::caller::Addresses;
use super::hold::Provider;
use super::peek;
use super::request_check::{Head, Headers as _, is_one_of};
use super::respond;

/// Answers requests for the credentials of one listener.
#[derive(Debug)]
pub struct Direct {
    access: Arc<Access>,
    provider: Provider,
    /// The path of the credentials, which ends in their key.
    path: SecretString,
    /// The status line and the headers before the length.
    start: String,
    /// The headers between the length and the date.
    middle: String,
    /// The second that was formatted last, with its text.
    date: Mutex<(i64, String)>,
}

/// The head and the body of an answer, or what is not sent of them yet.
pub struct Answer(Chain<Cursor<String>, Bytes>);

/// Without the secrets.
impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answer").finish_non_exhaustive()
    }
}

impl Direct {
    pub(super) fn new(access: Arc<Access>, provider: Provider, path: SecretString) -> Self {
        let response = respond::isolated(respond::json(StatusCode::OK, Bytes::new()));
        let (mut start, mut middle) = ("HTTP/1.1 200 OK\r\n".to_owned(), String::new());
        let mut part = &mut start;
        for (name, value) in response.headers() {
            if name == CONTENT_LENGTH {
                part = &mut middle;
                continue;
            }
            let value = value.to_str().unwrap_or_default();
            part.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        Self {
            access,
            provider,
            path,
            start,
            middle,
            date: Mutex::new((i64::MIN, String::new())),
        }
    }

    /// Returns the answer to a request, of which `data` is all that has arrived; `None` if hyper and the router are to answer.
    /// Pends if it may be incomplete.
    pub fn read(
        &self,
        data: &[u8],
        addresses: impl FnOnce() -> Option<Addresses>,
    ) -> Poll<Option<Answer>> {
        peek::parse(data, |request| {
            let (document, now) = self.decide(request, &addresses()?)?;
            let head = Cursor::new(self.head(document.len(), now));
            Some(Answer(head.chain(document)))
        })
    }

    /// Returns what to answer now; `None` if hyper and the router are to answer.
    fn decide(
        &self,
        request: &httparse::Request<'_, '_>,
        addresses: &Addresses,
    ) -> Option<(Bytes, DateTime<Utc>)> {
        let path = request.path?;
        let is_path = path.as_bytes().ct_eq(self.path.expose_secret().as_bytes());
        let is_plain = request.method == Some("GET")
            && request.version == Some(1)
            && bool::from(is_path)
            && !request
                .headers
                .all()
                .any(|(name, _)| is_one_of(name, &UNUSUAL_HEADERS));
        let head = Head {
            method: &Method::GET,
            version: Version::HTTP_11,
            authority: None,
            headers: &*request.headers,
        };
        if !is_plain || !self.access.is_known(&head, path, addresses) {
            return None;
        }
        let now = self.provider.clock.now();
        match self.provider.at(now) {
            Offer::Credentials(current) => Some((current.document.clone(), now.wall)),
            _ => None,
        }
    }

    fn head(&self, length: usize, now: DateTime<Utc>) -> String {
        let room = self.start.len() + self.middle.len() + VARIABLE_LENGTH;
        let mut head = String::with_capacity(room);
        let _ = write!(
            head,
            "{}content-length: {length}\r\n{}date: ",
            self.start, self.middle
        );
        let mut date = self.date.lock().unwrap_or_else(PoisonError::into_inner);
        if date.0 != now.timestamp() {
            *date = (
                now.timestamp(),
                now.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
            );
        }
        head.push_str(&date.1);
        head.push_str("\r\n\r\n");
        head
    }
}

impl Answer {
    /// Takes the request from the socket, and sends the answer; returns what is left to do if the client has no room for it.
    pub(super) fn send(
        mut self,
        mut stream: TcpStream,
    ) -> Option<impl Future<Output = io::Result<()>> + Send> {
        let sent = peek::discard(&stream).and_then(|()| {
            let mut parts = [IoSlice::new(&[]); 2];
            self.0.chunks_vectored(&mut parts);
            stream.try_write_vectored(&parts)
        });
        let sent = match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        };
        if let Ok(sent) = sent {
            self.0.advance(sent);
        }
        let is_done = sent.is_ok() && !self.0.has_remaining();
        (!is_done).then_some(async move {
            sent?;
            stream.write_all_buf(&mut self.0).await
        })
    }

    /// Returns the head and the body.
    pub fn parts(&self) -> [&[u8]; 2] {
        [self.0.first_ref().get_ref().as_bytes(), self.0.last_ref()]
    }
}

/// Headers that change what follows the head of a request, or who answers it.
const UNUSUAL_HEADERS: [&str; 4] = ["content-length", "expect", "transfer-encoding", "upgrade"];

/// More than the length of the headers that change.
const VARIABLE_LENGTH: usize = 96;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use axum::body::Body;
    use axum::http::Request;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::super::data::{self, AllowedCallers, Data};
    use super::*;
    use crate::refresh::store::tests::{lease, noon};
    use crate::refresh::store::{self, Publisher};
    use crate::time::clock::Clock;

    const PLAIN: &str = "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1:7002\r\n";

    struct Rig {
        publisher: Publisher,
        clock: Clock,
        router: TowerToHyperService<axum::Router>,
        direct: Direct,
        /// A connection of a caller whom the kernel knows.
        client: TcpStream,
        _server: TcpListener,
    }

    fn start(allow_uids: Option<Vec<u32>>) -> Rig {
        let (publisher, subscriber, _) = store::channel(|_| Bytes::from_static(b"credentials"));
        let clock = Clock::simulated(noon(), true);
        let data = Data {
            provider: Provider {
                subscriber,
                clock: clock.clone(),
            },
            key: "0".into(),
            container: None,
        };
        let callers = AllowedCallers {
            allow_remote: true,
            allow_uids,
        };
        let (router, direct) = data::router(data, [127, 0, 0, 1].into(), callers, Arc::default());
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        Rig {
            client: TcpStream::connect(server.local_addr().unwrap()).unwrap(),
            _server: server,
            publisher,
            clock,
            router: TowerToHyperService::new(router),
            direct,
        }
    }

    impl Rig {
        fn local(&self) -> Addresses {
            let (client, server) = (self.client.local_addr(), self.client.peer_addr());
            Addresses::new(client.unwrap(), server.unwrap())
        }

        /// A request that the router answers makes its caller known.
        async fn introduce(&self) {
            let request = Request::builder().uri("/api/v1/credentials/0");
            let request = request.header("host", "localhost").extension(self.local());
            let request = request.body(Body::empty()).unwrap();
            self.router.call(request).await.unwrap();
        }

        fn is_answered(&self, head: &str, addresses: Addresses) -> bool {
            let read = self.direct.read(head.as_bytes(), || Some(addresses));
            matches!(read, Poll::Ready(Some(_)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_known_caller_is_answered_and_only_while_the_credentials_are_valid() {
        let rig = start(None);
        let plain = format!("{PLAIN}\r\n");
        rig.introduce().await;
        assert!(
            !rig.is_answered(&plain, rig.local()),
            "there are no credentials"
        );
        let now = rig.clock.now();
        rig.publisher.renewed(lease("a", now), now);
        rig.introduce().await;
        assert!(!rig.is_answered(&plain, rig.local()), "they have expired");
        let later = now.after(Duration::from_secs(3600));
        rig.publisher.renewed(lease("a", later), later);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(
            !rig.is_answered(&plain, rig.local()),
            "the caller may be new"
        );
        rig.introduce().await;
        assert!(rig.is_answered(&plain, rig.local()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(
            !rig.is_answered(&plain, rig.local()),
            "another may have come"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_is_unusual_is_left_to_the_router() {
        let rig = start(None);
        let later = rig.clock.now().after(Duration::from_secs(3600));
        rig.publisher.renewed(lease("a", later), later);
        rig.introduce().await;
        for header in ["", "Accept: */*\r\n", "Connection: keep-alive\r\n"] {
            assert!(rig.is_answered(&format!("{PLAIN}{header}\r\n"), rig.local()));
        }
        for header in [
            "User-Agent: another",
            "Host: localhost",
            "Origin: null",
            "SEC-FETCH-SITE: none",
            "X-Forwarded-For: 10.0.0.1",
            "VIA: 1.1 proxy",
            "Content-Length: 0",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Upgrade: h2c",
        ] {
            let head = format!("{PLAIN}{header}\r\n\r\n");
            assert!(!rig.is_answered(&head, rig.local()), "{header}");
        }
        let plain = format!("{PLAIN}\r\n");
        for (part, other) in [
            ("GET", "HEAD"),
            ("GET", "get"),
            ("1.1", "1.0"),
            ("/0", "/1"),
            ("/0", "/0?x"),
            ("/0", "/%30"),
            ("/0", "//0"),
            ("/api", "http://127.0.0.1/api"),
            ("127.0.0.1:7002", "evil.example"),
            ("Host", "Host-"),
            ("\r\n\r\n", "\r\n\r\nGET "),
        ] {
            let head = plain.replacen(part, other, 1);
            assert!(!rig.is_answered(&head, rig.local()), "{head}");
        }
        let remote = Addresses::new("203.0.113.7:4000".parse().unwrap(), rig.local().local);
        assert!(!rig.is_answered(&plain, remote));
        let part = rig
            .direct
            .read(&plain.as_bytes()[..40], || Some(rig.local()));
        assert!(part.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_with_allowed_users_has_every_caller_judged() {
        let rig = start(Some(vec![rustix::process::geteuid().as_raw()]));
        let later = rig.clock.now().after(Duration::from_secs(3600));
        rig.publisher.renewed(lease("a", later), later);
        rig.introduce().await;
        assert!(!rig.is_answered(&format!("{PLAIN}\r\n"), rig.local()));
    }
}
