//! The knowledge: what each client looks at, in order. The tests run most of them, in environments of every kind.

use super::{AwsPart, Client, Home, IniRule, ProfileRule, Proxy, Rule, Step, Syntax};

/// The clients, in the order in which they are shown.
pub const CLIENTS: &[Client] = &[
    PYTHON, JAVA, GO, NODE, PHP, OSS2, OSS_V2, OSSUTIL, ALIYUN_CLI, PYODPS, BOTO3,
];

const PYTHON: Client = Client {
    name: "python",
    title: "Python, alibabacloud-credentials",
    version: "1.0.12",
    is_run: true,
    program: None,
    goes_on: true,
    steps: &[
        env("alibabacloud_credentials/provider/env.py"),
        oidc(
            "oidc_role_arn",
            None,
            "alibabacloud_credentials/provider/oidc.py",
        ),
        Step {
            provider: "cli_profile",
            rule: Rule::Profile(ProfileRule {
                has_file_variable: false,
                modes: ALL_MODES,
                is_of_python: true,
                is_completed: true,
                home: Home::Variable,
            }),
            looks_at: CLI_AT,
            yields: CLI_YIELDS,
            renewed: CLI_RENEWED,
            source: "alibabacloud_credentials/provider/cli_profile.py",
        },
        Step {
            provider: "profile",
            rule: Rule::Ini(IniRule {
                file: "credentials.ini",
                has_file_variable: true,
                syntax: Syntax::Python,
                types: ALL_TYPES,
                home: Home::Variable,
            }),
            looks_at: "`ALIBABA_CLOUD_CREDENTIALS_FILE`, `~/.alibabacloud/credentials.ini`; `ALIBABA_CLOUD_PROFILE` for the section",
            yields: INI_YIELDS,
            renewed: INI_RENEWED,
            source: "alibabacloud_credentials/provider/profile.py",
        },
        metadata(
            Proxy::Always,
            "alibabacloud_credentials/provider/ecs_ram_role.py",
        ),
        uri(
            "credential_uri",
            Proxy::Always,
            "alibabacloud_credentials/provider/uri.py",
        ),
    ],
    later: "The variables are read when the package is imported. The first provider that answered is asked for ever, and its failures are the caller's. A renewal is made by one thread, for which others wait for 5 s. With `HTTP_PROXY`, requests to loopback go to the proxy, whatever `NO_PROXY` says",
    otherwise: RUN,
};

const JAVA: Client = Client {
    name: "java",
    title: "Java, credentials-java",
    version: "1.0.3",
    is_run: true,
    program: None,
    goes_on: true,
    steps: &[
        Step {
            provider: "system",
            rule: Rule::SystemProperties,
            looks_at: "the properties `alibabacloud.accessKeyId`, `alibabacloud.accessKeySecret`, `alibabacloud.sessionToken`",
            yields: "that AccessKey",
            renewed: "no",
            source: "provider/SystemPropertiesCredentialsProvider",
        },
        env("provider/EnvironmentVariableCredentialsProvider"),
        oidc(
            "oidc_role_arn",
            None,
            "provider/OIDCRoleArnCredentialProvider",
        ),
        Step {
            provider: "cli_profile",
            rule: Rule::Profile(ProfileRule {
                has_file_variable: false,
                modes: OLD_MODES,
                is_of_python: false,
                is_completed: false,
                home: Home::Java,
            }),
            looks_at: "`.aliyun/config.json` in `user.home`, which is not `HOME`, unless `ALIBABA_CLOUD_CLI_PROFILE_DISABLED` is `true`; `ALIBABA_CLOUD_PROFILE` for the profile",
            yields: CLI_YIELDS,
            renewed: CLI_RENEWED,
            source: "provider/CLIProfileCredentialsProvider",
        },
        Step {
            provider: "profile",
            rule: Rule::Ini(IniRule {
                file: "credentials.ini",
                has_file_variable: true,
                syntax: Syntax::Java,
                types: ALL_TYPES,
                home: Home::Java,
            }),
            looks_at: "`ALIBABA_CLOUD_CREDENTIALS_FILE`, `.alibabacloud/credentials.ini` in `user.home`; the section `default`, if it has `enable = true`",
            yields: INI_YIELDS,
            renewed: INI_RENEWED,
            source: "provider/ProfileCredentialsProvider",
        },
        metadata(Proxy::Never, "provider/EcsRamRoleCredentialProvider"),
        uri(
            "credential_uri",
            Proxy::Never,
            "provider/URLCredentialProvider",
        ),
    ],
    later: "The first provider that answered is asked for ever. The file of aliyun-cli is read at every call, the ini file once for each process. A renewal is made by one thread, for which others wait for 5 s. The variables of a proxy are not read",
    otherwise: RUN,
};

