//! Waits briefly for credentials before a response.

use std::time::Duration;

use crate::refresh::store::{Offer, Subscriber};
use crate::time::clock::Clock;

/// The current credentials, and the clock by which they expire.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Reads the credentials.
    pub subscriber: Subscriber,
    /// The clock.
    pub clock: Clock,
}

impl Provider {
    /// Returns what a client can be given now.
    pub(super) fn now(&self) -> Offer {
        self.subscriber.clone().snapshot().offer(self.clock.now())
    }

    /// Returns what a client can be given, after a wait of at most `hold` where that may help.
    pub(super) async fn within(&self, hold: Duration) -> Offer {
        let mut subscriber = self.subscriber.clone();
        let decided = |offer| (!matches!(offer, Offer::Wait(_))).then_some(offer);
        let waiting = subscriber.wait_for(&self.clock, decided);
        match tokio::time::timeout(hold, waiting).await {
            Ok(offer) => offer,
            Err(_) => self.now(),
        }
    }
}
