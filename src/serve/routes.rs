//! What is answered where: credentials on the data listener, probes on the admin listener.
//!
//! Only the data router holds a [`Subscriber`]; the admin router cannot reach a secret by its types.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tracing::debug;

use crate::clock::Clock;
use crate::sink;
use crate::snapshot::{HealthReader, Offer, Subscriber};
use crate::view;
use crate::view::probe::Verdict;

use super::guard::{self, Refusal};

/// The path of the credentials, but for its last segment.
pub const PREFIX: &str = "/api/v1/credentials/";

/// What the data router needs.
#[derive(Clone, Debug)]
pub struct Data {
    /// Where the credentials are.
    pub subscriber: Subscriber,
    /// What time it is.
    pub clock: Clock,
    /// The last segment of the path. A secret, if it was chosen as one.
    pub key: SecretString,
}

/// Returns the router of the data listener that is bound to `bound`.
pub fn data(data: Data, bound: IpAddr) -> Router {
    Router::new()
        .route(&format!("{PREFIX}{{key}}"), get(credentials))
        .fallback(not_found)
        .layer(middleware::from_fn(move |request, next| {
            guarded(bound, request, next)
        }))
        .with_state(Arc::new(data))
}

/// What the admin router needs.
#[derive(Clone, Debug)]
pub struct Admin {
    /// How things are.
    pub health: HealthReader,
    /// How each file stands.
    pub files: Vec<watch::Receiver<sink::State>>,
    /// Whether the process is about to stop.
    pub stopping: watch::Receiver<bool>,
    /// What time it is.
    pub clock: Clock,
}

/// Returns the router of the admin listener.
pub fn admin(admin: Admin) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/startup", get(startup))
        .fallback(no_probe)
        .method_not_allowed_fallback(no_method)
        .with_state(Arc::new(admin))
}

async fn guarded(bound: IpAddr, request: Request, next: Next) -> Response {
    let verdict = guard::check(
        request.method(),
        request.uri(),
        request.version(),
        request.headers(),
        bound,
    );
    match verdict {
        Ok(()) => next.run(request).await,
        Err(Refusal {
            status,
            code,
            message,
        }) => {
            debug!(code, "A request was refused");
            let mut response = json(status, view::error(code, message));
            if status == StatusCode::METHOD_NOT_ALLOWED {
                response
                    .headers_mut()
                    .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            response
        }
    }
}

async fn credentials(State(data): State<Arc<Data>>, uri: Uri) -> Response {
    // As it was sent: a key has no characters that are ever encoded.
    let key = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    if !bool::from(key.as_bytes().ct_eq(data.key.expose_secret().as_bytes())) {
        return not_found().await;
    }
    match data.offer().await {
        Offer::Nothing => json(StatusCode::NOT_FOUND, view::no_role()),
        Offer::Held(held) => json(StatusCode::OK, held.document.clone()),
        Offer::Refusal(failure) | Offer::Wait(Some(failure)) => {
            unavailable(view::diagnosis(&failure))
        }
        Offer::Wait(None) => unavailable(view::error(
            "CredentialsPending",
            "credentials are still on their way from STS; try again in a second",
        )),
    }
}

impl Data {
    /// Returns what there is, after a short wait if that may help.
    async fn offer(&self) -> Offer {
        let mut subscriber = self.subscriber.clone();
        let decided = async {
            loop {
                match subscriber.current().offer(self.clock.now()) {
                    Offer::Wait(_) => {
                        subscriber.poke();
                        subscriber.changed().await;
                    }
                    decided => return decided,
                }
            }
        };
        match tokio::time::timeout(HOLD, decided).await {
            Ok(decided) => decided,
            Err(_) => subscriber.current().offer(self.clock.now()),
        }
    }
}

async fn not_found() -> Response {
    let body = view::error(
        "NotFound",
        "credentials are at /api/v1/credentials/<key>, where <key> is the value of serve.key; ALIBABA_CLOUD_CREDENTIALS_URI holds the whole address",
    );
    json(StatusCode::NOT_FOUND, body)
}

async fn no_probe() -> Response {
    json(
        StatusCode::NOT_FOUND,
        view::error("NotFound", "the probes are /live, /ready and /startup"),
    )
}

async fn no_method() -> Response {
    json(
        StatusCode::METHOD_NOT_ALLOWED,
        view::error("MethodNotAllowed", "probes are asked with GET"),
    )
}

async fn live() -> Response {
    probe(view::probe::live())
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let health = admin.health.health(admin.clock.now());
    let mut waiting = false;
    let mut failed = None;
    for file in &admin.files {
        match &*file.borrow() {
            sink::State::Written => {}
            sink::State::Waiting => waiting = true,
            sink::State::Failed(failure) => failed = Some(Arc::clone(failure)),
        }
    }
    probe(view::probe::ready(
        &health,
        failed.as_deref(),
        waiting,
        *admin.stopping.borrow(),
    ))
}

async fn startup(State(admin): State<Arc<Admin>>) -> Response {
    probe(view::probe::startup(
        &admin.health.health(admin.clock.now()),
    ))
}

fn probe(verdict: Verdict) -> Response {
    let status = if verdict.good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, verdict.body)
}

