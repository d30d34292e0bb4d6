//! What the fuzz targets have in common: scripted services, a clock that stands still, and what must hold of every
//! failure and of all credentials, whatever came in.
//!
//! Inputs are text as far as possible, so that a seed can be read: sections are divided by lines of `%%`, and an answer of
//! a service is its status on a line, its headers on the next ones, an empty line, and its body.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::DateTime;
use percent_encoding::percent_decode;
use ram_sidecar::credentials::{Credentials, Keys, Lease, is_key_text, timestamp};
use ram_sidecar::failure::{Failure, LocalCode, Stage};
use ram_sidecar::formats::format::{FILES, PRINTED};
use ram_sidecar::formats::{container, json, ossfs};
use ram_sidecar::http::client::{Call, ResponseFuture, Transport};
use ram_sidecar::http::response::Response;
use ram_sidecar::time::clock::Clock;
use ram_sidecar::time::moment::Moment;
use secrecy::ExposeSecret as _;
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

pub mod http;

/// A secret that stands in inputs, where an answer or a file has one: nothing that is told may repeat it.
///
/// Nobody knows it beforehand, so a piece of it that stands elsewhere is no secret.
pub const PLANTED: &str = "planted0Secret1Of2An3Answer4";

/// The present: 2024-05-21T10:39:29Z.
pub const NOON: i64 = 1_716_287_969;

/// Divides an input into sections.
pub fn sections(data: &[u8]) -> Vec<&[u8]> {
    let mut sections = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(DIVIDER.len()).position(|w| w == DIVIDER) {
        sections.push(&rest[..at]);
        rest = &rest[at + DIVIDER.len()..];
    }
    sections.push(rest);
    sections
}

/// Runs one input to its end, in a time that stands still until everybody waits.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// Returns a clock that stands at [`NOON`].
pub fn clock() -> Clock {
    Clock::simulated(noon(), true)
}

/// Returns the present.
pub fn noon() -> Moment {
    Moment {
        wall: DateTime::from_timestamp(NOON, 0).expect("a time"),
        boot: Duration::from_secs(5000),
    }
}

/// Services that answer what was written for them, in turn; then they cannot be reached.
#[derive(Clone, Debug, Default)]
pub struct Script {
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// What a service was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The address.
    pub url: String,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The form.
    pub form: Option<String>,
}

impl Script {
    /// Takes an answer from each section.
    pub fn new(answers: &[&[u8]]) -> Self {
        let answers: VecDeque<_> = answers.iter().map(|answer| answer.to_vec()).collect();
        Self {
            answers: Arc::new(Mutex::new(answers)),
            asked: Arc::default(),
        }
    }

    /// Returns what was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Transport for Script {
    fn send<'a>(&'a self, call: Call<'a>) -> ResponseFuture<'a> {
        let headers = call.headers.iter();
        let headers = headers.map(|(name, value)| (*name, value.to_string()));
        let asked = Asked {
            method: call.method.to_string(),
            url: call.url.to_owned(),
            headers: headers.collect(),
            form: call.form.as_ref().map(|form| form.to_string()),
        };
        for (name, value) in &asked.headers {
            assert!(
                HeaderValue::from_str(value).is_ok(),
                "{name} cannot be sent"
            );
        }
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(asked);
        assert!(all.len() <= MOST_CALLS, "it does not stop asking");
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.pop_front().ok_or_else(|| {
            Failure::new(
                Stage::Transport,
                LocalCode::ConnectFailed,
                "the script has come to its end",
            )
        });
        Box::pin(async move { Ok(read(&answer?)) })
    }
}

