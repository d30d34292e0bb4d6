//! The environment of the daemon: true time, a simulated STS, and the connections to it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ram_sidecar::credentials::timestamp;
use ram_sidecar::failure::{Failure, LocalCode, Stage};
use ram_sidecar::http::client::{Call, ResponseFuture, Transport};
use ram_sidecar::http::response::Response;
use ram_sidecar::time::clock::Clock;
use serde_json::json;
use tokio::time::{Instant, sleep};
use url::form_urlencoded;

use crate::fault::Fault;
use crate::random::Random;
use crate::timeline::Timeline;

/// The role of the job.
pub(crate) const JOB: &str = "acs:ram::1234567890123456:role/job";
/// The role through which it may be assumed.
pub(crate) const VIA: &str = "acs:ram::1234567890123456:role/via";
pub(crate) const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/cluster";
pub(crate) const SESSION: &str = "simulated-job";
pub(crate) const KEY_ID: &str = "LTAIsimulated";

/// Is part of every secret, so that one search finds any of them.
pub(crate) const SECRET_MARKER: &str = "s3cr3t";

/// The environment of one scenario. Clones share its state.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    origin: Instant,
    timeline: Timeline,
    state: Mutex<State>,
}

/// The part that changes.
#[derive(Debug)]
pub(crate) struct State {
    random: Random,
    suspended: Duration,
    /// The fault of each endpoint, if it has one.
    pub(crate) faults: Vec<Option<ActiveFault>>,
    /// All credentials ever issued, by their number.
    pub(crate) issues: Vec<Issue>,
    /// The tokens of the OIDC provider, and when they expire.
    tokens: Vec<(String, Duration)>,
    /// When the last pause ends that STS has requested.
    pub(crate) pause_until: Duration,
    pub(crate) calls: u64,
}

impl State {
    /// Accepts a token until it expires, as well as the two before it.
    pub(crate) fn accept_token(&mut self, token: String, expires_at: Duration) {
        self.tokens.push((token, expires_at));
        let surplus = self.tokens.len().saturating_sub(3);
        self.tokens.drain(..surplus);
    }
}

/// A fault, and the probability that it affects a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActiveFault {
    pub(crate) fault: Fault,
    pub(crate) probability: f64,
}

/// Credentials that STS has issued.
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    /// Whether they are of the job's role.
    pub(crate) is_for_job: bool,
    pub(crate) issued_at: Duration,
    /// When they expire, by true time.
    pub(crate) expires_at: Duration,
    /// Whether the daemon has received them completely.
    pub(crate) is_delivered: bool,
}

impl Issue {
    pub(crate) fn id(number: usize) -> String {
        format!("STS.{number}")
    }

    pub(crate) fn number(id: &str) -> Option<usize> {
        id.strip_prefix("STS.")?.parse().ok()
    }

    pub(crate) fn secret(number: usize) -> String {
        format!("{SECRET_MARKER}-key-{number}")
    }

    pub(crate) fn token(number: usize) -> String {
        format!("{SECRET_MARKER}-token-{number}")
    }
}

