//! Serves HTTP: reviews of pods, and the probes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::failure::redact;
use crate::inject::admission::{self, CalledFor, Decision, Malformed, Outcome, Policy, Review};
use crate::inject::{self, Annotations};
use crate::metrics::Exposition;
use crate::server::respond::{self, method_not_allowed};

use super::accounts::Accounts;
use super::body::{Budget, Refusal};
use super::metrics::Counters;
use super::slots::{Slot, Slots};

/// State shared by all connections.
pub(super) struct Shared {
    pub(super) acceptor: TlsAcceptor,
    pub(super) defaults: inject::Request,
    pub(super) policy: Policy,
    pub(super) accounts: Option<Accounts>,
    /// Whether the cluster has no native sidecars.
    pub(super) is_old: AtomicBool,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) slots: Arc<Slots>,
    pub(super) counters: Counters,
    pub(super) metrics: Exposition,
    /// The memory for bodies.
    pub(super) bodies: Budget,
    /// Events that are logged only once, because a client would repeat them with every request.
    pub(super) logged: Mutex<BTreeSet<&'static str>>,
}

/// Why a request is rejected.
struct Rejection(StatusCode, Malformed);

impl Shared {
    /// Returns the router of one connection.
    pub(super) fn router(self: Arc<Self>, slot: Arc<Slot>) -> Router {
        Router::new().fallback(respond).with_state((self, slot))
    }

    /// Whether an event has not been logged yet.
    pub(super) fn is_first(&self, event: &'static str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.insert(event)
    }

    async fn respond(&self, request: Request<Body>, slot: &Slot) -> Result<Response, Rejection> {
        let (head, body) = request.into_parts();
        let (is_get, is_post) = (
            [Method::GET, Method::HEAD].contains(&head.method),
            head.method == Method::POST,
        );
        let path = head.uri.path();
        if let Some(called_for) = called_for(path) {
            if !is_post {
                return Ok(method_not_allowed(
                    "POST",
                    "send a review in a POST request",
                ));
            }
            check_type(&head.headers)?;
            let declared = declared_size(&head.headers);
            let (text, _share) = self
                .bodies
                .read(body, declared, slot.host, || slot.heard())
                .await?;
            slot.has_request();
            return self.review(&text, called_for).await;
        }
        match path {
            "/live" if is_get => Ok(probe(true)),
            "/ready" if is_get => Ok(probe(!*self.stopping.borrow())),
            "/metrics" if is_get => Ok(respond::metrics(&self.metrics, &head.headers)),
            "/live" | "/ready" | "/metrics" => Ok(method_not_allowed(
                "GET, HEAD",
                "send a GET request to a probe or the metrics",
            )),
            _ => reject(
                StatusCode::NOT_FOUND,
                "NotFound",
                "send reviews to /inject; the probes are /live and /ready, the metrics /metrics",
            ),
        }
    }

    async fn review(&self, text: &[u8], called_for: CalledFor) -> Result<Response, Rejection> {
        let started = Instant::now();
        let mut account = Ok(Annotations::new());
        if let Some(accounts) = &self.accounts
            // The parsed review uses more memory than its text, so it is dropped before the API server is called.
            && let Some((namespace, name)) = account_of(&Review::read(text)?)
        {
            let annotations = accounts.annotations(&namespace, &name).await;
            self.counters.looked_up(annotations.is_ok());
            account = annotations.map_err(|error| error.to_string());
        }
        let review = Review::read(text)?.called_for(called_for);
        let defaults = if self.is_old.load(Ordering::Relaxed) {
            &self.defaults.clone().or(&admission::of_old_cluster())
        } else {
            &self.defaults
        };
        let decision = review.decide(defaults, &account, self.policy);
        log(&review, &decision);
        self.counters.reviewed(&decision, started.elapsed());
        let body = decision.review().to_string();
        Ok(respond::json(StatusCode::OK, Bytes::from(body)))
    }
}

async fn respond(
    State((shared, slot)): State<(Arc<Shared>, Arc<Slot>)>,
    request: Request<Body>,
) -> Response {
    match shared.respond(request, &slot).await {
        Ok(response) => response,
        Err(Rejection(status, Malformed { code, message })) => {
            shared.counters.rejected(code);
            if shared.is_first(code) {
                warn!(code, error = message, "A request was rejected");
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

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = refusal.status();
        Self(status, Malformed::new(code, refusal.to_string()))
    }
}

fn reject<T>(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
) -> Result<T, Rejection> {
    Err(Rejection(status, Malformed::new(code, message)))
}

/// Returns for which pods the API server calls a path; `None` if it is not a path of reviews.
fn called_for(path: &str) -> Option<CalledFor> {
    match path {
        "/inject" => Some(CalledFor::OwnLabel),
        "/inject/ack" => Some(CalledFor::Ack),
        "/inject/label" => Some(CalledFor::Label),
        _ => None,
    }
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

fn declared_size(headers: &HeaderMap) -> Option<usize> {
    let size = headers.get(header::CONTENT_LENGTH)?;
    size.to_str().ok()?.parse().ok()
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
