//! The nonces of the last half hour, which must not be used again.

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
    /// Records a nonce, and returns whether it was new.
    pub(crate) fn use_up(&mut self, access_key_id: &str, nonce: &str, now: DateTime<Utc>) -> bool {
        while let Some((used_at, oldest)) = self.order.front() {
            if now - *used_at <= WINDOW && self.order.len() < CAPACITY {
                break;
            }
            self.seen.remove(oldest);
            self.order.pop_front();
        }
        let key_and_nonce = Sha256::new()
            .chain_update(access_key_id)
            .chain_update([0])
            .chain_update(nonce);
        let digest: [u8; 32] = key_and_nonce.finalize().into();
        let is_new = self.seen.insert(digest);
        if is_new {
            self.order.push_back((now, digest));
        }
        is_new
    }
}

/// Timestamps may differ by 15 minutes in both directions; requests beyond this window are refused by their timestamp.
const WINDOW: TimeDelta = TimeDelta::minutes(30);

/// Enough for 100 requests per second during ten minutes; a few MiB of digests.
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