const GO: Client = Client {
    name: "go",
    title: "Go, credentials-go",
    version: "1.4.14",
    is_run: true,
    program: None,
    goes_on: true,
    steps: &[
        env("credentials/providers/env.go"),
        oidc(
            "oidc_role_arn",
            Some("ALIBABA_CLOUD_OIDC_TOKEN"),
            "credentials/providers/oidc.go",
        ),
        Step {
            provider: "cli_profile",
            rule: Rule::Profile(ProfileRule {
                has_file_variable: true,
                modes: ALL_MODES,
                is_of_python: false,
                is_completed: true,
                home: Home::Variable,
            }),
            looks_at: "`ALIBABA_CLOUD_CONFIG_FILE`, `~/.aliyun/config.json`, unless `ALIBABA_CLOUD_CLI_PROFILE_DISABLED` is `true`; `ALIBABA_CLOUD_PROFILE` for the profile",
            yields: CLI_YIELDS,
            renewed: CLI_RENEWED,
            source: "credentials/providers/cli_profile.go",
        },
        Step {
            provider: "profile",
            rule: Rule::Ini(IniRule {
                file: "credentials",
                has_file_variable: true,
                syntax: Syntax::Go,
                types: FEW_TYPES,
                home: Home::Variable,
            }),
            looks_at: INI_AT,
            yields: INI_YIELDS,
            renewed: INI_RENEWED,
            source: "credentials/providers/profile.go",
        },
        metadata(Proxy::Excluding, "credentials/providers/ecs_ram_role.go"),
        uri(
            "credential_uri",
            Proxy::Excluding,
            "credentials/providers/uri.go",
        ),
    ],
    later: "A provider is remembered before it has answered: while the first call is under way, other calls ask only the one that is being tried, and fail; after a first call in which every provider failed, only the last one is asked again. Within 180 s of the end, every call renews, without a lock",
    otherwise: RUN,
};

const NODE: Client = Client {
    name: "node",
    title: "Node.js, @alicloud/credentials",
    version: "2.4.7",
    is_run: true,
    program: None,
    goes_on: true,
    steps: &[
        env("src/providers/env.ts"),
        oidc("oidc_role_arn", None, "src/providers/oidc_role_arn.ts"),
        Step {
            provider: "cli_profile",
            rule: Rule::Profile(ProfileRule {
                has_file_variable: false,
                modes: ALL_MODES,
                is_of_python: false,
                is_completed: true,
                home: Home::Variable,
            }),
            looks_at: CLI_AT,
            yields: CLI_YIELDS,
            renewed: CLI_RENEWED,
            source: "src/providers/cli_profile.ts",
        },
        Step {
            provider: "profile",
            rule: Rule::Ini(IniRule {
                file: "credentials",
                has_file_variable: true,
                syntax: Syntax::Node,
                types: FEW_TYPES,
                home: Home::Variable,
            }),
            looks_at: INI_AT,
            yields: INI_YIELDS,
            renewed: INI_RENEWED,
            source: "src/providers/profile.ts",
        },
        metadata(Proxy::Never, "src/providers/ecs_ram_role.ts"),
        uri("credential_uri", Proxy::Never, "src/providers/uri.ts"),
    ],
    later: "A provider is remembered before it has answered: of concurrent first calls, one succeeds, and the others fail; after a first call in which every provider failed, only the last one is asked again. Once it has credentials of a server, it returns them also after their end if they cannot be renewed. It uses no proxy",
    otherwise: RUN,
};

