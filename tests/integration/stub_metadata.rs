//! A stub of the ECS instance metadata service: tokens, both modes, the role and its credentials.
//!
//! Written from the service's documentation. Of its refusals the status and the text are documented, not the page
//! around them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use ram_sidecar::credentials::timestamp;
use ram_sidecar::sandbox::Issued;
use ram_sidecar::time::clock::Clock;
use secrecy::ExposeSecret as _;

use crate::stubs::{Reply, Request, Stub};

/// A running metadata service.
pub(crate) struct Metadata {
    stub: Stub,
    state: Arc<Mutex<State>>,
}

/// What requests the service takes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// With a token and without one.
    Normal,
    /// With a token only.
    Hardened,
    /// Without a token: it knows of none, as services that imitate an old one do not.
    V1,
}

/// Something that goes wrong with every request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// No answer at all.
    Hang,
    /// A status and its page.
    Status(u16),
    /// A page with HTTP 200.
    Page,
    /// A body beyond every limit, with HTTP 200.
    Flood,
    /// The first half of the credentials.
    Truncated,
    /// Credentials whose `Code` is not `Success`.
    Unsuccessful,
    /// Credentials that ended an hour ago.
    Expired,
}

struct State {
    mode: Mode,
    fault: Option<Fault>,
    role: Option<Issued>,
    tokens: Vec<Token>,
    requests: Vec<String>,
    clock: Clock,
}

struct Token {
    value: String,
    ends_at: DateTime<Utc>,
    is_revoked: bool,
}

impl Metadata {
    /// Serves on a free port of the loopback address, for an instance without a role.
    pub(crate) fn start(mode: Mode) -> Self {
        Self::start_at("127.0.0.1:0", mode)
    }

    /// Serves like [`Self::start`], at an address.
    pub(crate) fn start_at(address: &str, mode: Mode) -> Self {
        let state = Arc::new(Mutex::new(State {
            mode,
            fault: None,
            role: None,
            tokens: Vec::new(),
            requests: Vec::new(),
            clock: Clock::machine(),
        }));
        let shared = Arc::clone(&state);
        let stub = Stub::start_at(address, move |request| {
            shared.lock().unwrap().answer(request)
        });
        Self { stub, state }
    }

    /// Returns the URL of the root.
    pub(crate) fn endpoint(&self) -> String {
        self.stub.endpoint()
    }

    /// Gives the instance the role that credentials belong to, instead of the one that it had.
    pub(crate) fn attach(&self, credentials: Issued) {
        self.state().role = Some(credentials);
    }

    /// Removes the role.
    pub(crate) fn detach(&self) {
        self.state().role = None;
    }

    /// Injects a fault, or ends it.
    pub(crate) fn break_with(&self, fault: impl Into<Option<Fault>>) {
        self.state().fault = fault.into();
    }

    /// Voids every token.
    pub(crate) fn revoke_tokens(&self) {
        for token in &mut self.state().tokens {
            token.is_revoked = true;
        }
    }

    /// Advances the clock of the tokens.
    pub(crate) fn pass(&self, time: Duration) {
        let time = TimeDelta::from_std(time).expect("hours at most");
        self.state().clock.shift_wall(time);
    }

    /// Returns every token that was ever given.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let state = self.state();
        state.tokens.iter().map(|t| t.value.clone()).collect()
    }

    /// Returns the requests so far: the method, the path, and whether with a token.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Returns the requests so far, and clears them.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Option<Reply> {
        let token = request.header(TOKEN);
        let with = if token.is_empty() {
            ""
        } else {
            " with a token"
        };
        let line = format!("{} {}{with}", request.method, request.path);
        self.requests.push(line);
        match self.fault {
            Some(Fault::Hang) => None,
            Some(Fault::Status(status)) => Some(page(status, "An error of this kind")),
            Some(Fault::Page) => Some(page(200, "Log in to the network")),
            Some(Fault::Flood) => Some(Reply::accepted("text/html", "more ".repeat(100_000))),
            _ if request.method == "PUT" => Some(self.token(request)),
            _ if request.method != "GET" => Some(page(405, "Method Not Allowed")),
            _ if token.is_empty() && self.mode == Mode::Hardened => Some(page(403, "Forbidden")),
            _ if !token.is_empty() && !self.is_good(token) => Some(page(401, "Unauthorized")),
            _ => Some(self.value(&request.path)),
        }
    }

    fn token(&mut self, request: &Request) -> Reply {
        if request.path != "/latest/api/token" || self.mode == Mode::V1 {
            return page(404, "Not Found");
        }
        if request.headers.contains_key("x-forwarded-for") {
            return page(403, "Forbidden");
        }
        let ttl = request.header("x-aliyun-ecs-metadata-token-ttl-seconds");
        let ttl: Option<i64> = ttl.parse().ok();
        let Some(ttl) = ttl.filter(|ttl| (1..=21_600).contains(ttl)) else {
            return page(400, "Missing or Invalid Parameters");
        };
        let value = format!("planted-metadata-token-{}==", self.tokens.len());
        self.tokens.push(Token {
            value: value.clone(),
            ends_at: self.clock.now().wall + TimeDelta::seconds(ttl),
            is_revoked: false,
        });
        Reply::accepted("text/plain", value)
    }

    fn is_good(&self, value: &str) -> bool {
        let now = self.clock.now().wall;
        let mut tokens = self.tokens.iter();
        tokens.any(|token| token.value == value && !token.is_revoked && now < token.ends_at)
    }

    fn value(&self, path: &str) -> Reply {
        let (Some(role), Some(name)) = (&self.role, path.strip_prefix(CREDENTIALS)) else {
            return page(404, "Not Found");
        };
        let attached = role_name(role);
        if name.is_empty() {
            return Reply::accepted("text/plain", attached.to_owned());
        }
        if name != attached {
            return page(404, "Not Found");
        }
        let mut document = document(role, self.fault);
        if self.fault == Some(Fault::Truncated) {
            document.truncate(document.len() / 2);
        }
        Reply::accepted("text/plain", document)
    }
}

