//! The admin listener: probes, metrics, the status page, and the request to stop. None of its types gives access to a secret.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use rustix::process::geteuid;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::files::writer;
use crate::metrics::{Counters, Exposition};
use crate::refresh::store::HealthReader;
use crate::server::probe::ProbeResult;
use crate::time::clock::Clock;

use super::caller::Addresses;
use super::caller_log::CallerLog;
use super::request_check::{self, Head, Refusal, Rules};
use super::respond;
use super::status::{self, About, Output, Parts, Report};

/// What the admin router needs.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The health of the credentials.
    pub health: HealthReader,
    /// What does not change.
    pub about: About,
    /// The files.
    pub files: Vec<Output>,
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
    /// What is counted.
    pub counters: Counters,
    /// The metrics.
    pub metrics: Arc<Exposition>,
    /// Who may request the stop.
    pub stop_callers: StopCallers,
    /// The names, besides `localhost`, by which probes may call this machine.
    pub hosts: Vec<String>,
}

/// Who may request the stop, besides root and the user of this process: they could also send it a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCallers {
    /// Nobody: whoever stops the process can bind its address before it is started again.
    Owner,
    /// Everyone or, if they are restricted, these users.
    Anyone(Option<Vec<u32>>),
}

impl StopCallers {
    /// Decides whether a user may request the stop of a process of the user `own`. `uid` is `None` if the kernel does not
    /// know the owner of the connection.
    fn admit(&self, uid: Option<u32>, own: u32) -> Result<(), Refusal> {
        match (self, uid) {
            (_, Some(uid)) if uid == own || uid == ROOT => Ok(()),
            (Self::Anyone(allow_uids), _) => {
                request_check::admit(true, uid, false, allow_uids.as_deref())
            }
            (Self::Owner, Some(_)) => Err(STOP),
            (Self::Owner, None) => Err(UNKNOWN_STOP),
        }
    }
}

/// Returns the router of the admin listener.
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let checked = Arc::clone(&admin);
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/startup", get(startup))
        .route("/metrics", get(metrics))
        .route("/", get(status))
        .route("/stop", post(stop).fallback(not_post))
        .fallback(not_found)
        .method_not_allowed_fallback(not_get)
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let checked = request_check::check_probe(&request, &checked.hosts)
                .map_err(|refusal| checked.refuse(&refusal, None));
            async move {
                match checked {
                    Ok(()) => next.run(request).await,
                    Err(refusal) => refusal,
                }
            }
        }))
        .with_state(admin)
}

async fn not_found() -> Response {
    respond::not_found(
        "the probes are /live, /ready and /startup, and the metrics /metrics; POST /stop shuts the process down",
    )
}

async fn not_get() -> Response {
    respond::method_not_allowed("GET, HEAD", "use GET for a probe or the metrics")
}

async fn not_post() -> Response {
    respond::method_not_allowed("POST", "use POST to shut the process down")
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    respond::metrics(&admin.metrics, &headers)
}

async fn live() -> Response {
    probe(super::probe::live())
}

/// Tells a person or a program of this machine everything that may be told.
async fn status(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let addresses = request.extensions().get::<Addresses>();
    let bound = bound(addresses);
    let checked = request_check::check_page(&request, bound);
    let checked = checked.and_then(|()| {
        if is_loopback(addresses) {
            Ok(())
        } else {
            Err(REMOTE_STATUS)
        }
    });
    if let Err(refusal) = checked {
        return admin.refuse(&refusal, None);
    }
    let report = admin.report();
    if respond::accepts(request.headers(), "application/json") {
        return respond::json(StatusCode::OK, respond::to_json_line(&report));
    }
    let page = status::page::render(&report);
    let mut response = respond::with(StatusCode::OK, "text/html; charset=utf-8", page.into());
    let headers = response.headers_mut();
    if let Ok(policy) = status::page::policy().try_into() {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let nobody = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, nobody);
    response
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    probe(admin.ready())
}

impl Admin {
    fn ready(&self) -> ProbeResult {
        let health = self.health.health(self.clock.now());
        let mut is_waiting = false;
        let mut failed = None;
        for file in &self.files {
            match &*file.status.borrow() {
                writer::Status::Written => {}
                writer::Status::Waiting => is_waiting = true,
                writer::Status::Failed(failure) => failed = Some(Arc::clone(failure)),
            }
        }
        let state = self.state.as_ref().map(|state| state.borrow().clone());
        let not_saved = match state {
            Some(writer::Status::Failed(failure)) => Some(failure),
            _ => None,
        };
        super::probe::ready(
            &health,
            failed.as_deref(),
            is_waiting,
            not_saved.as_deref(),
            *self.stopping.borrow(),
        )
    }

