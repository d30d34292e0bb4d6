//! The nonces of the latest half hour, none of which may be used again.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

/// The nonces that each AccessKey has used.
#[derive(Default)]
pub(crate) struct Nonces {
    seen: HashSet<[u8; 32]>,
    order: VecDeque<(DateTime<Utc>, [u8; 32])>,
}

impl Nonces {
    /// Records a nonce; returns `false` if it was used already.
    pub(crate) fn use_up(&mut self, access_key_id: &str, nonce: &str, now: DateTime<Utc>) -> bool {
        while let Some((used_at, oldest)) = self.order.front() {
            if now - *used_at <= WINDOW && self.order.len() < CAPACITY {
                break;
            }
            self.seen.remove(oldest);
            self.order.pop_front();
        }
        let both = Sha256::new()
            .chain_update(access_key_id)
            .chain_update([0])
            .chain_update(nonce);
        let digest: [u8; 32] = both.finalize().into();
        let fresh = self.seen.insert(digest);
        if fresh {
            self.order.push_back((now, digest));
        }
        fresh
    }
}

/// Timestamps may be off by 15 minutes to either side: an older request is refused for its timestamp.
const WINDOW: TimeDelta = TimeDelta::minutes(30);

/// Enough for 100 requests a second for ten minutes; a few MiB of digests.
const CAPACITY: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_accepted_once_per_key_within_half_an_hour() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut nonces = Nonces::default();
        assert!(nonces.use_up("key", "nonce", now));
        assert!(!nonces.use_up("key", "nonce", now + TimeDelta::minutes(30)));
        assert!(nonces.use_up("other", "nonce", now));
        assert!(nonces.use_up("key", "nonce", now + TimeDelta::minutes(31)));

        for count in 0..CAPACITY {
            assert!(nonces.use_up("key", &count.to_string(), now + TimeDelta::minutes(31)));
        }
        assert_eq!(nonces.seen.len(), CAPACITY);
    }
}
