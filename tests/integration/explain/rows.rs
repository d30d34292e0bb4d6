//! The environments in which the clients are run.

/// An environment. In values and files, `{uri}` is the address of our credentials, `{container}` that for AWS, `{home}` the home
/// directory; in files `{byte}` is one that is not UTF-8.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) variables: &'static [(&'static str, &'static str)],
    pub(super) files: &'static [(&'static str, &'static str)],
    /// Whether the metadata service responds.
    pub(super) has_metadata: bool,
    /// Whether STS does.
    pub(super) has_sts: bool,
}

impl Row {
    /// Whether a value or a file contains a text.
    pub(super) fn contains(&self, text: &str) -> bool {
        let mut all = self.variables.iter().chain(self.files);
        all.any(|(_, value)| value.contains(text))
    }
}

const fn row(
    name: &'static str,
    variables: &'static [(&'static str, &'static str)],
    files: &'static [(&'static str, &'static str)],
) -> Row {
    Row {
        name,
        variables,
        files,
        has_metadata: false,
        has_sts: false,
    }
}

const fn with_metadata(row: Row) -> Row {
    Row {
        has_metadata: true,
        ..row
    }
}

const fn with_sts(row: Row) -> Row {
    Row {
        has_sts: true,
        ..row
    }
}

const URI: (&str, &str) = ("ALIBABA_CLOUD_CREDENTIALS_URI", "{uri}");
const NO_SERVER: (&str, &str) = ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:9/");
const NO_METADATA: (&str, &str) = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
const NO_PROFILE: (&str, &str) = ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true");
const NO_INI: (&str, &str) = ("ALIBABA_CLOUD_CREDENTIALS_FILE", "/dev/null");
const ID: (&str, &str) = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIvariable");
const SECRET: (&str, &str) = ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted");
const TOKEN: (&str, &str) = ("ALIBABA_CLOUD_SECURITY_TOKEN", "planted-token");
const ROLE: (&str, &str) = ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job");
const REFUSED: (&str, &str) = ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/refused");
const PROVIDER: (&str, &str) = (
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "acs:ram::1:oidc-provider/p",
);
const OIDC_FILE: (&str, &str) = ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "{home}/token");
const OIDC_TOKEN: (&str, &str) = ("token", "planted-oidc-token");
const PROXY: (&str, &str) = ("HTTP_PROXY", "http://127.0.0.1:9");

const CLI: &str = ".aliyun/config.json";
const AK: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"AK","access_key_id":"LTAIprofile","access_key_secret":"planted"},{"name":"b","mode":"AK","access_key_id":"LTAIother","access_key_secret":"planted"}]}"#;
const STS_TOKEN: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"StsToken","access_key_id":"LTAIprofile","access_key_secret":"planted","sts_token":"planted-token"}]}"#;
const NO_STS_TOKEN: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"StsToken","access_key_id":"LTAIprofile","access_key_secret":"planted"}]}"#;
const NO_SECRET: &str =
    r#"{"current":"a","profiles":[{"name":"a","mode":"AK","access_key_id":"LTAIprofile"}]}"#;
const INSTANCE: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"EcsRamRole"}]}"#;
const BY_ROLE: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"RamRoleArn","access_key_id":"LTAIprofile","access_key_secret":"planted","ram_role_arn":"acs:ram::1:role/a","ram_session_name":"s"}]}"#;
const BY_REFUSED: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"RamRoleArn","access_key_id":"LTAIprofile","access_key_secret":"planted","ram_role_arn":"acs:ram::1:role/refused","ram_session_name":"s"}]}"#;
const BY_OIDC: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"OIDC","oidc_provider_arn":"acs:ram::1:oidc-provider/p","oidc_token_file":"{home}/token","ram_role_arn":"acs:ram::1:role/a","ram_session_name":"s"}]}"#;
const CHAINED: &str = r#"{"current":"c","profiles":[{"name":"c","mode":"ChainableRamRoleArn","source_profile":"a","ram_role_arn":"acs:ram::1:role/c","ram_session_name":"s"},{"name":"a","mode":"AK","access_key_id":"LTAIprofile","access_key_secret":"planted"}]}"#;
const EXTERNAL: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"External","process_command":"cat {home}/printed"}]}"#;
const OF_URI: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"CredentialsURI","region_id":"cn-hangzhou"}]}"#;
const PRINTED: &str = r#"{"mode":"StsToken","access_key_id":"LTAIprogram","access_key_secret":"planted","sts_token":"planted-token","expiration":"2099-01-01T00:00:00Z"}"#;

