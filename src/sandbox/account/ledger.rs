//! The temporary credentials that the sandbox has issued.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use secrecy::SecretString;

use crate::credentials::timestamp;
use crate::sandbox::policy::session::SessionPolicy;
use crate::sandbox::random::Random;

/// Temporary credentials that the sandbox issued, and their session.
#[derive(Clone, Debug)]
pub struct Issued {
    /// 29 characters, beginning with `STS.Sandbox`.
    pub access_key_id: String,
    /// 44 characters.
    pub access_key_secret: SecretString,
    /// Base64 of a text that contains the word `Sandbox` and the id of the AccessKey.
    pub security_token: SecretString,
    /// The time of issue, by the sandbox's clock.
    pub issued_at: DateTime<Utc>,
    /// The expiry in whole seconds, by the sandbox's clock.
    pub expires_at: DateTime<Utc>,
    /// The role that was assumed.
    pub role_arn: String,
    /// The name of the session.
    pub session_name: String,
    /// The source identity, requested or inherited through role chaining.
    pub source_identity: Option<String>,
    /// The session policy that was requested.
    pub policy: Option<String>,
}

impl Issued {
    /// Whether the session policy permits the action on the resource; without a policy, everything is permitted.
    pub(crate) fn permits(&self, action: &str, resource: &str) -> bool {
        self.policy.as_ref().is_none_or(|text| {
            // Policies are parsed before credentials are issued.
            SessionPolicy::parse(text).is_some_and(|policy| policy.permits(action, resource))
        })
    }
}

/// The session of credentials that are to be issued.
pub(crate) struct Session<'a> {
    pub(crate) role_arn: &'a str,
    pub(crate) name: &'a str,
    pub(crate) source_identity: Option<&'a str>,
    pub(crate) policy: Option<&'a str>,
}

/// The lifetime of credentials.
#[derive(Clone, Copy)]
pub(crate) enum Lifetime {
    /// They expire after this duration.
    For(Duration),
    /// They expired before they were issued.
    Expired,
}

/// The issued credentials. If there are too many, the oldest are removed first.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<String, Issued>,
    order: VecDeque<String>,
}

impl Ledger {
    /// Issues credentials and records them.
    pub(crate) fn issue(
        &mut self,
        session: &Session<'_>,
        lifetime: Lifetime,
        now: DateTime<Utc>,
        random: &Random,
    ) -> Issued {
        self.remove_old(now);
        let access_key_id = format!("STS.Sandbox{}", random.alphanumeric(18));
        let whole = now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(now);
        let expires_at = match lifetime {
            Lifetime::For(span) => {
                whole + TimeDelta::from_std(span.min(LONGEST)).unwrap_or_default()
            }
            Lifetime::Expired => whole - TimeDelta::minutes(1),
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

    pub(crate) fn find(&self, access_key_id: &str) -> Option<&Issued> {
        self.entries.get(access_key_id)
    }

    /// Removes all credentials that were issued for a role.
    pub(crate) fn revoke(&mut self, role_arn: &str) {
        self.entries.retain(|_, issued| issued.role_arn != role_arn);
        self.order.retain(|id| self.entries.contains_key(id));
    }

    /// Removes the oldest credentials while they expired long ago or there are too many.
    fn remove_old(&mut self, now: DateTime<Utc>) {
        while let Some(oldest) = self.order.front() {
            let is_recent = self
                .entries
                .get(oldest)
                .is_some_and(|old| now < old.expires_at + RETENTION);
            if is_recent && self.order.len() < CAPACITY {
                break;
            }
            self.entries.remove(oldest);
            self.order.pop_front();
        }
    }
}

/// Returns a token of the same form as those of STS: Base64 of a protobuf message whose first field is 2 and whose second
/// field is a text.
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
    // Base64 encodes these three bytes as `CAIS`, the beginning of every token of STS.
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

/// How long after its expiry an AccessKey is reported as expired, and not as unknown.
const RETENTION: TimeDelta = TimeDelta::hours(1);

/// Limits the memory to a few MiB even if credentials are requested in a tight loop.
const CAPACITY: usize = 4096;

/// Keeps dates from overflowing; no role's sessions last longer than 12 hours.
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
    fn the_ledger_is_bounded_and_drops_long_expired_credentials() {
        let random = Random::seeded().unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut ledger = Ledger::default();
        let lifetime = Lifetime::For(Duration::from_secs(900));
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
