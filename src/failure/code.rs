//! The codes of failures, and the table that says of each who can mend it, and how.

use std::fmt;

use super::Verdict;

/// The stable name of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// A failure that ram-sidecar itself has found.
    Own(OwnCode),
    /// The code of a refusal, as STS or the gateway in front of it wrote it, without secrets.
    Remote(String),
}

impl Code {
    /// Makes a code of STS.
    pub fn remote(code: &str) -> Self {
        Self::Remote(code.to_owned())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Own(code) => code.as_str(),
            Self::Remote(code) => code,
        }
    }

    /// Whether the table has an entry for it: a service may invent new codes.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Remote(code) => REMOTE.iter().any(|entry| entry.matches(code)),
        }
    }

    /// Returns what the table says of the code.
    pub(super) fn entry(&self) -> &Entry {
        match self {
            Self::Own(code) => code.entry(),
            Self::Remote(code) => {
                let found = REMOTE.iter().find(|entry| entry.matches(code));
                found.unwrap_or(&UNKNOWN)
            }
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<OwnCode> for Code {
    fn from(code: OwnCode) -> Self {
        Self::Own(code)
    }
}

impl PartialEq<OwnCode> for Code {
    fn eq(&self, other: &OwnCode) -> bool {
        *self == Self::Own(*other)
    }
}

/// What the table says of a code.
#[derive(Debug)]
pub struct Entry {
    /// The code; one that ends in `*` stands for all that begin with what is before it.
    pub code: &'static str,
    /// Who can mend the failure.
    pub verdict: Verdict,
    /// What to change. No final stop.
    pub advice: &'static str,
}

impl Entry {
    /// Whether the entry is for `code`, unless one before it is.
    pub fn matches(&self, code: &str) -> bool {
        match self.code.strip_suffix('*') {
            Some(start) => code.starts_with(start),
            None => code == self.code,
        }
    }
}

/// Returns the table in its order: of several entries that match a code the first counts.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let own = OwnCode::ALL.iter().map(|code| code.entry());
    REMOTE.iter().chain(own)
}

const fn entry(code: &'static str, verdict: Verdict, advice: &'static str) -> Entry {
    Entry {
        code,
        verdict,
        advice,
    }
}

/// Makes [`OwnCode`] and its part of the table.
macro_rules! own_codes {
    ($($code:ident, $verdict:ident, $advice:literal;)*) => {
        /// The code of a failure that ram-sidecar itself has found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum OwnCode {
            $(#[doc = concat!("Remedy: ", $advice, ".")] $code,)*
        }

        impl OwnCode {
            const ALL: &[Self] = &[$(Self::$code),*];

            /// Returns the name.
            pub fn as_str(self) -> &'static str {
                self.entry().code
            }

            fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$code => const { &entry(stringify!($code), Verdict::$verdict, $advice) },)*
                }
            }
        }
    };
}

