//! The client of STS 2015-04-01: one request to each endpoint in turn, no retry.
//!
//! Proofs travel in a POST form body or in headers, because URLs end up in proxy logs.

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
use crate::failure::{Failure, OwnCode, Stage, Verdict};
use crate::http::client::{self, Call};
use crate::http::response::Answer;
use crate::time::clock::Clock;

use self::failover::{is_worth_another_endpoint, pause};
use self::sign::{Parameters, Signature, Stamp};

pub use self::failover::EndpointState;

/// The client.
#[derive(Debug)]
pub struct Sts {
    /// Never empty; in the order of preference.
    endpoints: Vec<EndpointState>,
    /// The index of the endpoint to call: those before it have failed since the last [`Sts::start_over`].
    current: usize,
    failovers: Vec<Failure>,
    signature: Signature,
    clock: Clock,
    /// The index of the endpoint last called, and how long the call took.
    last_call: Option<(usize, Duration)>,
}

/// What a request proves itself with.
#[derive(Clone, Copy)]
enum Proof<'a> {
    Keys(&'a Keys),
    /// Something among the parameters.
    Inside,
}

/// What is asked.
struct Request<'a> {
    action: &'a str,
    parameters: Parameters,
    proof: Proof<'a>,
    /// Those of the request, which the service may repeat.
    secrets: &'a [&'a str],
}

/// An answer of success, and what surrounds it.
struct Answered<'a> {
    answer: &'a Answer,
    asked: RequestTime,
    host: &'a str,
}

impl Sts {
    /// Makes a client that calls the first of `endpoints` that answers.
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

    /// Returns to the first endpoint; returns the failures for which calls have failed over since the last time.
    pub fn start_over(&mut self) -> Vec<Failure> {
        // When all of them back off, the first is as good as any: the caller has waited already.
        self.current = self.first_available(0).unwrap_or(0);
        std::mem::take(&mut self.failovers)
    }

    /// Returns the longest time that `calls` calls take, failovers included.
    pub fn timeout(&self, calls: usize) -> Duration {
        // Each call succeeds, or gives up one endpoint for good.
        let calls = u32::try_from(calls + self.endpoints.len() - 1).unwrap_or(u32::MAX);
        client::TOTAL.saturating_mul(calls)
    }

    /// Returns the host of the last call, and how long it took.
    pub fn last_call(&self) -> Option<(&str, Duration)> {
        let (state, took) = self.last_call?;
        Some((self.endpoints.get(state)?.endpoint.host(), took))
    }

    /// Returns how far the wall clock is ahead of that of the endpoint last called, if its answer had a date.
    pub fn skew(&self) -> Option<TimeDelta> {
        self.endpoints.get(self.last_call?.0)?.skew
    }

    /// Calls AssumeRole, signed with `keys`.
    pub async fn assume_role(&mut self, keys: &Keys, role: &RoleRequest) -> Result<Lease, Failure> {
        let request = Request {
            action: "AssumeRole",
            parameters: wire::assume_role(role),
            proof: Proof::Keys(keys),
            secrets: &keys.secrets(),
        };
        self.mint(&request, role).await
    }

    /// Calls AssumeRoleWithOIDC, which is not signed: the token is the proof.
    pub async fn assume_role_with_oidc(
        &mut self,
        provider_arn: &str,
        token: &SecretString,
        role: &RoleRequest,
    ) -> Result<Lease, Failure> {
        let request = Request {
            action: "AssumeRoleWithOIDC",
            parameters: wire::assume_role_with_oidc(role, provider_arn, token),
            proof: Proof::Inside,
            secrets: &[token.expose_secret()],
        };
        self.mint(&request, role).await
    }

