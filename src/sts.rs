//! The client of STS 2015-04-01: one request, one answer, no retry.
//!
//! Everything travels in a POST form body, because URLs end up in proxy logs.

pub mod endpoint;
pub mod sign;
pub mod wire;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::credentials::{Credentials, Keys, RoleArn};
use crate::failure::{Failure, Stage};
use crate::moment::Moment;
use crate::outbound::Outbound;

use self::endpoint::Endpoint;

/// Which role to assume, and how.
#[derive(Clone, Debug)]
pub struct RoleRequest {
    /// `RoleArn`.
    pub arn: RoleArn,
    /// `RoleSessionName`: 2 to 64 characters. Stable, because clients pin the identity.
    pub session_name: String,
    /// `DurationSeconds`: 15 minutes to 12 hours, bounded by the role's maximum.
    pub duration: Duration,
    /// `Policy`: a session policy, at most 2048 characters of JSON.
    pub policy: Option<String>,
    /// `ExternalId`. AssumeRoleWithOIDC has no such parameter.
    pub external_id: Option<String>,
}

/// A successful answer.
#[derive(Debug)]
pub struct Granted {
    /// The credentials of the role.
    pub credentials: Credentials,
    /// When they stop being good, by the clocks of this machine; never later than the truth.
    pub deadline: Moment,
    /// How long they live.
    pub lifetime: Duration,
    /// How far this machine's wall clock is ahead of the service's.
    pub skew: TimeDelta,
}

/// The client.
#[derive(Debug)]
pub struct Sts {
    outbound: Outbound,
    endpoint: Endpoint,
    clock: Clock,
    /// How far the wall clock is ahead of the service's, in milliseconds, as last learnt.
    skew_ms: AtomicI64,
}

impl Sts {
    /// Makes a client that calls `endpoint`.
    pub fn new(outbound: Outbound, endpoint: Endpoint, clock: Clock) -> Self {
        Self {
            outbound,
            endpoint,
            clock,
            skew_ms: AtomicI64::new(0),
        }
    }

    /// Calls AssumeRole, signed with `keys`.
    pub async fn assume_role(&self, keys: &Keys, role: &RoleRequest) -> Result<Granted, Failure> {
        let mut parameters = wire::assume_role(role);
        sign::sign("POST", &mut parameters, keys, &self.stamp()?);
        let secrets = keys.secrets();
        self.call("AssumeRole", &parameters, &secrets, role.duration)
            .await
    }

    /// Calls AssumeRoleWithOIDC, which is not signed: the token is the proof.
    pub async fn assume_role_with_oidc(
        &self,
        provider_arn: &str,
        token: &SecretString,
        role: &RoleRequest,
    ) -> Result<Granted, Failure> {
        let mut parameters = wire::assume_role_with_oidc(role, provider_arn, token);
        sign::stamp(&mut parameters, &self.stamp()?);
        self.call(
            "AssumeRoleWithOIDC",
            &parameters,
            &[token.expose_secret()],
            role.duration,
        )
        .await
    }

    async fn call(
        &self,
        action: &str,
        parameters: &sign::Parameters,
        secrets: &[&str],
        asked_for: Duration,
    ) -> Result<Granted, Failure> {
        let asked_at = self.clock.now();
        let form = sign::form(parameters);
        let answer = self.outbound.post_form(self.endpoint.url(), form).await?;
        // By the boot clock: the wall clock may be set during the request.
        let round_trip = self.clock.now().boot.saturating_sub(asked_at.boot);
        if let Some(skew) = answer
            .date
            .and_then(|date| wire::skew(asked_at.wall, round_trip, date))
        {
            self.skew_ms
                .store(skew.num_milliseconds(), Ordering::Relaxed);
        }
        let skew = self.skew();
        let made_at = asked_at.wall - skew;
        let credentials = wire::parse(action, self.endpoint.host(), &answer, made_at, secrets)?;

        let lifetime = wire::lifetime(&credentials, asked_for);
        let good_for = lifetime.saturating_sub(ROUNDING);
        if good_for.is_zero() {
            let message = format!(
                "{action} at {} answered credentials that have already expired",
                self.endpoint.host()
            );
            return Err(Failure::new(Stage::Answer, "ExpiredAnswer", message));
        }
        // From the moment of asking, not of the answer: the deadline errs to the early side.
        Ok(Granted {
            deadline: asked_at.after(good_for),
            credentials,
            lifetime,
            skew,
        })
    }

    fn skew(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.skew_ms.load(Ordering::Relaxed))
    }

    fn stamp(&self) -> Result<sign::Stamp, Failure> {
        sign::Stamp::new(self.clock.now().wall - self.skew()).map_err(|error| {
            let message = format!("cannot draw a random nonce: {error}");
            Failure::new(Stage::Identity, "RequestFailed", message)
        })
    }
}

/// The `Date` header and `Expiration` are whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);
