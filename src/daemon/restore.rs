//! Restores the credentials that a previous process saved, and saves the current ones for the next.

use std::path::PathBuf;

use tracing::{info, warn};

use crate::config::{Session, Upstream};
use crate::credentials::timestamp;
use crate::daemon::source;
use crate::files::state::{Restored, StateFile};
use crate::files::target::Target as _;
use crate::files::writer::Writer;
use crate::metrics::{CountedTarget, Counters};
use crate::refresh::store::{Publisher, Subscriber};
use crate::time::clock::Clock;

use super::Error;

/// Publishes the credentials that were saved with the same settings, if they are still valid, and returns the writer that
/// saves new ones.
///
/// A file that cannot be read or used does not prevent the start; a file that cannot be written does.
pub(super) async fn restore(
    (path, upstream, session, counters): (Option<PathBuf>, &Upstream, &Session, Option<&Counters>),
    publisher: &Publisher,
    subscriber: &Subscriber,
    clock: &Clock,
) -> Result<Option<Writer<CountedTarget<StateFile>>>, Error> {
    let (Some(path), Upstream::Cloud(cloud)) = (path, upstream) else {
        return Ok(None);
    };
    let store = source::store(cloud, session, path);
    let counted = CountedTarget::new(store.clone(), "state", counters);
    let writer = Writer::new(counted, subscriber.clone(), clock.clone()).await;
    let writer = writer.map_err(Error::File)?;
    let path = store.path().display();
    match store.load(clock).await {
        Ok(None) => info!(%path, "There is no saved state yet"),
        Ok(Some(Restored { lease, renew_at })) => {
            // Without a role, the identity's own credentials are served, and may have been replaced since.
            let renew_at = if cloud.role.is_some() {
                renew_at
            } else {
                clock.now()
            };
            let credentials = &lease.credentials;
            info!(
                %path,
                access_key_id = %credentials.access_key_id,
                expires_at = %timestamp(credentials.expires_at),
                next_attempt_seconds = clock.now().until(renew_at).as_secs(),
                "Serving the credentials of the saved state"
            );
            publisher.renewed(lease, renew_at);
        }
        Err(refusal) if refusal.is_expected() => {
            info!(%path, error = %refusal, "The saved state is ignored, and new credentials are obtained");
        }
        Err(refusal) => {
            warn!(%path, error = %refusal, "The saved state is ignored, and new credentials are obtained");
        }
    }
    Ok(Some(writer))
}
