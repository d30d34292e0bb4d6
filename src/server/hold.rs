//! Waits briefly for credentials before a response.

use std::time::Duration;

use crate::refresh::store::{Offer, Subscriber};
use crate::time::clock::Clock;
use crate::time::moment::Moment;

/// Provides the current credentials, or the reason why there are none.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Reads the credentials.
    pub subscriber: Subscriber,
    /// The clock by which they expire.
    pub clock: Clock,
}

impl Provider {
    /// Returns what a client gets now.
    pub(super) fn now(&self) -> Offer {
        self.at(self.clock.now())
    }

    /// Returns what a client gets at a moment, which is the present one.
    pub(super) fn at(&self, now: Moment) -> Offer {
        self.subscriber.offer(now)
    }

    /// Returns what a client gets, after a wait of at most `timeout` while credentials may still arrive.
    pub(super) async fn within(&self, timeout: Duration) -> Offer {
        let mut subscriber = self.subscriber.clone();
        let decided = |offer| (!matches!(offer, Offer::Wait(_))).then_some(offer);
        let waiting = subscriber.wait_for(&self.clock, decided);
        match tokio::time::timeout(timeout, waiting).await {
            Ok(offer) => offer,
            Err(_) => self.now(),
        }
    }
}
