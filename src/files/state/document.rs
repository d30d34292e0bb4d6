//! The document of a state: renders, parses and validates it. Reads neither files nor clocks.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::credentials::{Credentials, Lease, hex, is_key_text, timestamp};
use crate::formats::Text;
use crate::time::moment::Moment;

use super::binding::Binding;
use super::{Refusal, Restored};

/// Credentials, and what the next process must know about them.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) binding: Binding,
    pub(super) credentials: Credentials,
    pub(super) served_by: String,
    /// How far this machine's wall clock was ahead of that of the service that issued them.
    pub(super) skew: TimeDelta,
    /// The kernel's id of the boot in which the moments were read, if `/proc` had it.
    pub(super) boot_id: Option<String>,
    pub(super) written_at: Moment,
    pub(super) deadline: Moment,
    pub(super) renew_at: Moment,
}

impl Record {
    /// Renders the document, with a digest that shows whether it is complete and unchanged.
    pub(super) fn render(&self) -> Zeroizing<Vec<u8>> {
        let Credentials {
            access_key_id,
            access_key_secret,
            security_token,
            issued_at,
            expires_at,
        } = &self.credentials;
        rendered(&State {
            holder: self.binding.holder.as_str(),
            binding: self.binding.digest.as_str(),
            access_key_id,
            access_key_secret: access_key_secret.expose_secret(),
            security_token: security_token.expose_secret(),
            issued_at: &time(*issued_at),
            expires_at: &time(*expires_at),
            served_by: self.served_by.as_str(),
            skew_ms: self.skew.num_milliseconds(),
            boot_id: self.boot_id.as_deref(),
            written_at: Timestamp::of(self.written_at),
            deadline: Timestamp::of(self.deadline),
            renew_at: Timestamp::of(self.renew_at),
        })
    }