fn unavailable(body: Bytes) -> Response {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, body);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Every answer has a type and a length, .NET decodes nothing without, and none is stored or compressed.
fn json(status: StatusCode, body: Bytes) -> Response {
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Below the five seconds after which SDKs give up, above the time that STS takes on a bad day.
const HOLD: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use tokio::time::Instant;

    use super::*;
    use crate::failure::{Failure, Stage};
    use crate::snapshot::tests::{granted, noon};
    use crate::snapshot::{self, Publisher};

    struct Rig {
        publisher: Publisher,
        clock: Clock,
        router: TowerToHyperService<Router>,
    }

    fn start() -> Rig {
        let (publisher, subscriber, _) = snapshot::channel(|_| Bytes::from_static(b"credentials"));
        let clock = Clock::simulated(noon());
        let data = Data {
            subscriber,
            clock: clock.clone(),
            key: "0".into(),
        };
        let router = super::data(data, [127, 0, 0, 1].into());
        Rig {
            publisher,
            clock,
            router: TowerToHyperService::new(router),
        }
    }

    impl Rig {
        async fn ask(&self) -> (u16, String) {
            let request = Request::builder()
                .uri("/api/v1/credentials/0")
                .header("host", "localhost");
            let response = self
                .router
                .call(request.body(Body::empty()).unwrap())
                .await
                .unwrap();
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_held_for_four_seconds_at_the_most() {
        let rig = start();
        let asked = Instant::now();
        let (status, body) = rig.ask().await;
        assert_eq!((status, asked.elapsed()), (503, Duration::from_secs(4)));
        assert!(body.contains("CredentialsPending"), "{body}");

        // A failure that may pass is waited out too, and then told.
        rig.publisher
            .failed(Failure::new(Stage::Sts, "TimedOut", "slow"), noon());
        let asked = Instant::now();
        let (status, body) = rig.ask().await;
        assert_eq!((status, asked.elapsed()), (503, Duration::from_secs(4)));
        assert!(body.contains("TimedOut"), "{body}");

        // One that only a human can mend is told at once.
        rig.publisher
            .failed(Failure::new(Stage::Sts, "NoPermission", "no"), noon());
        let asked = Instant::now();
        assert_eq!((rig.ask().await.0, asked.elapsed()), (503, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_has_the_clock_looked_at_and_gets_what_comes_of_it() {
        let rig = start();
        let now = rig.clock.now();
        rig.publisher.renewed(granted("old", now), now);
        let renewal = async {
            rig.publisher.poked().await;
            let later = rig.clock.now().after(Duration::from_secs(3600));
            rig.publisher.renewed(granted("new", later), later);
        };
        let (answer, ()) = tokio::join!(rig.ask(), renewal);
        assert_eq!(answer, (200, "credentials".to_owned()));
    }
}
