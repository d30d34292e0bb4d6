//! The data listener: credentials at a secret path, for `credentials_uri` and for AWS SDKs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::formats;

use super::access::{Access, WrongKey};
use super::caller_log::CallerLog;
use super::direct::Direct;
use super::hold::Provider;
use super::request_check::{self, Rules};
use super::respond;
use super::token_file::{TokenFile, Unusable};

/// The path of the credentials, without its last segment.
pub const PREFIX: &str = "/api/v1/credentials/";

/// The path of the credentials for AWS SDKs, without its last segment.
pub const CONTAINER_PREFIX: &str = "/api/v1/container/";

/// The state of the data router.
#[derive(Clone, Debug)]
pub struct Data {
    /// The credentials.
    pub provider: Provider,
    /// The last segment of the path. It is a secret unless it is the default, `0`.
    pub key: SecretString,
    /// The protocol of AWS SDKs, if it is enabled.
    pub container: Option<Container>,
}

/// The protocol of AWS SDKs.
#[derive(Clone, Debug)]
pub struct Container {
    /// The file with the required value of the `Authorization` header, if one is required.
    pub token_file: Option<TokenFile>,
}

/// The callers that the data listener serves.
#[derive(Clone, Debug, Default)]
pub struct AllowedCallers {
    /// Whether other machines are served.
    pub allow_remote: bool,
    /// The only users who are served, if they are restricted.
    pub allow_uids: Option<Vec<u32>>,
}

/// Returns the router of the data listener that is bound to `bound`, and what answers most requests without it.
pub fn router(
    data: Data,
    bound: IpAddr,
    admission: AllowedCallers,
    caller_log: Arc<CallerLog>,
) -> (Router, Direct) {
    let access = Arc::new(Access {
        rules: Rules {
            bound,
            methods: request_check::READ,
        },
        allow_remote: admission.allow_remote,
        allow_uids: admission.allow_uids,
        dialect,
        caller_log,
    });
    let container = match data.container {
        Some(_) => get(container),
        None => get(no_container),
    };
    let path = format!("{PREFIX}{}", data.key.expose_secret());
    let direct = Direct::new(Arc::clone(&access), data.provider.clone(), path.into());
    let data = Arc::new(data);
    let router = Router::new()
        .route(&format!("{PREFIX}{{key}}"), get(credentials))
        .route(&format!("{CONTAINER_PREFIX}{{key}}"), container)
        .fallback(not_found)
        .layer(middleware::from_fn(move |request: Request, next| {
            Arc::clone(&access).check(request, next)
        }))
        .with_state(data);
    (router, direct)
}

/// Returns the name of the protocol that a path belongs to.
pub(crate) fn dialect(path: &str) -> &'static str {
    if path.starts_with(CONTAINER_PREFIX) {
        "container"
    } else {
        "credentials_uri"
    }
}

async fn credentials(State(data): State<Arc<Data>>, uri: Uri) -> Response {
    if !data.is_key(uri.path(), PREFIX) {
        return wrong_key("ALIBABA_CLOUD_CREDENTIALS_URI").await;
    }
    let offer = data.provider.within(HOLD_TIMEOUT).await;
    respond::credentials(offer, |current| current.document.clone())
}

async fn container(State(data): State<Arc<Data>>, uri: Uri, headers: HeaderMap) -> Response {
    if !data.is_key(uri.path(), CONTAINER_PREFIX) {
        return wrong_key("AWS_CONTAINER_CREDENTIALS_FULL_URI").await;
    }
    let authorization = headers.get(header::AUTHORIZATION);
    if let Some(refusal) = data
        .unauthorized(authorization.map_or(b"", |v| v.as_bytes()))
        .await
    {
        return refusal;
    }
    let offer = data.provider.within(CONTAINER_HOLD_TIMEOUT).await;
    respond::credentials(offer, |current| {
        formats::container::render(&current.lease.credentials)
    })
}

impl Data {
    /// Whether a path ends in the key. The path is compared without decoding: clients encode none of the characters of a key.
    fn is_key(&self, path: &str, prefix: &str) -> bool {
        let key = path.strip_prefix(prefix).unwrap_or_default();
        key.as_bytes()
            .ct_eq(self.key.expose_secret().as_bytes())
            .into()
    }

