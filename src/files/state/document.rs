//! The document of a state, and what it is still worth: values in, values out.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::credentials::{Credentials, Lease, is_key_text, timestamp};
use crate::time::moment::Moment;

use super::binding::{Binding, hex};
use super::{Left, Refusal};

/// All that a successor must know of credentials.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) binding: Binding,
    pub(super) credentials: Credentials,
    pub(super) served_by: String,
    /// How far this machine's wall clock was ahead of the giver's.
    pub(super) skew: TimeDelta,
    /// The run of the kernel in which the moments were read; nothing if it did not tell.
    pub(super) boot_id: Option<String>,
    pub(super) written_at: Moment,
    pub(super) deadline: Moment,
    pub(super) renew_at: Moment,
}

/// When and where a state is judged.
#[derive(Debug)]
pub(super) struct Here<'a> {
    pub(super) now: Moment,
    pub(super) boot_id: Option<&'a str>,
}

impl Record {
    /// Renders the document, with a digest that tells whether it is whole.
    pub(super) fn render(&self) -> Zeroizing<Vec<u8>> {
        let Credentials {
            access_key_id,
            access_key_secret,
            security_token,
            issued_at,
            expires_at,
        } = &self.credentials;
        rendered(&State {
            holder: self.binding.holder.as_str().into(),
            binding: self.binding.digest.as_str().into(),
            access_key_id: access_key_id.into(),
            access_key_secret: access_key_secret.expose_secret().into(),
            security_token: security_token.expose_secret().into(),
            issued_at: time(*issued_at).into(),
            expires_at: time(*expires_at).into(),
            served_by: self.served_by.as_str().into(),
            skew_ms: self.skew.num_milliseconds(),
            boot_id: self.boot_id.as_deref().map(Cow::from),
            written_at: Reading::of(self.written_at),
            deadline: Reading::of(self.deadline),
            renew_at: Reading::of(self.renew_at),
        })
    }