    /// Returns when the credentials were requested, by the wall clock of this machine. Never too late.
    pub(super) fn requested_at(&self) -> DateTime<Utc> {
        let requested_at = self.credentials.issued_at.checked_add_signed(self.skew);
        requested_at.unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Restores the credentials for a process with the settings of `binding`: they keep their expiry.
    ///
    /// Within one boot of the kernel both clocks limit the lifetime, afterwards the wall clock alone.
    pub(super) fn restore(
        self,
        binding: &Binding,
        now: Moment,
        boot_id: Option<&str>,
    ) -> Result<Restored, Refusal> {
        if self.binding != *binding {
            let (saved, configured) = (self.binding.holder, binding.holder.clone());
            return Err(if saved == configured {
                Refusal::Settings(saved)
            } else {
                Refusal::Holder { saved, configured }
            });
        }
        let is_same_boot = self.boot_id.is_some() && self.boot_id.as_deref() == boot_id;
        let (deadline, renew_at) = if is_same_boot {
            // The boot clock goes on when a process restarts, but another container may have a different one.
            if now.boot < self.written_at.boot {
                return Err(Refusal::BootClock);
            }
            (self.deadline, self.renew_at)
        } else {
            if now.wall < self.written_at.wall {
                return Err(Refusal::WallClock);
            }
            // The measured skew of the wall clock may be wrong by now: it may shorten the lifetime, but not prolong it.
            let expires_at = self.deadline.wall.min(self.credentials.expires_at);
            let remaining = (expires_at - now.wall).to_std().unwrap_or_default();
            let remaining = remaining.min(self.written_at.until(self.deadline));
            // Renew at once: the wall clock may have been restored from a disk, and STS shows the time.
            (now.after(remaining), now)
        };
        if now.is_past(deadline) {
            let expired_at = timestamp(self.credentials.expires_at);
            return Err(Refusal::Expired(expired_at));
        }
        let lifetime = now.until(deadline);
        // At least one attempt comes before the credentials expire.
        let renew_at = if now.until(renew_at) < lifetime {
            renew_at
        } else {
            now
        };
        Ok(Restored {
            lease: Lease {
                credentials: self.credentials,
                deadline,
                lifetime,
                skew: self.skew,
                served_by: self.served_by,
                renewal: None,
            },
            renew_at,
        })
    }
}

/// Reads a document. It is valid only if its content would be written with exactly the same bytes.
pub(super) fn parse(text: &[u8]) -> Result<Record, Refusal> {
    if !is_state(text) {
        return Err(Refusal::Foreign);
    }
    let head: Head = serde_json::from_slice(text).map_err(|_| Refusal::Damaged)?;
    if head.version != u64::from(VERSION) {
        return Err(Refusal::Version(head.version));
    }
    let document: Document<State<Text<'_>>> =
        serde_json::from_slice(text).map_err(|_| Refusal::Damaged)?;
    let state = document.state;
    if rendered(&state).as_slice() != text {
        return Err(Refusal::Damaged);
    }
    state.record().ok_or(Refusal::Damaged)
}

/// Whether a text starts like the document of a state, or is truncated within that start.
pub(super) fn is_state(text: &[u8]) -> bool {
    let start = START.as_bytes();
    text.starts_with(start) || start.starts_with(text)
}

/// The start of a document of any version.
const START: &str = r#"{"ram-sidecar-state":"#;

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
struct State<T> {
    holder: T,
    binding: T,
    access_key_id: T,
    access_key_secret: T,
    security_token: T,
    issued_at: T,
    expires_at: T,
    served_by: T,
    skew_ms: i64,
    boot_id: Option<T>,
    written_at: Timestamp,
    deadline: Timestamp,
    renew_at: Timestamp,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Timestamp {
    wall: String,
    boot_ms: u64,
}

impl Timestamp {
    /// Rounds down to the millisecond.
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

impl State<Text<'_>> {
    /// Converts it to a record; nothing if its content is not plausible.
    fn record(&self) -> Option<Record> {
        let texts = [
            &self.access_key_id,
            &self.access_key_secret,
            &self.security_token,
        ];
        let is_complete = texts.iter().all(|text| is_key_text(&text.0));
        let (issued_at, expires_at) = (read(&self.issued_at.0)?, read(&self.expires_at.0)?);
        let skew = TimeDelta::try_milliseconds(self.skew_ms)?;
        let (written_at, deadline) = (self.written_at.moment()?, self.deadline.moment()?);
        let renew_at = self.renew_at.moment()?;
        let is_plausible = issued_at < expires_at
            && deadline.wall <= expires_at.checked_add_signed(skew.max(TimeDelta::zero()))?;
        let record = || Record {
            binding: Binding {
                holder: self.holder.0.to_string(),
                digest: self.binding.0.to_string(),
            },
            credentials: Credentials {
                access_key_id: self.access_key_id.0.to_string(),
                access_key_secret: (*self.access_key_secret.0).into(),
                security_token: (*self.security_token.0).into(),
                issued_at,
                expires_at,
            },
            served_by: self.served_by.0.to_string(),
            skew,
            boot_id: self.boot_id.as_ref().map(|id| id.0.to_string()),
            written_at,
            deadline,
            renew_at,
        };
        (is_complete && is_plausible).then(record)
    }
}

fn rendered<T: AsRef<str> + Serialize>(state: &State<T>) -> Zeroizing<Vec<u8>> {
    let sha256 = hex(&Sha256::digest(&*json(state, state)));
    let document = Document {
        version: VERSION,
        sha256,
        state,
    };
    json(&document, state)
}

/// Renders a value that contains the secrets of a state.
fn json<T: AsRef<str>>(value: &impl Serialize, state: &State<T>) -> Zeroizing<Vec<u8>> {
    // A growing vector would leave unwiped copies behind.
    let texts = [
        &state.access_key_secret,
        &state.security_token,
        &state.holder,
        &state.served_by,
    ];
    let length: usize = texts.iter().map(|text| text.as_ref().len()).sum();
    let capacity = 2 * length + 2048;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
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
