//! The codes of failures, and the table of their classes and remedies.

use std::fmt;

use super::FailureClass;

/// Names a failure. The names are stable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// A failure that ram-sidecar detected.
    Local(LocalCode),
    /// The code in an error response of STS or of the gateway in front of it, without secrets.
    Remote(String),
}

impl Code {
    /// Makes a code from an error response.
    pub fn remote(code: &str) -> Self {
        Self::Remote(code.to_owned())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Local(code) => code.as_str(),
            Self::Remote(code) => code,
        }
    }

    /// Whether the table has an entry for it: a service may introduce new codes.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(code) => REMOTE.iter().any(|entry| entry.matches(code)),
        }
    }

    /// Returns one of few names, which a service cannot choose: that of its entry in the table, or `other`.
    pub fn label(&self) -> &'static str {
        match self.entry().code.trim_end_matches(['*', '.']) {
            "" => "other",
            name => name,
        }
    }

    /// Returns its entry in the table, or the one for unknown codes.
    pub(super) fn entry(&self) -> &Entry {
        match self {
            Self::Local(code) => code.entry(),
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

impl From<LocalCode> for Code {
    fn from(code: LocalCode) -> Self {
        Self::Local(code)
    }
}

impl PartialEq<LocalCode> for Code {
    fn eq(&self, other: &LocalCode) -> bool {
        *self == Self::Local(*other)
    }
}

/// An entry of the table.
#[derive(Debug)]
pub struct Entry {
    /// The code. A trailing `*` makes it a prefix, which matches every code that begins with it.
    pub code: &'static str,
    /// Whether retries can succeed.
    pub class: FailureClass,
    /// What to change, without a full stop at the end.
    pub advice: &'static str,
}

impl Entry {
    /// Whether the entry matches `code`. An earlier entry may match it too, and then applies.
    pub fn matches(&self, code: &str) -> bool {
        match self.code.strip_suffix('*') {
            Some(start) => code.starts_with(start),
            None => code == self.code,
        }
    }
}

/// Returns the entries of the table in order: of several that match a code, the first applies.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let local = LocalCode::ALL.iter().map(|code| code.entry());
    REMOTE.iter().chain(local)
}

const fn entry(code: &'static str, class: FailureClass, advice: &'static str) -> Entry {
    Entry {
        code,
        class,
        advice,
    }
}

/// Makes [`LocalCode`] and its part of the table.
macro_rules! local_codes {
    ($($code:ident, $class:ident, $advice:literal;)*) => {
        /// The code of a failure that ram-sidecar detected.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LocalCode {
            $(#[doc = concat!("Remedy: ", $advice, ".")] $code,)*
        }

        impl LocalCode {
            const ALL: &[Self] = &[$(Self::$code),*];

            /// Returns the name.
            pub fn as_str(self) -> &'static str {
                self.entry().code
            }

            fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$code => const { &entry(stringify!($code), FailureClass::$class, $advice) },)*
                }
            }
        }
    };
}

