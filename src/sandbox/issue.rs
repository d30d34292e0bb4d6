//! The credentials that the sandbox issues, and its memory of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use secrecy::SecretString;

use crate::credentials::timestamp;
use crate::sandbox::random::Random;

/// Temporary credentials that the sandbox issued, with what they stand for.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Begins with `STS.Sandbox`; 29 characters.
    pub access_key_id: String,
    /// 44 characters.
    pub access_key_secret: SecretString,
    /// Base64; what it encodes says that it is a sandbox's.
    pub security_token: SecretString,
    /// When they were made, by the sandbox's clock.
    pub issued_at: DateTime<Utc>,
    /// When they end, by the sandbox's clock; whole seconds.
    pub expires_at: DateTime<Utc>,
    /// The role that was assumed.
    pub role_arn: String,
    /// The name of the session.
    pub session_name: String,
    /// The source identity, asked for or inherited through role chaining.
    pub source_identity: Option<String>,
    /// The session policy that was asked for.
    pub policy: Option<String>,
}

/// For whom credentials are to be issued.
pub(super) struct Session<'a> {
    pub(super) role_arn: &'a str,
    pub(super) name: &'a str,
    pub(super) source_identity: Option<&'a str>,
    pub(super) policy: Option<&'a str>,
}

/// How long credentials live.
#[derive(Clone, Copy)]
pub(super) enum Lifetime {
    /// So long from now on.
    Lasts(Duration),
    /// They ended before they were issued.
    Over,
}

/// What was issued, oldest first forgotten.
#[derive(Default)]
pub(super) struct Ledger {
    entries: BTreeMap<String, Issued>,
    order: VecDeque<String>,
}

impl Ledger {
    /// Makes new credentials and remembers them.
    pub(super) fn issue(
        &mut self,
        session: &Session<'_>,
        lifetime: Lifetime,
        now: DateTime<Utc>,
        random: &Random,
    ) -> Issued {
        self.forget(now);
        let access_key_id = format!("STS.Sandbox{}", random.alphanumeric(18));
        let whole = now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(now);
        let expires_at = match lifetime {
            Lifetime::Lasts(span) => {
                whole + TimeDelta::from_std(span.min(LONGEST)).unwrap_or_default()
            }
            Lifetime::Over => whole - TimeDelta::minutes(1),
        };
        let issued = Issued {
            security_token: security_token(&access_key_id, session, expires_at, random),
            access_key_secret: random.alphanumeric(44).into(),
            access_key_id: access_key_id.clone(),
            issued_at: now,
            expires_at,
            role_arn: session.role_arn.to_owned(),
            session_name: session.name.to_owned(),
            source_identity: session.source_identity.map(str::to_owned),
            policy: session.policy.map(str::to_owned),
        };
        self.order.push_back(access_key_id.clone());
        self.entries.insert(access_key_id, issued.clone());
        issued
    }

    pub(super) fn find(&self, access_key_id: &str) -> Option<&Issued> {
        self.entries.get(access_key_id)
    }

    /// Drops everything that was issued for a role.
    pub(super) fn revoke(&mut self, role_arn: &str) {
        self.entries.retain(|_, issued| issued.role_arn != role_arn);
        self.order.retain(|id| self.entries.contains_key(id));
    }

    /// Drops the oldest, as long as they are long expired or too many.
    fn forget(&mut self, now: DateTime<Utc>) {
        while let Some(oldest) = self.order.front() {
            let kept = self
                .entries
                .get(oldest)
                .is_some_and(|old| now < old.expires_at + MEMORY);
            if kept && self.order.len() < CAPACITY {
                break;
            }
            self.entries.remove(oldest);
            self.order.pop_front();
        }
    }
}

/// Makes a token of the usual looks: the bytes of a message whose first field is 2 and whose second is a text.
fn security_token(
    access_key_id: &str,
    session: &Session<'_>,
    expires_at: DateTime<Utc>,
    random: &Random,
) -> SecretString {
    let text = format!(
        "Sandbox: a security token of the ram-sidecar sandbox, valid nowhere else. \
         AccessKeyId={access_key_id} Role={} Session={} Expiration={} Random={}",
        session.role_arn,
        session.name,
        timestamp(expires_at),
        random.alphanumeric(128),
    );
    // `CAIS` is what base64 makes of the first three bytes.
    let mut message = vec![0x08, 0x02, 0x12];
    let mut length = text.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7F).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap_or_default());
    message.extend_from_slice(text.as_bytes());
    STANDARD.encode(message).into()
}

/// How long an expired key is told from one that never was.
const MEMORY: TimeDelta = TimeDelta::hours(1);

/// Keeps a sandbox that is asked in a tight loop within a few MiB.
const CAPACITY: usize = 4096;

/// Keeps the calendar from overflowing; no role's sessions last longer than half a day.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: Session<'_> = Session {
        role_arn: "acs:ram::1:role/r",
        name: "session",
        source_identity: None,
        policy: None,
    };

    #[test]
    fn the_memory_is_bounded_and_forgets_what_is_long_expired() {
        let random = Random::seeded().unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut ledger = Ledger::default();
        let lifetime = Lifetime::Lasts(Duration::from_secs(900));
        let first = ledger.issue(&ROLE, lifetime, now, &random);
        for _ in 0..CAPACITY {
            ledger.issue(&ROLE, lifetime, now, &random);
        }
        assert!(ledger.find(&first.access_key_id).is_none());
        assert_eq!(ledger.entries.len(), CAPACITY);

        let late = now + TimeDelta::hours(2);
        let last = ledger.issue(&ROLE, lifetime, late, &random);
        assert_eq!(ledger.entries.len(), 1);
        assert!(ledger.find(&last.access_key_id).is_some());
    }
}
