//! The table of every known code: who can mend it, and how.

use super::Verdict;

/// Returns every code of the table, in its order; one that ends in `*` stands for all that begin so.
pub fn codes() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.code)
}

/// Whether the table knows `code`.
pub fn is_known(code: &str) -> bool {
    TABLE.iter().any(|entry| entry.matches(code))
}

/// Returns what the table says of a code.
pub(super) fn of(code: &str) -> &'static Entry {
    TABLE
        .iter()
        .find(|entry| entry.matches(code))
        .unwrap_or(&UNKNOWN)
}

pub(super) struct Entry {
    /// The code; one that ends in `*` stands for all that begin so.
    code: &'static str,
    pub(super) verdict: Verdict,
    pub(super) advice: &'static str,
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
