//! What went wrong, in one sentence: what was attempted, why it failed, and what to change.
//!
//! The same [`Failure`] is shown in the log, in the HTTP error and in the probes. It never carries a secret: whatever
//! comes from outside passes through [`scrub`] first.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// One failed attempt, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Where in the attempt it happened.
    pub stage: Stage,
    /// A stable name: the code that STS gave, or one of this crate's own from the table below.
    pub code: Cow<'static, str>,
    /// What was attempted, on which object, and what happened. No final stop.
    pub message: String,
    /// What to change. No final stop.
    pub advice: Cow<'static, str>,
    /// Whether time, or only a human, can mend it.
    pub verdict: Verdict,
    /// The request id that Alibaba Cloud's support asks for.
    pub request_id: Option<String>,
    /// How long the service asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// The step of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finding out who we are: keys and tokens.
    Identity,
    /// Reaching the service.
    Transport,
    /// The service's refusal.
    Sts,
    /// An answer that cannot be used.
    Answer,
    /// Writing a file.
    File,
}

/// Who can mend a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Only a human: a policy, a name, a key. Tried again all the same, because humans do mend such things.
    Fatal,
    /// Time: the network, the service, a file that is about to be replaced.
    Retry,
    /// Time, and less haste.
    Throttled,
}

impl Failure {
    /// Makes a failure whose verdict and advice come from the table.
    pub fn new(
        stage: Stage,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        let code = code.into();
        let entry = TABLE
            .iter()
            .find(|entry| entry.matches(&code))
            .unwrap_or(&UNKNOWN);
        Self {
            stage,
            message: message.into(),
            advice: entry.advice.into(),
            verdict: entry.verdict,
            request_id: None,
            retry_after: None,
            code,
        }
    }

    /// Whether the table knows `code`.
    pub fn is_known(code: &str) -> bool {
        TABLE.iter().any(|entry| entry.matches(code))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.advice)?;
        match &self.request_id {
            Some(id) => write!(f, " (RequestId {id})"),
            None => Ok(()),
        }
    }
}

/// Returns every code of the table, in its order; one that ends in `*` stands for all that begin so.
pub fn codes() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.code)
}

/// Writes an error and all its causes on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Several crates repeat their cause in their own message.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Makes a text from outside fit to be shown: one line, bounded, without any of `secrets` or a piece of one.
///
/// STS repeats the whole string to sign in its `SignatureDoesNotMatch`, security token included, percent-encoded twice.
pub fn scrub(text: &str, secrets: &[&str]) -> String {
    let told = text
        .split("server string to sign")
        .next()
        .unwrap_or_default();
    let told = told.split("server StringToSign").next().unwrap_or_default();
    let mut told: String = told.chars().take(2 * MESSAGE_LIMIT).collect();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        told = told.replace(secret, "…");
    }
    let mut shown = String::new();
    for run in told.split_inclusive(|c: char| !is_token_char(c)) {
        let word = run.trim_end_matches(|c: char| !is_token_char(c));
        if repeats(word, secrets) {
            shown.push('…');
            shown.push_str(&run[word.len()..]);
        } else {
            shown.push_str(run);
        }
    }
    let line: String = shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_LIMIT)
        .collect();
    line.trim().trim_end_matches(['.', ':', ' ']).to_owned()
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=_-.%".contains(c)
}

/// Whether `word` contains a secret, or is itself a telling piece of one, however it is percent-encoded.
fn repeats(word: &str, secrets: &[&str]) -> bool {
    let once = percent_decoded(word);
    let twice = percent_decoded(&once);
    [word, &once, &twice].iter().any(|form| {
        secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .any(|secret| form.contains(secret) || (form.len() >= TELLING && overlap(form, secret)))
    })
}

