//! The one account of the sandbox: who and what exists in it, and what it remembers.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use crate::sandbox::auth::oidc::Provider;
use crate::sandbox::issue::Ledger;
use crate::sandbox::policy::trust::TrustPolicy;
use crate::sandbox::random::Random;

/// Everything that changes, under one lock.
pub(super) struct World {
    pub(super) account_id: String,
    pub(super) user: User,
    /// Every AccessKey of the account and of the user, by id.
    pub(super) keys: BTreeMap<String, LongTermKey>,
    /// By ARN.
    pub(super) roles: BTreeMap<String, Role>,
    /// How many there ever were, so that each has its own id.
    pub(super) roles_made: u64,
    pub(super) provider: Provider,
    pub(super) ledger: Ledger,
    pub(super) nonces: Nonces,
}

/// The RAM user.
pub(super) struct User {
    pub(super) arn: String,
    pub(super) id: String,
    /// Whether RAM permits it `sts:AssumeRole`.
    pub(super) may_assume: bool,
}

/// An AccessKey that does not expire.
pub(super) struct LongTermKey {
    pub(super) secret: SecretString,
    pub(super) owner: Owner,
    pub(super) active: bool,
}

/// Whose AccessKey it is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Owner {
    Root,
    User,
}

/// A RAM role.
pub(super) struct Role {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) trust: TrustPolicy,
    pub(super) max_session: Duration,
    /// Whether RAM permits its sessions `sts:AssumeRole`.
    pub(super) may_assume: bool,
    pub(super) deleted: bool,
}

impl World {
    pub(super) fn root_arn(&self) -> String {
        format!("acs:ram::{}:root", self.account_id)
    }

    pub(super) fn role_arn(&self, name: &str) -> String {
        format!("acs:ram::{}:role/{name}", self.account_id)
    }

    /// Returns a role that has not been deleted.
    pub(super) fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.get(arn).filter(|role| !role.deleted)
    }

    pub(super) fn add_role(&mut self, name: &str, trust: TrustPolicy, max_session: Duration) {
        let role = Role {
            name: name.to_owned(),
            id: (FIRST_ROLE_ID + self.roles_made).to_string(),
            trust,
            max_session,
            may_assume: false,
            deleted: false,
        };
        self.roles_made += 1;
        self.roles.insert(self.role_arn(name), role);
    }

    /// Adds an AccessKey and returns its id.
    pub(super) fn add_key(&mut self, owner: Owner, random: &Random) -> String {
        let id = format!("LTAISandbox{}", random.alphanumeric(13));
        let key = LongTermKey {
            secret: random.alphanumeric(30).into(),
            owner,
            active: true,
        };
        self.keys.insert(id.clone(), key);
        id
    }

    /// Returns the AccessKey of the account itself or of the user.
    pub(super) fn key_of(&self, owner: Owner) -> Option<(&String, &LongTermKey)> {
        self.keys.iter().find(|(_, key)| key.owner == owner)
    }
}

/// The nonces that were used, per AccessKey.
#[derive(Default)]
pub(super) struct Nonces {
    seen: HashSet<[u8; 32]>,
    order: VecDeque<(DateTime<Utc>, [u8; 32])>,
}

impl Nonces {
    /// Remembers a nonce; `false` if it was used already.
    pub(super) fn use_up(&mut self, access_key_id: &str, nonce: &str, now: DateTime<Utc>) -> bool {
        while let Some((used_at, oldest)) = self.order.front() {
            if now - *used_at <= NONCE_MEMORY && self.order.len() < NONCE_CAPACITY {
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

/// Role ids have 18 digits.
const FIRST_ROLE_ID: u64 = 300_000_000_000_000_001;

/// The window of timestamps, to either side: a request older than that is refused for its age.
const NONCE_MEMORY: TimeDelta = TimeDelta::minutes(30);

/// Some 100 requests a second for ten minutes; digests of a fixed size, so a few MiB.
const NONCE_CAPACITY: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_used_once_per_key_until_it_is_forgotten() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut nonces = Nonces::default();
        assert!(nonces.use_up("key", "nonce", now));
        assert!(!nonces.use_up("key", "nonce", now + TimeDelta::minutes(30)));
        assert!(nonces.use_up("other", "nonce", now));
        assert!(nonces.use_up("key", "nonce", now + TimeDelta::minutes(31)));

        for count in 0..NONCE_CAPACITY {
            assert!(nonces.use_up("key", &count.to_string(), now + TimeDelta::minutes(31)));
        }
        assert_eq!(nonces.seen.len(), NONCE_CAPACITY);
    }
}