/// Returns the name of the role that credentials belong to.
pub(crate) fn role_name(issued: &Issued) -> &str {
    issued.role_arn.rsplit('/').next().unwrap_or_default()
}

/// Writes credentials the way the service does: with a line feed before them, and spaces around each colon.
fn document(issued: &Issued, fault: Option<Fault>) -> String {
    let hours = |count| TimeDelta::hours(count);
    let (expiration, code) = match fault {
        Some(Fault::Expired) => (
            issued.expires_at.min(issued.issued_at) - hours(1),
            "Success",
        ),
        Some(Fault::Unsuccessful) => (issued.expires_at, "Failed"),
        _ => (issued.expires_at, "Success"),
    };
    let fields = [
        ("AccessKeyId", issued.access_key_id.as_str()),
        ("AccessKeySecret", issued.access_key_secret.expose_secret()),
        ("Expiration", &timestamp(expiration)),
        ("SecurityToken", issued.security_token.expose_secret()),
        ("LastUpdated", &timestamp(issued.issued_at)),
        ("Code", code),
    ]
    .map(|(key, value)| format!("  \"{key}\" : \"{value}\""));
    format!("\n{{\n{}\n}}", fields.join(",\n"))
}

fn page(status: u16, text: &str) -> Reply {
    let title = format!("{status} - {text}");
    Reply {
        status: StatusCode::from_u16(status).expect("a status of HTTP"),
        content_type: "text/html",
        body: format!(
            "<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
        )
        .into(),
        rejection: Some(title),
        ..Reply::default()
    }
}

const TOKEN: &str = "x-aliyun-ecs-metadata-token";
const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    fn send(service: &Metadata, line: &str, header: &str) -> (u16, String) {
        let address = service.endpoint().replace("http://", "");
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n{header}\r\n"
        );
        let reply = http::raw(address.parse().unwrap(), &request);
        (reply.status, reply.body)
    }

    fn ttl(seconds: &str) -> String {
        format!("X-aliyun-ecs-metadata-token-ttl-seconds: {seconds}\r\n")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn token_lifetime_is_limited_and_a_proxy_gets_no_token() {
        let service = Metadata::start(Mode::Hardened);
        let put = |header: &str| send(&service, "PUT /latest/api/token", header);
        for header in [String::new(), ttl("0"), ttl("21601"), ttl("x")] {
            let (status, body) = put(&header);
            assert_eq!(status, 400, "{header}");
            assert!(body.contains("400 - Missing or Invalid Parameters"));
        }
        let forwarded = ttl("60") + "X-Forwarded-For: 10.0.0.1\r\n";
        assert_eq!(put(&forwarded).0, 403);
        for header in [ttl("1"), ttl("21600")] {
            assert_eq!(put(&header).0, 200);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn token_is_accepted_in_hardened_mode_until_it_expires() {
        let service = Metadata::start(Mode::Hardened);
        let list = format!("GET {CREDENTIALS}");
        let put = || send(&service, "PUT /latest/api/token", &ttl("60")).1;
        let get = |token: &str| send(&service, &list, &format!("{TOKEN}: {token}\r\n")).0;
        assert_eq!(send(&service, &list, "").0, 403);
        assert_eq!(get("another"), 401);
        let (first, second) = (put(), put());
        // There is no role.
        assert_eq!((get(&first), get(&second)), (404, 404));
        service.pass(Duration::from_secs(61));
        assert_eq!(get(&first), 401);
        let third = put();
        assert_eq!(get(&third), 404);
        service.revoke_tokens();
        assert_eq!(get(&third), 401);
    }
}
