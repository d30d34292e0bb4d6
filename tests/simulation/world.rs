//! The world around the daemon: true time, STS with its memory, and the way there, as they are at each moment.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ram_sidecar::credentials::timestamp;
use ram_sidecar::failure::{Failure, OwnCode, Stage};
use ram_sidecar::http::client::{Call, Carried, Carrier};
use ram_sidecar::http::response::Answer;
use ram_sidecar::time::clock::Clock;
use serde_json::json;
use tokio::time::{Instant, sleep};
use url::form_urlencoded;

use crate::luck::Luck;
use crate::timeline::Timeline;
use crate::trouble::Trouble;

/// The role of the job, and the one on the way to it.
pub(crate) const JOB: &str = "acs:ram::1234567890123456:role/job";
pub(crate) const VIA: &str = "acs:ram::1234567890123456:role/via";
pub(crate) const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/cluster";
pub(crate) const SESSION: &str = "simulated-job";
pub(crate) const KEY_ID: &str = "LTAIsimulated";

/// Stands in every secret, so that one search finds any of them.
pub(crate) const MARK: &str = "s3cr3t";

/// One world; its clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    origin: Instant,
    timeline: Timeline,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct State {
    luck: Luck,
    suspended: Duration,
    /// What is wrong on the way to each endpoint and there.
    pub(crate) troubles: Vec<Option<Met>>,
    /// Everything that was ever issued, by its number.
    pub(crate) ledger: Vec<Issue>,
    /// The tokens that the OIDC provider vouches for, and until when.
    tokens: Vec<(String, Duration)>,
    /// Until when STS has last asked for a pause.
    pub(crate) pause_until: Duration,
    pub(crate) calls: u64,
}

impl State {
    /// Takes a token for good until then, and what was vouched for before for as long as it lasts.
    pub(crate) fn vouch(&mut self, token: String, until: Duration) {
        self.tokens.push((token, until));
        let spare = self.tokens.len().saturating_sub(3);
        self.tokens.drain(..spare);
    }
}

/// A trouble, and the share of calls that meet it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Met {
    pub(crate) trouble: Trouble,
    pub(crate) share: f64,
}

/// Something that STS issued.
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    /// Whether it is of the job's role.
    pub(crate) is_for_job: bool,
    pub(crate) issued: Duration,
    /// When it really ends.
    pub(crate) ends: Duration,
    /// Whether all of it was told to the daemon.
    pub(crate) is_whole: bool,
}

impl Issue {
    pub(crate) fn id(number: usize) -> String {
        format!("STS.{number}")
    }

    pub(crate) fn number(id: &str) -> Option<usize> {
        id.strip_prefix("STS.")?.parse().ok()
    }

    pub(crate) fn secret(number: usize) -> String {
        format!("{MARK}-key-{number}")
    }

    pub(crate) fn token(number: usize) -> String {
        format!("{MARK}-token-{number}")
    }
}

