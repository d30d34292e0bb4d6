//! The admin listener: probes, and the request to stop. None of its types gives access to a secret.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use rustix::process::geteuid;
use tokio::sync::watch;
use tracing::info;

use crate::files::writer;
use crate::refresh::store::HealthReader;
use crate::server::probe::ProbeResult;
use crate::time::clock::Clock;

use super::access::CallerLog;
use super::caller::Addresses;
use super::request_check::{self, Refusal, Rules};
use super::respond;

/// What the admin router needs.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The health of the credentials.
    pub health: HealthReader,
    /// The status of each file.
    pub files: Vec<watch::Receiver<writer::Status>>,
    /// The status of the saved state, if one is configured.
    pub state: Option<watch::Receiver<writer::Status>>,
    /// Whether the process is shutting down.
    pub stopping: watch::Receiver<bool>,
    /// Set when a caller requests the stop.
    pub stop: Arc<watch::Sender<bool>>,
    /// The clock.
    pub clock: Clock,
    /// Logs refusals.
    pub caller_log: Arc<CallerLog>,
    /// The only users who may request the stop, if they are restricted.
    pub allow_uids: Option<Vec<u32>>,
}

/// Returns the router of the admin listener.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/startup", get(startup))
        .route("/stop", post(stop).fallback(not_post))
        .fallback(not_found)
        .method_not_allowed_fallback(not_get)
        .with_state(Arc::new(admin))
}

async fn not_found() -> Response {
    respond::not_found(
        "the probes are /live, /ready and /startup; POST /stop shuts the process down",
    )
}

async fn not_get() -> Response {
    respond::method_not_allowed("GET, HEAD", "use GET for a probe")
}

async fn not_post() -> Response {
    respond::method_not_allowed("POST", "use POST to shut the process down")
}

async fn live() -> Response {
    probe(super::probe::live())
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let health = admin.health.health(admin.clock.now());
    let mut is_waiting = false;
    let mut failed = None;
    for file in &admin.files {
        match &*file.borrow() {
            writer::Status::Written => {}
            writer::Status::Waiting => is_waiting = true,
            writer::Status::Failed(failure) => failed = Some(Arc::clone(failure)),
        }
    }
    let state = admin.state.as_ref().map(|state| state.borrow().clone());
    let not_saved = match state {
        Some(writer::Status::Failed(failure)) => Some(failure),
        _ => None,
    };
    probe(super::probe::ready(
        &health,
        failed.as_deref(),
        is_waiting,
        not_saved.as_deref(),
        *admin.stopping.borrow(),
    ))
}

async fn startup(State(admin): State<Arc<Admin>>) -> Response {
    let health = admin.health.health(admin.clock.now());
    probe(super::probe::startup(&health))
}

fn probe(result: ProbeResult) -> Response {
    let status = if result.passes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    respond::json(status, result.body)
}

/// Begins the shutdown if a program of this pod requests it: over loopback, and not from a web page.
async fn stop(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let addresses = request.extensions().get::<Addresses>();
    // Both addresses: a proxy of the pod's traffic may connect from a loopback address to the pod's own address.
    let is_loopback = addresses.is_some_and(|addresses| {
        addresses.peer.ip().is_loopback() && addresses.local.ip().is_loopback()
    });
    let uid = match addresses.map(Addresses::owner).transpose() {
        Ok(owner) => owner.flatten().map(|owner| owner.uid),
        Err(error) if admin.allow_uids.is_some() => return admin.caller_log.refuse_unknown(&error),
        Err(_) => None,
    };
    // The user of this process is always allowed, because that user could also send it a signal.
    let is_own_user = uid == Some(geteuid().as_raw());
    let allow_uids = admin.allow_uids.as_deref().filter(|_| !is_own_user);
    let rules = Rules {
        bound: addresses.map_or_else(
            || Ipv4Addr::LOCALHOST.into(),
            |addresses| addresses.local.ip(),
        ),
        methods: &[Method::POST],
    };
    let admitted = request_check::check(&request, rules).and_then(|()| {
        if is_loopback {
            request_check::admit(true, uid, false, allow_uids)
        } else {
            Err(REMOTE_STOP)
        }
    });
    if let Err(refusal) = admitted {
        let (code, message) = (refusal.code, refusal.message);
        admin.caller_log.log_refused(code, message, uid);
        return respond::error(refusal.status, code, message);
    }
    info!("A program requested the shutdown of this process");
    admin.stop.send_replace(true);
    let body = respond::to_json_line(&serde_json::json!({ "status": "stopping" }));
    respond::json(StatusCode::ACCEPTED, body)
}

const REMOTE_STOP: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "RemoteRefused",
    message: "only a program of the same pod may stop this process, by its loopback address",
};
