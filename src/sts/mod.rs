//! The client of STS 2015-04-01: one request to each endpoint in turn, no retry.
//!
//! Tokens and signatures are sent in a POST form body or in headers, because URLs end up in proxy logs.

pub mod endpoint;
mod failover;
pub mod sign;
pub mod wire;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};

use crate::credentials::{Keys, Lease, RequestTime, RoleRequest};
use crate::failure::caller::Caller;
use crate::failure::{Failure, LocalCode, Stage};
use crate::http::client::{self, Call};
use crate::http::response::Response;
use crate::time::clock::Clock;

use self::failover::{backoff, causes_failover};
use self::sign::{Parameters, Signature, Stamp};

pub use self::failover::EndpointState;

/// A client of STS, with failover between its endpoints.
#[derive(Debug)]
pub struct Sts {
    /// Never empty; in the order of preference.
    endpoints: Vec<EndpointState>,
    /// The index of the endpoint to call. Those before it have failed since the last [`Sts::start_over`], or are backing off.
    current: usize,
    failovers: Vec<Failure>,
    signature: Signature,
    clock: Clock,
    /// The index of the endpoint last called, and how long the call took, if it was answered.
    last_call: Option<(usize, Option<Duration>)>,
}

/// A call to one action.
struct Request<'a> {
    action: &'a str,
    parameters: Parameters,
    /// The keys to sign with; `None` if a token among the parameters authenticates the request.
    keys: Option<&'a Keys>,
    /// The secrets of the request, which the service may quote in its response.
    secrets: &'a [&'a str],
}

/// A response with status 200, and the circumstances of its request.
struct Success<'a> {
    response: &'a Response,
    requested: RequestTime,
    host: &'a str,
}

impl Sts {
    /// Creates a client that calls the first available endpoint of `endpoints`, which is not empty.
    pub fn new(endpoints: Vec<EndpointState>, signature: Signature, clock: Clock) -> Self {
        Self {
            endpoints,
            current: 0,
            failovers: Vec::new(),
            signature,
            clock,
            last_call: None,
        }
    }

    /// Returns to the first available endpoint, and returns the failures that caused a failover since the last time.
    pub fn start_over(&mut self) -> Vec<Failure> {
        // If all of them are backing off, the first is called: the caller has waited already.
        self.current = self.first_available(0).unwrap_or(0);
        std::mem::take(&mut self.failovers)
    }

    /// Returns the longest time that `calls` calls can take, failovers included.
    pub fn timeout(&self, calls: usize) -> Duration {
        // Each call succeeds, or eliminates one endpoint until the next start_over.
        let calls = u32::try_from(calls + self.endpoints.len() - 1).unwrap_or(u32::MAX);
        client::TOTAL.saturating_mul(calls)
    }