// README's troubleshooting section lists the same codes.
own_codes! {
    // A service is not reached.
    DnsFailed, Retry,
        "check the name in sts.endpoint and this machine's DNS; inside a VPC without internet access set sts.region and sts.vpc";
    ConnectionRefused, Retry,
        "check the address and its port (sts.endpoint, HTTPS_PROXY, or that of the identity): nothing listens there";
    ConnectFailed, Retry,
        "check sts.endpoint, the network policy and HTTPS_PROXY; inside a VPC without internet access set sts.region and sts.vpc";
    TlsUntrusted, Fatal,
        "behind a TLS-inspecting proxy set sts.ca_file to its CA certificate; otherwise something other than STS answers at sts.endpoint";
    TlsOutdated, Retry,
        "set this machine's clock (NTP): by it the certificate is not valid now; if the clock is right, the service's certificate has to be renewed";
    TlsFailed, Fatal,
        "check sts.endpoint: what answers there is not the service of that name, or speaks no TLS 1.2";
    ProxyFailed, Retry,
        "check HTTPS_PROXY (address, user, password) and what the proxy lets through; a host in NO_PROXY is called without it";
    TimedOut, Retry,
        "check the network between this machine and the service, a firewall that drops packets for instance";
    RequestFailed, Retry,
        "check the network between this machine and the service";
    // An answer cannot be used.
    Redirected, Throttled,
        "nothing to change unless it persists (STS redirects callers over their quota): then sts.endpoint is wrong, or a captive portal stands in between";
    WebPage, Retry,
        "log in to the network's portal, or set HTTPS_PROXY: a web page came in place of the answer";
    UnexpectedAnswer, Retry,
        "check sts.endpoint and HTTPS_PROXY: something other than STS answers there, or cuts its answers off";
    AnswerTooLarge, Retry,
        "check the address and HTTPS_PROXY: something other than the service answers there";
    ExpiredAnswer, Retry,
        "check this machine's clock; if it is right, the giver of these credentials has to renew them";
    // We do not know who we are.
    IdentityFileUnreadable, Retry,
        "mount the file where this user can read it, or correct its path; it is read anew for every attempt";
    IdentityFileInvalid, Retry,
        "let the file hold exactly one key or token; it is read anew for every attempt";
    IdentityNotTemporary, Fatal,
        "set role.arn, so that this AccessKey assumes a role; only temporary credentials whose end is known are passed through";
    MetadataDisabled, Fatal,
        "unset ALIBABA_CLOUD_ECS_METADATA_DISABLED for this process, or choose another identity";
    MetadataUnreachable, Retry,
        "run this on an ECS instance, in a container that may reach 100.100.100.200, or choose another identity";
    MetadataNoToken, Retry,
        "switch the metadata service's hardened mode on; set identity.allow_v1 only if something in the way has none";
    MetadataNoRole, Retry,
        "attach a RAM role to the ECS instance, or correct identity.ecs_role_name (ALIBABA_CLOUD_ECS_METADATA)";
    MetadataRefused, Retry,
        "let the instance's metadata service be used with a token (hardened mode), and by no proxy: it refuses forwarded requests";
    MetadataThrottled, Throttled,
        "nothing to change unless it persists: then something on this instance asks the metadata service all the time";
    MetadataUnusable, Retry,
        "check what answers at 100.100.100.200 (identity.metadata_url): it is not the ECS metadata service, or a broken one";
    ProfileUnusable, Retry,
        "correct the profile with `aliyun configure`, or choose another with identity.profile (ALIBABA_CLOUD_PROFILE); the file is read anew for every attempt";
    CredentialsUriRefused, Retry,
        "mend what that server complains of; it is asked again";
    CredentialsUriUnusable, Retry,
        "correct identity.credentials_uri: what answers there is no server of credentials, or has a wrong path";
    RoleNotPassed, Fatal,
        "let the trust policy of the job's role name the service pai.aliyuncs.com, and grant the user who starts the job ram:PassRole on the role";
    ProcessNotStarted, Retry,
        "correct identity.command: its first word is a program that is there and that this user may run; a shell is used only if it is named";
    ProcessFailed, Retry,
        "run the program by hand as this user, with this environment; it is run again for every attempt";
    ProcessTimedOut, Retry,
        "make the program faster, or raise identity.timeout; it must not wait for input or leave a child behind that keeps its output open";
    ProcessOutputUnusable, Retry,
        "let the program print nothing but one JSON object of AccessKeyId, AccessKeySecret, SecurityToken and Expiration, or of access_key_id, access_key_secret, sts_token and expiration";
    // A file cannot be written.
    FileNotWritten, Retry,
        "make its directory exist, writable for this user, with free space";
}

/// The codes of the service. README's troubleshooting section lists the same.
///
/// Source: the error tables of STS 2015-04-01 and of the gateway in front of it.
#[rustfmt::skip]
const REMOTE: &[Entry] = &[
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
];

const UNKNOWN: Entry = entry(
    "",
    Verdict::Fatal,
    "look the code up in the STS error list and, if that does not help, give the RequestId to Alibaba Cloud support",
);

/// Tests write codes as they are shown.
#[cfg(test)]
impl From<&'static str> for Code {
    fn from(code: &'static str) -> Self {
        let own = OwnCode::ALL.iter().find(|own| own.as_str() == code);
        own.map_or_else(|| Self::remote(code), |own| Self::Own(*own))
    }
}

#[cfg(test)]
impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}
