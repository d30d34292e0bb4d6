//! What is asked of the webhook over HTTP: reviews of pods, and the probes.

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
use crate::server::respond;

use super::accounts::{Accounts, Name};

/// What all connections have in common.
pub(super) struct Room {
    pub(super) acceptor: TlsAcceptor,
    pub(super) defaults: inject::Request,
    pub(super) policy: Policy,
    pub(super) accounts: Option<Accounts>,
    pub(super) leaving: watch::Receiver<bool>,
    /// How many large bodies may be in memory at a time.
    pub(super) large: Semaphore,
    /// What was told once, and comes again with every request of whoever causes it.
    pub(super) told: Mutex<BTreeSet<&'static str>>,
}

/// Why a request is no review.
struct Refused(StatusCode, Malformed);

type Answered = Result<Response, Refused>;

impl Room {
    /// Returns what is behind one connection; `busy` is set when a request has arrived as a whole.
    pub(super) fn router(self: Arc<Self>, busy: Arc<AtomicBool>) -> Router {
        Router::new().fallback(respond).with_state((self, busy))
    }

    /// Whether something has not been told yet.
    pub(super) fn is_new(&self, what: &'static str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(what)
    }

    async fn answer(&self, request: Request<Body>, busy: &AtomicBool) -> Answered {
        let (head, body) = request.into_parts();
        let (is_get, is_post) = (
            [Method::GET, Method::HEAD].contains(&head.method),
            head.method == Method::POST,
        );
        match head.uri.path() {
            "/live" if is_get => Ok(probe(true)),
            "/ready" if is_get => Ok(probe(!*self.leaving.borrow())),
            "/inject" if is_post => {
                check_type(&head.headers)?;
                let (text, _permit) = read(body, &head.headers, &self.large).await?;
                busy.store(true, Ordering::Relaxed);
                self.review(&text).await
            }
            "/live" | "/ready" => Ok(not_allowed("GET, HEAD", "probes are asked with GET")),
            "/inject" => Ok(not_allowed("POST", "a review is sent with POST")),
            _ => Err(Refused(
                StatusCode::NOT_FOUND,
                Malformed::new(
                    "NotFound",
                    "reviews are sent to /inject; the probes are /live and /ready",
                ),
            )),
        }
    }

    async fn review(&self, text: &[u8]) -> Answered {
        let mut account = Ok(Annotations::new());
        if let Some(accounts) = &self.accounts
            // What is read of the text takes more memory than the text, so that it is not kept while others wait too.
            && let Some(name) = account_of(&Review::read(text)?)
        {
            account = accounts.annotations(&name).await;
        }
        let review = Review::read(text)?;
        let decision = review.decide(&self.defaults, &account, self.policy);
        tell(&review, &decision);
        let body = decision.review().to_string();
        Ok(respond::json(StatusCode::OK, Bytes::from(body)))
    }
}

async fn respond(
    State((room, busy)): State<(Arc<Room>, Arc<AtomicBool>)>,
    request: Request<Body>,
) -> Response {
    match room.answer(request, &busy).await {
        Ok(answer) => answer,
        Err(Refused(status, Malformed { code, message })) => {
            if room.is_new(code) {
                warn!(code, "A request is refused: {message}");
            }
            respond::error(status, code, &message)
        }
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self(StatusCode::BAD_REQUEST, malformed)
    }
}

fn account_of(review: &Review) -> Option<Name> {
    Some(Name {
        namespace: review.namespace().to_owned(),
        name: review.account()?.to_owned(),
    })
}

/// Every decision is one line. Names are texts of others.
fn tell(review: &Review, decision: &Decision) {
    let (namespace, name) = (redact(review.namespace(), &[]), redact(review.name(), &[]));
    let role = decision.role.as_deref();
    let outcome = decision.outcome.name();
    let reason = decision.mistakes.join("; ");
    match decision.outcome {
        Outcome::Injected | Outcome::LeftAlone => {
            info!(namespace, name, role, outcome, "A pod was reviewed");
        }
        Outcome::Admitted | Outcome::Denied => {
            warn!(namespace, name, outcome, reason, "A pod was reviewed");
        }
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Refused> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = given.and_then(|text| text.split(';').next()).map(str::trim);
    if essence.is_some_and(|text| text.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let message = "a review is JSON; send it with Content-Type: application/json";
    Err(Refused(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Malformed::new("WrongType", message),
    ))
}

/// Reads a body; a large one when it is its turn, with the permit that it holds.
///
/// Its size is bounded, and so is its time. Of a body that is too large the rest is read all the same, because a client that
/// still sends would see no answer.
async fn read<'a>(
    mut body: Body,
    headers: &HeaderMap,
    large: &'a Semaphore,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'a>>), Refused> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let (mut text, mut permit, mut size) = (Vec::new(), None, 0_usize);
    let mut by = Instant::now() + BODY;
    while let Some(chunk) = next(&mut body, by).await? {
        size = size.saturating_add(chunk.len());
        if size > MOST_READ {
            break;
        }
        if size > MOST {
            text = Vec::new();
            permit = None;
            continue;
        }
        if size > SMALL && permit.is_none() {
            permit = large.acquire().await.ok();
            by = Instant::now() + BODY;
            text.reserve_exact(declared.unwrap_or(MOST).min(MOST) - text.len());
        }
        text.extend_from_slice(&chunk);
    }
    if size > MOST {
        let message = format!("the body has more than {MOST} bytes, which no pod has");
        return Err(Refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            Malformed::new("TooLarge", message),
        ));
    }
    Ok((text, permit))
}

async fn next(body: &mut Body, by: Instant) -> Result<Option<Bytes>, Refused> {
    loop {
        let frame = timeout_at(by, poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))).await;
        let Ok(frame) = frame else {
            let message = "the body did not arrive in time; send it at once";
            return Err(Refused(
                StatusCode::REQUEST_TIMEOUT,
                Malformed::new("TooSlow", message),
            ));
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

fn probe(good: bool) -> Response {
    let (status, body) = if good {
        (StatusCode::OK, &br#"{"status":"ok"}"#[..])
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &br#"{"status":"stopping"}"#[..],
        )
    };
    respond::json(status, Bytes::from_static(body))
}

fn not_allowed(allow: &'static str, message: &str) -> Response {
    respond::method_not_allowed(allow, "MethodNotAllowed", message)
}

/// More than a review that the API server can send, of which the pod has at most 3 MiB.
const MOST: usize = 4 * 1024 * 1024;

/// How much is read of what is too large.
const MOST_READ: usize = 16 * 1024 * 1024;

/// What every connection may keep in memory: more than a usual review has.
const SMALL: usize = 32 * 1024;

/// How long a body may take: some megabytes a second is slow in a cluster.
const BODY: Duration = Duration::from_secs(5);

/// How many bodies larger than [`SMALL`] may be in memory at a time.
pub(super) const LARGE: usize = 4;
