//! Builds what credentials come from: the client of STS, and the embedded STS if that was asked for.

use tracing::{Span, info, warn};

use crate::clock::Clock;
use crate::config::{Cloud, Session, Upstream};
use crate::outbound::{self, Outbound};
use crate::schedule;
use crate::source::Assumed;
use crate::sts::{RoleRequest, Sts};

use super::Error;

/// What must live as long as the source is used.
#[cfg(feature = "sandbox")]
pub(super) type Guard = Option<crate::sandbox::Sandbox>;
#[cfg(not(feature = "sandbox"))]
pub(super) type Guard = Option<std::convert::Infallible>;

/// Returns the span that marks every line of the log of a sandbox, whatever the level.
pub(super) fn span(upstream: &Upstream) -> Span {
    match upstream {
        Upstream::Cloud(_) => Span::none(),
        #[cfg(feature = "sandbox")]
        Upstream::Sandbox { .. } => tracing::error_span!("sandbox"),
    }
}

/// Builds the source of credentials.
#[cfg_attr(
    not(feature = "sandbox"),
    expect(clippy::unused_async, reason = "only a sandbox takes time to start")
)]
pub(super) async fn source(
    upstream: Upstream,
    session: Session,
    clock: &Clock,
) -> Result<(Assumed, Guard), Error> {
    let (cloud, guard) = match upstream {
        Upstream::Cloud(cloud) => (cloud, None),
        #[cfg(feature = "sandbox")]
        Upstream::Sandbox { lifetime, ignored } => {
            if !ignored.is_empty() {
                let ignored = ignored.join(", ");
                warn!(
                    ignored,
                    "The sandbox takes the place of a role that is configured"
                );
            }
            let (cloud, sandbox) = embedded(lifetime, clock).await?;
            (cloud, Some(sandbox))
        }
    };
    Ok((assumed(cloud, session, clock)?, guard))
}

fn assumed(cloud: Cloud, session: Session, clock: &Clock) -> Result<Assumed, Error> {
    let Cloud {
        role,
        identity,
        endpoint,
        roots,
    } = cloud;
    let outbound = Outbound::new(outbound::Options {
        roots,
        direct: endpoint.is_loopback(),
    })?;
    info!(
        role = %role,
        identity = identity.kind(),
        session_name = %session.name,
        endpoint = %endpoint,
        "Assuming the role"
    );
    if session.duration < schedule::COMFORTABLE {
        warn!(
            duration_seconds = session.duration.as_secs(),
            "role.duration is below 34 minutes: some SDKs will ask on every call before each renewal; make it longer"
        );
    }
    let role = RoleRequest {
        arn: role,
        session_name: session.name,
        duration: session.duration,
        policy: session.policy,
        external_id: session.external_id,
    };
    Ok(Assumed {
        identity,
        sts: Sts::new(outbound, endpoint, clock.clone()),
        role,
    })
}

#[cfg(feature = "sandbox")]
async fn embedded(
    lifetime: Option<std::time::Duration>,
    clock: &Clock,
) -> Result<(Cloud, crate::sandbox::Sandbox), Error> {
    use crate::credentials::RoleArn;
    use crate::identity::{AccessKey, Identity, Value};
    use crate::sandbox::{Options, Sandbox};
    use crate::sts::endpoint::Endpoint;

    let failed = |reason: String| Error::System {
        what: "start the embedded STS",
        source: std::io::Error::other(reason),
    };
    // As long as a role may allow: the sandbox is for trying out any duration.
    let max_session = std::time::Duration::from_secs(43_200);
    let options = Options {
        clock: clock.clone(),
        lifetime,
        max_session,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let identity = Identity::AccessKey(AccessKey {
        id: Value::Given(sandbox.access_key_id().into()),
        secret: Value::Given(sandbox.access_key_secret()),
        token: None,
    });
    let cloud = Cloud {
        role: RoleArn::parse(&sandbox.role_arn()).map_err(failed)?,
        identity,
        endpoint: Endpoint::parse(&sandbox.endpoint()).map_err(failed)?,
        roots: None,
    };
    Ok((cloud, sandbox))
}
