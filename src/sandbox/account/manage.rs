//! Manages the access keys and roles of the account while the sandbox runs.

use std::mem;
use std::time::Duration;

use secrecy::SecretString;

use crate::sandbox::Sandbox;
use crate::sandbox::account::KeyOwner;
use crate::sandbox::policy::trust::{InvalidPolicy, TrustPolicy};

/// An AccessKey of the sandbox.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// 24 characters, beginning with `LTAISandbox`.
    pub id: String,
    /// 30 characters.
    pub secret: SecretString,
}

/// The account.
impl Sandbox {
    /// Returns the ARN of the role that exists from the start.
    pub fn role_arn(&self) -> String {
        self.role_arn.clone()
    }

    /// Returns the ARN of the RAM user.
    pub fn user_arn(&self) -> String {
        self.state.account().user.arn.clone()
    }

    /// Returns the RAM user's AccessKey.
    pub fn access_key(&self) -> AccessKey {
        self.key_of(KeyOwner::User)
    }

    /// Returns the id of the RAM user's AccessKey.
    pub fn access_key_id(&self) -> String {
        self.access_key().id
    }

    /// Returns the secret of the RAM user's AccessKey.
    pub fn access_key_secret(&self) -> SecretString {
        self.access_key().secret
    }

    /// Returns the AccessKey of the account itself, which may not assume roles.
    pub fn root_access_key(&self) -> AccessKey {
        self.key_of(KeyOwner::Root)
    }

    /// Disables the RAM user's AccessKey, or enables it again.
    pub fn set_access_key_active(&self, active: bool) {
        let mut account = self.state.account();
        account
            .keys
            .values_mut()
            .filter(|key| key.owner == KeyOwner::User)
            .for_each(|key| {
                key.active = active;
            });
    }

    /// Gives the RAM user a new AccessKey and deletes the old one.
    pub fn rotate_access_key(&self) -> AccessKey {
        let mut account = self.state.account();
        account.keys.retain(|_, key| key.owner != KeyOwner::User);
        account.add_key(KeyOwner::User, &self.state.random);
        drop(account);
        self.access_key()
    }

    /// Adds a role, and returns its ARN. Sessions of the role may assume other roles only after
    /// [`permit_assume_role`](Self::permit_assume_role).
    pub fn add_role(
        &self,
        name: &str,
        trust_policy: &str,
        max_session: Duration,
    ) -> Result<String, InvalidPolicy> {
        let trust = TrustPolicy::parse(trust_policy)?;
        let mut account = self.state.account();
        account.add_role(name, trust, max_session);
        Ok(account.role_arn(name))
    }

    /// Deletes a role and revokes the credentials that were issued for it.
    ///
    /// Returns whether the role existed.
    pub fn delete_role(&self, role_arn: &str) -> bool {
        let mut account = self.state.account();
        account.ledger.revoke(role_arn);
        account
            .roles
            .get_mut(role_arn)
            .is_some_and(|role| !mem::replace(&mut role.deleted, true))
    }

    /// Restores a deleted role, but not the credentials that were issued for it.
    ///
    /// Returns whether there was such a deleted role.
    pub fn restore_role(&self, role_arn: &str) -> bool {
        let mut account = self.state.account();
        account
            .roles
            .get_mut(role_arn)
            .is_some_and(|role| mem::replace(&mut role.deleted, false))
    }

    /// Replaces the trust policy of a role; has no effect if the role does not exist.
    pub fn set_trust_policy(&self, role_arn: &str, policy: &str) -> Result<(), InvalidPolicy> {
        let trust = TrustPolicy::parse(policy)?;
        if let Some(role) = self.state.account().roles.get_mut(role_arn) {
            role.trust = trust;
        }
        Ok(())
    }

    /// Permits `sts:AssumeRole` to the RAM user or to a role's sessions, or forbids it.
    pub fn permit_assume_role(&self, principal_arn: &str, permitted: bool) {
        let mut account = self.state.account();
        if account.user.arn == principal_arn {
            account.user.may_assume = permitted;
        } else if let Some(role) = account.roles.get_mut(principal_arn) {
            role.may_assume = permitted;
        }
    }

    /// Returns whether the session policy of issued credentials permits an action on a resource.
    ///
    /// A session without a policy is permitted everything, because the permissions of its role are not modelled.
    /// Unknown credentials are permitted nothing; as in [`issued`](Self::issued), the expiry is not checked. A `Condition`
    /// is not evaluated: a conditional Allow does not permit anything, and a conditional Deny always applies.
    pub fn permits(&self, access_key_id: &str, action: &str, resource: &str) -> bool {
        let issued = self.issued(access_key_id);
        issued.is_some_and(|issued| issued.permits(action, resource))
    }

    fn key_of(&self, owner: KeyOwner) -> AccessKey {
        let account = self.state.account();
        #[expect(
            clippy::expect_used,
            reason = "the account and the user always have exactly one AccessKey each"
        )]
        let (id, key) = account.key_of(owner).expect("an AccessKey of every owner");
        AccessKey {
            id: id.clone(),
            secret: key.secret.clone(),
        }
    }
}