// README's troubleshooting section lists the same codes.
local_codes! {
    // A service cannot be reached.
    DnsFailed, Transient,
        "check the name in sts.endpoint and this machine's DNS; inside a VPC without internet access set sts.region and sts.vpc";
    ConnectionRefused, Transient,
        "check the address and its port (sts.endpoint, HTTPS_PROXY, or that of the identity): nothing listens there";
    ConnectFailed, Transient,
        "check sts.endpoint, the network policy and HTTPS_PROXY; inside a VPC without internet access set sts.region and sts.vpc";
    TlsUntrusted, Persistent,
        "behind a TLS-inspecting proxy set sts.ca_file to its CA certificate; otherwise something other than STS answers at sts.endpoint";
    TlsOutdated, Transient,
        "set this machine's clock (NTP): by it the certificate is not valid now; if the clock is right, the service's certificate has to be renewed";
    TlsFailed, Persistent,
        "check sts.endpoint: the server there is not the service of that name, or does not support TLS 1.2";
    ProxyFailed, Transient,
        "check HTTPS_PROXY (address, user, password) and which hosts the proxy allows; a host in NO_PROXY is called without it";
    TimedOut, Transient,
        "check the network between this machine and the service, for example for a firewall that drops packets";
    RequestFailed, Transient,
        "check the network between this machine and the service";
    // The surroundings of this process.
    RandomnessFailed, Transient,
        "permit the system call getrandom in the seccomp filter of this process; no file below /dev is needed";
    LimitReached, Transient,
        "raise the limit that the error is about, such as that of open files (ulimit -n)";
    // A response cannot be used.
    Redirected, Throttled,
        "nothing to change unless it persists (STS redirects callers over their quota): then sts.endpoint is wrong, or a captive portal stands in between";
    WebPage, Transient,
        "log in to the network's portal, or set HTTPS_PROXY: the response is a web page";
    UnexpectedAnswer, Transient,
        "check sts.endpoint and HTTPS_PROXY: something other than STS answers there, or truncates the responses";
    AnswerTooLarge, Transient,
        "check the address and HTTPS_PROXY: something other than the service answers there";
    ExpiredAnswer, Transient,
        "check this machine's clock; if it is right, the source of these credentials has to renew them";
    // The identity's credentials or token cannot be obtained.
    IdentityFileUnreadable, Transient,
        "mount the file where this user can read it, or correct its path; it is read again for every attempt";
    IdentityFileInvalid, Transient,
        "let the file hold exactly one key or token; it is read again for every attempt";
    IdentityNotTemporary, Persistent,
        "set role.arn, so that this AccessKey assumes a role; only temporary credentials whose end is known are passed through";
    MetadataDisabled, Persistent,
        "unset ALIBABA_CLOUD_ECS_METADATA_DISABLED for this process, or choose another identity";
    MetadataUnreachable, Transient,
        "run this on an ECS instance, in a container that may reach 100.100.100.200, or choose another identity";
    MetadataNoToken, Transient,
        "enable the metadata service's hardened mode; set identity.allow_v1 only if that is not possible";
    MetadataNoRole, Transient,
        "attach a RAM role to the ECS instance, or correct identity.ecs_role_name (ALIBABA_CLOUD_ECS_METADATA)";
    MetadataRefused, Transient,
        "allow the instance's metadata service to be used with a token (hardened mode), and without a proxy: it refuses forwarded requests";
    MetadataThrottled, Throttled,
        "nothing to change unless it persists: then a program on this instance calls the metadata service too often";
    MetadataUnusable, Transient,
        "check what answers at 100.100.100.200 (identity.metadata_url): it is not the ECS metadata service, or does not work";
    ProfileUnusable, Persistent,
        "correct the profile with `aliyun configure`, or choose another with identity.profile (ALIBABA_CLOUD_PROFILE); the file is read again for every attempt";
    CredentialsUriRefused, Transient,
        "fix the error that the server reports; it is called again for every attempt";
    CredentialsUriUnusable, Transient,
        "correct identity.credentials_uri: its path is wrong, or no credentials server answers there";
    RoleNotPassed, Persistent,
        "let the trust policy of the job's role name the service pai.aliyuncs.com, and grant the user who starts the job ram:PassRole on the role";
    ProcessNotStarted, Persistent,
        "correct identity.command: its first word must be a program that exists and that this user may run; a shell is used only if it is named";
    ProcessFailed, Transient,
        "run the program by hand as this user, with this environment; it is run again for every attempt";
    ProcessTimedOut, Transient,
        "make the program faster, or raise identity.timeout; it must not wait for input or leave a child behind that keeps its output open";
    ProcessOutputUnusable, Transient,
        "let the program print only one JSON object with AccessKeyId, AccessKeySecret, SecurityToken and Expiration, or of access_key_id, access_key_secret, sts_token and expiration";
    // A file cannot be written.
    FileNotWritten, Transient,
        "make its directory exist, writable for this user, with free space";
}

