//! The options of a sandbox, and the account that they describe.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use crate::sandbox::account::ledger::Ledger;
use crate::sandbox::account::nonces::Nonces;
use crate::sandbox::account::{Account, KeyOwner, User};
use crate::sandbox::faults::plan::Plan;
use crate::sandbox::oidc::{Keys, Provider};
use crate::sandbox::policy::trust::TrustPolicy;
use crate::sandbox::random::Random;
use crate::time::clock::Clock;

/// The options of a sandbox.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address, a loopback one; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The clock of the sandbox, which tests may shift.
    pub clock: Clock,
    /// The faults that are in force from the start.
    pub faults: Plan,
    /// The account: 16 digits.
    pub account_id: String,
    /// The name of the RAM user.
    pub user_name: String,
    /// The name of the role.
    pub role_name: String,
    /// The longest session of the role.
    pub max_session: Duration,
    /// The `ExternalId` that the role requires of the RAM user.
    pub external_id: Option<String>,
    /// The name of the OIDC provider.
    pub oidc_provider_name: String,
    /// The issuer of the OIDC provider's tokens.
    pub oidc_issuer: String,
    /// The audiences that the OIDC provider is registered with.
    pub oidc_client_ids: Vec<String>,
    /// The OIDC provider's public keys, a JSON Web Key Set; `None` trusts the tokens that the
    /// sandbox issues itself.
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
            // The audience of tokens on Alibaba Cloud's Kubernetes.
            oidc_client_ids: vec!["sts.aliyuncs.com".to_owned()],
            oidc_keys: None,
        }
    }
}

impl Options {
    pub(crate) fn account(&self, random: &Random) -> io::Result<Account> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let keys = match &self.oidc_keys {
            Some(text) => Keys::parse(text).map_err(invalid)?,
            None => Keys::Sandbox,
        };
        let id = &self.account_id;
        let mut account = Account {
            id: id.clone(),
            user: User {
                arn: format!("acs:ram::{id}:user/{}", self.user_name),
                id: "200000000000000001".to_owned(),
                may_assume: true,
            },
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
            roles_created: 0,
            provider: Provider {
                arn: format!("acs:ram::{id}:oidc-provider/{}", self.oidc_provider_name),
                issuer: self.oidc_issuer.clone(),
                client_ids: self.oidc_client_ids.clone(),
                keys,
            },
            ledger: Ledger::default(),
            nonces: Nonces::default(),
        };
        account.add_key(KeyOwner::Root, random);
        account.add_key(KeyOwner::User, random);
        let trust = TrustPolicy::parse(&self.trust_policy(&account)).map_err(io::Error::other)?;
        account.add_role(&self.role_name, trust, self.max_session);
        Ok(account)
    }

    /// Trusts the RAM user, and every subject of the OIDC provider.
    fn trust_policy(&self, account: &Account) -> String {
        let condition = match &self.external_id {
            Some(id) => json!({"StringEquals": {"sts:ExternalId": id}}),
            None => json!({}),
        };
        let user = json!({
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"RAM": [account.user.arn]},
            "Condition": condition,
        });
        let oidc = json!({
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Federated": [account.provider.arn]},
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
