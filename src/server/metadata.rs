//! The ECS metadata protocol: the SDKs' `ecs_ram_role` providers, ossutil and the OSS SDKs send such requests to
//! 100.100.100.200.
//!
//! It has no secret path, so it serves only programs in the same network namespace, on every listening address.

pub mod listing;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware;
use axum::response::Response;

use crate::refresh::store::Offer;
use crate::server::metadata::listing::{Resource, StaticValues, resource};

use super::access::Access;
use super::caller_log::CallerLog;
use super::hold::Provider;
use super::imds_token::{self, Tokens};
use super::request_check::Rules;
use super::respond::{self, method_not_allowed, not_found};

/// The state of the metadata router.
#[derive(Debug)]
pub struct Metadata {
    /// The credentials.
    pub provider: Provider,
    /// The name of the role.
    pub role: String,
    /// The static values.
    pub static_values: StaticValues,
    /// Whether a token is required.
    pub v2_only: bool,
    /// Issues and verifies tokens.
    pub tokens: Tokens,
}

/// Returns the router of the metadata listener.
pub fn router(
    metadata: Metadata,
    allow_uids: Option<Vec<u32>>,
    caller_log: Arc<CallerLog>,
) -> Router {
    let access = Arc::new(Access {
        rules: Rules {
            // Whatever the listening address: a firewall rule may redirect clients here.
            bound: IpAddr::from(ADDRESS),
            methods: &[Method::GET, Method::HEAD, Method::PUT],
        },
        allow_remote: false,
        allow_uids,
        dialect,
        caller_log,
    });
    Router::new()
        .fallback(respond_to)
        .layer(middleware::from_fn(move |request, next| {
            Arc::clone(&access).check(request, next)
        }))
        .with_state(Arc::new(metadata))
}

/// Returns the name of the protocol, whatever the path.
pub(crate) fn dialect(_: &str) -> &'static str {
    "metadata"
}

async fn respond_to(State(metadata): State<Arc<Metadata>>, request: Request) -> Response {
    let resource = resource(request.uri().path());
    let is_put = request.method() == Method::PUT;
    match resource {
        Some(Resource::Token) if is_put => metadata.token(&request),
        Some(Resource::Token) => method_not_allowed("PUT", "a token is fetched with PUT"),
        Some(_) if is_put => method_not_allowed("GET, HEAD", "only a token is fetched with PUT"),
        resource => match (metadata.refusal(&request), resource) {
            (Some(refusal), _) => refusal,
            (None, Some(resource)) => metadata.value(resource).await,
            (None, None) => not_found(
                "this path is unknown; credentials are at /latest/meta-data/ram/security-credentials/",
            ),
        },
    }
}

impl Metadata {
    fn token(&self, request: &Request) -> Response {
        let ttl = request.headers().get(TTL_HEADER);
        match ttl.and_then(|ttl| imds_token::ttl(ttl.as_bytes())) {
            Some(ttl) => {
                let now = self.provider.clock.now().boot;
                respond::text(self.tokens.issue(ttl, now).into())
            }
            None => respond::error(
                StatusCode::BAD_REQUEST,
                "MissingOrInvalidParameters",
                "send X-aliyun-ecs-metadata-token-ttl-seconds with 1 to 21600 seconds",
            ),
        }
    }

    /// Returns the refusal of a request whose token is invalid, or missing where one is required.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let now = self.provider.clock.now().boot;
        let (status, code, message) = match request.headers().get(TOKEN_HEADER) {
            Some(token) if self.tokens.is_valid(token.as_bytes(), now) => return None,
            None if !self.v2_only => return None,
            Some(_) => (
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "the token has expired or was not issued here; fetch a new one with PUT /latest/api/token",
            ),
            None => (
                StatusCode::FORBIDDEN,
                "Forbidden",
                "a token is required, because metadata.v2_only is set; fetch one with PUT /latest/api/token",
            ),
        };
        Some(respond::error(status, code, message))
    }

    async fn value(&self, resource: Resource<'_>) -> Response {
        match resource {
            Resource::RoleName => match self.provider.now() {
                Offer::NoRole => respond::no_role(),
                _ => respond::text(self.role.clone().into()),
            },
            Resource::Role(name) if name.eq_ignore_ascii_case(&self.role) => {
                let offer = self.provider.within(HOLD_TIMEOUT).await;
                respond::credentials(offer, |current| current.document.clone())
            }
            Resource::Role(_) => not_found(
                "this role is unknown; the name of the role is at /latest/meta-data/ram/security-credentials/",
            ),
            Resource::Key(key) => match self.static_values.get(&key) {
                Some(value) => respond::text(value.clone().into()),
                None => not_found(
                    "this value is not configured; set metadata.region_id, zone_id, instance_id or owner_account_id",
                ),
            },
            Resource::Token => method_not_allowed("PUT", "a token is fetched with PUT"),
        }
    }
}

