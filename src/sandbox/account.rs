//! The account from outside: every AccessKey and every role, all of which may change while the sandbox runs.

use std::mem;
use std::time::Duration;

use secrecy::SecretString;

use crate::sandbox::Sandbox;
use crate::sandbox::policy::trust::{InvalidPolicy, TrustPolicy};
use crate::sandbox::world::Owner;

/// An AccessKey of the sandbox.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Begins with `LTAISandbox`; 24 characters.
    pub id: String,
    /// 30 characters.
    pub secret: SecretString,
}

/// Who and what exists.
impl Sandbox {
    /// Returns the ARN of the role that exists from the start.
    pub fn role_arn(&self) -> String {
        self.role_arn.clone()
    }

    /// Returns the ARN of the RAM user.
    pub fn user_arn(&self) -> String {
        self.state.world().user.arn.clone()
    }

    /// Returns the RAM user's AccessKey.
    pub fn access_key(&self) -> AccessKey {
        self.key_of(Owner::User)
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
        self.key_of(Owner::Root)
    }

    /// Disables the RAM user's AccessKey, or enables it again.
    pub fn set_access_key_active(&self, active: bool) {
        let mut world = self.state.world();
        world
            .keys
            .values_mut()
            .filter(|key| key.owner == Owner::User)
            .for_each(|key| {
                key.active = active;
            });
    }

    /// Gives the RAM user a new AccessKey; the one before it exists no longer.
    pub fn rotate_access_key(&self) -> AccessKey {
        let mut world = self.state.world();
        world.keys.retain(|_, key| key.owner != Owner::User);
        world.add_key(Owner::User, &self.state.random);
        drop(world);
        self.access_key()
    }

    /// Adds a role, and returns its ARN. Its own sessions may not assume roles until they are permitted to.
    pub fn add_role(
        &self,
        name: &str,
        trust_policy: &str,
        max_session: Duration,
    ) -> Result<String, InvalidPolicy> {
        let trust = TrustPolicy::parse(trust_policy)?;
        let mut world = self.state.world();
        world.add_role(name, trust, max_session);
        Ok(world.role_arn(name))
    }

    /// Deletes a role; the credentials that were issued for it are void at once.
    ///
    /// Returns whether there was such a role.
    pub fn delete_role(&self, role_arn: &str) -> bool {
        let mut world = self.state.world();
        world.ledger.revoke(role_arn);
        world
            .roles
            .get_mut(role_arn)
            .is_some_and(|role| !mem::replace(&mut role.deleted, true))
    }

    /// Brings a deleted role back, but not the credentials that were issued for it.
    ///
    /// Returns whether there was such a role.
    pub fn restore_role(&self, role_arn: &str) -> bool {
        let mut world = self.state.world();
        world
            .roles
            .get_mut(role_arn)
            .is_some_and(|role| mem::replace(&mut role.deleted, false))
    }

    /// Replaces a role's trust policy. A role that does not exist is left at that.
    pub fn set_trust_policy(&self, role_arn: &str, policy: &str) -> Result<(), InvalidPolicy> {
        let trust = TrustPolicy::parse(policy)?;
        if let Some(role) = self.state.world().roles.get_mut(role_arn) {
            role.trust = trust;
        }
        Ok(())
    }

    /// Permits `sts:AssumeRole` to the RAM user or to a role's sessions, or forbids it.
    pub fn permit_assume_role(&self, principal_arn: &str, permitted: bool) {
        let mut world = self.state.world();
        if world.user.arn == principal_arn {
            world.user.may_assume = permitted;
        } else if let Some(role) = world.roles.get_mut(principal_arn) {
            role.may_assume = permitted;
        }
    }

    fn key_of(&self, owner: Owner) -> AccessKey {
        let world = self.state.world();
        #[expect(
            clippy::expect_used,
            reason = "both have exactly one AccessKey at all times"
        )]
        let (id, key) = world.key_of(owner).expect("an AccessKey of every owner");
        AccessKey {
            id: id.clone(),
            secret: key.secret.clone(),
        }
    }
}
