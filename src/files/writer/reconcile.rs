//! One step of a writer: brings the file closer to the current credentials.

use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::files::ownership::Ownership;
use crate::files::place::Place;
use crate::files::target::Target;
use crate::refresh::store::Offer;
use crate::time::moment::Moment;

use super::Writer;

/// The state of the file, as far as its writer knows it.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) written: Option<Written>,
    /// The latest expiration of credentials that were due for removal. By a wrong wall clock it may lie in the future.
    pub(super) last_expired: Option<DateTime<Utc>>,
}

/// The credentials in a file.
#[derive(Debug)]
pub(super) struct Written {
    /// Their generation; 0 if another process wrote them.
    pub(super) generation: u64,
    /// When they expire, according to the file.
    pub(super) expires_at: DateTime<Utc>,
    /// When they must be removed.
    pub(super) deadline: Moment,
}

impl Disk {
    /// Whether the file holds credentials that this process wrote.
    pub(super) fn is_written_here(&self) -> bool {
        self.written
            .as_ref()
            .is_some_and(|written| written.generation > 0)
    }
}

impl<T: Target> Writer<T> {
    /// Reads the credentials that an earlier process wrote. They stay until they expire.
    pub(super) async fn existing(&self) -> Option<Written> {
        let target = self.target.clone();
        let expires_at = self
            .blocking(move || Ok(target.expiration(&Place::open(target.path())?)))
            .await
            .ok()??;
        Some(self.written_elsewhere(expires_at))
    }

    /// Brings the file closer to the offer at `now`, and updates `disk`.
    pub(super) async fn reconcile(
        &self,
        offer: &Offer,
        disk: &mut Disk,
        now: Moment,
    ) -> io::Result<()> {
        if disk.written.is_none() && !matches!(offer, Offer::Credentials(_)) {
            // An expired file may be available again: its file system was unavailable.
            disk.written = self.existing().await.map(|mut written| {
                if disk
                    .last_expired
                    .is_some_and(|expired| written.expires_at <= expired)
                {
                    written.deadline = now;
                }
                written
            });
        }
        // Replace before removing: clients read the file again just when the old credentials expire, and it must exist.
        let replaced = self.replace(offer, &mut disk.written, now).await;
        // Even if that has failed: clients must not read expired credentials.
        let is_expired = |written: &&Written| now.is_past(written.deadline);
        if let Some(written) = disk.written.as_ref().filter(is_expired) {
            let (target, expired, wall) = (self.target.clone(), written.expires_at, now.wall);
            let ownership = self.ownership.clone();
            let successor = self
                .blocking(move || remove_expired(&target, expired, &ownership, wall))
                .await?;
            disk.last_expired = disk.last_expired.max(Some(expired));
            disk.written = successor.map(|expires_at| self.written_elsewhere(expires_at));
        }
        replaced
    }

    /// Writes the offered credentials, unless the file contains them already.
    async fn replace(
        &self,
        offer: &Offer,
        written: &mut Option<Written>,
        now: Moment,
    ) -> io::Result<()> {
        let Offer::Credentials(current) = offer else {
            return Ok(());
        };
        let same = written
            .as_mut()
            .filter(|written| written.generation == current.generation)
            .filter(|written| !T::RECORDS_DEADLINE || written.deadline == current.lease.deadline);
        if let Some(same) = same {
            // The deadline of the same credentials changes when the clock skew is measured again.
            same.deadline = current.lease.deadline;
        } else {
            let (target, content) = (self.target.clone(), Arc::clone(current));
            let ownership = self.ownership.clone();
            self.blocking(move || target.replace(&content, &ownership, now))
                .await?;
            *written = Some(Written {
                generation: current.generation,
                expires_at: current.lease.credentials.expires_at,
                deadline: current.lease.deadline,
            });
        }
        Ok(())
    }

    /// Describes credentials that another process wrote, whose expiration is known by the wall clock only.
    fn written_elsewhere(&self, expires_at: DateTime<Utc>) -> Written {
        let now = self.clock.now();
        let remaining = (expires_at - now.wall).to_std().unwrap_or_default();
        Written {
            generation: 0,
            expires_at,
            deadline: now.after(remaining),
        }
    }
}

/// Removes the credentials that expired at `expired`, and those that this process wrote last. Blocks.
///
/// Another process may write the same file: its credentials stay while they are valid at `now`, and their expiration is
/// returned. A file without credentials stays too.
pub(super) fn remove_expired(
    target: &impl Target,
    expired: DateTime<Utc>,
    ownership: &Ownership,
    now: DateTime<Utc>,
) -> io::Result<Option<DateTime<Utc>>> {
    let Ok(place) = Place::open(target.path()) else {
        return Ok(None);
    };
    match target.expiration(&place) {
        _ if ownership.owns(&place) => target.remove(&place)?,
        Some(other) if other != expired && other > now => return Ok(Some(other)),
        Some(_) => target.remove(&place)?,
        None => {}
    }
    Ok(None)
}