const PHP: Client = Client {
    name: "php",
    title: "PHP, alibabacloud/credentials",
    version: "1.2.3",
    is_run: false,
    program: None,
    goes_on: true,
    steps: &[
        env("src/Providers/EnvironmentVariableCredentialsProvider.php"),
        oidc(
            "oidc_role_arn",
            None,
            "src/Providers/OIDCRoleArnCredentialsProvider.php",
        ),
        Step {
            provider: "cli_profile",
            rule: Rule::Profile(ProfileRule {
                has_file_variable: false,
                modes: OLD_MODES,
                is_of_python: false,
                is_completed: true,
                home: Home::Variable,
            }),
            looks_at: CLI_AT,
            yields: CLI_YIELDS,
            renewed: CLI_RENEWED,
            source: "src/Providers/CLIProfileCredentialsProvider.php",
        },
        Step {
            provider: "profile",
            rule: Rule::Ini(IniRule {
                file: "credentials",
                has_file_variable: false,
                syntax: Syntax::Php,
                types: ALL_TYPES,
                home: Home::Variable,
            }),
            looks_at: "`~/.alibabacloud/credentials`: `ALIBABA_CLOUD_CREDENTIALS_FILE` only if it is the number 1, by mistake; `ALIBABA_CLOUD_PROFILE` for the section",
            yields: INI_YIELDS,
            renewed: INI_RENEWED,
            source: "src/Providers/ProfileCredentialsProvider.php",
        },
        metadata(
            Proxy::Excluding,
            "src/Providers/EcsRamRoleCredentialsProvider.php",
        ),
        uri(
            "credential_uri",
            Proxy::Excluding,
            "src/Providers/URLCredentialsProvider.php",
        ),
    ],
    later: "The first provider that answered is asked for as long as the object lives; what it has fetched is kept for each process, which under FPM ends with the request. A server that does not respond holds it for ever",
    otherwise: RUN,
};

const OSS2: Client = Client {
    name: "oss2",
    title: "Python, oss2 with EnvironmentVariableCredentialsProvider",
    version: "2.19.1",
    is_run: true,
    program: None,
    goes_on: false,
    steps: &[oss_variables("oss2/credentials.py")],
    later: "The variables are read at every request",
    otherwise: "let oss2 ask alibabacloud-credentials, which renews: the documentation of ram-sidecar has the lines under `Clients`",
};

const OSS_V2: Client = Client {
    name: "oss-v2",
    title: "Python, alibabacloud-oss-v2 with EnvironmentVariableCredentialsProvider",
    version: "1.4.1",
    is_run: true,
    program: None,
    goes_on: false,
    steps: &[oss_variables(
        "alibabacloud_oss_v2/credentials/provider_impl.py",
    )],
    later: "The variables are read once, when the provider is made",
    otherwise: "let it ask alibabacloud-credentials, which renews: the documentation of ram-sidecar has the lines under `Clients`",
};

const OSSUTIL: Client = Client {
    name: "ossutil",
    title: "ossutil 1",
    version: "1.7.19",
    is_run: true,
    program: Some("ossutil"),
    goes_on: false,
    steps: &[Step {
        provider: "config",
        rule: Rule::Ossutil,
        looks_at: "`.ossutilconfig` in the home directory of the account, which is not `HOME`; no variables",
        yields: "its AccessKey, or what the address in `ecsAk` serves",
        renewed: "from `ecsAk`, 60 s before the end",
        source: "lib/command.go",
    }],
    later: "A file with both an AccessKey and `ecsAk` uses the AccessKey",
    otherwise: "write ecsAk=$ALIBABA_CLOUD_CREDENTIALS_URI below [AkService] of its file",
};

const ALIYUN_CLI: Client = Client {
    name: "aliyun-cli",
    title: "aliyun-cli",
    version: "3.4.11",
    is_run: false,
    program: Some("aliyun"),
    goes_on: false,
    steps: &[Step {
        provider: "profile",
        rule: Rule::AliyunCli,
        looks_at: "the profile of `~/.aliyun/config.json` that `ALIBABACLOUD_PROFILE`, `ALIBABA_CLOUD_PROFILE` or `ALICLOUD_PROFILE` names, or the current one; variables only for what it lacks, or with `ALIBABA_CLOUD_IGNORE_PROFILE=TRUE`",
        yields: "what the profile says; with the mode `CredentialsURI`, ours",
        renewed: "each run asks anew",
        source: "config/profile.go",
    }],
    later: "Each run is a first one",
    otherwise: "use a profile of the mode CredentialsURI, or --config-path with an aliyun-cli file of ram-sidecar",
};

