//! The words of the trade: temporary credentials, and the name of a role.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, SecondsFormat, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

use crate::time::moment::Moment;

/// Temporary credentials, whole by construction: no field is ever empty.
///
/// The secret parts are wiped when the last owner drops them, and `Debug` does not show them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Begins with `STS.`; a new one each time, so it tells two issues apart. Not a secret.
    pub access_key_id: String,
    /// The key that requests are signed with.
    pub access_key_secret: SecretString,
    /// Must accompany every request that is signed with the key. Its length is unbounded.
    pub security_token: SecretString,
    /// When STS made them, by the clock of STS.
    pub issued_at: DateTime<Utc>,
    /// When they end, by the clock of STS.
    pub expires_at: DateTime<Utc>,
}

impl Credentials {
    /// Whether both stand for the same, whenever they were obtained.
    pub fn is_same(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.access_key_secret.expose_secret() == other.access_key_secret.expose_secret()
            && self.security_token.expose_secret() == other.security_token.expose_secret()
            && self.expires_at == other.expires_at
    }

    /// Returns what signs a request with them.
    pub fn keys(&self) -> Keys {
        Keys {
            access_key_id: self.access_key_id.clone(),
            access_key_secret: self.access_key_secret.clone(),
            security_token: Some(self.security_token.clone()),
        }
    }
}

/// Credentials, and for how long this machine may offer them.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The credentials.
    pub credentials: Credentials,
    /// When they stop being good, by the clocks of this machine; never later than the truth.
    pub deadline: Moment,
    /// How long they live from now on.
    pub lifetime: Duration,
    /// How far this machine's wall clock is ahead of the service's.
    pub skew: TimeDelta,
    /// The host or source that gave them.
    pub served_by: String,
}

/// When something was asked for, and what is known of the clock of whoever answered.
#[derive(Clone, Copy, Debug)]
pub struct RequestTime {
    /// When, by the clocks of this machine.
    pub at: Moment,
    /// How far this machine's wall clock is ahead of the other.
    pub skew: TimeDelta,
    /// By how much the skew may be wrong: nobody knows when, between question and answer, the other looked at its clock.
    pub uncertainty: Duration,
}

impl Lease {
    /// Works out how long credentials may be offered that were asked for, never longer than `at_most`.
    ///
    /// Nothing, if they have already ended. An end that lies more than a minute beyond what was asked for is taken for a
    /// mistake of the issuer's clock, and nobody is told of it.
    pub fn new(
        mut credentials: Credentials,
        asked: RequestTime,
        at_most: Duration,
        served_by: &str,
    ) -> Option<Self> {
        let RequestTime {
            at,
            skew,
            uncertainty,
        } = asked;
        let by_issuer = at.wall - skew;
        let longest = TimeDelta::from_std(at_most).ok();
        if let Some(end) = longest.and_then(|longest| by_issuer.checked_add_signed(longest))
            && credentials.expires_at - end > TOLERABLE_EXCESS
        {
            credentials.expires_at = end;
        }
        let left = (credentials.expires_at - by_issuer).to_std().ok()?;
        // From the moment of asking, not of the answer: the deadline errs to the early side.
        let lifetime = left.saturating_sub(uncertainty).min(at_most);
        let good_for = lifetime.saturating_sub(ROUNDING);
        (!good_for.is_zero()).then(|| Self {
            deadline: at.after(good_for),
            credentials,
            lifetime,
            skew,
            served_by: served_by.to_owned(),
        })
    }
}

/// Which role to assume, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// `SourceIdentity`: 2 to 64 characters. AssumeRoleWithOIDC has no such parameter.
    pub source_identity: Option<String>,
}

/// What signs a request: an AccessKey, long-term or temporary.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Not a secret.
    pub access_key_id: String,
    /// The key to sign with.
    pub access_key_secret: SecretString,
    /// Accompanies a temporary AccessKey.
    pub security_token: Option<SecretString>,
}

impl Keys {
    /// Returns the secret parts, to search a text for.
    pub fn secrets(&self) -> Vec<&str> {
        let token = self.security_token.iter().map(ExposeSecret::expose_secret);
        token
            .chain([self.access_key_secret.expose_secret()])
            .collect()
    }
}

/// The name of a RAM role: `acs:ram::<account id>:role/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn(String);