/// The address of the metadata service, which is fixed in every client.
pub const ADDRESS: [u8; 4] = [100, 100, 100, 200];

const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";

/// How long a response waits for credentials: clients give up after a second, and the process of a new client is looked up
/// before its response.
const HOLD_TIMEOUT: Duration = Duration::from_millis(700);

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
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

    fn start(v2_only: bool) -> Rig {
        let (publisher, subscriber, _) = store::channel(|_| "credentials".into());
        let clock = Clock::simulated(noon(), true);
        let metadata = Metadata {
            provider: Provider {
                subscriber,
                clock: clock.clone(),
            },
            role: "job".to_owned(),
            static_values: StaticValues::default(),
            v2_only,
            tokens: Tokens::new([7; 32]),
        };
        let router = router(metadata, None, Arc::default());
        Rig {
            publisher,
            clock,
            router: TowerToHyperService::new(router),
        }
    }

    impl Rig {
        async fn ask(
            &self,
            method: &str,
            path: &str,
            header: Option<(&str, &str)>,
        ) -> (u16, String) {
            let address = "100.100.100.200:80".parse().unwrap();
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "100.100.100.200")
                .extension(Addresses::new(address, address));
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let request = request.body(Body::empty()).unwrap();
            let response = self.router.call(request).await.unwrap();
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }
    }

    const ROLE: &str = "/latest/meta-data/ram/security-credentials/job";

    #[tokio::test(start_paused = true)]
    async fn a_response_comes_within_800_ms_with_or_without_credentials() {
        let rig = start(false);
        let list = "/latest/meta-data/ram/security-credentials/";
        let asked = Instant::now();
        assert_eq!(rig.ask("GET", list, None).await, (200, "job".to_owned()));
        assert_eq!(asked.elapsed(), Duration::ZERO);

        for failure in [None, Some("TimedOut")] {
            if let Some(code) = failure {
                let failure = Failure::new(Stage::Sts, code, "slow");
                rig.publisher.failed(failure, noon());
            }
            let asked = Instant::now();
            assert_eq!(rig.ask("GET", ROLE, None).await.0, 503);
            assert!(asked.elapsed() < Duration::from_millis(800));
        }

        let (answer, ()) = tokio::join!(rig.ask("GET", ROLE, None), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let later = rig.clock.now().after(Duration::from_secs(3600));
            rig.publisher.renewed(lease("a", later), later);
        });
        assert_eq!(answer, (200, "credentials".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_expires_after_the_requested_time_to_live() {
        for v2_only in [false, true] {
            let rig = start(v2_only);
            let later = rig.clock.now().after(Duration::from_secs(3600));
            rig.publisher.renewed(lease("a", later), later);
            let (status, token) = rig
                .ask("PUT", "/latest/api/token", Some((TTL_HEADER, "60")))
                .await;
            assert_eq!(status, 200);
            assert_eq!(
                rig.ask("GET", ROLE, Some((TOKEN_HEADER, &token))).await.0,
                200
            );
            tokio::time::advance(Duration::from_secs(61)).await;
            assert_eq!(
                rig.ask("GET", ROLE, Some((TOKEN_HEADER, &token))).await.0,
                401
            );
            let without = if v2_only { 403 } else { 200 };
            assert_eq!(rig.ask("GET", ROLE, None).await.0, without);
        }
    }

    #[tokio::test]
    async fn without_a_role_both_paths_are_not_found() {
        let mut rig = start(false);
        let unused = store::channel(|_| "".into()).0;
        std::mem::replace(&mut rig.publisher, unused).without_role();
        let list = "/latest/meta-data/ram/security-credentials/";
        for path in [list, ROLE] {
            let (status, body) = rig.ask("GET", path, None).await;
            assert!(status == 404 && body.contains("NoRole"), "{body}");
        }
    }
}