const FOREIGN: &str = r#"{"x":"{byte}","current":"a","profiles":[{"name":"a","mode":"AK","access_key_id":"LTAIprofile","access_key_secret":"planted"}]}"#;

const INI: &str = ".alibabacloud/credentials";
const DOT_INI: &str = ".alibabacloud/credentials.ini";
const PLAIN: &str = "[default]\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\n[b]\ntype = access_key\naccess_key_id = LTAIsection\naccess_key_secret = planted\n";
const ENABLED: &str = "[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\n";
const INI_ROLE: &str = "[default]\nenable = true\ntype = ram_role_arn\naccess_key_id = LTAIini\naccess_key_secret = planted\nrole_arn = acs:ram::1:role/a\nrole_session_name = s\n";
const INI_ROLE_WITHOUT_NAME: &str = "[default]\nenable = true\ntype = ram_role_arn\naccess_key_id = LTAIini\naccess_key_secret = planted\nrole_arn = acs:ram::1:role/a\n";
const INI_OIDC: &str = "[default]\nenable = true\ntype = oidc_role_arn\noidc_provider_arn = acs:ram::1:oidc-provider/p\noidc_token_file_path = {home}/token\nrole_arn = acs:ram::1:role/a\nrole_session_name = s\n";
const ODD: &str =
    "[default]\nenable = true\ntype = odd\naccess_key_id = LTAIini\naccess_key_secret = planted\n";
const INI_INSTANCE: &str = "[default]\nenable = true\ntype = ecs_ram_role\nrole_name = {role}\n";

const ODPS_FILE: &str =
    r#"{"accessKeyId":"LTAIodps","accessKeySecret":"planted","securityToken":"planted-token"}"#;

/// A row with a text in both places of the ini file.
macro_rules! ini {
    ($name:literal, $text:literal) => {
        row($name, &[URI], &[(INI, $text), (DOT_INI, $text)])
    };
}

