//! What a sandbox is started with, and the world that it makes of it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use crate::sandbox::auth::oidc::{Keys, Provider};
use crate::sandbox::faults::plan::Plan;
use crate::sandbox::issue::Ledger;
use crate::sandbox::policy::trust::TrustPolicy;
use crate::sandbox::random::Random;
use crate::sandbox::world::{Nonces, Owner, User, World};
use crate::time::clock::Clock;

/// What a sandbox is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address, a loopback one; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The clock of the sandbox, which tests may shift.
    pub clock: Clock,
    /// What goes wrong from the start.
    pub faults: Plan,
    /// The account: 16 digits.
    pub account_id: String,
    /// The name of the RAM user.
    pub user_name: String,
    /// The name of the role.
    pub role_name: String,
    /// The longest session of the role.
    pub max_session: Duration,
    /// The `ExternalId` that the role asks the RAM user for.
    pub external_id: Option<String>,
    /// The name of the OIDC provider.
    pub oidc_provider_name: String,
    /// The issuer of the OIDC provider's tokens.
    pub oidc_issuer: String,
    /// The audiences that the OIDC provider is registered with.
    pub oidc_client_ids: Vec<String>,
    /// The OIDC provider's public keys, a JSON Web Key Set; `None` trusts what the sandbox mints.
    pub oidc_keys: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            clock: Clock::machine(),
            faults: Plan::default(),
            account_id: "1234567890123456".to_owned(),
            user_name: "sandbox-user".to_owned(),
            role_name: "sandbox-role".to_owned(),
            max_session: Duration::from_secs(3600),
            external_id: None,
            oidc_provider_name: "sandbox-provider".to_owned(),
            oidc_issuer: "https://oidc.sandbox.invalid".to_owned(),
            // What Kubernetes on Alibaba Cloud asks for.
            oidc_client_ids: vec!["sts.aliyuncs.com".to_owned()],
            oidc_keys: None,
        }
    }
}

impl Options {
    pub(super) fn world(&self, random: &Random) -> io::Result<World> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let keys = match &self.oidc_keys {
            Some(text) => Keys::parse(text).map_err(invalid)?,
            None => Keys::Own,
        };
        let account = &self.account_id;
        let mut world = World {
            account_id: account.clone(),
            user: User {
                arn: format!("acs:ram::{account}:user/{}", self.user_name),
                id: "200000000000000001".to_owned(),
                may_assume: true,
            },
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
            roles_made: 0,
            provider: Provider {
                arn: format!(
                    "acs:ram::{account}:oidc-provider/{}",
                    self.oidc_provider_name
                ),
                issuer: self.oidc_issuer.clone(),
                client_ids: self.oidc_client_ids.clone(),
                keys,
            },
            ledger: Ledger::default(),
            nonces: Nonces::default(),
        };
        world.add_key(Owner::Root, random);
        world.add_key(Owner::User, random);
        let trust = TrustPolicy::parse(&self.trust_policy(&world)).map_err(io::Error::other)?;
        world.add_role(&self.role_name, trust, self.max_session);
        Ok(world)
    }

    /// Trusts the RAM user, and every subject of the OIDC provider.
    fn trust_policy(&self, world: &World) -> String {
        let condition = match &self.external_id {
            Some(id) => json!({"StringEquals": {"sts:ExternalId": id}}),
            None => json!({}),
        };
        let user = json!({
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"RAM": [world.user.arn]},
            "Condition": condition,
        });
        let oidc = json!({
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Federated": [world.provider.arn]},
            "Condition": {
                "StringEquals": {
                    "oidc:iss": self.oidc_issuer,
                    "oidc:aud": self.oidc_client_ids,
                },
                "StringLike": {"oidc:sub": "*"},
            },
        });
        json!({"Version": "1", "Statement": [user, oidc]}).to_string()
    }
}
