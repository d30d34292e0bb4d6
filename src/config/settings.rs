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

impl Setting {
    /// Whether it takes several values: a TOML array, a repeated flag, or one text with commas.
    pub fn is_list(&self) -> bool {
        self.value.ends_with("…")
    }

    /// Returns a value as it may be shown; nothing if it is a secret, or may be one that was put in the wrong place.
    pub fn shown<'a>(&self, value: &'a str) -> Option<&'a str> {
        let is_secret = match self.key {
            "serve.key" | "identity.credentials_uri" | "identity.command" => true,
            key if key.ends_with("_file") => !value.starts_with('/'),
            // An address may carry a password, however it is written.
            "sts.endpoint" | "identity.metadata_url" => value.contains('@'),
            _ => !self.in_file,
        };
        (!is_secret).then_some(value)
    }
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
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        flag: None,
        variable,
        in_file: true,
        value,
        default,
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
    setting("role.preset", "role-preset", "RAM_SIDECAR_ROLE_PRESET", "PRESET", None,
        "pai-default: PAI's default role, narrowed to one OSS bucket; none: no role, and no credentials"),
    setting("role.account_id", "account-id", "RAM_SIDECAR_ACCOUNT_ID", "ID", None,
        "The account of PAI's default role: digits"),
    setting("role.oss_bucket", "oss-bucket", "RAM_SIDECAR_OSS_BUCKET", "BUCKET", None,
        "The only bucket that PAI's default role may use"),
    setting("role.via", "role-via", "RAM_SIDECAR_ROLE_VIA", "ARN,…", None,
        "Roles to assume one after the other before role.arn, as PAI's RoleChain does"),
    setting("role.session_name", "role-session-name", "ALIBABA_CLOUD_ROLE_SESSION_NAME", "NAME", None,
        "Names the session in audit logs, 2 to 64 characters; by default derived from POD_NAME or the host name"),
    setting("role.duration", "duration", "RAM_SIDECAR_DURATION", "DURATION", Some("1h"),
        "How long credentials live, 15m to 12h, at most the role's maximum session duration"),
    setting("role.external_id", "external-id", "RAM_SIDECAR_EXTERNAL_ID", "ID", None,
        "The external ID that the trust policy of role.arn asks for, 2 to 1224 characters"),
    setting("role.source_identity", "source-identity", "RAM_SIDECAR_SOURCE_IDENTITY", "NAME", None,
        "Names the person or job behind the session in audit logs, 2 to 64 characters; stays through a chain of roles"),
    unflagged("role.policy", "RAM_SIDECAR_POLICY", "JSON", None,
        "A session policy that narrows the role, at most 2048 characters"),
    setting("role.policy_file", "policy-file", "RAM_SIDECAR_POLICY_FILE", "PATH", None,
        "A file that holds the session policy"),
    setting("identity.type", "identity", "RAM_SIDECAR_IDENTITY", "TYPE", None,
        "How to prove who we are: access_key, oidc, ecs_ram_role, profile, credentials_uri or process; by default the one whose settings are present"),
    secret("identity.access_key_id", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ID",
        "The AccessKey ID"),
    secret("identity.access_key_secret", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "SECRET",
        "The AccessKey secret"),
    secret("identity.security_token", "ALIBABA_CLOUD_SECURITY_TOKEN", "TOKEN",
        "The security token of a temporary AccessKey (role chaining)"),
    unflagged("identity.access_key_id_file", "ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", "PATH", None,
        "A mounted file that holds the AccessKey ID, read anew for every attempt"),
    unflagged("identity.access_key_secret_file", "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", "PATH", None,
        "A mounted file that holds the AccessKey secret, read anew for every attempt"),
    unflagged("identity.security_token_file", "ALIBABA_CLOUD_SECURITY_TOKEN_FILE", "PATH", None,
        "A mounted file that holds the security token, read anew for every attempt"),
    unflagged("identity.oidc_provider_arn", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ARN", None,
        "The OIDC provider: acs:ram::<account id>:oidc-provider/<name>"),
    unflagged("identity.oidc_token_file", "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "PATH", None,
        "A mounted file that holds the OIDC token, read anew for every attempt"),
    setting("identity.ecs_role_name", "ecs-role-name", "ALIBABA_CLOUD_ECS_METADATA", "NAME", None,
        "The name of the ECS instance's role; by default the metadata service is asked for it"),
    unflagged("identity.allow_v1", "RAM_SIDECAR_ALLOW_V1", "BOOL", Some("false"),
        "Ask the metadata service without a token (v1) where it gives none"),
    unflagged("identity.metadata_url", "ALIBABA_CLOUD_IMDS_ENDPOINT", "URL", Some("http://100.100.100.200"),
        "Where the ECS metadata service is"),
    unflagged("identity.metadata_disabled", "ALIBABA_CLOUD_ECS_METADATA_DISABLED", "BOOL", Some("false"),
        "Never ask the ECS metadata service"),
    setting("identity.profile", "profile", "ALIBABA_CLOUD_PROFILE", "NAME", None,
        "The profile of aliyun-cli; by default the current one of its file"),
    setting("identity.profile_file", "profile-file", "ALIBABA_CLOUD_CONFIG_FILE", "PATH", None,
        "The file of profiles, read anew for every attempt; by default ~/.aliyun/config.json"),
    unflagged("identity.credentials_uri", "ALIBABA_CLOUD_CREDENTIALS_URI", "URI", None,
        "Another server of credentials, on loopback or by https; the variable counts only with identity.type"),
    unflagged("identity.command", "RAM_SIDECAR_COMMAND", "WORD…", None,
        "A program that prints credentials, and its arguments; in the variable a JSON array"),
    setting("identity.timeout", "identity-timeout", "RAM_SIDECAR_IDENTITY_TIMEOUT", "DURATION", Some("30s"),
        "How long the program of identity.command may take, 1s to 5m"),
    setting("sts.endpoint", "sts-endpoint", "ALIBABA_CLOUD_STS_ENDPOINT", "HOST,…", None,
        "STS endpoints, tried in this order: host names or https:// URLs; by default that of the region, else sts.aliyuncs.com"),
    setting("sts.region", "region", "ALIBABA_CLOUD_STS_REGION", "REGION", None,
        "The region whose STS endpoint to use, such as cn-hangzhou"),
    setting("sts.vpc", "vpc", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "BOOL", Some("false"),
        "Use the endpoint inside the region's VPCs"),
    setting("sts.signature", "sts-signature", "RAM_SIDECAR_STS_SIGNATURE", "VERSION", Some("v1"),
        "How requests are signed: v1 (HMAC-SHA1), or v3 (ACS3-HMAC-SHA256) where SHA-1 is forbidden"),
    setting("sts.ca_file", "ca-file", "RAM_SIDECAR_CA_FILE", "PATH", None,
        "PEM certificates to trust instead of the bundled roots, for a TLS-inspecting proxy"),
    setting("serve.listen", "listen", "RAM_SIDECAR_LISTEN", "ADDRESS", Some("127.0.0.1:7002"),
        "Where credentials are served; 127.0.0.1 takes [::1] along when the machine has it; port 0 picks a free one"),
    setting("serve.key", "key", "RAM_SIDECAR_KEY", "KEY", Some("0"),
        "The last segment of the path; a long random one makes the path a secret (then prefer the variable, flags are visible in the process list)"),
    setting("serve.allow_remote", "allow-remote", "RAM_SIDECAR_ALLOW_REMOTE", "BOOL", Some("false"),
        "Let serve.listen be an address that other machines reach; serve.key must then be a secret of at least 128 bits"),
    setting("serve.allow_uids", "allow-uids", "RAM_SIDECAR_ALLOW_UIDS", "UID,…", None,
        "The only users that get credentials over HTTP, by number; by default every user of this machine"),
    setting("container.enabled", "container", "RAM_SIDECAR_CONTAINER", "BOOL", Some("false"),
        "Serve AWS SDKs too, at /api/v1/container/<key>, for the S3-compatible interface of OSS"),
    setting("container.token_file", "container-token-file", "RAM_SIDECAR_CONTAINER_TOKEN_FILE", "PATH", None,
        "A file with the token that AWS SDKs must send (AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE), read anew for every request"),
    setting("metadata.listen", "metadata-listen", "RAM_SIDECAR_METADATA_LISTEN", "ADDRESS", None,
        "Where the ECS metadata dialect is spoken: 100.100.100.200:80 where the pod owns that address, or loopback"),
    setting("metadata.v2_only", "metadata-v2-only", "RAM_SIDECAR_METADATA_V2_ONLY", "BOOL", Some("false"),
        "Demand a token there (hardened mode); OSS SDKs and ossutil know none"),
    setting("metadata.role_name", "metadata-role-name", "RAM_SIDECAR_METADATA_ROLE_NAME", "NAME", None,
        "The name of the role there; by default that of role.arn, or `ram-sidecar`"),
    unflagged("metadata.region_id", "RAM_SIDECAR_METADATA_REGION_ID", "ID", None,
        "What region-id is there"),
    unflagged("metadata.zone_id", "RAM_SIDECAR_METADATA_ZONE_ID", "ID", None,
        "What zone-id is there"),
    unflagged("metadata.instance_id", "RAM_SIDECAR_METADATA_INSTANCE_ID", "ID", None,
        "What instance-id is there"),
    unflagged("metadata.owner_account_id", "RAM_SIDECAR_METADATA_OWNER_ACCOUNT_ID", "ID", None,
        "What owner-account-id is there"),
    setting("admin.listen", "admin-listen", "RAM_SIDECAR_ADMIN_LISTEN", "ADDRESS", Some("127.0.0.1:7003"),
        "Where /live, /ready, /startup and /stop are served, or off"),
    setting("file", "file", "RAM_SIDECAR_FILE", "PATH[,format=F][,mode=0600][,uid=N][,gid=N]", None,
        "A file to keep the credentials in, as json, json-camel (pyodps), ossfs (a directory), env, aliyun-cli or ini (ossutil); repeat the flag for more, separate several in the variable with a colon"),
    setting("state.file", "state", "RAM_SIDECAR_STATE", "PATH", None,
        "A file for this process's successor, which serves the credentials in it at once while they are good; a secret, for a volume in memory that nobody else sees"),
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