const PYODPS: Client = Client {
    name: "pyodps",
    title: "Python, pyodps without an account",
    version: "0.13.2",
    is_run: true,
    program: None,
    goes_on: false,
    steps: &[
        Step {
            provider: "sts-file",
            rule: Rule::OdpsFile,
            looks_at: "`ODPS_STS_ACCOUNT_FILE`, even if it is empty",
            yields: "the keys in the file",
            renewed: "the file is read again after its expiration",
            source: "odps/accounts.py",
        },
        Step {
            provider: "sts-variables",
            rule: Rule::OdpsVariables,
            looks_at: "`ODPS_STS_TOKEN`, with `ODPS_STS_ACCESS_KEY_ID` and `ODPS_STS_ACCESS_KEY_SECRET`",
            yields: "those keys",
            renewed: "no",
            source: "odps/accounts.py",
        },
        Step {
            provider: "bearer",
            rule: Rule::OdpsBearer,
            looks_at: "`ODPS_BEARER_TOKEN_FILE`, `ODPS_BEARER_TOKEN`",
            yields: "that token",
            renewed: "the file is read again",
            source: "odps/accounts.py",
        },
    ],
    later: "The account is chosen when ODPS() is called",
    otherwise: "give it CredentialProviderAccount(Client()), or a json-camel file in ODPS_STS_ACCOUNT_FILE",
};

const BOTO3: Client = Client {
    name: "boto3",
    title: "Python, boto3; other SDKs of AWS alike",
    version: "1.44.5",
    is_run: true,
    program: None,
    goes_on: false,
    steps: &[
        Step {
            provider: "env",
            rule: Rule::Keys {
                id: &["AWS_ACCESS_KEY_ID"],
                secret: &["AWS_SECRET_ACCESS_KEY"],
                token: &["AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"],
                fails_if_partial: true,
            },
            looks_at: "`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; fails if the secret is missing",
            yields: "that AccessKey",
            renewed: "no",
            source: "botocore/credentials.py",
        },
        aws(
            "assume-role",
            AwsPart::Role,
            "`role_arn` of the profile",
            "that role",
        ),
        Step {
            provider: "assume-role-with-web-identity",
            rule: Rule::WebIdentity,
            looks_at: "`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`",
            yields: "that role",
            renewed: "yes",
            source: "botocore/credentials.py",
        },
        aws(
            "sso",
            AwsPart::Sso,
            "`sso_account_id` of the profile",
            "that login",
        ),
        aws(
            "shared-credentials-file",
            AwsPart::SharedKeys,
            "`AWS_SHARED_CREDENTIALS_FILE`, `~/.aws/credentials`",
            "the AccessKey of the profile",
        ),
        aws(
            "login",
            AwsPart::Login,
            "`login_session` of the profile",
            "that login",
        ),
        aws(
            "custom-process",
            AwsPart::Process,
            "`credential_process` of the profile",
            "what it prints",
        ),
        aws(
            "config-file",
            AwsPart::ConfigKeys,
            "`AWS_CONFIG_FILE`, `~/.aws/config`",
            "the AccessKey of the profile",
        ),
        Step {
            provider: "ec2-credentials-file",
            rule: Rule::AwsKeyFile,
            looks_at: "`AWS_CREDENTIAL_FILE`; fails if it cannot be read",
            yields: "its AccessKey",
            renewed: "no",
            source: "botocore/credentials.py",
        },
        Step {
            provider: "boto-config",
            rule: Rule::BotoConfig,
            looks_at: "`BOTO_CONFIG`, or `/etc/boto.cfg` and `~/.boto`",
            yields: "the AccessKey in `[Credentials]`",
            renewed: "no",
            source: "botocore/credentials.py",
        },
        Step {
            provider: "container-role",
            rule: Rule::Container,
            looks_at: "`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`, `AWS_CONTAINER_CREDENTIALS_FULL_URI`; fails if the server does",
            yields: "what it serves: with `--container`, ours",
            renewed: "yes",
            source: "botocore/credentials.py",
        },
        Step {
            provider: "iam-role",
            rule: Rule::Ec2,
            looks_at: "169.254.169.254, unless `AWS_EC2_METADATA_DISABLED` is `true`",
            yields: "the role of the EC2 instance",
            renewed: "yes",
            source: "botocore/credentials.py",
        },
    ],
    later: "The chain is followed once for each session. A profile that `AWS_PROFILE` names and that does not exist is a failure",
    otherwise: "run it with `ram-sidecar exec --container -- CMD`, or inject with --container",
};

