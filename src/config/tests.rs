use std::collections::HashMap;

use super::*;
use crate::system::display::is_shown;
use crate::testing;

fn checked(flags: &[(&str, &str)], variables: &[(&str, &str)], toml: &str) -> Config {
    outcome(flags, variables, toml).unwrap()
}

fn outcome(
    flags: &[(&str, &str)],
    variables: &[(&str, &str)],
    toml: &str,
) -> Result<Config, Errors> {
    let file = testing::directory("config").join("config.toml");
    std::fs::write(&file, toml).unwrap();
    let variables: HashMap<String, OsString> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
        .collect();
    let input = Input {
        flags: flags
            .iter()
            .map(|(key, value)| (settings::find(key).unwrap(), vec![(*value).to_owned()]))
            .collect(),
        variable: &|name| variables.get(name).cloned(),
        file: Some(file),
        host_name: "trainer-0".to_owned(),
        defaults: Vec::new(),
        #[cfg(feature = "sandbox")]
        sandbox: None,
    };
    check(&input).outcome
}

fn cloud(config: Config) -> Cloud {
    match config.upstream {
        Upstream::Cloud(cloud) => *cloud,
        #[cfg(feature = "sandbox")]
        Upstream::Sandbox { .. } => unreachable!("the sandbox is disabled"),
        Upstream::NoRole => unreachable!("a role is configured"),
    }
}

const KEYS: [(&str, &str); 3] = [
    ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted"),
];

#[test]
fn flags_override_the_environment_then_the_file_then_the_defaults() {
    let toml = "[role]\nduration = '2h'\n[shutdown]\ndrain = '2s'\n[log]\nlevel = 'warn'";
    let variables = [
        &KEYS[..],
        &[("RAM_SIDECAR_DURATION", "3h"), ("RAM_SIDECAR_DRAIN", "3s")],
    ]
    .concat();
    let config = checked(&[("role.duration", "4h")], &variables, toml);
    assert_eq!(config.session.duration, Duration::from_secs(4 * 3600));
    assert_eq!(config.drain, Duration::from_secs(3));
    assert_eq!(config.log.level, tracing::level_filters::LevelFilter::WARN);
    assert_eq!(config.serve.listen, "127.0.0.1:7002".parse().unwrap());
}

#[test]
fn files_come_only_from_the_strongest_layer() {
    let toml = "[[file]]\npath = '/a'\nmode = '0640'\nuid = 7\ngid = 8\n[[file]]\npath = '/b'";
    let config = checked(&[], &KEYS, toml);
    let file = |path: &str, mode, uid, gid| CredentialsFile {
        path: path.into(),
        format: crate::formats::format::Format::Json,
        mode,
        uid,
        gid,
    };
    assert_eq!(
        config.files,
        [
            file("/a", 0o640, Some(7), Some(8)),
            file("/b", 0o600, None, None)
        ]
    );

    let variables = [&KEYS[..], &[("RAM_SIDECAR_FILE", "/c:/d,mode=0644,gid=9")]].concat();
    let config = checked(&[], &variables, toml);
    assert_eq!(
        config.files,
        [
            file("/c", 0o600, None, None),
            file("/d", 0o644, None, Some(9))
        ]
    );
}

#[test]
fn default_session_name_is_the_pod_or_the_host() {
    let name = |variables: &[_]| checked(&[], variables, "").session.name;
    assert_eq!(name(&KEYS).as_str(), "trainer-0");
    let variables = [&KEYS[..], &[("POD_NAME", "my-pod")]].concat();
    assert_eq!(name(&variables).as_str(), "my-pod");
}

#[test]
fn variables_of_the_rrsa_webhook_are_sufficient() {
    let variables = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job"),
        (
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
            "acs:ram::1:oidc-provider/ack-rrsa-c1",
        ),
        (
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
            "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token",
        ),
        (
            "ALIBABA_CLOUD_STS_ENDPOINT",
            "sts-vpc.cn-hangzhou.aliyuncs.com",
        ),
        ("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou"),
        ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true"),
    ];
    let Cloud {
        identity,
        endpoints,
        ..
    } = cloud(checked(&[], &variables, ""));
    assert_eq!(identity.kind(), "oidc");
    assert_eq!(endpoints[0].host(), "sts-vpc.cn-hangzhou.aliyuncs.com");

    // Without an endpoint, the region's VPC endpoint is used.
    let Cloud { endpoints, .. } = cloud(checked(
        &[],
        &[&variables[..3], &variables[4..]].concat(),
        "",
    ));
    assert_eq!(endpoints[0].host(), "sts-vpc.cn-hangzhou.aliyuncs.com");
}

#[test]
fn chosen_identity_resolves_an_ambiguity() {
    let both = [
        &KEYS[..],
        &[
            (
                "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
                "acs:ram::1:oidc-provider/ack",
            ),
            ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/token"),
        ],
    ]
    .concat();
    for kind in ["access_key", "oidc"] {
        let Cloud { identity, .. } = cloud(checked(&[("identity.type", kind)], &both, ""));
        assert_eq!(identity.kind(), kind);
    }
}

#[test]
fn secret_key_permits_other_addresses() {
    let flags = [
        ("serve.listen", "10.0.0.5:7002"),
        ("serve.key", "k3V9q0Z7m1X8c2W6t5R4pu"),
        ("serve.allow_remote", "true"),
    ];
    assert_eq!(checked(&flags, &KEYS, "").serve.listen.port(), 7002);
}

#[test]
fn each_error_is_one_line_of_limited_length() {
    let long = "x".repeat(10_000);
    let toml = format!("\"a\\nb\" = 1\n[sts]\nregion = \"c\\u2028d\"\n[role]\narn = \"{long}\\n\"");
    let errors = outcome(&[("role.duration", &long)], &[], &toml).unwrap_err();
    assert!(errors.0.len() >= 4, "{errors}");
    for error in &errors.0 {
        assert!(error.chars().count() <= 2001, "{error}");
        assert!(error.chars().all(is_shown), "{error}");
    }
    let duration = errors
        .0
        .iter()
        .find(|error| error.starts_with("--duration: `xx"));
    assert!(duration.is_some_and(|error| error.ends_with("write it like 30s, 5m or 1h")));
}