/// Whether some stretch of [`TELLING`] bytes stands in both.
fn overlap(form: &str, secret: &str) -> bool {
    form.as_bytes().windows(TELLING).any(|piece| {
        secret
            .as_bytes()
            .windows(TELLING)
            .any(|other| other == piece)
    })
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let pair = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) if byte == b'%' => {
                decoded.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// How much of a message from outside is shown, in characters.
const MESSAGE_LIMIT: usize = 300;

/// How many characters of a secret are already too many.
const TELLING: usize = 8;

struct Entry {
    /// The code; one that ends in `*` stands for all that begin so.
    code: &'static str,
    verdict: Verdict,
    advice: &'static str,
}

impl Entry {
    fn matches(&self, code: &str) -> bool {
        match self.code.strip_suffix('*') {
            Some(start) => code.starts_with(start),
            None => code == self.code,
        }
    }
}

const fn entry(code: &'static str, verdict: Verdict, advice: &'static str) -> Entry {
    Entry {
        code,
        verdict,
        advice,
    }
}

const UNKNOWN: Entry = entry(
    "",
    Verdict::Fatal,
    "look the code up in the STS error list and, if that does not help, give the RequestId to Alibaba Cloud support",
);

/// Every known code; the first match counts. README's troubleshooting section lists the same codes.
#[rustfmt::skip]
const TABLE: &[Entry] = &[
    // The service refuses.
    entry("NoPermission", Verdict::Fatal,
        "let the role's trust policy name this identity as a principal, and grant this identity sts:AssumeRole on the role"),
    entry("AuthenticationFail.NoPermission", Verdict::Fatal,
        "let the role's trust policy name this OIDC provider as its federated principal, with conditions on oidc:iss, oidc:aud and oidc:sub that the token meets"),
    entry("AuthenticationFail.OIDCToken.Expired", Verdict::Retry,
        "check that the token file is still being rotated (a projected service account token is), and that this machine's clock is right"),
    entry("AuthenticationFail.OIDCToken.AudienceNotMatch", Verdict::Fatal,
        "request the token for an audience that the OIDC provider lists as a client ID (sts.aliyuncs.com for RRSA)"),
    entry("AuthenticationFail.OIDCToken.Issuer*", Verdict::Fatal,
        "make the OIDC provider's issuer URL the token's `iss`, and its key set reachable"),
    entry("AuthenticationFail.OIDCToken.*", Verdict::Fatal,
        "check that the token file holds an unmodified OIDC token of the cluster that the OIDC provider was made for"),
    entry("EntityNotExist.Role", Verdict::Fatal,
        "create the role, or correct role.arn: account id and role name, spelled exactly"),
    entry("InvalidParameter.DurationSeconds", Verdict::Fatal,
        "lower role.duration, or raise the role's maximum session duration"),
    entry("InvalidParameter.RoleArn", Verdict::Fatal, "correct role.arn"),
    entry("InvalidParameter.RoleSessionName", Verdict::Fatal, "correct role.session_name"),
    entry("InvalidParameter.ExternalId", Verdict::Fatal, "correct role.external_id"),
    entry("InvalidParameter.Policy*", Verdict::Fatal, "correct the session policy (role.policy or role.policy_file)"),
    entry("InvalidAccessKeyId.NotFound", Verdict::Fatal,
        "correct the AccessKey ID: it does not exist, or belongs to another cloud site"),
    entry("InvalidAccessKeyId.Inactive", Verdict::Fatal, "enable the AccessKey, or configure another one"),
    entry("SignatureDoesNotMatch", Verdict::Fatal,
        "check the AccessKey secret: it does not belong to the AccessKey ID, or carries extra characters"),
    entry("IncompleteSignature", Verdict::Fatal,
        "check the AccessKey ID and secret, and that no proxy rewrites the request"),
    entry("SignatureNonceUsed", Verdict::Retry, "nothing to change unless it persists: then a proxy replays requests"),
    entry("InvalidTimeStamp.*", Verdict::Retry, "set this machine's clock (NTP); the next attempt is signed with the service's time"),
    entry("MissingSecurityToken", Verdict::Fatal,
        "set ALIBABA_CLOUD_SECURITY_TOKEN beside a temporary AccessKey"),
    entry("InvalidSecurityToken.*", Verdict::Fatal,
        "renew the temporary AccessKey and its security token together; mounted files are read anew for every attempt"),
    entry("Throttling*", Verdict::Throttled,
        "nothing to change unless it persists: then too many callers of this account share the quota of STS"),
    entry("ServiceUnavailable", Verdict::Retry, "nothing to change: the service is temporarily unavailable"),
    entry("InternalError", Verdict::Retry, "nothing to change unless it persists: then give the RequestId to Alibaba Cloud support"),
    entry("InvalidProtocol.NeedSsl", Verdict::Fatal, "use https:// in sts.endpoint"),
    entry("InvalidApi.NotFound", Verdict::Fatal, "correct sts.endpoint: it is not an STS endpoint"),
    // The service is not reached.
    entry("ConnectFailed", Verdict::Retry,
        "check sts.endpoint, DNS, the network policy and HTTPS_PROXY; inside a VPC without internet access set sts.region and sts.vpc"),
    entry("TlsFailed", Verdict::Fatal,
        "behind a TLS-inspecting proxy set sts.ca_file to its CA certificate; otherwise check sts.endpoint and this machine's clock"),
    entry("TimedOut", Verdict::Retry,
        "check the network between this machine and the service, a firewall that drops packets for instance"),
    entry("RequestFailed", Verdict::Retry, "check the network between this machine and the service"),
    // The answer cannot be used.
    entry("Redirected", Verdict::Throttled,
        "nothing to change unless it persists (STS redirects callers over their quota): then sts.endpoint or a captive proxy is wrong"),
    entry("UnexpectedAnswer", Verdict::Retry,
        "check sts.endpoint and HTTPS_PROXY: something other than STS answers there"),
    entry("AnswerTooLarge", Verdict::Retry, "check sts.endpoint and HTTPS_PROXY: something other than STS answers there"),
    entry("ExpiredAnswer", Verdict::Retry, "check this machine's clock; if it is right, give the RequestId to Alibaba Cloud support"),
    // We do not know who we are.
    entry("IdentityFileUnreadable", Verdict::Retry,
        "mount the file where this user can read it, or correct its path; it is read anew for every attempt"),
    entry("IdentityFileInvalid", Verdict::Retry,
        "let the file hold exactly one key or token; it is read anew for every attempt"),
    // A file cannot be written.
    entry("FileNotWritten", Verdict::Retry, "make its directory exist, writable for this user, with free space; it is tried again"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_entry_decides() {
        let of = |code: &'static str| Failure::new(Stage::Sts, code, "x").verdict;
        assert_eq!(of("Throttling.User"), Verdict::Throttled);
        assert_eq!(of("AuthenticationFail.OIDCToken.Expired"), Verdict::Retry);
        assert_eq!(of("AuthenticationFail.OIDCToken.Invalid"), Verdict::Fatal);
        assert_eq!(of("SomethingNew"), Verdict::Fatal);
        assert!(!Failure::is_known("SomethingNew"));
    }

    #[test]
    fn a_sentence_names_what_why_and_the_remedy() {
        let mut failure = Failure::new(Stage::Sts, "EntityNotExist.Role", "STS knows no such role");
        failure.request_id = Some("ABC".into());
        assert_eq!(
            failure.to_string(),
            "STS knows no such role; create the role, or correct role.arn: account id and role name, spelled exactly (RequestId ABC)"
        );
    }

    #[test]
    fn no_piece_of_a_secret_survives_scrubbing() {
        let secret = "CAIS+planted/token==withmore";
        for told in [
            "bad token CAIS+planted/token==withmore here",
            "bad token CAIS+planted/tok",
            "bad token x%3DCAIS%2Bplanted%2Ftoken%3D%3Dwithmore%26",
            "bad token CAIS%252Bplanted%252Ftoken%253D",
            "bad token CAIS+planted/token==withmore, really",
            "Specified signature is not matched. server string to sign is:POST&%2F&SecurityToken%3DCAIS",
        ] {
            let shown = scrub(told, &[secret]);
            assert!(
                !shown.contains("planted") && !shown.contains("CAIS"),
                "{shown}"
            );
            assert!(
                shown.starts_with("bad token") || shown.starts_with("Specified"),
                "{shown}"
            );
        }
    }

    #[test]
    fn what_is_not_secret_stays_readable_on_one_line() {
        let shown = scrub(
            "The role not exists: acs:ram::1:role/x.\nnext",
            &["planted-secret"],
        );
        assert_eq!(shown, "The role not exists: acs:ram::1:role/x. next");
        assert_eq!(scrub(&"ab ".repeat(1000), &[]).chars().count(), 299);
    }

    #[test]
    fn scrubbing_survives_any_text() {
        for text in ["%", "%%4", "日本%E6", "\u{0}\u{7f}", "a%zz", ""] {
            scrub(text, &["秘密の値です", ""]);
        }
    }
}