const fn env(source: &'static str) -> Step {
    Step {
        provider: "env",
        rule: Rule::Keys {
            id: &["ALIBABA_CLOUD_ACCESS_KEY_ID"],
            secret: &["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
            token: &["ALIBABA_CLOUD_SECURITY_TOKEN"],
            fails_if_partial: false,
        },
        looks_at: "`ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET`, `ALIBABA_CLOUD_SECURITY_TOKEN`",
        yields: "that AccessKey; temporary with a token",
        renewed: "no",
        source,
    }
}

const fn oidc(provider: &'static str, token: Option<&'static str>, source: &'static str) -> Step {
    Step {
        provider,
        rule: Rule::Oidc { token },
        looks_at: match token {
            None => {
                "`ALIBABA_CLOUD_ROLE_ARN`, `ALIBABA_CLOUD_OIDC_PROVIDER_ARN` and `ALIBABA_CLOUD_OIDC_TOKEN_FILE`, all three; STS"
            }
            Some(_) => {
                "`ALIBABA_CLOUD_ROLE_ARN`, `ALIBABA_CLOUD_OIDC_PROVIDER_ARN` and `ALIBABA_CLOUD_OIDC_TOKEN_FILE` or `ALIBABA_CLOUD_OIDC_TOKEN`, all three; STS"
            }
        },
        yields: "that role, as RRSA sets it up",
        renewed: "yes",
        source,
    }
}

const fn metadata(proxy: Proxy, source: &'static str) -> Step {
    Step {
        provider: "ecs_ram_role",
        rule: Rule::Metadata(proxy),
        looks_at: "100.100.100.200, unless `ALIBABA_CLOUD_ECS_METADATA_DISABLED` is `true`; `ALIBABA_CLOUD_ECS_METADATA` for the role",
        yields: "the role of the ECS instance, in a pod that of the node",
        renewed: "yes",
        source,
    }
}

const fn uri(provider: &'static str, proxy: Proxy, source: &'static str) -> Step {
    Step {
        provider,
        rule: Rule::Uri(proxy),
        looks_at: "`ALIBABA_CLOUD_CREDENTIALS_URI`",
        yields: "ours",
        renewed: "yes",
        source,
    }
}

const fn oss_variables(source: &'static str) -> Step {
    Step {
        provider: "env",
        rule: Rule::Keys {
            id: &["OSS_ACCESS_KEY_ID"],
            secret: &["OSS_ACCESS_KEY_SECRET"],
            token: &["OSS_SESSION_TOKEN"],
            fails_if_partial: true,
        },
        looks_at: "`OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET`, `OSS_SESSION_TOKEN`",
        yields: "that AccessKey; `exec --env oss` sets ours",
        renewed: "no",
        source,
    }
}

const fn aws(
    provider: &'static str,
    part: AwsPart,
    looks_at: &'static str,
    yields: &'static str,
) -> Step {
    let renewed = match part {
        AwsPart::SharedKeys | AwsPart::ConfigKeys => "no",
        AwsPart::Role | AwsPart::Sso | AwsPart::Login | AwsPart::Process => "yes",
    };
    Step {
        provider,
        rule: Rule::AwsProfile(part),
        looks_at,
        yields,
        renewed,
        source: "botocore/credentials.py",
    }
}

const RUN: &str = "run it with `ram-sidecar exec -- CMD`, or set ALIBABA_CLOUD_CREDENTIALS_URI to the address that `serve` prints";

const CLI_AT: &str = "`~/.aliyun/config.json`, unless `ALIBABA_CLOUD_CLI_PROFILE_DISABLED` is `true`; `ALIBABA_CLOUD_PROFILE` for the profile";
const CLI_YIELDS: &str =
    "what the profile says; an unknown mode, such as `CredentialsURI`, is passed over";
const CLI_RENEWED: &str = "roles, logins and programs; the file is not read again";
const INI_AT: &str = "`ALIBABA_CLOUD_CREDENTIALS_FILE`, `~/.alibabacloud/credentials`; `ALIBABA_CLOUD_PROFILE` for the section";
const INI_YIELDS: &str = "what the `type` of the section says";
const INI_RENEWED: &str = "roles; the file is not read again";

/// The modes of profiles that SDKs know since 2026.
pub(super) const ALL_MODES: &[&str] = &[
    "AK",
    "StsToken",
    "RamRoleArn",
    "EcsRamRole",
    "OIDC",
    "ChainableRamRoleArn",
    "CloudSSO",
    "OAuth",
    "External",
];

/// Those that others know.
const OLD_MODES: &[&str] = &[
    "AK",
    "StsToken",
    "RamRoleArn",
    "EcsRamRole",
    "OIDC",
    "ChainableRamRoleArn",
];

/// The types of sections that SDKs know.
pub(super) const ALL_TYPES: &[&str] = &[
    "access_key",
    "ecs_ram_role",
    "ram_role_arn",
    "oidc_role_arn",
    "rsa_key_pair",
];

const FEW_TYPES: &[&str] = &["access_key", "ecs_ram_role", "ram_role_arn"];
