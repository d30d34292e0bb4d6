//! Serves HTTP: reviews of pods, and the probes.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use hyper::body::Body as _;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::failure::redact;
use crate::inject::admission::{Decision, Malformed, Outcome, Policy, Review};
use crate::inject::{self, Annotations};
use crate::server::respond::{self, method_not_allowed};

use super::accounts::Accounts;

/// State shared by all connections.
pub(super) struct Shared {
    pub(super) acceptor: TlsAcceptor,
    pub(super) defaults: inject::Request,
    pub(super) policy: Policy,
    pub(super) accounts: Option<Accounts>,
    pub(super) stopping: watch::Receiver<bool>,
    /// Permits for large bodies in memory.
    pub(super) large: Semaphore,
    /// Events that are logged only once, because a client would repeat them with every request.
    pub(super) logged: Mutex<BTreeSet<&'static str>>,
}

/// Why a request is rejected.
struct Rejection(StatusCode, Malformed);

impl Shared {
    /// Returns the router of one connection; it sets `busy` when a whole request has arrived.
    pub(super) fn router(self: Arc<Self>, busy: Arc<AtomicBool>) -> Router {
        Router::new().fallback(respond).with_state((self, busy))
    }

    /// Whether an event has not been logged yet.
    pub(super) fn is_first(&self, event: &'static str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.insert(event)
    }

    async fn respond(
        &self,
        request: Request<Body>,
        busy: &AtomicBool,
    ) -> Result<Response, Rejection> {
        let (head, body) = request.into_parts();
        let (is_get, is_post) = (
            [Method::GET, Method::HEAD].contains(&head.method),
            head.method == Method::POST,
        );
        match head.uri.path() {
            "/live" if is_get => Ok(probe(true)),
            "/ready" if is_get => Ok(probe(!*self.stopping.borrow())),
            "/inject" if is_post => {
                check_type(&head.headers)?;
                let (text, _permit) = read(body, &head.headers, &self.large).await?;
                busy.store(true, Ordering::Relaxed);
                self.review(&text).await
            }
            "/live" | "/ready" => Ok(method_not_allowed(
                "GET, HEAD",
                "send a GET request to a probe",
            )),
            "/inject" => Ok(method_not_allowed(
                "POST",
                "send a review in a POST request",
            )),
            _ => reject(
                StatusCode::NOT_FOUND,
                "NotFound",
                "send reviews to /inject; the probes are /live and /ready",
            ),
        }
    }

    async fn review(&self, text: &[u8]) -> Result<Response, Rejection> {
        let mut account = Ok(Annotations::new());
        if let Some(accounts) = &self.accounts
            // The parsed review uses more memory than its text, so it is dropped before the API server is called.
            && let Some((namespace, name)) = account_of(&Review::read(text)?)
        {
            let annotations = accounts.annotations(&namespace, &name).await;
            account = annotations.map_err(|error| error.to_string());
        }
        let review = Review::read(text)?;
        let decision = review.decide(&self.defaults, &account, self.policy);
        log(&review, &decision);
        let body = decision.review().to_string();
        Ok(respond::json(StatusCode::OK, Bytes::from(body)))
    }
}

async fn respond(
    State((shared, busy)): State<(Arc<Shared>, Arc<AtomicBool>)>,
    request: Request<Body>,
) -> Response {
    match shared.respond(request, &busy).await {
        Ok(response) => response,
        Err(Rejection(status, Malformed { code, message })) => {
            if shared.is_first(code) {
                warn!(code, "A request was rejected: {message}");
            }
            respond::error(status, code, &message)
        }
    }
}

impl From<Malformed> for Rejection {
    fn from(malformed: Malformed) -> Self {
        Self(StatusCode::BAD_REQUEST, malformed)
    }
}

fn reject<T>(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
) -> Result<T, Rejection> {
    Err(Rejection(status, Malformed::new(code, message)))
}

