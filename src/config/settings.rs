//! Every setting, once: flags, variables, TOML keys and the help are all made from this table.

/// One setting and the places it can be given in.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key in the TOML file, and the name of the setting everywhere.
    pub key: &'static str,
    /// The long flag, without dashes. Secrets have none.
    pub flag: Option<&'static str>,
    /// The environment variable.
    pub variable: &'static str,
    /// Whether the TOML file may hold it. Secrets are not kept there.
    pub in_file: bool,
    /// What stands for the value in the help.
    pub value: &'static str,
    /// The default, as it would be written.
    pub default: Option<&'static str>,
    /// What it does; shown in the help.
    pub help: &'static str,
}

const fn setting(
    key: &'static str,
    flag: &'static str,
    variable: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        flag: Some(flag),
        variable,
        in_file: true,
        value,
        default,
        help,
    }
}

/// A setting without a flag.
const fn unflagged(
    key: &'static str,
    variable: &'static str,
    value: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        flag: None,
        variable,
        in_file: true,
        value,
        default: None,
        help,
    }
}

/// A secret: the environment only.
const fn secret(
    key: &'static str,
    variable: &'static str,
    value: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        flag: None,
        variable,
        in_file: false,
        value,
        default: None,
        help,
    }
}

/// The settings, in the order of the help.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    setting("role.arn", "role-arn", "ALIBABA_CLOUD_ROLE_ARN", "ARN", None,
        "The role to assume: acs:ram::<account id>:role/<name>"),
    setting("role.session_name", "role-session-name", "ALIBABA_CLOUD_ROLE_SESSION_NAME", "NAME", None,
        "Names the session in audit logs, 2 to 64 characters; by default derived from POD_NAME or the host name"),
    setting("role.duration", "duration", "RAM_SIDECAR_DURATION", "DURATION", Some("1h"),
        "How long credentials live, 15m to 12h, at most the role's maximum session duration"),
    setting("role.external_id", "external-id", "RAM_SIDECAR_EXTERNAL_ID", "ID", None,
        "The external ID that the role's trust policy asks for, 2 to 1224 characters"),
    unflagged("role.policy", "RAM_SIDECAR_POLICY", "JSON",
        "A session policy that narrows the role, at most 2048 characters"),
    setting("role.policy_file", "policy-file", "RAM_SIDECAR_POLICY_FILE", "PATH", None,
        "A file that holds the session policy"),
    setting("identity.type", "identity", "RAM_SIDECAR_IDENTITY", "TYPE", None,
        "How to prove who we are: access_key or oidc; by default the one whose variables are present"),
    secret("identity.access_key_id", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ID",
        "The AccessKey ID"),
    secret("identity.access_key_secret", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "SECRET",
        "The AccessKey secret"),
    secret("identity.security_token", "ALIBABA_CLOUD_SECURITY_TOKEN", "TOKEN",
        "The security token of a temporary AccessKey (role chaining)"),
    unflagged("identity.access_key_id_file", "ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", "PATH",
        "A mounted file that holds the AccessKey ID, read anew for every attempt"),
    unflagged("identity.access_key_secret_file", "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", "PATH",
        "A mounted file that holds the AccessKey secret, read anew for every attempt"),
    unflagged("identity.security_token_file", "ALIBABA_CLOUD_SECURITY_TOKEN_FILE", "PATH",
        "A mounted file that holds the security token, read anew for every attempt"),
    unflagged("identity.oidc_provider_arn", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ARN",
        "The OIDC provider: acs:ram::<account id>:oidc-provider/<name>"),
    unflagged("identity.oidc_token_file", "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "PATH",
        "A mounted file that holds the OIDC token, read anew for every attempt"),
    setting("sts.endpoint", "sts-endpoint", "ALIBABA_CLOUD_STS_ENDPOINT", "HOST", None,
        "The STS endpoint: a host name or an https:// URL; by default that of the region, else sts.aliyuncs.com"),
    setting("sts.region", "region", "ALIBABA_CLOUD_STS_REGION", "REGION", None,
        "The region whose STS endpoint to use, such as cn-hangzhou"),
    setting("sts.vpc", "vpc", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "BOOL", Some("false"),
        "Use the endpoint inside the region's VPCs"),
    setting("sts.ca_file", "ca-file", "RAM_SIDECAR_CA_FILE", "PATH", None,
        "PEM certificates to trust instead of the bundled roots, for a TLS-inspecting proxy"),
    setting("serve.listen", "listen", "RAM_SIDECAR_LISTEN", "ADDRESS", Some("127.0.0.1:7002"),
        "Where credentials are served; 127.0.0.1 takes [::1] along when the machine has it; port 0 picks a free one"),
    setting("serve.key", "key", "RAM_SIDECAR_KEY", "KEY", Some("0"),
        "The last segment of the path; a long random one makes the path a secret (then prefer the variable, flags are visible in the process list)"),
    setting("admin.listen", "admin-listen", "RAM_SIDECAR_ADMIN_LISTEN", "ADDRESS", Some("127.0.0.1:7003"),
        "Where the probes /live, /ready and /startup are served"),
    setting("file", "file", "RAM_SIDECAR_FILE", "PATH[,mode=0600][,uid=N][,gid=N]", None,
        "A file to keep the credentials in; repeat the flag for more, separate several in the variable with a colon"),
    setting("shutdown.drain", "drain", "RAM_SIDECAR_DRAIN", "DURATION", Some("0s"),
        "How long to serve on after SIGTERM, so that the job's last checkpoint still has credentials"),
    setting("log.level", "log-level", "RAM_SIDECAR_LOG", "LEVEL", Some("info"),
        "error, warn, info, debug or trace"),
    setting("log.format", "log-format", "RAM_SIDECAR_LOG_FORMAT", "FORMAT", None,
        "text or json; by default text on a terminal, else json"),
];

/// Returns the setting of a key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