    /// Returns the hosts of the endpoints, in the order of preference.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(|state| state.endpoint.host())
    }

    /// Returns the host of the last call, and how long it took, if it was answered.
    pub fn last_call(&self) -> Option<(&str, Option<Duration>)> {
        let (state, took) = self.last_call?;
        Some((self.endpoints.get(state)?.endpoint.host(), took))
    }

    /// Returns how far the wall clock is ahead of that of the endpoint last called, at least, if its response had a date.
    pub fn skew(&self) -> Option<TimeDelta> {
        let (state, took) = self.last_call?;
        Some(wire::certain(self.endpoints.get(state)?.skew?, took?))
    }

    /// Calls AssumeRole, signed with `keys`.
    pub async fn assume_role(&mut self, keys: &Keys, role: &RoleRequest) -> Result<Lease, Failure> {
        let request = Request {
            action: "AssumeRole",
            parameters: wire::assume_role(role),
            keys: Some(keys),
            secrets: &keys.secrets(),
        };
        self.request_lease(&request, role).await
    }

    /// Calls AssumeRoleWithOIDC, which is not signed: the token authenticates the request.
    pub async fn assume_role_with_oidc(
        &mut self,
        provider_arn: &str,
        token: &SecretString,
        role: &RoleRequest,
    ) -> Result<Lease, Failure> {
        let request = Request {
            action: "AssumeRoleWithOIDC",
            parameters: wire::assume_role_with_oidc(role, provider_arn, token),
            keys: None,
            secrets: &[token.expose_secret()],
        };
        self.request_lease(&request, role).await
    }

    /// Calls GetCallerIdentity, which needs no permission, signed with `keys`.
    pub async fn caller(&mut self, keys: &Keys) -> Result<Caller, Failure> {
        let request = Request {
            action: "GetCallerIdentity",
            parameters: wire::action("GetCallerIdentity"),
            keys: Some(keys),
            secrets: &keys.secrets(),
        };
        let read = |success: &Success<'_>| {
            wire::caller(success.response).ok_or_else(|| {
                let (action, host) = (request.action, success.host);
                let message =
                    format!("{action} at {host} answered HTTP 200, without the caller identity");
                Failure::new(Stage::Answer, LocalCode::UnexpectedAnswer, message)
            })
        };
        self.call(&request, read).await
    }

    async fn request_lease(
        &mut self,
        request: &Request<'_>,
        role: &RoleRequest,
    ) -> Result<Lease, Failure> {
        let (action, secrets) = (request.action, request.secrets);
        let read = |success: &Success<'_>| {
            let (host, requested) = (success.host, success.requested);
            let issued_at = requested.at.wall - requested.skew;
            let credentials =
                wire::credentials(action, host, success.response, issued_at, secrets)?;
            // At most the requested duration: a wrong clock of the service must not extend the lifetime.
            Lease::new(credentials, requested, role.duration, host).ok_or_else(|| {
                let message = format!(
                    "{action} at {host} answered with credentials that have expired, or do so within a second"
                );
                let failure = Failure::new(Stage::Answer, LocalCode::ExpiredAnswer, message);
                wire::with_request_id(failure, success.response, secrets)
            })
        };
        self.call(request, read).await
    }

    /// Calls one endpoint after the other, beginning with the current one.
    async fn call<T>(
        &mut self,
        request: &Request<'_>,
        read: impl Fn(&Success<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let mut failure = match self.call_one(request, &read).await {
                Ok(read) => return Ok(read),
                Err(failure) => failure,
            };
            let now = self.clock.now();
            if let Some(state) = self.endpoints.get_mut(self.current) {
                failure.host = Some(state.endpoint.host().into());
                state.backoff_until = backoff(&failure).map(|backoff| now.after(backoff));
            }
            let next = self.first_available(self.current + 1);
            match next.filter(|_| causes_failover(&failure)) {
                Some(next) => self.current = next,
                None => return Err(self.with_earlier_failures(failure)),
            }
            self.failovers.push(failure);
        }
    }

    /// Returns the index of the first endpoint, not before `from`, that is not backing off.
    fn first_available(&self, from: usize) -> Option<usize> {
        let now = self.clock.now();
        let is_available =
            |(index, state): &(usize, &EndpointState)| *index >= from && !state.is_backing_off(now);
        let mut endpoints = self.endpoints.iter().enumerate();
        endpoints.find(is_available).map(|(index, _)| index)
    }

    async fn call_one<T>(
        &mut self,
        request: &Request<'_>,
        read: impl Fn(&Success<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(state) = self.endpoints.get_mut(self.current) else {
            let message = "no STS endpoint is configured";
            let failure = Failure::new(Stage::Transport, LocalCode::RequestFailed, message);
            return Err(failure);
        };
        let requested_at = self.clock.now();
        let stamp = stamp(requested_at.wall - state.skew.unwrap_or_default())?;
        let host = state.endpoint.host();
        let parameters = request.parameters.clone();
        let signed = match request.keys {
            Some(keys) => sign::signed(self.signature, host, parameters, keys, &stamp),
            None => sign::unsigned(parameters, &stamp),
        };
        let response = state
            .client
            .call(Call {
                method: Method::POST,
                url: &format!("{}{}", state.endpoint.url(), signed.query),
                headers: &signed.headers,
                form: signed.form,
            })
            .await;
        // Measured by the boot clock: the wall clock may be set during the request.
        let round_trip = self.clock.now().boot.saturating_sub(requested_at.boot);
        self.last_call = Some((self.current, response.is_ok().then_some(round_trip)));
        let response = response?;
        let skew = response
            .date
            .and_then(|date| wire::skew(requested_at.wall, round_trip, date));
        state.skew = skew.or(state.skew);
        wire::check_status(request.action, host, &response, request.secrets)?;
        let requested = RequestTime {
            at: requested_at,
            skew: state.skew.unwrap_or_default(),
            uncertainty: round_trip / 2,
        };
        read(&Success {
            response: &response,
            requested,
            host,
        })
    }

    /// Adds the failures of the endpoints that were called before, after all of them have failed.
    fn with_earlier_failures(&self, mut failure: Failure) -> Failure {
        for earlier in self.failovers.iter().rev() {
            failure.message = format!("{}; before that, {}", failure.message, earlier.message);
            if let Some(id) = &earlier.request_id {
                failure.message = format!("{} (RequestId {id})", failure.message);
            }
        }
        // A refusal is final at every endpoint. Otherwise the endpoint that may recover first decides when to retry: those
        // that throttle have their own backoff.
        if causes_failover(&failure) {
            for earlier in &self.failovers {
                failure.class = failure.class.min(earlier.class);
                failure.retry_after = failure.retry_after.min(earlier.retry_after);
            }
        }
        failure
    }
}

fn stamp(at: DateTime<Utc>) -> Result<Stamp, Failure> {
    Stamp::new(at).map_err(|error| {
        let message = format!("cannot make a nonce for the request: {error}");
        Failure::new(Stage::Identity, LocalCode::RandomnessFailed, message)
    })
}
