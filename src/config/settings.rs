//! Every setting, once: flags, variables, TOML keys, the help and `check` are all made from this table.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tracing::level_filters::LevelFilter;

use crate::credentials::{AccountId, BucketName, RoleArn, RoleSessionName};
use crate::identity::{CredentialsUri, File, Value};
use crate::server::token_file::TokenFile;
use crate::sts::endpoint::Endpoint;
use crate::sts::sign::Signature;
use crate::system::log;

use super::parse::{self, Fields, Kind, Preset};
use super::setting::{Definition, Setting, settings};

settings! {
    /// The settings, in the order of the help.
    pub SETTINGS;

    /// The role to assume: acs:ram::<account id>:role/<name>
    ROLE_ARN: RoleArn = Setting::new("role.arn", "ARN", parse::role).env("ALIBABA_CLOUD_ROLE_ARN").common();
    /// pai-default (PAI's default role, for one OSS bucket) or none (no role and no credentials)
    ROLE_PRESET: Preset = Setting::new("role.preset", "PRESET", parse::preset).common().one_of(&["pai-default", "none"]);
    /// The account of PAI's default role, in digits
    ROLE_ACCOUNT_ID: AccountId = Setting::new("role.account_id", "ID", AccountId::parse).named("account-id");
    /// The only OSS bucket that PAI's default role may use
    ROLE_OSS_BUCKET: BucketName = Setting::new("role.oss_bucket", "BUCKET", BucketName::parse).named("oss-bucket");
    /// Roles to assume before role.arn, in this order, as PAI's RoleChain does
    ROLE_VIA: Vec<RoleArn> = Setting::new("role.via", "ARN,…", parse::roles);
    /// The name of the session in audit logs, 2 to 64 characters; by default derived from POD_NAME or the host name
    ROLE_SESSION_NAME: RoleSessionName = Setting::new("role.session_name", "NAME", RoleSessionName::parse).env("ALIBABA_CLOUD_ROLE_SESSION_NAME");
    /// The lifetime of the credentials, 15m to 12h; at most the role's maximum session duration
    ROLE_DURATION: Duration = Setting::new("role.duration", "DURATION", parse::role_duration).named("duration").default("1h").common();
    /// The external ID that the trust policy of role.arn requires, 2 to 1224 characters
    ROLE_EXTERNAL_ID: String = Setting::new("role.external_id", "ID", parse::external_id).named("external-id");
    /// The person or job behind the session in audit logs, 2 to 64 characters; it stays the same through a chain of roles
    ROLE_SOURCE_IDENTITY: String = Setting::new("role.source_identity", "NAME", parse::source_identity).named("source-identity");
    /// A session policy that restricts the role, at most 2048 characters
    ROLE_POLICY: String = Setting::new("role.policy", "JSON", parse::policy).named("policy").without_flag();
    /// A file with a session policy, which restricts the role
    ROLE_POLICY_FILE: String = Setting::new("role.policy_file", "PATH", parse::policy_file).named("policy-file").common();

    /// The identity that assumes the role: access_key, oidc, ecs_ram_role, profile, credentials_uri or process; by default the one whose settings are present
    IDENTITY_TYPE: Kind = Setting::new("identity.type", "TYPE", parse::kind).named("identity").common().one_of(&["access_key", "oidc", "ecs_ram_role", "profile", "credentials_uri", "process"]);
    /// The AccessKey ID
    ACCESS_KEY_ID: Value = Setting::new("identity.access_key_id", "ID", parse::access_key).secret().env("ALIBABA_CLOUD_ACCESS_KEY_ID");
    /// The AccessKey secret
    ACCESS_KEY_SECRET: Value = Setting::new("identity.access_key_secret", "SECRET", parse::access_key).secret().env("ALIBABA_CLOUD_ACCESS_KEY_SECRET");
    /// The security token of a temporary AccessKey (role chaining)
    SECURITY_TOKEN: Value = Setting::new("identity.security_token", "TOKEN", parse::access_key).secret().env("ALIBABA_CLOUD_SECURITY_TOKEN");
    /// A mounted file with the AccessKey ID; read again for every attempt
    ACCESS_KEY_ID_FILE: File = Setting::new("identity.access_key_id_file", "PATH", parse::mounted_file).without_flag().env("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE");
    /// A mounted file with the AccessKey secret; read again for every attempt
    ACCESS_KEY_SECRET_FILE: File = Setting::new("identity.access_key_secret_file", "PATH", parse::mounted_file).without_flag().env("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE");
    /// A mounted file with the security token; read again for every attempt
    SECURITY_TOKEN_FILE: File = Setting::new("identity.security_token_file", "PATH", parse::mounted_file).without_flag().env("ALIBABA_CLOUD_SECURITY_TOKEN_FILE");
    /// The OIDC provider: acs:ram::<account id>:oidc-provider/<name>
    OIDC_PROVIDER_ARN: String = Setting::new("identity.oidc_provider_arn", "ARN", parse::provider_arn).without_flag().env("ALIBABA_CLOUD_OIDC_PROVIDER_ARN");
    /// A mounted file with the OIDC token; read again for every attempt
    OIDC_TOKEN_FILE: File = Setting::new("identity.oidc_token_file", "PATH", parse::mounted_file).without_flag().env("ALIBABA_CLOUD_OIDC_TOKEN_FILE");
    /// The name of the ECS instance's role; by default the metadata service names it
    ECS_ROLE_NAME: String = Setting::new("identity.ecs_role_name", "NAME", parse::ecs_role_name).flag("ecs-role-name").env("ALIBABA_CLOUD_ECS_METADATA");
    /// Request credentials from the ECS metadata service without a token (v1) where it issues none
    ALLOW_V1: bool = Setting::new("identity.allow_v1", "BOOL", parse::boolean).named("allow-v1").without_flag().default("false");
    /// The address of the ECS metadata service
    METADATA_URL: String = Setting::new("identity.metadata_url", "URL", parse::metadata_url).without_flag().env("ALIBABA_CLOUD_IMDS_ENDPOINT").default("http://100.100.100.200");
    /// Never call the ECS metadata service
    METADATA_DISABLED: bool = Setting::new("identity.metadata_disabled", "BOOL", parse::boolean).without_flag().env("ALIBABA_CLOUD_ECS_METADATA_DISABLED").default("false");
    /// The profile of aliyun-cli; by default the current one of its file
    PROFILE: String = Setting::new("identity.profile", "NAME", parse::text).flag("profile").env("ALIBABA_CLOUD_PROFILE").common();
    /// The file of aliyun-cli's profiles; by default ~/.aliyun/config.json; read again for every attempt
    PROFILE_FILE: File = Setting::new("identity.profile_file", "PATH", parse::mounted_file).flag("profile-file").env("ALIBABA_CLOUD_CONFIG_FILE");
    /// Another server of credentials, on loopback or by https; the variable counts only with identity.type
    CREDENTIALS_URI: CredentialsUri = Setting::new("identity.credentials_uri", "URI", CredentialsUri::parse).without_flag().hidden().env("ALIBABA_CLOUD_CREDENTIALS_URI");
    /// A program that prints credentials, and its arguments; in the variable a JSON array
    COMMAND: Vec<String> = Setting::new("identity.command", "WORD…", parse::command).named("command").without_flag().hidden();
    /// The timeout of the program of identity.command, 1s to 5m
    IDENTITY_TIMEOUT: Duration = Setting::new("identity.timeout", "DURATION", parse::timeout).default("30s");

    /// STS endpoints, tried in this order; host names or https:// URLs; by default the region's, else sts.aliyuncs.com
    STS_ENDPOINT: Vec<Endpoint> = Setting::new("sts.endpoint", "HOST,…", parse::endpoints).env("ALIBABA_CLOUD_STS_ENDPOINT");
    /// The region whose STS endpoint to use, such as cn-hangzhou
    STS_REGION: String = Setting::new("sts.region", "REGION", parse::region).flag("region").env("ALIBABA_CLOUD_STS_REGION").common();
    /// Use the STS endpoint inside the region's VPCs
    STS_VPC: bool = Setting::new("sts.vpc", "BOOL", parse::boolean).flag("vpc").env("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED").default("false").common();
    /// The signature of requests; v1 (HMAC-SHA1), or v3 (ACS3-HMAC-SHA256) where SHA-1 is forbidden
    STS_SIGNATURE: Signature = Setting::new("sts.signature", "VERSION", parse::signature).default("v1").one_of(&["v1", "v3"]);
    /// A PEM file of certificates to trust instead of the bundled roots; for a TLS-inspecting proxy
    STS_CA_FILE: Vec<CertificateDer<'static>> = Setting::new("sts.ca_file", "PATH", parse::certificates).named("ca-file");

    /// The address that serves credentials; with 127.0.0.1 also [::1] if the machine has it; port 0 picks a free one
    SERVE_LISTEN: SocketAddr = Setting::new("serve.listen", "ADDRESS", parse::address).named("listen").default("127.0.0.1:7002").common();
    /// The last segment of the path; a long random one makes the path a secret; prefer the variable, because flags are visible in the process list
    SERVE_KEY: String = Setting::new("serve.key", "KEY", parse::key).named("key").hidden().default("0");
    /// Allow serve.listen to be an address that other machines reach; serve.key must then be a secret of at least 128 bits
    SERVE_ALLOW_REMOTE: bool = Setting::new("serve.allow_remote", "BOOL", parse::boolean).named("allow-remote").default("false");
    /// The only users that get credentials over HTTP, by number; by default every user of this machine
    SERVE_ALLOW_UIDS: Vec<u32> = Setting::new("serve.allow_uids", "UID,…", parse::uids).named("allow-uids");
    /// Print ALIBABA_CLOUD_CREDENTIALS_URI on standard output once there are credentials
    SERVE_PRINT_URI: bool = Setting::new("serve.print_uri", "BOOL", parse::boolean).named("print-uri").without_flag().default("true");
    /// Serve AWS SDKs too, at /api/v1/container/<key>; for the S3-compatible interface of OSS
    CONTAINER_ENABLED: bool = Setting::new("container.enabled", "BOOL", parse::boolean).named("container").default("false").common();
    /// A file with the token that AWS SDKs must send (AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE); a change applies at once
    CONTAINER_TOKEN_FILE: TokenFile = Setting::new("container.token_file", "PATH", parse::token_file);
    /// The address that answers as the ECS metadata service; 100.100.100.200:80 where the pod owns that address, or loopback
    METADATA_LISTEN: SocketAddr = Setting::new("metadata.listen", "ADDRESS", parse::metadata_address).common();
    /// Require a token for the ECS metadata dialect (hardened mode); OSS SDKs and ossutil send none
    METADATA_V2_ONLY: bool = Setting::new("metadata.v2_only", "BOOL", parse::boolean).default("false");
    /// The name of the role in the ECS metadata dialect; by default that of role.arn, or `ram-sidecar`
    METADATA_ROLE_NAME: String = Setting::new("metadata.role_name", "NAME", parse::ecs_role_name);
    /// The value of region-id in the ECS metadata dialect
    METADATA_REGION_ID: String = Setting::new("metadata.region_id", "ID", parse::metadata_value).without_flag();
    /// The value of zone-id in the ECS metadata dialect
    METADATA_ZONE_ID: String = Setting::new("metadata.zone_id", "ID", parse::metadata_value).without_flag();
    /// The value of instance-id in the ECS metadata dialect
    METADATA_INSTANCE_ID: String = Setting::new("metadata.instance_id", "ID", parse::metadata_value).without_flag();
    /// The value of owner-account-id in the ECS metadata dialect
    METADATA_OWNER_ACCOUNT_ID: String = Setting::new("metadata.owner_account_id", "ID", parse::metadata_value).without_flag();
    /// The address that serves the probes /live, /ready and /startup, /metrics, /stop and the status page; or off
    ADMIN_LISTEN: Option<SocketAddr> = Setting::new("admin.listen", "ADDRESS", parse::address_or_off).default("127.0.0.1:7003");
    /// Who may stop the daemon by /stop: owner (root, and the user it runs as) or anyone (on this machine, or in serve.allow_uids); for sidecars whose job has another user
    ADMIN_STOP: bool = Setting::new("admin.stop", "WHO", parse::may_anyone_stop).default("owner").one_of(&["owner", "anyone"]);
    /// Names that requests for probes may have in Host, besides IP addresses, localhost and the name of this machine
    ADMIN_HOSTS: Vec<String> = Setting::new("admin.hosts", "NAME,…", parse::host_names);
    /// A file to write the credentials to; in the format json, json-camel (pyodps), ossfs (a directory), env, aliyun-cli, ini (ossutil) or aws (a shared credentials file); repeat the flag for more files, separate them in the variable with a colon
    FILE: Fields = Setting::new("file", "PATH[,format=F][,mode=0600][,uid=N][,gid=N]", parse::fields).common();
    /// A file that keeps the credentials across a restart; a secret, for a volume in memory that only this process sees
    STATE_FILE: PathBuf = Setting::new("state.file", "PATH", parse::state_file).named("state").common();
    /// How long to serve after SIGTERM, so that the job's last checkpoint still has credentials
    SHUTDOWN_DRAIN: Duration = Setting::new("shutdown.drain", "DURATION", parse::duration).named("drain").default("0s");
    /// The least severe level that is logged: error, warn, info, debug or trace
    LOG_LEVEL: LevelFilter = Setting::new("log.level", "LEVEL", parse::level).env("RAM_SIDECAR_LOG").default("info").common().one_of(&["error", "warn", "info", "debug", "trace"]);
    /// The format of the log: text or json, by default text on a terminal, else json
    LOG_FORMAT: log::Format = Setting::new("log.format", "FORMAT", parse::format).common().one_of(&["text", "json"]);
}

/// Returns the setting of a key.
pub fn find(key: &str) -> Option<&'static Definition> {
    SETTINGS.iter().copied().find(|setting| setting.key == key)
}
