//! What there is, after a short wait if that may help.

use std::time::Duration;

use crate::refresh::store::{Offer, Subscriber};
use crate::time::clock::Clock;

/// The credentials, and the clock that they are judged by.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Where the credentials are.
    pub subscriber: Subscriber,
    /// What time it is.
    pub clock: Clock,
}

impl Provider {
    /// Returns what there is.
    pub(super) fn now(&self) -> Offer {
        self.subscriber.clone().snapshot().offer(self.clock.now())
    }

    /// Returns what there is; waits for something better, at most for `hold`, while that may come.
    pub(super) async fn within(&self, hold: Duration) -> Offer {
        let mut subscriber = self.subscriber.clone();
        let decided = async {
            loop {
                match subscriber.snapshot().offer(self.clock.now()) {
                    Offer::Wait(_) => {
                        subscriber.request_recheck();
                        subscriber.changed().await;
                    }
                    decided => return decided,
                }
            }
        };
        match tokio::time::timeout(hold, decided).await {
            Ok(decided) => decided,
            Err(_) => subscriber.snapshot().offer(self.clock.now()),
        }
    }
}
