//! The ECS metadata dialect: what the SDKs' `ecs_ram_role` providers, ossutil and the OSS SDKs ask 100.100.100.200.
//!
//! It has no secret path, so it is only for programs in the same network namespace, whatever address it listens on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware;
use axum::response::Response;

use crate::snapshot::Offer;
use crate::view::metadata::{Asked, Plain, asked};

use super::answer;
use super::door::{Door, Visitors};
use super::guard::Rules;
use super::offer::Offering;
use super::session::{self, Tokens};

/// What the metadata router needs.
#[derive(Debug)]
pub struct Metadata {
    /// The credentials.
    pub offering: Offering,
    /// The name of the role.
    pub role: String,
    /// The plain keys.
    pub plain: Plain,
    /// Whether a token is demanded.
    pub v2_only: bool,
    /// Issues tokens.
    pub tokens: Tokens,
}

/// Returns the router of the metadata listener that is bound to `bound`.
pub fn router(
    metadata: Metadata,
    bound: IpAddr,
    allow_uids: Option<Vec<u32>>,
    visitors: Arc<Visitors>,
) -> Router {
    let door = Arc::new(Door {
        rules: Rules {
            bound,
            methods: &[Method::GET, Method::HEAD, Method::PUT],
        },
        allow_remote: false,
        allow_uids,
        dialect: |_| "metadata",
        visitors,
    });
    Router::new()
        .fallback(answered)
        .layer(middleware::from_fn(move |request, next| {
            Arc::clone(&door).pass(request, next)
        }))
        .with_state(Arc::new(metadata))
}

async fn answered(State(metadata): State<Arc<Metadata>>, request: Request) -> Response {
    let asked = asked(request.uri().path());
    let is_put = request.method() == Method::PUT;
    match asked {
        Some(Asked::Token) if is_put => metadata.token(&request),
        Some(Asked::Token) => not_allowed("PUT", "a token is fetched with PUT"),
        Some(_) if is_put => not_allowed("GET, HEAD", "only a token is fetched with PUT"),
        asked => match (metadata.refusal(&request), asked) {
            (Some(refusal), _) => refusal,
            (None, Some(asked)) => metadata.value(asked).await,
            (None, None) => not_found(
                "there is no such key here; credentials are at /latest/meta-data/ram/security-credentials/",
            ),
        },
    }
}

impl Metadata {
    fn token(&self, request: &Request) -> Response {
        let ttl = request.headers().get(TTL);
        match ttl.and_then(|ttl| session::ttl(ttl.as_bytes())) {
            Some(ttl) => {
                let now = self.offering.clock.now().boot;
                answer::text(self.tokens.issue(ttl, now).into())
            }
            None => answer::error(
                StatusCode::BAD_REQUEST,
                "MissingOrInvalidParameters",
                "send X-aliyun-ecs-metadata-token-ttl-seconds with 1 to 21600 seconds",
            ),
        }
    }

    /// Returns what a request is told whose token is missing where one is demanded, or is not good.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let now = self.offering.clock.now().boot;
        let (status, code, message) = match request.headers().get(TOKEN) {
            Some(token) if self.tokens.is_good(token.as_bytes(), now) => return None,
            None if !self.v2_only => return None,
            Some(_) => (
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "the token has expired or is not from here; fetch another with PUT /latest/api/token",
            ),
            None => (
                StatusCode::FORBIDDEN,
                "Forbidden",
                "a token is demanded, because metadata.v2_only is set; fetch one with PUT /latest/api/token",
            ),
        };
        Some(answer::error(status, code, message))
    }

    async fn value(&self, asked: Asked<'_>) -> Response {
        match asked {
            Asked::RoleName => match self.offering.now() {
                Offer::Nothing => answer::no_role(),
                _ => answer::text(self.role.clone().into()),
            },
            Asked::Role(name) if name.eq_ignore_ascii_case(&self.role) => {
                let offer = self.offering.within(HOLD).await;
                answer::credentials(offer, |held| held.document.clone())
            }
            Asked::Role(_) => not_found(
                "there is no such role here; /latest/meta-data/ram/security-credentials/ tells its name",
            ),
            Asked::Key(key) => match self.plain.render(key) {
                Some(value) => answer::text(value),
                None => not_found("this key is not configured; see metadata.* in the settings"),
            },
            Asked::Token => not_allowed("PUT", "a token is fetched with PUT"),
        }
    }
}

fn not_found(message: &str) -> Response {
    answer::error(StatusCode::NOT_FOUND, "NotFound", message)
}

fn not_allowed(allow: &'static str, message: &str) -> Response {
    answer::method_not_allowed(allow, "MethodNotAllowed", message)
}

const TTL: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aliyun-ecs-metadata-token";

/// Clients give up after a second, of which a tenth is for the way.
const HOLD: Duration = Duration::from_millis(750);