    fn report(&self) -> Report {
        let now = self.clock.now();
        let parts = Parts {
            about: &self.about,
            health: &self.health.health(now),
            status: self.ready().status,
            outputs: &self.files,
            counters: &self.counters,
            callers: &self.caller_log,
        };
        Report::new(&parts, now)
    }
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

/// Whether a request is made on this machine.
///
/// Both addresses: a proxy of the pod's traffic may connect from a loopback address to the pod's own address.
fn is_loopback(addresses: Option<&Addresses>) -> bool {
    addresses.is_some_and(|addresses| {
        addresses.peer.ip().is_loopback() && addresses.local.ip().is_loopback()
    })
}

/// Returns the address to which a request was sent.
fn bound(addresses: Option<&Addresses>) -> IpAddr {
    addresses.map_or_else(
        || Ipv4Addr::LOCALHOST.into(),
        |addresses| addresses.local.ip(),
    )
}

/// Begins the shutdown if a program of this pod requests it: over loopback, and not from a web page.
async fn stop(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let addresses = request.extensions().get::<Addresses>().copied();
    let rules = Rules {
        bound: bound(addresses.as_ref()),
        methods: &[Method::POST],
    };
    let checked = request_check::check(&Head::of(&request), rules);
    let checked = match checked {
        Ok(()) if !is_loopback(addresses.as_ref()) => Err(REMOTE_STOP),
        checked => checked,
    };
    if let Err(refusal) = checked {
        admin
            .caller_log
            .log_refusal(&refusal, None, addresses)
            .await;
        return respond::error(refusal.status, refusal.code, refusal.message);
    }
    let owner = match addresses {
        Some(addresses) => addresses.owner().await,
        None => Ok(None),
    };
    if let Err(error) = &owner {
        debug!(%error, "Cannot query the kernel for the owner of the connection");
    }
    let uid = owner.unwrap_or_default().map(|owner| owner.uid);
    if let Err(refusal) = admin.stop_callers.admit(uid, geteuid().as_raw()) {
        return admin.refuse(&refusal, uid);
    }
    info!("A program requested the shutdown of this process");
    admin.stop.send_replace(true);
    let body = respond::to_json_line(&serde_json::json!({ "status": "stopping" }));
    respond::json(StatusCode::ACCEPTED, body)
}

impl Admin {
    fn refuse(&self, refusal: &Refusal, uid: Option<u32>) -> Response {
        let Refusal {
            status,
            code,
            message,
        } = *refusal;
        self.caller_log.log_refused(code, message, uid);
        respond::error(status, code, message)
    }
}

const ROOT: u32 = 0;

const STOP: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "StopRefused",
    message: "only root and the user that this process runs as may stop it; request it as one of them, or set admin.stop to anyone (RAM_SIDECAR_ADMIN_STOP)",
};

const UNKNOWN_STOP: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "StopRefused",
    message: "only root and the user that this process runs as may stop it, and the kernel does not tell which user requests this; use `ram-sidecar stop` or curl on this machine, or set admin.stop to anyone (RAM_SIDECAR_ADMIN_STOP)",
};

const REMOTE_STATUS: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "RemoteRefused",
    message: "the status is only for this machine, by its loopback address; from elsewhere there are the probes /live, /ready and /startup, and /metrics; to have both, let admin.listen be 0.0.0.0 and ask 127.0.0.1",
};

const REMOTE_STOP: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "RemoteRefused",
    message: "only a program of the same pod may stop this process, by its loopback address",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_its_own_user_stop_a_process_unless_others_may() {
        let own = 1000;
        let (anyone, some) = (
            StopCallers::Anyone(None),
            StopCallers::Anyone(Some(vec![7])),
        );
        for (callers, uid, code) in [
            (&StopCallers::Owner, Some(own), None),
            (&StopCallers::Owner, Some(0), None),
            (&StopCallers::Owner, Some(7), Some("StopRefused")),
            (&StopCallers::Owner, None, Some("StopRefused")),
            (&anyone, Some(7), None),
            (&anyone, None, None),
            (&some, Some(7), None),
            (&some, Some(own), None),
            (&some, Some(8), Some("CallerRefused")),
            (&some, None, Some("CallerRefused")),
        ] {
            let admitted = callers.admit(uid, own);
            let found = admitted.err().map(|refusal| refusal.code);
            assert_eq!(found, code, "{callers:?} {uid:?}");
        }
    }
}
