//! The account of the sandbox: RAM user, access keys, roles, OIDC provider, ledger of issued credentials and used nonces.

pub(crate) mod ledger;
pub(crate) mod manage;
pub(crate) mod nonces;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use crate::sandbox::account::ledger::Ledger;
use crate::sandbox::account::nonces::Nonces;
use crate::sandbox::oidc::Provider;
use crate::sandbox::policy::trust::TrustPolicy;
use crate::sandbox::random::Random;

/// The account; its contents may change while the sandbox runs.
pub(crate) struct Account {
    /// The account id, 16 digits.
    pub(crate) id: String,
    pub(crate) user: User,
    /// Every AccessKey of the root account and of the RAM user, by AccessKey id.
    pub(crate) keys: BTreeMap<String, LongTermKey>,
    /// Every role by its ARN, including deleted roles.
    pub(crate) roles: BTreeMap<String, Role>,
    /// The number of roles created so far; the next role id is derived from it.
    pub(crate) roles_created: u64,
    pub(crate) provider: Provider,
    pub(crate) ledger: Ledger,
    pub(crate) nonces: Nonces,
}

/// The RAM user.
pub(crate) struct User {
    pub(crate) arn: String,
    pub(crate) id: String,
    /// Whether RAM permits the user to call `sts:AssumeRole`.
    pub(crate) may_assume: bool,
}

/// A long-term AccessKey, which does not expire.
pub(crate) struct LongTermKey {
    pub(crate) secret: SecretString,
    pub(crate) owner: KeyOwner,
    pub(crate) active: bool,
}

/// The owner of an AccessKey.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum KeyOwner {
    Root,
    User,
}

/// A RAM role.
#[derive(Clone)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) trust: TrustPolicy,
    pub(crate) max_session: Duration,
    /// Whether RAM permits sessions of the role to call `sts:AssumeRole`.
    pub(crate) may_assume: bool,
    pub(crate) deleted: bool,
}

impl Account {
    pub(crate) fn root_arn(&self) -> String {
        format!("acs:ram::{}:root", self.id)
    }

    pub(crate) fn role_arn(&self, name: &str) -> String {
        format!("acs:ram::{}:role/{name}", self.id)
    }

    /// Returns a role that has not been deleted.
    pub(crate) fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.get(arn).filter(|role| !role.deleted)
    }

    pub(crate) fn add_role(&mut self, name: &str, trust: TrustPolicy, max_session: Duration) {
        let role = Role {
            name: name.to_owned(),
            id: (FIRST_ROLE_ID + self.roles_created).to_string(),
            trust,
            max_session,
            may_assume: false,
            deleted: false,
        };
        self.roles_created += 1;
        self.roles.insert(self.role_arn(name), role);
    }

    /// Adds an AccessKey and returns its id.
    pub(crate) fn add_key(&mut self, owner: KeyOwner, random: &Random) -> String {
        let id = format!("LTAISandbox{}", random.alphanumeric(13));
        let key = LongTermKey {
            secret: random.alphanumeric(30).into(),
            owner,
            active: true,
        };
        self.keys.insert(id.clone(), key);
        id
    }

    /// Returns the first AccessKey of this owner, in the order of AccessKey ids.
    pub(crate) fn key_of(&self, owner: KeyOwner) -> Option<(&String, &LongTermKey)> {
        self.keys.iter().find(|(_, key)| key.owner == owner)
    }
}

/// Role ids have 18 digits.
const FIRST_ROLE_ID: u64 = 300_000_000_000_000_001;
