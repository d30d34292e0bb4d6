//! Builds the source of credentials: the identity, the client of STS, and the embedded STS in a sandbox.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tracing::{Span, info, warn};

use crate::config::{Cloud, Config, Session, Upstream};
use crate::credentials::{RoleArn, RoleRequest};
use crate::failure;
use crate::files::state::{Binding, StateFile};
use crate::http::client::{self, Client, Outbound};
use crate::metrics::{Counters, TimedTransport};
use crate::refresh::schedule;
use crate::refresh::source::Chain;
use crate::sts::endpoint::Endpoint;
use crate::sts::{EndpointState, Sts};
use crate::system::{build, file, remedy};
use crate::time::clock::Clock;

/// Why the source cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be built.
    #[error("{}; correct sts.ca_file", failure::error_chain(.0))]
    Outbound(#[from] client::Error),
    /// A limit keeps the embedded STS from starting.
    #[error("cannot start the embedded STS: {}", remedy::told(.0))]
    SandboxLimit(io::Error),
    /// The embedded STS does not start.
    #[error(
        "cannot start the embedded STS: cannot listen on {address}: {source}; {remedy}, or change --sandbox-listen"
    )]
    Sandbox {
        /// The address that it is to listen on.
        address: SocketAddr,
        /// Why it does not start.
        source: io::Error,
        /// What to do about it.
        remedy: String,
    },
}

/// The embedded STS, which stops when this is dropped.
#[cfg(feature = "sandbox")]
pub type EmbeddedSts = crate::sandbox::Sandbox;
/// The embedded STS, which this build does not contain.
#[cfg(not(feature = "sandbox"))]
pub type EmbeddedSts = std::convert::Infallible;

/// Logs, as the first line, which program starts, with which identity and for which role. Without a role, the credentials of
/// the identity are passed through.
pub fn announce(config: &Config) {
    let (identity, role, hops, endpoints) = match &config.upstream {
        Upstream::Cloud(cloud) => {
            let endpoints: Vec<String> = cloud.endpoints.iter().map(ToString::to_string).collect();
            let role = cloud.role.as_ref().map(ToString::to_string);
            let hops = cloud.via.len() + usize::from(role.is_some());
            (
                Some(cloud.identity.kind()),
                role,
                hops,
                Some(endpoints.join(", ")),
            )
        }
        Upstream::NoRole => (None, None, 0, None),
        #[cfg(feature = "sandbox")]
        Upstream::Sandbox { .. } => (
            Some("access_key"),
            Some(crate::sandbox::role_arn()),
            1,
            None,
        ),
    };
    let session_name = role.is_some().then(|| config.session.name.to_string());
    span(&config.upstream).in_scope(|| {
        info!(
            version = build::VERSION,
            revision = build::REVISION,
            identity,
            role,
            session_name,
            hops,
            endpoints,
            "Starting"
        );
    });
}

/// Returns the span that marks every log line of a sandbox, at any level.
pub fn span(upstream: &Upstream) -> Span {
    match upstream {
        Upstream::Cloud(_) | Upstream::NoRole => Span::none(),
        #[cfg(feature = "sandbox")]
        Upstream::Sandbox { .. } => tracing::error_span!("sandbox"),
    }
}

/// Returns the state file for the credentials that these settings obtain.
pub fn store(cloud: &Cloud, session: &Session, path: PathBuf) -> StateFile {
    let endpoints: Vec<String> = cloud.endpoints.iter().map(ToString::to_string).collect();
    let mut identity = cloud.identity.coordinates();
    // If the content of the file that names the identity changes, the identity has changed.
    identity.extend(cloud.identity.source_file().map(digest));
    let binding = Binding::new(&identity, &endpoints, &roles(cloud, session));
    let source_file = cloud.identity.source_file().map(Path::to_owned);
    StateFile::new(path, binding, source_file)
}

/// Returns the digest of a small file, or of an empty one if it cannot be read. Blocks.
fn digest(path: &Path) -> String {
    let content = file::read_regular(path, SIZE_LIMIT).unwrap_or_default();
    STANDARD.encode(Sha256::digest(&*content))
}