impl RoleArn {
    /// Parses a role's ARN.
    ///
    /// Refuses, with the reason, what STS would refuse as wrongly formed: the account is digits, the name 1 to 64
    /// characters of letters, digits, `.`, `_`, `-` (service roles carry a `/`).
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = "a role is named acs:ram::<account id>:role/<role name>";
        let Some(rest) = text.strip_prefix("acs:ram::") else {
            return Err(format!("it does not begin with `acs:ram::`; {shape}"));
        };
        let Some((account, name)) = rest.split_once(":role/") else {
            return Err(format!("it has no `:role/`; {shape}"));
        };
        if account.is_empty() || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "its account id `{account}` is not a number; {shape}"
            ));
        }
        let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(in_alphabet) {
            return Err(format!(
                "its role name `{name}` is not 1 to 64 letters, digits or `.`, `_`, `-`; {shape}"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the ARN as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the account that the role belongs to.
    pub fn account(&self) -> &str {
        let account = self.0.trim_start_matches("acs:ram::").split(':').next();
        account.unwrap_or_default()
    }

    /// Returns the name of the role.
    pub fn name(&self) -> &str {
        self.0.split_once(":role/").map_or("", |(_, name)| name)
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text can be a key or a token: not empty, and nothing but visible ASCII.
pub fn is_key_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Writes a time the way STS and every SDK write it: `2024-05-21T10:39:29Z`.
///
/// Exactly 20 characters: Python's and Java's SDKs refuse a fraction or an offset.
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads a time as STS and the SDKs write it, also with a fraction, which is dropped, or an offset.
///
/// Nothing if it is no time, or one that [`timestamp`] could not write.
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    time_of(time.timestamp())
}

/// Returns the time that many seconds after 1970, unless its year has more than four digits: no client reads such a one.
pub fn time_of(seconds: i64) -> Option<DateTime<Utc>> {
    let time = DateTime::from_timestamp(seconds, 0)?;
    (0..=9999).contains(&time.year()).then_some(time)
}

/// What a clock that has been learnt, a slow answer and rounding add up to.
const TOLERABLE_EXCESS: TimeDelta = TimeDelta::minutes(1);

/// The `Date` header and `Expiration` are whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_arns_are_told_from_what_only_looks_like_one() {
        for good in [
            "acs:ram::1234567890123:role/firstrole",
            "acs:ram::1:role/aliyunserviceroleforpaieas/x",
            "acs:ram::1:role/A.b_c-9",
        ] {
            assert_eq!(
                RoleArn::parse(good).map(|arn| arn.to_string()).as_deref(),
                Ok(good)
            );
        }
        for (bad, reason) in [
            ("", "does not begin"),
            ("arn:aws:iam::1:role/x", "does not begin"),
            ("acs:ram::12ab:role/x", "account id"),
            ("acs:ram:::role/x", "account id"),
            ("acs:ram::1:user/x", "no `:role/`"),
            ("acs:ram::1:role/", "role name"),
            ("acs:ram::1:role/a b", "role name"),
        ] {
            let refusal = RoleArn::parse(bad).unwrap_err();
            assert!(refusal.contains(reason), "{bad}: {refusal}");
        }
    }

    #[test]
    fn a_role_arn_tells_its_account_and_name() {
        let arn = RoleArn::parse("acs:ram::123:role/path/name").unwrap();
        assert_eq!((arn.account(), arn.name()), ("123", "path/name"));
    }

    #[test]
    fn credentials_are_offered_until_a_second_before_their_end_and_never_longer_than_asked_for() {
        let now = crate::refresh::store::tests::noon();
        let credentials = crate::refresh::store::tests::credentials("x");
        let asked = |skew, uncertainty| RequestTime {
            at: now,
            skew: TimeDelta::seconds(skew),
            uncertainty: Duration::from_secs(uncertainty),
        };
        let lease = |skew, at_most| {
            Lease::new(credentials.clone(), asked(skew, 0), at_most, "here").map(|lease| {
                (
                    lease.lifetime.as_secs(),
                    now.until(lease.deadline).as_secs(),
                )
            })
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(lease(0, Duration::MAX), Some((3600, 3599)));
        assert_eq!(lease(0, hour / 2), Some((1800, 1799)));
        // A clock that is behind makes the end look later than it is.
        assert_eq!(lease(-600, hour), Some((3000, 2999)));
        assert_eq!(lease(600, hour), Some((3600, 3599)));
        assert_eq!(lease(-3600, hour), None);
        assert_eq!(lease(-7200, hour), None);

        // A slow answer may have been made at any time since the question.
        let slow = Lease::new(credentials.clone(), asked(0, 5), Duration::MAX, "here");
        assert_eq!(slow.unwrap().lifetime.as_secs(), 3595);
    }

    #[test]
    fn an_end_beyond_what_was_asked_for_is_told_to_nobody() {
        let now = crate::refresh::store::tests::noon();
        let told = |beyond| {
            let mut credentials = crate::refresh::store::tests::credentials("x");
            credentials.expires_at += TimeDelta::seconds(beyond);
            let asked = RequestTime {
                at: now,
                skew: TimeDelta::zero(),
                uncertainty: Duration::ZERO,
            };
            let hour = Duration::from_secs(3600);
            let lease = Lease::new(credentials, asked, hour, "here").unwrap();
            (lease.credentials.expires_at - now.wall).num_seconds()
        };
        assert_eq!([told(0), told(60), told(61)], [3600, 3660, 3600]);
        assert_eq!(told(10 * 365 * 86_400), 3600);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let credentials = Credentials {
            access_key_id: "STS.id".into(),
            access_key_secret: "planted-secret".into(),
            security_token: "planted-token".into(),
            issued_at: DateTime::UNIX_EPOCH,
            expires_at: DateTime::UNIX_EPOCH,
        };
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("STS.id") && !shown.contains("planted"),
            "{shown}"
        );
    }

    #[test]
    fn timestamps_have_exactly_twenty_characters() {
        let at = DateTime::from_timestamp(1_716_287_969, 987_654_321).unwrap();
        assert_eq!(timestamp(at), "2024-05-21T10:39:29Z");
    }

    #[test]
    fn times_that_no_client_reads_are_none() {
        for (text, written) in [
            ("2024-05-21T10:39:29Z", Some("2024-05-21T10:39:29Z")),
            ("2024-05-21T12:39:29.5+02:00", Some("2024-05-21T10:39:29Z")),
            ("2024-05-21T23:59:60Z", Some("2024-05-21T23:59:59Z")),
            ("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z")),
            ("9999-12-31T23:59:59-01:00", None),
            ("0000-01-01T00:00:00+01:00", None),
            ("10000-01-01T00:00:00Z", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(time(text).map(timestamp).as_deref(), written, "{text}");
        }
        assert_eq!(time_of(253_402_300_800), None);
        assert_eq!(time_of(i64::MAX), None);
    }
}