    /// Returns the refusal of a request if its `Authorization` is not the required token.
    async fn unauthorized(&self, authorization: &[u8]) -> Option<Response> {
        let file = self.container.as_ref()?.token_file.as_ref()?;
        match file.matches(authorization).await {
            Ok(true) => None,
            Ok(false) => Some(respond::error(
                StatusCode::UNAUTHORIZED,
                "ContainerTokenRefused",
                "the Authorization header is not the content of container.token_file; let AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE name the same file",
            )),
            Err(Unusable) => Some(respond::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "ContainerTokenUnusable",
                "the file of container.token_file cannot be used; see the log of ram-sidecar",
            )),
        }
    }
}

async fn no_container() -> Response {
    respond::not_found(
        "the protocol of AWS SDKs is not enabled; set container.enabled (RAM_SIDECAR_CONTAINER)",
    )
}

/// Responds as to any other unknown path; the response is marked for the log.
async fn wrong_key(variable: &'static str) -> Response {
    let mut response = not_found().await;
    response.extensions_mut().insert(WrongKey(variable));
    response
}

async fn not_found() -> Response {
    respond::not_found(
        "credentials are at /api/v1/credentials/<key>, where <key> is the value of serve.key; ALIBABA_CLOUD_CREDENTIALS_URI contains the whole address, unless the job or its pod sets it itself",
    )
}

/// How long a response waits for credentials: SDKs give up after five seconds, and a slow response of STS takes less.
const HOLD_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a response to an AWS SDK waits for credentials: botocore gives up after two seconds.
const CONTAINER_HOLD_TIMEOUT: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use bytes::Bytes;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use tokio::time::Instant;

    use super::super::caller::Addresses;
    use super::*;
    use crate::failure::{Failure, Stage};
    use crate::refresh::store::tests::{lease, noon};
    use crate::refresh::store::{self, Publisher};
    use crate::time::clock::Clock;

    struct Rig {
        publisher: Publisher,
        clock: Clock,
        router: TowerToHyperService<Router>,
    }

    fn start() -> Rig {
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
        let bound = [127, 0, 0, 1].into();
        let (router, _) = router(data, bound, AllowedCallers::default(), Arc::default());
        Rig {
            publisher,
            clock,
            router: TowerToHyperService::new(router),
        }
    }

    impl Rig {
        async fn ask(&self) -> (u16, String) {
            let address = "127.0.0.1:7002".parse().unwrap();
            let request = Request::builder()
                .uri("/api/v1/credentials/0")
                .header("host", "localhost")
                .extension(Addresses::new(address, address));
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
    async fn a_request_waits_at_most_four_seconds_for_credentials() {
        let rig = start();
        let asked = Instant::now();
        let (status, body) = rig.ask().await;
        assert_eq!((status, asked.elapsed()), (503, Duration::from_secs(4)));
        assert!(body.contains("CredentialsPending"), "{body}");

        // A transient failure is waited out too, and then reported.
        rig.publisher
            .failed(Failure::new(Stage::Sts, "TimedOut", "slow"), noon());
        let asked = Instant::now();
        let (status, body) = rig.ask().await;
        assert_eq!((status, asked.elapsed()), (503, Duration::from_secs(4)));
        assert!(body.contains("TimedOut"), "{body}");

        // A fatal failure is reported at once.
        rig.publisher
            .failed(Failure::new(Stage::Sts, "NoPermission", "no"), noon());
        let asked = Instant::now();
        assert_eq!((rig.ask().await.0, asked.elapsed()), (503, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_request_triggers_a_recheck_and_gets_its_credentials() {
        let rig = start();
        let now = rig.clock.now();
        rig.publisher.renewed(lease("old", now), now);
        let renewal = async {
            rig.publisher.recheck_requested().await;
            let later = rig.clock.now().after(Duration::from_secs(3600));
            rig.publisher.renewed(lease("new", later), later);
        };
        let (answer, ()) = tokio::join!(rig.ask(), renewal);
        assert_eq!(answer, (200, "credentials".to_owned()));
    }
}
