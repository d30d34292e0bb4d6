//! Builds the source of credentials: the identity, the client of STS, and the embedded STS in a sandbox.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tracing::{Span, info, warn};

use crate::config::{Cloud, Session, Upstream};
use crate::credentials::{RoleArn, RoleRequest};
use crate::failure;
use crate::files::state::{Binding, StateFile};
use crate::http::client::{self, Outbound};
use crate::refresh::schedule;
use crate::refresh::source::Chain;
use crate::sts::endpoint::Endpoint;
use crate::sts::{EndpointState, Sts};
use crate::system::file;
use crate::time::clock::Clock;

/// Why the source cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be built.
    #[error("{}; correct sts.ca_file", failure::chain(.0))]
    Outbound(#[from] client::Error),
    /// The embedded STS does not start.
    #[error("cannot start the embedded STS: {0}")]
    Sandbox(String),
}

/// What must be kept alive as long as the source is used.
#[cfg(feature = "sandbox")]
pub type Guard = Option<crate::sandbox::Sandbox>;
#[cfg(not(feature = "sandbox"))]
/// What must be kept alive as long as the source is used.
pub type Guard = Option<std::convert::Infallible>;

/// Returns the span that marks every log line of a sandbox, at any level.
pub fn span(upstream: &Upstream) -> Span {
    match upstream {
        Upstream::Cloud(_) | Upstream::Nothing => Span::none(),
        #[cfg(feature = "sandbox")]
        Upstream::Sandbox { .. } => tracing::error_span!("sandbox"),
    }
}

/// Returns the store of a state for what these settings obtain.
pub fn store(cloud: &Cloud, session: &Session, path: PathBuf) -> StateFile {
    let endpoints: Vec<String> = cloud.endpoints.iter().map(ToString::to_string).collect();
    let mut identity = cloud.identity.coordinates();
    // Another content of the file that names the identity is another identity.
    identity.extend(cloud.identity.source_file().map(digest));
    let binding = Binding::new(&identity, &endpoints, &roles(cloud, session));
    let source_file = cloud.identity.source_file().map(Path::to_owned);
    StateFile::new(path, binding, source_file)
}

/// Returns the digest of a small file, or of nothing if it cannot be read. Blocks.
fn digest(path: &Path) -> String {
    let content = file::read_regular(path, LIMIT).unwrap_or_default();
    STANDARD.encode(Sha256::digest(&*content))
}

/// Builds the source of credentials; none for a job without a role.
#[cfg_attr(
    not(feature = "sandbox"),
    expect(clippy::unused_async, reason = "only a sandbox takes time to start")
)]
pub async fn source(
    upstream: Upstream,
    session: Session,
    clock: &Clock,
) -> Result<(Option<Chain>, Guard), Error> {
    match upstream {
        Upstream::Nothing => Ok((None, None)),
        Upstream::Cloud(cloud) => Ok((Some(chain(*cloud, &session, clock)?), None)),
        #[cfg(feature = "sandbox")]
        Upstream::Sandbox { options, ignored } => {
            if !ignored.is_empty() {
                let ignored = ignored.join(", ");
                warn!(ignored, "The sandbox replaces the configured role");
            }
            let (cloud, sandbox) = embedded(*options, clock).await?;
            Ok((Some(chain(cloud, &session, clock)?), Some(sandbox)))
        }
    }
}

fn chain(cloud: Cloud, session: &Session, clock: &Clock) -> Result<Chain, Error> {
    let roles = roles(&cloud, session);
    let endpoints: Vec<String> = cloud.endpoints.iter().map(ToString::to_string).collect();
    let (identity, endpoints) = (cloud.identity.kind(), endpoints.join(", "));
    if let Some(role) = roles.last() {
        let (session_name, hops) = (&role.session_name, roles.len());
        info!(role = %role.arn, identity, %session_name, hops, endpoints, "Assuming the role");
        if role.duration < schedule::COMFORTABLE {
            warn!(
                duration_seconds = role.duration.as_secs(),
                "role.duration is below 34 minutes: some SDKs will ask on every call before each renewal; make it longer"
            );
        }
    } else {
        info!(
            identity,
            "Passing the identity's own credentials through: no role is set"
        );
    }
    let places = places(cloud.endpoints, cloud.roots.as_ref())?;
    let sts = Sts::new(places, cloud.signature, clock.clone());
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

fn places(
    endpoints: Vec<Endpoint>,
    roots: Option<&Vec<CertificateDer<'static>>>,
) -> Result<Vec<EndpointState>, client::Error> {
    let place = |endpoint: Endpoint| {
        let outbound = Outbound::new(client::Options {
            roots: roots.cloned(),
            direct: endpoint.is_loopback(),
            ..client::Options::default()
        })?;
        Ok(EndpointState::new(endpoint, outbound))
    };
    endpoints.into_iter().map(place).collect()
}

#[cfg(feature = "sandbox")]
async fn embedded(
    options: crate::sandbox::Options,
    clock: &Clock,
) -> Result<(Cloud, crate::sandbox::Sandbox), Error> {
    use crate::identity::{AccessKey, Identity, Value};
    use crate::sandbox::{Options, Sandbox};
    use crate::sts::sign::Signature;

    let failed = Error::Sandbox;
    let address = options.listen;
    let options = Options {
        clock: clock.clone(),
        ..options
    };
    let sandbox = Sandbox::start(options).await.map_err(|error| {
        failed(format!(
            "cannot listen on {address}: {error}; stop what uses it, or change --sandbox-listen"
        ))
    })?;
    let identity = Identity::AccessKey(AccessKey {
        id: Value::Given(sandbox.access_key_id().into()),
        secret: Value::Given(sandbox.access_key_secret()),
        token: None,
    });
    let cloud = Cloud {
        role: Some(RoleArn::parse(&sandbox.role_arn()).map_err(failed)?),
        via: Vec::new(),
        identity,
        endpoints: vec![Endpoint::parse(&sandbox.endpoint()).map_err(failed)?],
        signature: Signature::V1,
        roots: None,
    };
    Ok((cloud, sandbox))
}

/// More than any file of profiles.
const LIMIT: usize = 1024 * 1024;