impl World {
    pub(crate) fn new(seed: u64, endpoints: usize, clock: Clock, timeline: Timeline) -> Self {
        Self(Arc::new(Shared {
            clock,
            origin: Instant::now(),
            timeline,
            state: Mutex::new(State {
                luck: Luck::new(seed, "sts"),
                suspended: Duration::ZERO,
                troubles: vec![None; endpoints],
                ledger: Vec::new(),
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

    /// Returns the true time since the beginning, which nothing sets or stops.
    pub(crate) fn truth(&self) -> Duration {
        self.0.origin.elapsed() + self.state().suspended
    }

    /// Returns the time since the beginning without suspensions.
    pub(crate) fn awake(&self) -> Duration {
        self.0.origin.elapsed()
    }

    /// Lets the daemon's machine sleep.
    pub(crate) fn suspend(&self, span: Duration) {
        self.0.clock.suspend(span);
        self.state().suspended += span;
    }

    /// Returns how far the daemon's wall clock is ahead.
    pub(crate) fn skew(&self) -> TimeDelta {
        self.0.clock.now().wall - date(self.truth())
    }

    pub(crate) fn note(&self, event: &str) {
        self.0.timeline.note(event);
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.0.timeline
    }

    async fn answer(&self, place: usize, form: &str) -> Result<Answer, Failure> {
        let (trouble, there, back) = {
            let mut state = self.state();
            state.calls += 1;
            let met = state.troubles[place];
            let trouble = met.filter(|met| state.luck.happens(met.share));
            let trip = |luck: &mut Luck| luck.span(MOMENT, Duration::from_millis(300));
            let (mut there, mut back) = (trip(&mut state.luck), trip(&mut state.luck));
            if matches!(trouble.map(|met| met.trouble), Some(Trouble::Slow)) {
                let slow = Duration::from_secs_f64(9.5 * state.luck.share());
                (there, back) = if state.luck.happens(0.5) {
                    (slow, back)
                } else {
                    (there, slow)
                };
            }
            (trouble.map(|met| met.trouble), there, back)
        };
        self.note(&format!("call to endpoint {place}: {trouble:?}"));
        if let Some(unreached) = trouble.and_then(Trouble::unreached) {
            sleep(unreached.after).await;
            return Err(Failure::new(Stage::Transport, unreached.code, "simulated"));
        }
        sleep(there).await;
        let answer = trouble
            .and_then(Trouble::instead)
            .unwrap_or_else(|| self.perform(form, trouble));
        if matches!(trouble, Some(Trouble::Lost)) {
            // All was well but for the way back.
            sleep(Duration::from_secs(10).saturating_sub(there)).await;
            return Err(Failure::new(
                Stage::Transport,
                OwnCode::TimedOut,
                "simulated",
            ));
        }
        let mut answer = Answer {
            date: answer.date.or_else(|| Some(date(self.truth()))),
            ..answer
        };
        if let Some(pause) = answer.retry_after {
            let until = self.truth() + back + pause;
            let mut state = self.state();
            state.pause_until = state.pause_until.max(until);
        }
        // The header counts whole seconds.
        answer.date = answer
            .date
            .and_then(|date| DateTime::from_timestamp(date.timestamp(), 0));
        sleep(back).await;
        Ok(answer)
    }

    /// Does what STS does when nothing is in the way.
    fn perform(&self, form: &str, trouble: Option<Trouble>) -> Answer {
        let parameters: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes())
            .into_owned()
            .collect();
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let truth = self.truth();
        let refuse = |status, code: &str| {
            self.note(&format!("STS refuses with {code}"));
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
                    Some((_, until)) if *until <= truth => {
                        Some("AuthenticationFail.OIDCToken.Expired")
                    }
                    Some(_) => None,
                };
                if let Some(reason) = reason {
                    drop(state);
                    return refuse(401, reason);
                }
            }
            "AssumeRole" => {
                let sent_at = DateTime::parse_from_rfc3339(get("Timestamp")).unwrap();
                if (sent_at.to_utc() - date(truth)).abs() > TimeDelta::minutes(15) {
                    drop(state);
                    return refuse(400, "InvalidTimeStamp.Expired");
                }
                let caller = get("AccessKeyId");
                if caller != KEY_ID {
                    let number = Issue::number(caller).expect("keys are of this world");
                    assert_eq!(get("SecurityToken"), Issue::token(number));
                    if state.ledger[number].ends <= truth {
                        drop(state);
                        return refuse(400, "InvalidSecurityToken.Expired");
                    }
                }
            }
            other => panic!("{other} is not asked for"),
        }
        let asked_for = Duration::from_secs(duration);
        let (lives, told) = trouble.map_or((asked_for, asked_for), |t| t.lives(asked_for));
        let is_over = matches!(trouble, Some(Trouble::Expired));
        let number = state.ledger.len();
        // Expiration counts whole seconds, and never more than there are.
        let whole = |span: Duration| Duration::from_secs((truth + span).as_secs());
        state.ledger.push(Issue {
            is_for_job: role == JOB,
            issued: truth,
            ends: if is_over {
                Duration::ZERO
            } else {
                whole(lives)
            },
            is_whole: !trouble.is_some_and(Trouble::is_torn),
        });
        drop(state);
        self.note(&format!("STS issues {} of {role}", Issue::id(number)));
        let expiration = if is_over {
            date(truth) - TimeDelta::hours(1)
        } else {
            date(whole(told))
        };
        let mut token = Issue::token(number);
        if matches!(trouble, Some(Trouble::Hollow)) {
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
        if matches!(trouble, Some(Trouble::Truncated)) {
            let half = usize::try_from(self.state().luck.below(body.len() as u64)).unwrap();
            body.truncate(half);
        }
        plain(200, body)
    }
}

/// An answer without special headers.
pub(crate) fn plain(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        status,
        date: None,
        retry_after: None,
        request_id: None,
        body: body.into().into(),
    }
}

/// Returns the date at a moment of true time.
pub(crate) fn date(truth: Duration) -> DateTime<Utc> {
    let beginning = DateTime::from_timestamp(1_716_287_969, 0).unwrap();
    beginning + TimeDelta::from_std(truth).unwrap()
}

/// The way to one endpoint.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) world: World,
    pub(crate) place: usize,
}

impl Carrier for Line {
    fn carry<'a>(&'a self, call: Call<'a>) -> Carried<'a> {
        let form = call.form.expect("STS is asked with a form");
        Box::pin(async move { self.world.answer(self.place, &form).await })
    }
}

const MOMENT: Duration = Duration::from_millis(5);
