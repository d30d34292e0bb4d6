//! The table of every known code: who can mend it, and how.

use super::Verdict;

/// Returns every code of the table, in its order; one that ends in `*` stands for all that begin so.
pub fn codes() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.code)
}

/// Returns the table's advice for a code, without its final stop.
pub fn advice(code: &str) -> &'static str {
    of(code).advice
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
///
/// Source of the service's codes: the error tables of STS 2015-04-01 and of the gateway in front of it.
#[rustfmt::skip]
const TABLE: &[Entry] = &[
    // STS refuses.
    entry("NoPermission", Verdict::Fatal,
        "let the role's trust policy name this identity as a principal, and grant this identity sts:AssumeRole on the role"),
    entry("EntityNotExist.Role*", Verdict::Fatal,
        "create the role, or correct role.arn: account id and role name, spelled exactly"),
    entry("AuthenticationFail.NoPermission", Verdict::Fatal,
        "let the role's trust policy name this OIDC provider as its federated principal, with conditions on oidc:iss, oidc:aud and oidc:sub that the token meets"),
    entry("AuthenticationFail.OIDCToken.Expired", Verdict::Retry,
        "check that the token file is still being rotated (a projected service account token is), and that this machine's clock is right"),
    entry("AuthenticationFail.OIDCToken.AudienceNotMatch", Verdict::Fatal,
        "request the token for an audience that the OIDC provider lists as a client ID (sts.aliyuncs.com for RRSA)"),
    entry("AuthenticationFail.OIDCToken.IssuerNotMatch", Verdict::Fatal,
        "make the OIDC provider's issuer URL the token's iss, character by character"),
    entry("AuthenticationFail.OIDCToken.IssuerConfigurationBroken", Verdict::Fatal,
        "make the token's issuer an https:// address that the internet can reach, with its configuration and keys there; https://kubernetes.default.svc is not"),
    entry("AuthenticationFail.OIDCToken.HttpsUrlInvalid", Verdict::Fatal,
        "give the issuer's address a certificate that a public authority has signed, and update the OIDC provider's fingerprints"),
    entry("AuthenticationFail.OIDCToken.PublicKeyFingerprintMismatch", Verdict::Fatal,
        "update the OIDC provider's fingerprints: the issuer's certificate authority is another one now"),
    entry("AuthenticationFail.OIDCToken.InvalidSignature", Verdict::Fatal,
        "use a token of the cluster that the OIDC provider was made for, unmodified: its keys did not sign this one"),
    entry("AuthenticationFail.OIDCToken.*", Verdict::Fatal,
        "check that the token file holds an unmodified OIDC token of the cluster that the OIDC provider was made for"),
    entry("AuthenticationFail.Api*", Verdict::Fatal, "configure the AccessKey of a RAM user, not a user name and password"),
    entry("AuthenticationFail.SAMLAssertion.*", Verdict::Fatal, "use another identity: ram-sidecar sends no SAML assertion"),
    entry("AuthenticationFail.IDPMetadata.*", Verdict::Fatal, "use another identity: ram-sidecar sends no SAML assertion"),
    entry("EntityNotExist.SAMLProvider", Verdict::Fatal, "use another identity: ram-sidecar sends no SAML assertion"),
    entry("InvalidParameter.DurationSeconds", Verdict::Fatal,
        "lower role.duration, or raise the role's maximum session duration"),
    entry("InvalidParameter.RoleArn", Verdict::Fatal, "correct role.arn: acs:ram::<account id>:role/<role name>"),
    entry("InvalidParameter.RoleSessionName", Verdict::Fatal, "correct role.session_name: 2 to 64 letters, digits or . @ - _"),
    entry("InvalidParameter.ExternalId", Verdict::Fatal, "correct role.external_id: 2 to 1224 letters, digits or _ + = , . @ : / -"),
    entry("InvalidParameter.SourceIdentity", Verdict::Fatal,
        "correct role.source_identity: 2 to 64 letters, digits or _ + = , . @ -, and in a chain of roles always the same"),
    entry("InvalidParameter.PolicyGrammar", Verdict::Fatal,
        "correct the session policy (role.policy or role.policy_file): it is JSON, but not in RAM's policy language"),
    entry("InvalidParameter.PolicySize", Verdict::Fatal, "shorten the session policy (role.policy or role.policy_file) to 2048 bytes"),
    entry("InvalidParameter.SerialNumber", Verdict::Fatal, "assume a role that asks for no MFA device: a daemon has none"),
    entry("InvalidParameter.TokenCode", Verdict::Fatal, "assume a role that asks for no MFA code: a daemon has none"),
    entry("InvalidParameter.ContentType", Verdict::Fatal, "check that no proxy rewrites the request"),
    entry("InvalidParameter*", Verdict::Fatal, "correct sts.endpoint: what answers there does not know STS 2015-04-01"),
    // The gateway in front of STS refuses.
    entry("InvalidAccessKeyId.NotFound", Verdict::Fatal,
        "correct the AccessKey ID: it does not exist, or belongs to another cloud site"),
    entry("InvalidAccessKeyId.Inactive", Verdict::Fatal, "enable the AccessKey, or configure another one"),
    entry("SignatureDoesNotMatch", Verdict::Fatal,
        "check the AccessKey secret: it does not belong to the AccessKey ID, or carries extra characters"),
    entry("IncompleteSignature", Verdict::Fatal,
        "check the AccessKey ID and secret, and that no proxy rewrites the request"),
    entry("InvalidSignatureMethod", Verdict::Fatal, "set sts.signature to the other version (v1 or v3): this endpoint does not take the one in use"),
    entry("SignatureNonceUsed", Verdict::Retry, "nothing to change unless it persists: then a proxy replays requests"),
    entry("InvalidTimeStamp.Format", Verdict::Fatal, "check that no proxy rewrites the request"),
    entry("InvalidTimeStamp.Expired", Verdict::Retry, "set this machine's clock (NTP); the next attempt is signed with the service's time"),
    entry("MissingSecurityToken", Verdict::Fatal,
        "give the security token along with the temporary AccessKey (STS.…): ALIBABA_CLOUD_SECURITY_TOKEN or its _FILE form, or sts_token in the profile"),
    entry("Missing*", Verdict::Fatal, "check that no proxy rewrites the request"),
    entry("InvalidSecurityToken.Expired", Verdict::Retry,
        "renew the temporary AccessKey and its security token together; files and profiles are read anew for every attempt"),
    entry("InvalidSecurityToken.*", Verdict::Fatal,
        "give the security token that belongs to the temporary AccessKey, whole; a long-term AccessKey (LTAI…) has none"),
    entry("Throttling*", Verdict::Throttled,
        "nothing to change unless it persists: then too many callers of this account share the quota of STS, and another region's endpoint in sts.endpoint may help"),
    entry("ServiceUnavailable", Verdict::Retry, "nothing to change: the service is temporarily unavailable"),
    entry("InternalError", Verdict::Retry, "nothing to change unless it persists: then give the RequestId to Alibaba Cloud support"),
    entry("InvalidProtocol.NeedSsl", Verdict::Fatal, "use https:// in sts.endpoint"),
    entry("InvalidApi.NotFound", Verdict::Fatal, "correct sts.endpoint: it is not an STS endpoint"),
    entry("InvalidVersion", Verdict::Fatal, "correct sts.endpoint: it is not an STS endpoint"),
    entry("InvalidProduct.NotFound", Verdict::Fatal, "correct sts.endpoint: it is not an STS endpoint"),
    entry("UnsupportedHTTPMethod", Verdict::Fatal, "correct sts.endpoint: it is not an STS endpoint"),
    // A service is not reached.
    entry("DnsFailed", Verdict::Retry,
        "check the name in sts.endpoint and this machine's DNS; inside a VPC without internet access set sts.region and sts.vpc"),
    entry("ConnectionRefused", Verdict::Retry,
        "check the address and its port (sts.endpoint, HTTPS_PROXY, or that of the identity): nothing listens there"),
    entry("ConnectFailed", Verdict::Retry,
        "check sts.endpoint, the network policy and HTTPS_PROXY; inside a VPC without internet access set sts.region and sts.vpc"),
    entry("TlsUntrusted", Verdict::Fatal,
        "behind a TLS-inspecting proxy set sts.ca_file to its CA certificate; otherwise something other than STS answers at sts.endpoint"),
    entry("TlsOutdated", Verdict::Retry,
        "set this machine's clock (NTP): by it the certificate is not valid now; if the clock is right, the service's certificate has to be renewed"),
    entry("TlsFailed", Verdict::Fatal,
        "check sts.endpoint: what answers there is not the service of that name, or speaks no TLS 1.2"),
    entry("ProxyFailed", Verdict::Retry,
        "check HTTPS_PROXY (address, user, password) and what the proxy lets through; a host in NO_PROXY is called without it"),
    entry("TimedOut", Verdict::Retry,
        "check the network between this machine and the service, a firewall that drops packets for instance"),
    entry("RequestFailed", Verdict::Retry, "check the network between this machine and the service"),
    // An answer cannot be used.
    entry("Redirected", Verdict::Throttled,
        "nothing to change unless it persists (STS redirects callers over their quota): then sts.endpoint is wrong, or a captive portal stands in between"),
    entry("WebPage", Verdict::Retry,
        "log in to the network's portal, or set HTTPS_PROXY: a web page came in place of the answer"),
    entry("UnexpectedAnswer", Verdict::Retry,
        "check sts.endpoint and HTTPS_PROXY: something other than STS answers there, or cuts its answers off"),
    entry("AnswerTooLarge", Verdict::Retry, "check the address and HTTPS_PROXY: something other than the service answers there"),
    entry("ExpiredAnswer", Verdict::Retry, "check this machine's clock; if it is right, the giver of these credentials has to renew them"),
    // We do not know who we are.
    entry("IdentityFileUnreadable", Verdict::Retry,
        "mount the file where this user can read it, or correct its path; it is read anew for every attempt"),
    entry("IdentityFileInvalid", Verdict::Retry,
        "let the file hold exactly one key or token; it is read anew for every attempt"),
    entry("IdentityNotTemporary", Verdict::Fatal,
        "set role.arn, so that this AccessKey assumes a role; only temporary credentials whose end is known are passed through"),
    entry("MetadataDisabled", Verdict::Fatal,
        "unset ALIBABA_CLOUD_ECS_METADATA_DISABLED for this process, or choose another identity"),
    entry("MetadataUnreachable", Verdict::Retry,
        "run this on an ECS instance, in a container that may reach 100.100.100.200, or choose another identity"),
    entry("MetadataNoToken", Verdict::Retry,
        "switch the metadata service's hardened mode on; set identity.allow_v1 only if something in the way has none"),
    entry("MetadataNoRole", Verdict::Retry,
        "attach a RAM role to the ECS instance, or correct identity.ecs_role_name (ALIBABA_CLOUD_ECS_METADATA)"),
    entry("MetadataRefused", Verdict::Retry,
        "let the instance's metadata service be used with a token (hardened mode), and by no proxy: it refuses forwarded requests"),
    entry("MetadataThrottled", Verdict::Throttled, "nothing to change unless it persists: then something on this instance asks the metadata service all the time"),
    entry("MetadataUnusable", Verdict::Retry,
        "check what answers at 100.100.100.200 (identity.metadata_url): it is not the ECS metadata service, or a broken one"),
    entry("ProfileUnusable", Verdict::Retry,
        "correct the profile with `aliyun configure`, or choose another with identity.profile (ALIBABA_CLOUD_PROFILE); the file is read anew for every attempt"),
    entry("CredentialsUriRefused", Verdict::Retry, "mend what that server complains of; it is asked again"),
    entry("CredentialsUriUnusable", Verdict::Retry,
        "correct identity.credentials_uri: what answers there is no server of credentials, or has a wrong path"),
    entry("RoleNotPassed", Verdict::Fatal,
        "let the trust policy of the job's role name the service pai.aliyuncs.com, and grant the user who starts the job ram:PassRole on the role"),
    entry("ProcessNotStarted", Verdict::Retry,
        "correct identity.command: its first word is a program that is there and that this user may run; a shell is used only if it is named"),
    entry("ProcessFailed", Verdict::Retry, "run the program by hand as this user, with this environment; it is run again for every attempt"),
    entry("ProcessTimedOut", Verdict::Retry, "make the program faster, or raise identity.timeout; it must not wait for input or leave a child behind that keeps its output open"),
    entry("ProcessOutputUnusable", Verdict::Retry,
        "let the program print nothing but one JSON object of AccessKeyId, AccessKeySecret, SecurityToken and Expiration, or of access_key_id, access_key_secret, sts_token and expiration"),
    // A file cannot be written.
    entry("FileNotWritten", Verdict::Retry, "make its directory exist, writable for this user, with free space"),
];