impl World {
    pub(crate) fn new(seed: u64, endpoints: usize, clock: Clock, timeline: Timeline) -> Self {
        Self(Arc::new(Shared {
            clock,
            origin: Instant::now(),
            timeline,
            state: Mutex::new(State {
                random: Random::new(seed, "sts"),
                suspended: Duration::ZERO,
                faults: vec![None; endpoints],
                issues: Vec::new(),
                tokens: Vec::new(),
                pause_until: Duration::ZERO,
                calls: 0,
            }),
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Returns the clock of the daemon's machine.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Returns the true time since the start, including suspensions.
    pub(crate) fn true_time(&self) -> Duration {
        self.0.origin.elapsed() + self.state().suspended
    }

    /// Returns the time since the start, without suspensions.
    pub(crate) fn uptime(&self) -> Duration {
        self.0.origin.elapsed()
    }

    /// Suspends the daemon's machine.
    pub(crate) fn suspend(&self, duration: Duration) {
        self.0.clock.suspend(duration);
        self.state().suspended += duration;
    }

    /// Returns how far the daemon's wall clock is ahead.
    pub(crate) fn skew(&self) -> TimeDelta {
        self.0.clock.now().wall - date(self.true_time())
    }

    pub(crate) fn record(&self, event: &str) {
        self.0.timeline.record(event);
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.0.timeline
    }

    async fn respond(&self, index: usize, form: &str) -> Result<Response, Failure> {
        let (fault, there, back) = {
            let mut state = self.state();
            state.calls += 1;
            let active = state.faults[index];
            let active = active.filter(|active| state.random.happens(active.probability));
            let fault = active.map(|active| active.fault);
            let trip = |random: &mut Random| random.duration(MIN_TRIP, Duration::from_millis(300));
            let (mut there, mut back) = (trip(&mut state.random), trip(&mut state.random));
            if matches!(fault, Some(Fault::Slow)) {
                let slow = Duration::from_secs_f64(9.5 * state.random.fraction());
                (there, back) = if state.random.happens(0.5) {
                    (slow, back)
                } else {
                    (there, slow)
                };
            }
            (fault, there, back)
        };
        self.record(&format!("call to endpoint {index}: {fault:?}"));
        if let Some(error) = fault.and_then(Fault::transport_error) {
            sleep(error.after).await;
            return Err(Failure::new(Stage::Transport, error.code, "simulated"));
        }
        sleep(there).await;
        let answer = fault
            .and_then(Fault::replacement)
            .unwrap_or_else(|| self.perform(form, fault));
        if matches!(fault, Some(Fault::Lost)) {
            // STS has performed the request.
            sleep(Duration::from_secs(10).saturating_sub(there)).await;
            return Err(Failure::new(
                Stage::Transport,
                LocalCode::TimedOut,
                "simulated",
            ));
        }
        let mut answer = Response {
            date: answer.date.or_else(|| Some(date(self.true_time()))),
            ..answer
        };
        if let Some(pause) = answer.retry_after {
            let until = self.true_time() + back + pause;
            let mut state = self.state();
            state.pause_until = state.pause_until.max(until);
        }
        // The header has whole seconds.
        answer.date = answer
            .date
            .and_then(|date| DateTime::from_timestamp(date.timestamp(), 0));
        sleep(back).await;
        Ok(answer)
    }

    /// Performs a request that reaches STS.
    fn perform(&self, form: &str, fault: Option<Fault>) -> Response {
        let parameters: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes())
            .into_owned()
            .collect();
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let now = self.true_time();
        let reject = |status, code: &str| {
            self.record(&format!("STS rejects with {code}"));
            let body = json!({"RequestId": "R", "Code": code, "Message": "simulated"});
            plain(status, body.to_string())
        };
        if get("Action") == "GetCallerIdentity" {
            let body = json!({"RequestId": "R", "AccountId": "1", "Arn": "acs:ram::1:user/x"});
            return plain(200, body.to_string());
        }
        assert_eq!(get("RoleSessionName"), SESSION);
        let role = get("RoleArn").to_owned();
        assert!([JOB, VIA].contains(&role.as_str()), "{role}");
        let duration: u64 = get("DurationSeconds").parse().unwrap();
        let mut state = self.state();
        match get("Action") {
            "AssumeRoleWithOIDC" => {
                let sent = get("OIDCToken");
                let known = state.tokens.iter().find(|(token, _)| token == sent);
                let reason = match known {
                    None => Some("AuthenticationFail.OIDCToken.InvalidSignature"),
                    Some((_, until)) if *until <= now => {
                        Some("AuthenticationFail.OIDCToken.Expired")
                    }
                    Some(_) => None,
                };
                if let Some(reason) = reason {
                    drop(state);
                    return reject(401, reason);
                }
            }
            "AssumeRole" => {
                let sent_at = DateTime::parse_from_rfc3339(get("Timestamp")).unwrap();
                if (sent_at.to_utc() - date(now)).abs() > TimeDelta::minutes(15) {
                    drop(state);
                    return reject(400, "InvalidTimeStamp.Expired");
                }
                let caller = get("AccessKeyId");
                if caller != KEY_ID {
                    let number =
                        Issue::number(caller).expect("the key was issued by the simulated STS");
                    assert_eq!(get("SecurityToken"), Issue::token(number));
                    if state.issues[number].expires_at <= now {
                        drop(state);
                        return reject(400, "InvalidSecurityToken.Expired");
                    }
                }
            }
            other => panic!("unexpected action {other}"),
        }
        let requested = Duration::from_secs(duration);
        let (lifetime, claimed) =
            fault.map_or((requested, requested), |fault| fault.lifetimes(requested));
        let is_expired = matches!(fault, Some(Fault::Expired));
        let number = state.issues.len();
        // `Expiration` is rounded down to whole seconds.
        let rounded = |duration: Duration| Duration::from_secs((now + duration).as_secs());
        state.issues.push(Issue {
            is_for_job: role == JOB,
            issued_at: now,
            expires_at: if is_expired {
                Duration::ZERO
            } else {
                rounded(lifetime)
            },
            is_delivered: !fault.is_some_and(Fault::loses_credentials),
        });
        drop(state);
        self.record(&format!("STS issues {} of {role}", Issue::id(number)));
        let expiration = if is_expired {
            date(now) - TimeDelta::hours(1)
        } else {
            date(rounded(claimed))
        };
        let mut token = Issue::token(number);
        if matches!(fault, Some(Fault::EmptyToken)) {
            token.clear();
        }
        let body = json!({
            "RequestId": "R",
            "Credentials": {
                "AccessKeyId": Issue::id(number),
                "AccessKeySecret": Issue::secret(number),
                "SecurityToken": token,
                "Expiration": timestamp(expiration),
            },
        });
        let mut body = body.to_string();
        if matches!(fault, Some(Fault::Truncated)) {
            let length = usize::try_from(self.state().random.below(body.len() as u64)).unwrap();
            body.truncate(length);
        }
        plain(200, body)
    }
}

/// Makes a response without special headers.
pub(crate) fn plain(status: u16, body: impl Into<Vec<u8>>) -> Response {
    Response {
        status,
        date: None,
        retry_after: None,
        request_id: None,
        body: body.into().into(),
    }
}

/// Converts true time to a date.
pub(crate) fn date(true_time: Duration) -> DateTime<Utc> {
    let start = DateTime::from_timestamp(1_716_287_969, 0).unwrap();
    start + TimeDelta::from_std(true_time).unwrap()
}

/// The connection to one endpoint.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) world: World,
    pub(crate) index: usize,
}

impl Transport for Connection {
    fn send<'a>(&'a self, call: Call<'a>) -> ResponseFuture<'a> {
        let form = call.form.expect("calls to STS have a form");
        Box::pin(async move { self.world.respond(self.index, &form).await })
    }
}

/// The shortest time that a request or a response takes.
const MIN_TRIP: Duration = Duration::from_millis(5);