/// Builds the source of credentials, whose calls are counted if there are counters; returns `None` for a job without a role.
#[cfg_attr(
    not(feature = "sandbox"),
    expect(clippy::unused_async, reason = "only a sandbox takes time to start")
)]
pub async fn source(
    upstream: Upstream,
    session: Session,
    clock: &Clock,
    counters: Option<&Counters>,
) -> Result<(Option<Chain>, Option<EmbeddedSts>), Error> {
    match upstream {
        Upstream::NoRole => Ok((None, None)),
        Upstream::Cloud(cloud) => Ok((Some(chain(*cloud, &session, clock, counters)?), None)),
        #[cfg(feature = "sandbox")]
        Upstream::Sandbox { options, ignored } => {
            if !ignored.is_empty() {
                let ignored = ignored.join(", ");
                warn!(ignored, "The sandbox replaces the configured role");
            }
            let (cloud, sandbox) = embedded(*options, clock).await?;
            Ok((
                Some(chain(cloud, &session, clock, counters)?),
                Some(sandbox),
            ))
        }
    }
}

fn chain(
    cloud: Cloud,
    session: &Session,
    clock: &Clock,
    counters: Option<&Counters>,
) -> Result<Chain, Error> {
    let roles = roles(&cloud, session);
    if let Some(role) = roles.last()
        && role.duration < schedule::COMFORTABLE
    {
        warn!(
            duration_seconds = role.duration.as_secs(),
            error = "some SDKs will request credentials on every call before each renewal",
            advice = "make it longer",
            "role.duration is below 34 minutes"
        );
    }
    let endpoints = endpoint_states(cloud.endpoints, &cloud.outbound, counters)?;
    let sts = Sts::new(endpoints, cloud.signature, clock.clone());
    Ok(Chain::new(cloud.identity, sts, roles, clock.clone()))
}

/// Returns the roles to assume one after the other. All but the last are assumed for the shortest session.
fn roles(cloud: &Cloud, session: &Session) -> Vec<RoleRequest> {
    let step = |arn: &RoleArn| RoleRequest {
        arn: arn.clone(),
        session_name: session.name.to_string(),
        duration: schedule::SHORTEST,
        policy: None,
        external_id: None,
        source_identity: session.source_identity.clone(),
    };
    let mut roles: Vec<RoleRequest> = cloud.via.iter().map(step).collect();
    if let Some(arn) = &cloud.role {
        roles.push(RoleRequest {
            duration: session.duration,
            policy: session.policy.clone(),
            external_id: session.external_id.clone(),
            ..step(arn)
        });
    }
    roles
}

fn endpoint_states(
    endpoints: Vec<Endpoint>,
    outbound: &Outbound,
    counters: Option<&Counters>,
) -> Result<Vec<EndpointState>, client::Error> {
    let state = |endpoint: Endpoint| {
        let mut outbound = outbound.clone();
        if endpoint.is_loopback() {
            outbound = outbound.direct();
        }
        let client = Client::new(client::Options {
            outbound,
            ..client::Options::default()
        })?;
        let client = TimedTransport::wrap(client, endpoint.host(), counters);
        Ok(EndpointState::new(endpoint, client))
    };
    endpoints.into_iter().map(state).collect()
}

#[cfg(feature = "sandbox")]
async fn embedded(
    options: crate::sandbox::Options,
    clock: &Clock,
) -> Result<(Cloud, crate::sandbox::Sandbox), Error> {
    use super::refused::{self, Refused};
    use crate::identity::{AccessKey, Identity, Value};
    use crate::sandbox::{Options, Sandbox};
    use crate::sts::sign::Signature;

    let address = options.listen;
    let failed = |source| {
        if remedy::of(&source).is_some() {
            return Error::SandboxLimit(source);
        }
        let setting = "--sandbox-listen";
        let one = Refused {
            address,
            setting,
            source,
        };
        Error::Sandbox {
            remedy: refused::remedy(std::slice::from_ref(&one)),
            address,
            source: one.source,
        }
    };
    let invalid = |reason: String| failed(io::Error::other(reason));
    let options = Options {
        clock: clock.clone(),
        ..options
    };
    let sandbox = Sandbox::start(options).await.map_err(failed)?;
    let identity = Identity::AccessKey(AccessKey {
        id: Value::Inline(sandbox.access_key_id().into()),
        secret: Value::Inline(sandbox.access_key_secret()),
        token: None,
    });
    let cloud = Cloud {
        role: Some(RoleArn::parse(&sandbox.role_arn()).map_err(invalid)?),
        via: Vec::new(),
        identity,
        endpoints: vec![Endpoint::parse(&sandbox.endpoint()).map_err(invalid)?],
        signature: Signature::V1,
        outbound: Outbound::default(),
        unused_proxy: None,
    };
    Ok((cloud, sandbox))
}

/// The limit on the size of a file that names the identity, in bytes: larger than any file of profiles.
const SIZE_LIMIT: usize = 1024 * 1024;
