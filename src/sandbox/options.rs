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
use crate::sandbox::oidc::token::Signer;
use crate::sandbox::oidc::{Keys, Provider};
use crate::sandbox::policy::trust::TrustPolicy;
use crate::sandbox::random::Random;
use crate::time::clock::Clock;

/// Returns the ARN of the role of every sandbox.
pub fn role_arn() -> String {
    format!("acs:ram::{ACCOUNT_ID}:role/{ROLE_NAME}")
}

/// The options of a sandbox.
#[derive(Clone, Debug)]
pub struct Options {
    /// The loopback address to listen on; port 0 selects a free port.
    pub listen: SocketAddr,
    /// The clock of the sandbox, which tests may shift.
    pub clock: Clock,
    /// The faults that are in force from the start.
    pub faults: Plan,
    /// The longest session of the role.
    pub max_session: Duration,
    /// The `ExternalId` that the role requires of the RAM user.
    pub external_id: Option<String>,
    /// The issuer whose tokens the OIDC provider accepts; by default that of the sandbox.
    pub oidc_issuer: String,
    /// The public keys of the OIDC provider, a JSON Web Key Set of RSA (RS256) and P-256 (ES256) keys, as a cluster's issuer publishes it; by default
    /// the key that signs the tokens of the sandbox.
    pub oidc_keys: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            clock: Clock::machine(),
            faults: Plan::default(),
            max_session: Duration::from_secs(3600),
            external_id: None,
            oidc_issuer: OIDC_ISSUER.to_owned(),
            oidc_keys: None,
        }
    }
}

impl Options {
    pub(crate) fn account(&self, random: &Random, signer: &Signer) -> io::Result<Account> {
        let own_keys = signer.key_set();
        let keys = self.oidc_keys.as_ref().unwrap_or(&own_keys);
        let keys = Keys::parse(keys)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let mut account = Account {
            id: ACCOUNT_ID.to_owned(),
            user: User {
                arn: format!("acs:ram::{ACCOUNT_ID}:user/sandbox-user"),
                id: "200000000000000001".to_owned(),
                may_assume: true,
            },
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
            roles_created: 0,
            provider: Provider {
                arn: format!("acs:ram::{ACCOUNT_ID}:oidc-provider/sandbox-provider"),
                issuer: self.oidc_issuer.clone(),
                client_ids: vec![OIDC_AUDIENCE.to_owned()],
                keys,
            },
            ledger: Ledger::default(),
            nonces: Nonces::default(),
        };
        account.add_key(KeyOwner::Root, random);
        account.add_key(KeyOwner::User, random);
        let trust = TrustPolicy::parse(&self.trust_policy(&account)).map_err(io::Error::other)?;
        account.add_role(ROLE_NAME, trust, self.max_session);
        Ok(account)
    }

    /// Returns the trust policy of the role, which trusts the RAM user and every subject of the OIDC provider.
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
                    "oidc:aud": OIDC_AUDIENCE,
                },
                "StringLike": {"oidc:sub": "*"},
            },
        });
        json!({"Version": "1", "Statement": [user, oidc]}).to_string()
    }
}

/// The id of the account, 16 digits.
pub const ACCOUNT_ID: &str = "1234567890123456";

/// The name of the role that exists from the start.
pub(crate) const ROLE_NAME: &str = "sandbox-role";

/// The issuer of the tokens of the OIDC provider.
const OIDC_ISSUER: &str = "https://oidc.sandbox.invalid";

/// The audience of tokens on Alibaba Cloud's Kubernetes.
const OIDC_AUDIENCE: &str = "sts.aliyuncs.com";