pub(super) const ROWS: &[Row] = &[
    row("nothing", &[], &[]),
    row("our URI", &[URI], &[]),
    row("our URI, metadata disabled", &[URI, NO_METADATA], &[]),
    with_metadata(row("our URI, metadata", &[URI], &[])),
    with_metadata(row(
        "our URI, metadata disabled, metadata",
        &[URI, NO_METADATA],
        &[],
    )),
    with_metadata(row(
        "metadata disabled by TRUE",
        &[URI, ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "TRUE")],
        &[],
    )),
    with_metadata(row(
        "metadata disabled by 1",
        &[URI, ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "1")],
        &[],
    )),
    row("no server at the URI", &[NO_SERVER, NO_METADATA], &[]),
    with_metadata(row("no server at the URI, metadata", &[NO_SERVER], &[])),
    row("AccessKey", &[URI, ID, SECRET], &[]),
    row("temporary AccessKey", &[URI, ID, SECRET, TOKEN], &[]),
    row("AccessKey without secret", &[URI, ID], &[]),
    row(
        "empty AccessKey",
        &[URI, ("ALIBABA_CLOUD_ACCESS_KEY_ID", ""), SECRET],
        &[],
    ),
    with_metadata(row("AccessKey, metadata", &[URI, ID, SECRET], &[])),
    row(
        "OIDC, STS out of reach",
        &[URI, ROLE, PROVIDER, OIDC_FILE],
        &[OIDC_TOKEN],
    ),
    row(
        "OIDC without its file",
        &[URI, ROLE, PROVIDER, OIDC_FILE],
        &[],
    ),
    row(
        "OIDC without provider",
        &[URI, ROLE, OIDC_FILE],
        &[OIDC_TOKEN],
    ),
    row(
        "OIDC by a variable",
        &[
            URI,
            ROLE,
            PROVIDER,
            ("ALIBABA_CLOUD_OIDC_TOKEN", "planted-oidc-token"),
        ],
        &[],
    ),
    with_sts(row(
        "OIDC, STS accepts",
        &[URI, ROLE, PROVIDER, OIDC_FILE],
        &[OIDC_TOKEN],
    )),
    with_sts(row(
        "OIDC, STS refuses",
        &[URI, REFUSED, PROVIDER, OIDC_FILE],
        &[OIDC_TOKEN],
    )),
    with_metadata(with_sts(row(
        "OIDC, STS accepts, metadata",
        &[URI, ROLE, PROVIDER, OIDC_FILE],
        &[OIDC_TOKEN],
    ))),
    with_metadata(with_sts(row(
        "OIDC, STS refuses, metadata",
        &[URI, REFUSED, PROVIDER, OIDC_FILE],
        &[OIDC_TOKEN],
    ))),
    with_sts(row(
        "OIDC, STS of a region accepts",
        &[
            ROLE,
            PROVIDER,
            OIDC_FILE,
            ("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou"),
            ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true"),
        ],
        &[OIDC_TOKEN],
    )),
    with_sts(row(
        "OIDC by a variable, STS accepts",
        &[
            URI,
            ROLE,
            PROVIDER,
            ("ALIBABA_CLOUD_OIDC_TOKEN", "planted-oidc-token"),
        ],
        &[],
    )),
    with_sts(row(
        "OIDC, AccessKey, profile and ini, STS accepts",
        &[URI, ROLE, PROVIDER, OIDC_FILE, ID, SECRET],
        &[OIDC_TOKEN, (CLI, AK), (INI, ENABLED), (DOT_INI, ENABLED)],
    )),
    with_sts(row(
        "OIDC, profile and ini, STS accepts",
        &[URI, ROLE, PROVIDER, OIDC_FILE],
        &[OIDC_TOKEN, (CLI, AK), (INI, ENABLED), (DOT_INI, ENABLED)],
    )),
    with_sts(row(
        "OIDC, profile and ini, STS refuses",
        &[URI, REFUSED, PROVIDER, OIDC_FILE],
        &[OIDC_TOKEN, (CLI, AK), (INI, ENABLED), (DOT_INI, ENABLED)],
    )),
    row("profile AK", &[URI], &[(CLI, AK)]),
    row("profile AK, disabled", &[URI, NO_PROFILE], &[(CLI, AK)]),
    row(
        "profile by name",
        &[URI, ("ALIBABA_CLOUD_PROFILE", "b")],
        &[(CLI, AK)],
    ),
    row(
        "profile by an unknown name",
        &[URI, ("ALIBABA_CLOUD_PROFILE", "z")],
        &[(CLI, AK)],
    ),
    row(
        "profile in another file",
        &[URI, ("ALIBABA_CLOUD_CONFIG_FILE", "{home}/other.json")],
        &[("other.json", AK)],
    ),
    row("profile StsToken", &[URI], &[(CLI, STS_TOKEN)]),
    row(
        "profile StsToken without token",
        &[URI],
        &[(CLI, NO_STS_TOKEN)],
    ),
    row("profile AK without secret", &[URI], &[(CLI, NO_SECRET)]),
    row(
        "profile AK, secret in a variable",
        &[URI, SECRET],
        &[(CLI, NO_SECRET)],
    ),
    with_metadata(row("profile EcsRamRole", &[URI], &[(CLI, INSTANCE)])),
    with_metadata(row(
        "profile EcsRamRole, metadata disabled",
        &[URI, NO_METADATA],
        &[(CLI, INSTANCE)],
    )),
    row(
        "profile RamRoleArn, STS out of reach",
        &[URI],
        &[(CLI, BY_ROLE)],
    ),
    row(
        "profile ChainableRamRoleArn, STS out of reach",
        &[URI],
        &[(CLI, CHAINED)],
    ),
    with_sts(row(
        "profile RamRoleArn, STS accepts",
        &[URI],
        &[(CLI, BY_ROLE)],
    )),
    with_sts(row(
        "profile RamRoleArn, STS refuses",
        &[URI],
        &[(CLI, BY_REFUSED)],
    )),
    with_sts(row(
        "profile ChainableRamRoleArn, STS accepts",
        &[URI],
        &[(CLI, CHAINED)],
    )),
    with_sts(row(
        "profile OIDC, STS accepts",
        &[URI],
        &[OIDC_TOKEN, (CLI, BY_OIDC)],
    )),
    row(
        "profile External",
        &[URI],
        &[(CLI, EXTERNAL), ("printed", PRINTED)],
    ),
    row("profile External that fails", &[URI], &[(CLI, EXTERNAL)]),
    row("profile CredentialsURI", &[URI], &[(CLI, OF_URI)]),
    row("profile that is no JSON", &[URI], &[(CLI, "{\"current\":")]),
    row("profile, not UTF-8", &[URI], &[(CLI, FOREIGN)]),
    row(
        "profile in a directory",
        &[URI],
        &[(".aliyun/config.json/x", "")],
    ),
    row("ini", &[URI], &[(INI, PLAIN), (DOT_INI, PLAIN)]),
    row(
        "ini, enabled",
        &[URI],
        &[(INI, ENABLED), (DOT_INI, ENABLED)],
    ),
    row("ini without extension", &[URI], &[(INI, ENABLED)]),
    row(
        "ini by name",
        &[URI, ("ALIBABA_CLOUD_PROFILE", "b")],
        &[(INI, PLAIN), (DOT_INI, PLAIN)],
    ),
    row(
        "ini, replaced by /dev/null",
        &[URI, NO_INI],
        &[(INI, ENABLED), (DOT_INI, ENABLED)],
    ),
    row(
        "ini of an unknown type",
        &[URI],
        &[(INI, ODD), (DOT_INI, ODD)],
    ),
    ini!(
        "ini, colons",
        "[default]\nenable: true\ntype: access_key\naccess_key_id: LTAIini\naccess_key_secret: planted\n"
    ),
    ini!(
        "ini, number signs after values",
        "[default]\nenable = true # c\ntype = access_key # c\naccess_key_id = LTAIini # c\naccess_key_secret = planted # c\n"
    ),
    ini!(
        "ini, semicolons after values",
        "[default]\nenable = true ; c\ntype = access_key ; c\naccess_key_id = LTAIini ; c\naccess_key_secret = planted ; c\n"
    ),
    ini!(
        "ini, a comment after the section",
        "[default] # c\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\n"
    ),
    ini!(
        "ini, an indented comment",
        "[default]\n  # c\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\n"
    ),
    ini!(
        "ini, quotes",
        "[default]\nenable = true\ntype = \"access_key\"\naccess_key_id = 'LTAIini'\naccess_key_secret = \"planted\"\n"
    ),
    ini!(
        "ini, upper case",
        "[default]\nENABLE = true\nTYPE = access_key\nACCESS_KEY_ID = LTAIini\nACCESS_KEY_SECRET = planted\n"
    ),
    ini!(
        "ini, indented keys",
        "[default]\nenable = true\n type = access_key\n access_key_id = LTAIini\n access_key_secret = planted\n"
    ),
    ini!(
        "ini, keys after tabs",
        "[default]\n\tenable = true\n\ttype = access_key\n\taccess_key_id = LTAIini\n\taccess_key_secret = planted\n"
    ),
    ini!(
        "ini, spaces in the section",
        "[ default ]\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\n"
    ),
    ini!(
        "ini, a section twice",
        "[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIfirst\n[default]\naccess_key_id = LTAIini\naccess_key_secret = planted\n"
    ),
    ini!(
        "ini, a key twice",
        "[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIfirst\naccess_key_id = LTAIini\naccess_key_secret = planted\n"
    ),
    ini!(
        "ini, a line without a value",
        "[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\nword\n"
    ),
    ini!(
        "ini, a key before the sections",
        "word = x\n[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\n"
    ),
    ini!(
        "ini, keys in [DEFAULT]",
        "[DEFAULT]\nenable = true\ntype = access_key\naccess_key_secret = planted\n[default]\naccess_key_id = LTAIini\n"
    ),
    ini!(
        "ini, a percent sign",
        "[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted%\n"
    ),
    ini!(
        "ini, lines end in CRLF",
        "[default]\r\nenable = true\r\ntype = access_key\r\naccess_key_id = LTAIini\r\naccess_key_secret = planted\r\n"
    ),
    ini!(
        "ini, byte order mark",
        "\u{feff}[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\n"
    ),
    ini!(
        "ini, not UTF-8",
        "# {byte}\n[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIini\naccess_key_secret = planted\n"
    ),
    row("ini that is none", &[URI], &[(INI, "{}"), (DOT_INI, "{}")]),
    with_sts(row(
        "ini ram_role_arn, STS accepts",
        &[URI],
        &[(INI, INI_ROLE), (DOT_INI, INI_ROLE)],
    )),
    with_sts(row(
        "ini ram_role_arn without session name, STS accepts",
        &[URI],
        &[
            (INI, INI_ROLE_WITHOUT_NAME),
            (DOT_INI, INI_ROLE_WITHOUT_NAME),
        ],
    )),
    with_sts(row(
        "ini oidc_role_arn, STS accepts",
        &[URI],
        &[OIDC_TOKEN, (INI, INI_OIDC), (DOT_INI, INI_OIDC)],
    )),
    with_metadata(row(
        "ini ecs_ram_role",
        &[URI],
        &[(INI, INI_INSTANCE), (DOT_INI, INI_INSTANCE)],
    )),
    with_metadata(ini!(
        "ini ecs_ram_role without name",
        "[default]\nenable = true\ntype = ecs_ram_role\n"
    )),
    row(
        "profile and ini",
        &[URI],
        &[(CLI, AK), (INI, ENABLED), (DOT_INI, ENABLED)],
    ),
    with_metadata(row(
        "everything",
        &[URI, ID, SECRET],
        &[(CLI, AK), (INI, ENABLED), (DOT_INI, ENABLED)],
    )),
    with_metadata(row(
        "everything, in the environment of exec",
        &[URI, NO_METADATA, NO_PROFILE, NO_INI],
        &[(CLI, AK), (INI, ENABLED), (DOT_INI, ENABLED)],
    )),
    row("proxy", &[URI, PROXY], &[]),
    row(
        "proxy in lower case",
        &[URI, ("http_proxy", "http://127.0.0.1:9")],
        &[],
    ),
    row(
        "proxy, not for loopback",
        &[URI, PROXY, ("NO_PROXY", "127.0.0.1,localhost")],
        &[],
    ),
    with_metadata(row("proxy, metadata", &[URI, PROXY], &[])),
    with_metadata(row(
        "proxy, not for metadata",
        &[URI, PROXY, ("NO_PROXY", "100.100.100.200")],
        &[],
    )),
    row(
        "properties of Java",
        &[
            URI,
            (
                "JAVA_TOOL_OPTIONS",
                "-Duser.home={home} -Dalibabacloud.accessKeyId=LTAIproperty -Dalibabacloud.accessKeySecret=planted",
            ),
        ],
        &[],
    ),
    row(
        "variables of OSS",
        &[
            URI,
            ("OSS_ACCESS_KEY_ID", "LTAIoss"),
            ("OSS_ACCESS_KEY_SECRET", "planted"),
        ],
        &[],
    ),
    row(
        "variables of OSS without secret",
        &[URI, ("OSS_ACCESS_KEY_ID", "LTAIoss")],
        &[],
    ),
    row(
        "pyodps, file",
        &[URI, ("ODPS_STS_ACCOUNT_FILE", "{home}/odps")],
        &[("odps", ODPS_FILE)],
    ),
    row(
        "pyodps, file that is not UTF-8",
        &[URI, ("ODPS_STS_ACCOUNT_FILE", "{home}/odps")],
        &[(
            "odps",
            r#"{"x":"{byte}","accessKeyId":"LTAIodps","accessKeySecret":"planted","securityToken":"planted-token"}"#,
        )],
    ),
    row(
        "pyodps, no file",
        &[URI, ("ODPS_STS_ACCOUNT_FILE", "{home}/odps")],
        &[],
    ),
    row(
        "pyodps, variables",
        &[
            URI,
            ("ODPS_STS_ACCESS_KEY_ID", "LTAIodps"),
            ("ODPS_STS_ACCESS_KEY_SECRET", "planted"),
            ("ODPS_STS_TOKEN", "planted-token"),
        ],
        &[],
    ),
    row(
        "pyodps, variables without token",
        &[
            URI,
            ("ODPS_STS_ACCESS_KEY_ID", "LTAIodps"),
            ("ODPS_STS_ACCESS_KEY_SECRET", "planted"),
        ],
        &[],
    ),
    row(
        "AWS AccessKey",
        &[
            URI,
            ("AWS_ACCESS_KEY_ID", "LTAIaws"),
            ("AWS_SECRET_ACCESS_KEY", "planted"),
        ],
        &[],
    ),
    row(
        "AWS AccessKey without secret",
        &[
            URI,
            ("AWS_ACCESS_KEY_ID", "LTAIaws"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}"),
        ],
        &[],
    ),
    row(
        "AWS profile that is not there",
        &[
            ("AWS_PROFILE", "z"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}"),
        ],
        &[],
    ),
    row(
        "AWS shared file",
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}")],
        &[(
            ".aws/credentials",
            "[default]\naws_access_key_id = LTAIshared\naws_secret_access_key = planted\n",
        )],
    ),
    row(
        "AWS shared file, not UTF-8",
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}")],
        &[(
            ".aws/credentials",
            "# {byte}\n[default]\naws_access_key_id = LTAIshared\naws_secret_access_key = planted\n",
        )],
    ),
    row(
        "AWS container",
        &[URI, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}")],
        &[],
    ),
    row(
        "AWS container with the address of the SDKs",
        &[URI, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{uri}")],
        &[],
    ),
    row(
        "AWS file by a path with ~",
        &[
            ("AWS_SHARED_CREDENTIALS_FILE", "~/other"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}"),
        ],
        &[(
            "other",
            "[default]\naws_access_key_id = LTAIshared\naws_secret_access_key = planted\n",
        )],
    ),
    row(
        "AWS container, token with a line break",
        &[
            URI,
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "{home}/token"),
        ],
        &[("token", "planted\n")],
    ),
    row(
        "AWS container, relative address",
        &[
            URI,
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ""),
        ],
        &[],
    ),
    row(
        "AWS settings in [profile default]",
        &[URI, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}")],
        &[(
            ".aws/config",
            "[profile default]\naws_access_key_id = LTAIshared\naws_secret_access_key = planted\n",
        )],
    ),
    row(
        "AWS login",
        &[URI, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}")],
        &[(
            ".aws/config",
            "[default]\nregion = cn-hangzhou\nlogin_session = arn:aws:iam::1:user/u\n",
        )],
    ),
    row(
        "AWS file of boto 2",
        &[URI, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}")],
        &[(
            ".boto",
            "[Credentials]\naws_access_key_id = LTAIboto\naws_secret_access_key = planted\n",
        )],
    ),
    row(
        "AWS file of EC2's tools",
        &[
            URI,
            ("AWS_CREDENTIAL_FILE", "{home}/keys"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}"),
        ],
        &[("keys", "AWSAccessKeyId=LTAIkeys\nAWSSecretKey=planted\n")],
    ),
    row(
        "AWS container that fails",
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/")],
        &[],
    ),
    row(
        "AWS token without role",
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "{home}/token"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}"),
        ],
        &[("token", "planted-token")],
    ),
    with_sts(row(
        "AWS token and role, STS of AWS accepts",
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "{home}/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/a"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{container}"),
        ],
        &[OIDC_TOKEN],
    )),
    with_sts(row(
        "ossutil, RamRoleArn, STS accepts",
        &[URI],
        &[(
            ".ossutilconfig",
            "[Credentials]\nlanguage=EN\nmode=RamRoleArn\naccessKeyID=LTAIutil\naccessKeySecret=planted\nramRoleArn=acs:ram::1:role/a\n",
        )],
    )),
    row(
        "ossutil, AccessKey",
        &[URI],
        &[(
            ".ossutilconfig",
            "[Credentials]\nlanguage=EN\naccessKeyID=LTAIutil\naccessKeySecret=planted\n",
        )],
    ),
    row(
        "ossutil, our URI",
        &[URI],
        &[(
            ".ossutilconfig",
            "[Credentials]\nlanguage=EN\n[AkService]\necsAk={uri}\n",
        )],
    ),
    row(
        "ossutil, both",
        &[URI],
        &[(
            ".ossutilconfig",
            "[Credentials]\nlanguage=EN\naccessKeyID=LTAIutil\naccessKeySecret=planted\n[AkService]\necsAk={uri}\n",
        )],
    ),
    row(
        "ossutil, colons, a section twice, a comment",
        &[URI],
        &[(
            ".ossutilconfig",
            "[Credentials]\n# c\nlanguage=EN\naccessKeyID: LTAIutil\naccessKeySecret: planted\n[Credentials]\naccessKeyID=LTAIother\n",
        )],
    ),
    row(
        "ossutil, byte order mark",
        &[URI],
        &[(
            ".ossutilconfig",
            "\u{feff}[Credentials]\nlanguage=EN\naccessKeyID=LTAIutil\naccessKeySecret=planted\n",
        )],
    ),
];