/// Reads an answer as it is written in an input.
fn read(text: &[u8]) -> Response {
    let end = text.windows(2).position(|pair| pair == b"\n\n");
    let head = &text[..end.unwrap_or(text.len())];
    let body = end.map_or(&b""[..], |end| &text[end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let status = status.and_then(|line| line.trim().parse().ok());
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let body = Zeroizing::new(body.to_vec());
    Response::new(status.unwrap_or(200), &headers, body)
}

/// Counts how often a text holds [`PLANTED`].
pub fn planted_in(text: &[u8]) -> usize {
    text.windows(PLANTED.len())
        .filter(|w| *w == PLANTED.as_bytes())
        .count()
}

/// Whether [`PLANTED`] stands in a JSON text only where a secret belongs, which `is_secret` knows by its key.
pub fn is_planted(json: &[u8], is_secret: &dyn Fn(&str) -> bool) -> bool {
    fn count(value: &serde_json::Value, key: &str, is_secret: &dyn Fn(&str) -> bool) -> usize {
        match value {
            serde_json::Value::String(text) if is_secret(key) => usize::from(text == PLANTED),
            serde_json::Value::Array(items) => {
                items.iter().map(|item| count(item, "", is_secret)).sum()
            }
            serde_json::Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| count(value, name, is_secret))
                .sum(),
            _ => 0,
        }
    }
    let parsed = serde_json::from_slice(json).unwrap_or_default();
    planted_in(json) == count(&parsed, "", is_secret)
}

/// Checks what is told of a failure: one line, bounded, and nothing in it of the secrets that were `sent`.
pub fn check_failure(failure: &Failure, sent: &[&str]) {
    check_line(&failure.to_string(), sent);
    let code = failure.code.as_str();
    check_line(code, sent);
    assert!(!code.is_empty() || failure.stage == Stage::Sts);
    assert!(!failure.message.is_empty() && !failure.advice.is_empty());
}

/// Checks a text that is shown: no piece of a secret that is known may stand in it, however that is encoded.
pub fn check_line(text: &str, secrets: &[&str]) {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!text.contains(breaks), "more than a line: {text:?}");
    let length = text.chars().count();
    assert!(length <= LONGEST_LINE, "{length} characters");
    let once: Vec<u8> = percent_decode(text.as_bytes()).collect();
    let twice: Vec<u8> = percent_decode(&once).collect();
    let mut known: Vec<u64> = secrets.iter().flat_map(|s| pieces(s.as_bytes())).collect();
    known.sort_unstable();
    let mut forms = vec![text.as_bytes(), &once, &twice];
    forms.dedup();
    for form in forms {
        let is_told = pieces(form).any(|piece| known.binary_search(&piece).is_ok());
        assert!(!is_told, "a piece of a secret stands in {text:?}");
    }
}

/// Returns every stretch of eight bytes, as a number: so much of a secret tells too much.
fn pieces(text: &[u8]) -> impl Iterator<Item = u64> {
    let pieces = text.windows(8).filter_map(|piece| piece.try_into().ok());
    pieces.map(u64::from_be_bytes)
}

/// Checks that keys are whole.
pub fn check_keys(keys: &Keys) {
    assert!(is_key_text(&keys.access_key_id));
    for secret in keys.secrets() {
        assert!(is_key_text(secret));
    }
}

/// Checks that credentials are whole and good for a while, and that every document of them is one that clients can read.
pub fn check_lease(lease: &Lease, now: Moment, longest: Duration) {
    let credentials = &lease.credentials;
    check_keys(&credentials.keys());
    assert!(!now.is_past(lease.deadline));
    assert!(now.until(lease.deadline) <= lease.lifetime && lease.lifetime <= longest);
    check_documents(credentials);
}

fn check_documents(credentials: &Credentials) {
    // Python's and Java's SDKs read no other form.
    assert_eq!(
        timestamp(credentials.expires_at).len(),
        20,
        "{credentials:?}"
    );
    assert_eq!(
        timestamp(credentials.issued_at).len(),
        20,
        "{credentials:?}"
    );
    let end = DateTime::from_timestamp(credentials.expires_at.timestamp(), 0);
    for (name, format) in FILES.into_iter().chain(PRINTED) {
        let file = format.file(credentials);
        if !file.is_empty() && name != "process" {
            assert_eq!(format.expiration(&file), end, "{name}");
        }
    }
    let last = ossfs::render(credentials).last();
    assert_eq!(last.and_then(|(_, file)| ossfs::expiration(&file)), end);
    for document in [json::render(credentials), container::render(credentials)] {
        let fields: serde_json::Map<_, _> = serde_json::from_slice(&document).expect("an object");
        assert!(
            fields
                .values()
                .all(|value| value.as_str().is_some_and(|v| !v.is_empty()))
        );
        let token = credentials.security_token.expose_secret();
        assert!(fields.values().any(|value| value == token));
    }
}

const DIVIDER: &[u8] = b"\n%%\n";

/// Two endpoints, or the metadata service with a new token for each of its two questions.
const MOST_CALLS: usize = 8;

/// A message from outside is cut after 1000 characters; two of them, and the words around.
const LONGEST_LINE: usize = 6000;