    /// Returns when the credentials were asked for, or earlier, by the wall clock of this machine.
    pub(super) fn asked_at(&self) -> DateTime<Utc> {
        let asked_at = self.credentials.issued_at.checked_add_signed(self.skew);
        asked_at.unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Returns what is left of it for those who are bound by `binding`.
    pub(super) fn left(self, binding: &Binding, here: &Here<'_>) -> Result<Left, Refusal> {
        if self.binding != *binding {
            let (theirs, ours) = (self.binding.holder, binding.holder.clone());
            return Err(if theirs == ours {
                Refusal::Settings(theirs)
            } else {
                Refusal::Holder { theirs, ours }
            });
        }
        let now = here.now;
        let is_same_boot = self.boot_id.is_some() && self.boot_id.as_deref() == here.boot_id;
        let (deadline, renew_at) = if is_same_boot {
            // The boot clock goes on through the restart of a process; a container may see another one.
            if now.boot < self.written_at.boot {
                return Err(Refusal::BootClock);
            }
            (self.deadline, self.renew_at)
        } else {
            if now.wall < self.written_at.wall {
                return Err(Refusal::WallClock);
            }
            // What was learnt of the wall clock may be wrong by now: it shortens a life, and prolongs none.
            let ends_at = self.deadline.wall.min(self.credentials.expires_at);
            let left = (ends_at - now.wall).to_std().unwrap_or_default();
            let left = left.min(self.written_at.until(self.deadline));
            // A wall clock may have been restored from a disk, and STS tells the time.
            (now.after(left), now)
        };
        if now.is_past(deadline) {
            let ended_at = timestamp(self.credentials.expires_at);
            return Err(Refusal::Expired(ended_at));
        }
        let lifetime = now.until(deadline);
        // Whatever is written there: an attempt before the end.
        let renew_at = if now.until(renew_at) < lifetime {
            renew_at
        } else {
            now
        };
        Ok(Left {
            lease: Lease {
                credentials: self.credentials,
                deadline,
                lifetime,
                skew: self.skew,
                served_by: self.served_by,
            },
            renew_at,
        })
    }
}

/// Reads a document. It is whole if it is, to the byte, what would be written for what it says.
pub(super) fn parse(text: &[u8]) -> Result<Record, Refusal> {
    if !is_state(text) {
        return Err(Refusal::Foreign);
    }
    let head: Head = serde_json::from_slice(text).map_err(|_| Refusal::Damaged)?;
    if head.version != u64::from(VERSION) {
        return Err(Refusal::Version(head.version));
    }
    let document: Document<State<'_>> =
        serde_json::from_slice(text).map_err(|_| Refusal::Damaged)?;
    let state = document.state;
    if rendered(&state).as_slice() != text {
        return Err(Refusal::Damaged);
    }
    state.record().ok_or(Refusal::Damaged)
}

/// Whether a text is the document of a state, or the beginning of one.
pub(super) fn is_state(text: &[u8]) -> bool {
    let begin = BEGIN.as_bytes();
    text.starts_with(begin) || begin.starts_with(text)
}

/// A document begins like this, whatever the version.
const BEGIN: &str = r#"{"ram-sidecar-state":"#;

/// The version of the format.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "ram-sidecar-state")]
    version: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document<S> {
    #[serde(rename = "ram-sidecar-state")]
    version: u32,
    sha256: String,
    state: S,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct State<'a> {
    #[serde(borrow)]
    holder: Cow<'a, str>,
    #[serde(borrow)]
    binding: Cow<'a, str>,
    #[serde(borrow)]
    access_key_id: Cow<'a, str>,
    #[serde(borrow)]
    access_key_secret: Cow<'a, str>,
    #[serde(borrow)]
    security_token: Cow<'a, str>,
    #[serde(borrow)]
    issued_at: Cow<'a, str>,
    #[serde(borrow)]
    expires_at: Cow<'a, str>,
    #[serde(borrow)]
    served_by: Cow<'a, str>,
    skew_ms: i64,
    #[serde(borrow)]
    boot_id: Option<Cow<'a, str>>,
    written_at: Reading,
    deadline: Reading,
    renew_at: Reading,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    wall: String,
    boot_ms: u64,
}

impl Reading {
    /// To the millisecond, and rather earlier.
    fn of(moment: Moment) -> Self {
        Self {
            wall: time(moment.wall),
            boot_ms: u64::try_from(moment.boot.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn moment(&self) -> Option<Moment> {
        Some(Moment {
            wall: read(&self.wall)?,
            boot: Duration::from_millis(self.boot_ms),
        })
    }
}

impl State<'_> {
    /// Returns what it says; nothing if that makes no sense.
    fn record(&self) -> Option<Record> {
        let texts = [
            &self.access_key_id,
            &self.access_key_secret,
            &self.security_token,
        ];
        let is_whole = texts.iter().all(|text| is_key_text(text));
        let (issued_at, expires_at) = (read(&self.issued_at)?, read(&self.expires_at)?);
        let skew = TimeDelta::try_milliseconds(self.skew_ms)?;
        let (written_at, deadline) = (self.written_at.moment()?, self.deadline.moment()?);
        let renew_at = self.renew_at.moment()?;
        let is_plausible = issued_at < expires_at
            && deadline.wall <= expires_at.checked_add_signed(skew.max(TimeDelta::zero()))?;
        let record = || Record {
            binding: Binding {
                holder: self.holder.clone().into_owned(),
                digest: self.binding.clone().into_owned(),
            },
            credentials: Credentials {
                access_key_id: self.access_key_id.clone().into_owned(),
                access_key_secret: self.access_key_secret.as_ref().into(),
                security_token: self.security_token.as_ref().into(),
                issued_at,
                expires_at,
            },
            served_by: self.served_by.clone().into_owned(),
            skew,
            boot_id: self.boot_id.clone().map(Cow::into_owned),
            written_at,
            deadline,
            renew_at,
        };
        (is_whole && is_plausible).then(record)
    }
}

fn rendered(state: &State<'_>) -> Zeroizing<Vec<u8>> {
    let sha256 = hex(&Sha256::digest(&*json(state, state)));
    let document = Document {
        version: VERSION,
        sha256,
        state,
    };
    json(&document, state)
}

/// Renders something that holds the secrets of a state.
fn json(value: &impl Serialize, state: &State<'_>) -> Zeroizing<Vec<u8>> {
    // A growing vector would leave unwiped copies behind.
    let texts = state.access_key_secret.len() + state.security_token.len() + state.holder.len();
    let room = 2 * (texts + state.served_by.len()) + 2048;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    #[expect(
        clippy::expect_used,
        reason = "structs of strings and numbers always have a JSON form"
    )]
    serde_json::to_writer(&mut *bytes, value).expect("always serializable");
    bytes
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.to_utc())
}

#[cfg(test)]
pub(super) mod tests;