/// The codes of STS. README's troubleshooting section lists the same.
///
/// Source: the error tables of STS 2015-04-01 and of the gateway in front of it.
#[rustfmt::skip]
const REMOTE: &[Entry] = &[
    // Errors of STS.
    entry("NoPermission", FailureClass::Persistent,
        "let the role's trust policy name this identity as a principal, and grant this identity sts:AssumeRole on the role"),
    entry("EntityNotExist.Role*", FailureClass::Persistent,
        "create the role, or correct role.arn: account id and role name, spelled exactly"),
    entry("AuthenticationFail.NoPermission", FailureClass::Persistent,
        "let the role's trust policy name this OIDC provider as its federated principal, with conditions on oidc:iss, oidc:aud and oidc:sub that the token meets"),
    entry("AuthenticationFail.OIDCToken.Expired", FailureClass::Transient,
        "check that the token file is still being rotated (a projected service account token is), and that this machine's clock is right"),
    entry("AuthenticationFail.OIDCToken.AudienceNotMatch", FailureClass::Persistent,
        "request the token for an audience that the OIDC provider lists as a client ID (sts.aliyuncs.com for RRSA)"),
    entry("AuthenticationFail.OIDCToken.IssuerNotMatch", FailureClass::Persistent,
        "make the OIDC provider's issuer URL the token's iss, character by character"),
    entry("AuthenticationFail.OIDCToken.IssuerConfigurationBroken", FailureClass::Persistent,
        "make the token's issuer an https:// address that the internet can reach, with its configuration and keys there; https://kubernetes.default.svc is not"),
    entry("AuthenticationFail.OIDCToken.HttpsUrlInvalid", FailureClass::Persistent,
        "give the issuer's address a certificate that a public authority has signed, and update the OIDC provider's fingerprints"),
    entry("AuthenticationFail.OIDCToken.PublicKeyFingerprintMismatch", FailureClass::Persistent,
        "update the OIDC provider's fingerprints: the issuer's certificate authority has changed"),
    entry("AuthenticationFail.OIDCToken.InvalidSignature", FailureClass::Persistent,
        "use a token of the cluster that the OIDC provider was made for, unmodified: its keys did not sign this one"),
    entry("AuthenticationFail.OIDCToken.*", FailureClass::Persistent,
        "check that the token file holds an unmodified OIDC token of the cluster that the OIDC provider was made for"),
    entry("AuthenticationFail.Api*", FailureClass::Persistent, "configure the AccessKey of a RAM user, not a user name and password"),
    entry("AuthenticationFail.SAMLAssertion.*", FailureClass::Persistent, "use another identity: ram-sidecar sends no SAML assertion"),
    entry("AuthenticationFail.IDPMetadata.*", FailureClass::Persistent, "use another identity: ram-sidecar sends no SAML assertion"),
    entry("EntityNotExist.SAMLProvider", FailureClass::Persistent, "use another identity: ram-sidecar sends no SAML assertion"),
    entry("InvalidParameter.DurationSeconds", FailureClass::Persistent,
        "lower role.duration, or raise the role's maximum session duration"),
    entry("InvalidParameter.RoleArn", FailureClass::Persistent, "correct role.arn: acs:ram::<account id>:role/<role name>"),
    entry("InvalidParameter.RoleSessionName", FailureClass::Persistent, "correct role.session_name: 2 to 64 letters, digits or . @ - _"),
    entry("InvalidParameter.ExternalId", FailureClass::Persistent, "correct role.external_id: 2 to 1224 letters, digits or _ + = , . @ : / -"),
    entry("InvalidParameter.SourceIdentity", FailureClass::Persistent,
        "correct role.source_identity: 2 to 64 letters, digits or _ + = , . @ -, and in a chain of roles always the same"),
    entry("InvalidParameter.PolicyGrammar", FailureClass::Persistent,
        "correct the session policy (role.policy or role.policy_file): it is JSON, but not in RAM's policy language"),
    entry("InvalidParameter.PolicySize", FailureClass::Persistent, "shorten the session policy (role.policy or role.policy_file) to 2048 bytes"),
    entry("InvalidParameter.SerialNumber", FailureClass::Persistent, "assume a role that does not require an MFA device: a daemon has none"),
    entry("InvalidParameter.TokenCode", FailureClass::Persistent, "assume a role that does not require an MFA code: a daemon has none"),
    entry("InvalidParameter.ContentType", FailureClass::Persistent, "check that no proxy rewrites the request"),
    entry("InvalidParameter*", FailureClass::Persistent, "correct sts.endpoint: the server there does not support STS 2015-04-01"),
    // Errors of the gateway in front of STS.
    entry("InvalidAccessKeyId.NotFound", FailureClass::Persistent,
        "correct the AccessKey ID: it does not exist, or belongs to another cloud site"),
    entry("InvalidAccessKeyId.Inactive", FailureClass::Persistent, "enable the AccessKey, or configure another one"),
    entry("SignatureDoesNotMatch", FailureClass::Persistent,
        "check the AccessKey secret: it does not belong to the AccessKey ID, or carries extra characters"),
    entry("IncompleteSignature", FailureClass::Persistent,
        "check the AccessKey ID and secret, and that no proxy rewrites the request"),
    entry("InvalidSignatureMethod", FailureClass::Persistent, "set sts.signature to the other version (v1 or v3): this endpoint does not accept the one in use"),
    entry("SignatureNonceUsed", FailureClass::Transient, "nothing to change unless it persists: then a proxy replays requests"),
    entry("InvalidTimeStamp.Format", FailureClass::Persistent, "check that no proxy rewrites the request"),
    entry("InvalidTimeStamp.Expired", FailureClass::Transient, "set this machine's clock (NTP); the next attempt is signed with the service's time"),
    entry("MissingSecurityToken", FailureClass::Persistent,
        "set the security token along with the temporary AccessKey (STS.…): ALIBABA_CLOUD_SECURITY_TOKEN or its _FILE form, or sts_token in the profile"),
    entry("Missing*", FailureClass::Persistent, "check that no proxy rewrites the request"),
    entry("InvalidSecurityToken.Expired", FailureClass::Transient,
        "renew the temporary AccessKey and its security token together; files and profiles are read again for every attempt"),
    entry("InvalidSecurityToken.*", FailureClass::Persistent,
        "set the complete security token that belongs to the temporary AccessKey; a long-term AccessKey (LTAI…) has none"),
    entry("Throttling*", FailureClass::Throttled,
        "nothing to change unless it persists: then too many callers of this account share the quota of STS, and another region's endpoint in sts.endpoint may help"),
    entry("ServiceUnavailable", FailureClass::Transient, "nothing to change: the service is temporarily unavailable"),
    entry("InternalError", FailureClass::Transient, "nothing to change unless it persists: then give the RequestId to Alibaba Cloud support"),
    entry("InvalidProtocol.NeedSsl", FailureClass::Persistent, "use https:// in sts.endpoint"),
    entry("InvalidApi.NotFound", FailureClass::Persistent, "correct sts.endpoint: it is not an STS endpoint"),
    entry("InvalidVersion", FailureClass::Persistent, "correct sts.endpoint: it is not an STS endpoint"),
    entry("InvalidProduct.NotFound", FailureClass::Persistent, "correct sts.endpoint: it is not an STS endpoint"),
    entry("UnsupportedHTTPMethod", FailureClass::Persistent, "correct sts.endpoint: it is not an STS endpoint"),
];

const UNKNOWN: Entry = entry(
    "",
    FailureClass::Persistent,
    "look the code up in the STS error list and, if that does not help, give the RequestId to Alibaba Cloud support",
);

/// Lets tests write codes as they are shown.
#[cfg(test)]
impl From<&'static str> for Code {
    fn from(code: &'static str) -> Self {
        let local = LocalCode::ALL.iter().find(|local| local.as_str() == code);
        local.map_or_else(|| Self::remote(code), |local| Self::Local(*local))
    }
}

#[cfg(test)]
impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}
