//! One attempt to obtain credentials.

use std::future::Future;
use std::time::Duration;

use crate::credentials::{Lease, RoleRequest};
use crate::failure::caller::{Caller, CallerIdentity};
use crate::failure::diagnosis;
use crate::failure::{Failure, LocalCode, Stage};
use crate::identity::{self, Identity, Proof, Resolved};
use crate::sts::Sts;
use crate::time::clock::Clock;

/// A source of credentials. Each call is one attempt; the caller decides about retries.
pub trait Source {
    /// Obtains new credentials. Cancel safe.
    fn mint(&mut self) -> impl Future<Output = Result<Lease, Failure>> + Send;

    /// Returns the failures of the endpoints that the last attempt tried before the one that succeeded.
    fn failovers(&mut self) -> Vec<Failure> {
        Vec::new()
    }

    /// Returns the role whose credentials it obtains; `None` if it passes credentials through.
    fn role(&self) -> Option<&RoleRequest> {
        None
    }

    /// Returns the longest time that an attempt may take.
    fn timeout(&self) -> Duration;
}

/// The source that assumes roles one after the other, or passes the credentials of the identity through.
#[derive(Debug)]
pub struct Chain {
    /// The identity that is proved to STS.
    pub identity: Identity,
    /// The client of STS.
    pub sts: Sts,
    /// The roles to assume, the last of them for the job. Without any, the identity's own credentials are passed through.
    pub roles: Vec<RoleRequest>,
    clock: Clock,
    /// The caller identity that STS last reported, with its AccessKey ID.
    caller: Option<(String, Caller)>,
}

impl Source for Chain {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let resolved = self.identity.resolve(&self.clock).await?;
        self.mint_from(resolved).await
    }

    fn failovers(&mut self) -> Vec<Failure> {
        self.sts.start_over()
    }

    fn role(&self) -> Option<&RoleRequest> {
        self.roles.last()
    }

    fn timeout(&self) -> Duration {
        let calls = self.identity.max_roles() + self.roles.len();
        self.identity.timeout() + self.sts.timeout(calls) + EXPLANATION
    }
}

impl Chain {
    /// Makes a source. Nothing is called yet.
    pub fn new(identity: Identity, sts: Sts, roles: Vec<RoleRequest>, clock: Clock) -> Self {
        Self {
            identity,
            sts,
            roles,
            clock,
            caller: None,
        }
    }

    /// Obtains new credentials with a proof that was obtained before. Cancel safe.
    pub async fn mint_from(&mut self, resolved: Resolved) -> Result<Lease, Failure> {
        self.sts.start_over();
        let Resolved { mut proof, roles } = resolved;
        let hops: Vec<RoleRequest> = roles.iter().chain(&self.roles).cloned().collect();
        for (index, role) in hops.iter().enumerate() {
            let lease = match self.assume(&proof, role).await {
                Ok(lease) => lease,
                Err(failure) => {
                    let failure = self.explained(failure, &proof, role).await;
                    return Err(at_hop(failure, index, &hops));
                }
            };
            proof = Proof::Lease(lease);
        }
        match proof {
            Proof::Lease(lease) => Ok(lease),
            Proof::Keys(_) | Proof::Token { .. } => Err(not_temporary(&self.identity)),
        }
    }

    async fn assume(&mut self, proof: &Proof, role: &RoleRequest) -> Result<Lease, Failure> {
        match proof {
            Proof::Keys(keys) => self.sts.assume_role(keys, role).await,
            Proof::Lease(lease) => self.sts.assume_role(&lease.credentials.keys(), role).await,
            Proof::Token {
                provider_arn,
                token,
            } => {
                self.sts
                    .assume_role_with_oidc(provider_arn, token, role)
                    .await
            }
        }
    }

    /// Adds the identity of the caller to a refusal, as far as it is known.
    async fn explained(&mut self, failure: Failure, proof: &Proof, role: &RoleRequest) -> Failure {
        let failure = diagnosis::of_request(failure, role, self.sts.skew());
        let failure = match proof.keys() {
            Some(keys) => diagnosis::of_key(failure, &keys.access_key_id, self.identity.is_fixed()),
            None => failure,
        };
        let now = self.clock.now().wall;
        if let Proof::Token {
            provider_arn,
            token,
        } = proof
        {
            let claims = identity::claims(token);
            let principal = CallerIdentity::Token {
                provider_arn,
                claims: claims.as_ref(),
            };
            return diagnosis::explained(failure, role, principal, now);
        }
        if diagnosis::requires_caller(&failure)
            && let Some(keys) = proof.keys()
            && self
                .caller
                .as_ref()
                .is_none_or(|(id, _)| *id != keys.access_key_id)
        {
            // The explanation must not delay the refusal for long.
            let response = tokio::time::timeout(EXPLANATION, self.sts.caller(&keys)).await;
            self.caller = response
                .ok()
                .and_then(Result::ok)
                .map(|caller| (keys.access_key_id, caller));
        }
        let caller = self.caller.as_ref().map(|(_, caller)| caller);
        let principal = caller.map_or(CallerIdentity::Unknown, CallerIdentity::Signer);
        diagnosis::explained(failure, role, principal, now)
    }
}

/// Names the role that could not be assumed, if there are several.
fn at_hop(mut failure: Failure, index: usize, hops: &[RoleRequest]) -> Failure {
    if let (Some(role), 2..) = (hops.get(index), hops.len()) {
        let (hop, all) = (index + 1, hops.len());
        failure.message = format!("at hop {hop} of {all}, {}: {}", role.arn, failure.message);
    }
    failure
}

fn not_temporary(identity: &Identity) -> Failure {
    let kind = identity.kind();
    let message = format!(
        "the {kind} identity holds an AccessKey without an expiry, which is never served to a job"
    );
    Failure::new(Stage::Identity, LocalCode::IdentityNotTemporary, message)
}

/// How long the explanation of a refusal may take.
const EXPLANATION: Duration = Duration::from_secs(2);