    /// Calls GetCallerIdentity, which needs no permission, signed with `keys`.
    pub async fn caller(&mut self, keys: &Keys) -> Result<Caller, Failure> {
        let request = Request {
            action: "GetCallerIdentity",
            parameters: wire::get_caller_identity(),
            proof: Proof::Keys(keys),
            secrets: &keys.secrets(),
        };
        let read = |answered: &Answered<'_>| {
            wire::caller(answered.answer).ok_or_else(|| {
                let (action, host) = (request.action, answered.host);
                let message = format!("{action} at {host} answered HTTP 200, but not who we are");
                Failure::new(Stage::Answer, OwnCode::UnexpectedAnswer, message)
            })
        };
        self.call(&request, read).await
    }

    async fn mint(&mut self, request: &Request<'_>, role: &RoleRequest) -> Result<Lease, Failure> {
        let (action, secrets) = (request.action, request.secrets);
        let read = |answered: &Answered<'_>| {
            let Answered {
                answer,
                asked,
                host,
            } = *answered;
            let made_at = asked.at.wall - asked.skew;
            let credentials = wire::granted(action, host, answer, made_at, secrets)?;
            // Never longer than was asked for: a service clock that is wrong must not prolong a life.
            Lease::new(credentials, asked, role.duration, host).ok_or_else(|| {
                let message = format!(
                    "{action} at {host} answered with credentials that have already expired"
                );
                let failure = Failure::new(Stage::Answer, OwnCode::ExpiredAnswer, message);
                wire::noted(failure, answer, secrets)
            })
        };
        self.call(request, read).await
    }

    /// Calls one endpoint after the other, beginning with the last that answered.
    async fn call<T>(
        &mut self,
        request: &Request<'_>,
        read: impl Fn(&Answered<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let failure = match self.call_one(request, &read).await {
                Ok(read) => return Ok(read),
                Err(failure) => failure,
            };
            let now = self.clock.now();
            if let Some(state) = self.endpoints.get_mut(self.current) {
                state.backoff_until = pause(&failure).map(|pause| now.after(pause));
            }
            let next = self.first_available(self.current + 1);
            match next.filter(|_| is_worth_another_endpoint(&failure)) {
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
        read: impl Fn(&Answered<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(state) = self.endpoints.get_mut(self.current) else {
            let message = "no STS endpoint is configured";
            return Err(Failure::new(
                Stage::Transport,
                OwnCode::RequestFailed,
                message,
            ));
        };
        let asked_at = self.clock.now();
        let stamp = stamp(asked_at.wall - state.skew.unwrap_or_default())?;
        let host = state.endpoint.host();
        let parameters = request.parameters.clone();
        let signed = match request.proof {
            Proof::Keys(keys) => sign::signed(self.signature, host, parameters, keys, &stamp),
            Proof::Inside => sign::unsigned(parameters, &stamp),
        };
        let answer = state
            .outbound
            .call(Call {
                method: Method::POST,
                url: &format!("{}{}", state.endpoint.url(), signed.query),
                headers: &signed.headers,
                form: signed.form,
            })
            .await;
        // By the boot clock: the wall clock may be set during the request.
        let round_trip = self.clock.now().boot.saturating_sub(asked_at.boot);
        self.last_call = Some((self.current, round_trip));
        let answer = answer?;
        let learnt = answer
            .date
            .and_then(|date| wire::skew(asked_at.wall, round_trip, date));
        state.skew = learnt.or(state.skew);
        wire::accepted(request.action, host, &answer, request.secrets)?;
        let asked = RequestTime {
            at: asked_at,
            skew: state.skew.unwrap_or_default(),
            uncertainty: round_trip / 2,
        };
        read(&Answered {
            answer: &answer,
            asked,
            host,
        })
    }

    /// Adds the failures of the endpoints called before, when none has succeeded.
    fn with_earlier_failures(&self, mut failure: Failure) -> Failure {
        for earlier in self.failovers.iter().rev() {
            failure.message = format!("{}; before that, {}", failure.message, earlier.message);
            if let Some(id) = &earlier.request_id {
                failure.message = format!("{} (RequestId {id})", failure.message);
            }
        }
        // A refusal holds at every endpoint. Otherwise the endpoint that may recover first decides when to try again: those
        // that throttle us back off by themselves.
        if is_worth_another_endpoint(&failure) {
            for earlier in &self.failovers {
                failure.verdict = match (failure.verdict, earlier.verdict) {
                    (Verdict::Retry, _) | (_, Verdict::Retry) => Verdict::Retry,
                    (Verdict::Throttled, _) | (_, Verdict::Throttled) => Verdict::Throttled,
                    (Verdict::Fatal, Verdict::Fatal) => Verdict::Fatal,
                };
                failure.retry_after = failure.retry_after.min(earlier.retry_after);
            }
        }
        failure
    }
}

fn stamp(at: DateTime<Utc>) -> Result<Stamp, Failure> {
    Stamp::new(at).map_err(|error| {
        let message = format!("cannot draw a random nonce: {error}");
        Failure::new(Stage::Identity, OwnCode::RequestFailed, message)
    })
}