/// Returns the namespace and the name of the pod's service account.
fn account_of(review: &Review) -> Option<(String, String)> {
    let name = review.service_account()?.to_owned();
    Some((review.namespace.clone(), name))
}

/// Logs a decision in one line. The names are untrusted.
fn log(review: &Review, decision: &Decision) {
    let (namespace, name) = (redact(&review.namespace, &[]), redact(&review.name, &[]));
    let role = decision.role.as_deref();
    let outcome = decision.outcome.name();
    let reason = decision.errors.join("; ");
    match decision.outcome {
        Outcome::Injected | Outcome::LeftAlone => {
            info!(namespace, name, role, outcome, "A pod was reviewed");
        }
        Outcome::Admitted | Outcome::Denied => {
            warn!(namespace, name, outcome, reason, "A pod was reviewed");
        }
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Rejection> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = given.and_then(|text| text.split(';').next()).map(str::trim);
    if essence.is_some_and(|text| text.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let message = "a review is JSON; send it with Content-Type: application/json";
    reject(StatusCode::UNSUPPORTED_MEDIA_TYPE, "WrongType", message)
}

/// Reads a body; a large one waits for a permit, which is returned too.
///
/// Size and time are bounded. The rest of a body that is too large is read and dropped, because a client that is still
/// sending would not read the response.
async fn read<'a>(
    mut body: Body,
    headers: &HeaderMap,
    large: &'a Semaphore,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'a>>), Rejection> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let (mut text, mut permit, mut size) = (Vec::new(), None, 0_usize);
    let mut deadline = Instant::now() + BODY_TIMEOUT;
    loop {
        let chunk = match next(&mut body, deadline).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            // What is too large is refused as that, however slowly the rest arrives.
            Err(_) if size.max(declared.unwrap_or_default()) > MAX_BODY => {
                size = usize::MAX;
                break;
            }
            Err(refused) => return Err(refused),
        };
        size = size.saturating_add(chunk.len());
        if size > MAX_READ {
            break;
        }
        if size > MAX_BODY {
            text = Vec::new();
            permit = None;
            continue;
        }
        if size > SMALL_BODY && permit.is_none() {
            permit = large.acquire().await.ok();
            deadline = Instant::now() + BODY_TIMEOUT;
            text.reserve_exact(declared.unwrap_or(MAX_BODY).min(MAX_BODY) - text.len());
        }
        text.extend_from_slice(&chunk);
    }
    if size > MAX_BODY {
        let message = format!("the body has more than {MAX_BODY} bytes, which no pod has");
        return reject(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message);
    }
    Ok((text, permit))
}

async fn next(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, Rejection> {
    loop {
        let frame = timeout_at(deadline, poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))).await;
        let Ok(frame) = frame else {
            let message = "the body did not arrive within 5 seconds; send it without a pause";
            return reject(StatusCode::REQUEST_TIMEOUT, "TooSlow", message);
        };
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
            Some(Err(_)) => {
                let message = "the body ended early; send all of it";
                return Err(Malformed::new("Incomplete", message).into());
            }
        }
    }
}

fn probe(is_ok: bool) -> Response {
    let (status, body) = if is_ok {
        (StatusCode::OK, &br#"{"status":"ok"}"#[..])
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &br#"{"status":"stopping"}"#[..],
        )
    };
    respond::json(status, Bytes::from_static(body))
}

/// Bytes: more than the API server can send in a review, where the pod has at most 3 MiB.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Bytes that are read of a body that is too large.
const MAX_READ: usize = 16 * 1024 * 1024;

/// Bytes that every connection may use without a permit: more than a usual review has.
const SMALL_BODY: usize = 32 * 1024;

/// Limits the time of a body: a megabyte a second is slow inside a cluster.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many bodies larger than [`SMALL_BODY`] may be in memory at the same time.
pub(super) const LARGE_BODIES: usize = 4;
