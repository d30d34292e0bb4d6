//! What is explained in surroundings of every kind; that the clients do so is tested with the clients.

use std::collections::BTreeSet;

use super::*;

/// Explains a client by its name.
fn explained(
    name: &str,
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
    metadata: Metadata,
) -> Explained {
    with_server(name, variables, files, metadata, None)
}

/// Explains a client where the credentials URI has answered.
fn with_server(
    name: &str,
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
    metadata: Metadata,
    served: Option<Served>,
) -> Explained {
    let variable = |name: &str| {
        let mut variables = variables.iter();
        let (_, value) = variables.find(|(other, _)| *other == name)?;
        Some(if *value == "?" {
            Value::Unseen
        } else {
            Value::known(*value)
        })
    };
    let file = |path: &str| {
        let mut files = files.iter();
        match files.find(|(other, _)| *other == path) {
            Some((_, "?")) => FileState::Unseen,
            Some((_, text)) => FileState::Text((*text).into()),
            None => FileState::Missing,
        }
    };
    let client = CLIENTS.iter().find(|client| client.name == name).unwrap();
    explain(
        client,
        &Surroundings {
            variable: &variable,
            file: &file,
            account_home: Some("/home/account".to_owned()),
            metadata,
            served,
            container_failure: None,
        },
    )
}

const URI: (&str, &str) = ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:7002/x");
const HOME: (&str, &str) = ("HOME", "/home/job");
const KEY: [(&str, &str); 2] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIx"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted"),
];
const PROFILE: &str = r#"{"current":"a","profiles":[{"name":"a","mode":"AK","access_key_id":"LTAIy","access_key_secret":"planted"}]}"#;

#[test]
fn metadata_service_comes_before_ours_unless_it_is_disabled_or_ours() {
    for client in ["python", "java", "go", "node", "php"] {
        for (metadata, expected) in [
            (Metadata::Unknown, Outlook::OursUnless),
            (Metadata::Reachable, Outlook::OursUnless),
            (Metadata::Unreachable, Outlook::Ours),
            (Metadata::Ours, Outlook::Ours),
        ] {
            let one = explained(client, &[URI, HOME], &[], metadata.clone());
            assert_eq!(one.outlook, expected, "{client} {metadata:?}");
        }
        let disabled = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "True");
        let one = explained(client, &[URI, HOME, disabled], &[], Metadata::Reachable);
        assert_eq!((one.outlook, fix(&one)), (Outlook::Ours, None), "{client}");
    }
}

#[test]
fn line_removes_everything_that_comes_before_ours() {
    let files = [("/home/job/.aliyun/config.json", PROFILE)];
    let variables = [&KEY[..], &[URI, HOME]].concat();
    let one = explained("go", &variables, &files, Metadata::Unknown);
    assert_eq!(one.outlook, Outlook::Others);
    assert_eq!(
        fix(&one).unwrap(),
        "unset ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET; export ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true ALIBABA_CLOUD_ECS_METADATA_DISABLED=true"
    );
    let one = explained("go", &[HOME], &[], Metadata::Unreachable);
    assert_eq!(one.outlook, Outlook::Nothing);
    assert!(one.counts() && fix(&one).unwrap().starts_with("run it with"));
}

#[test]
fn what_cannot_be_seen_is_a_condition() {
    let unseen = KEY.map(|(name, _)| (name, "?"));
    let variables = [&unseen[..], &[URI, HOME]].concat();
    let one = explained("node", &variables, &[], Metadata::Unreachable);
    assert_eq!(one.outlook, Outlook::Others);
    assert!(!format!("{one:?}").contains("LTAI"));
    let files = [("/home/job/.aliyun/config.json", "?")];
    let one = explained("node", &[URI, HOME], &files, Metadata::Unreachable);
    assert_eq!(one.outlook, Outlook::OursUnless);
    let (_, _, on) = one.first().unwrap();
    assert_eq!(on, Some(On::Unseen));
}

#[test]
fn what_is_nearly_json_is_a_condition() {
    let path = "/home/job/.aliyun/config.json";
    for (text, expected) in [
        (r#"{"x": NaN}"#, Outlook::OursUnless),
        (r#"{"x": 1e999}"#, Outlook::OursUnless),
        ("\u{feff}{}\n", Outlook::OursUnless),
        (r#"{"current":"#, Outlook::Ours),
        ("", Outlook::Ours),
    ] {
        let one = explained(
            "python",
            &[URI, HOME],
            &[(path, text)],
            Metadata::Unreachable,
        );
        assert_eq!(one.outlook, expected, "{text}");
    }
}

#[test]
fn a_profile_of_aws_that_a_variable_names_is_not_left_without_its_file() {
    let variables = [HOME, ("AWS_PROFILE", "p")];
    let text = "[p]\naws_access_key_id = AKIAx\naws_secret_access_key = planted\n";
    let files = [("/home/job/.aws/credentials", text)];
    let one = explained("boto3", &variables, &files, Metadata::Unknown);
    assert!(
        fix(&one).unwrap().starts_with("unset AWS_PROFILE;"),
        "{:?}",
        fix(&one)
    );
}

#[test]
fn java_looks_in_the_home_directory_of_the_account() {
    let here = [("/home/account/.aliyun/config.json", PROFILE)];
    let there = [("/home/job/.aliyun/config.json", PROFILE)];
    for (files, name, expected) in [
        (&here, "java", Outlook::Others),
        (&there, "java", Outlook::Ours),
        (&here, "python", Outlook::Ours),
        (&there, "python", Outlook::Others),
    ] {
        let one = explained(name, &[URI, HOME], files, Metadata::Unreachable);
        assert_eq!(one.outlook, expected, "{name} {files:?}");
    }
}

/// Returns what makes a client use ours in this environment.
fn fix(one: &Explained) -> Option<String> {
    Some(one.fix(Environment::Process)?.to_string())
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table with a row for each place")]
fn secret_in_any_place_is_not_shown() {
    const CLI: &str = "/home/job/.aliyun/config.json";
    const UTIL: &str = "/home/account/.ossutilconfig";
    let profile = |fields: &str| {
        format!(
            r#"{{"current":"a","profiles":[{{"name":"a","access_key_id":"LTAIx","access_key_secret":"s",{fields}}}]}}"#
        )
    };
    let role = profile(r#""mode":"RamRoleArn","ram_role_arn":"planted""#);
    let instance = profile(r#""mode":"EcsRamRole","ram_role_name":"planted""#);
    let mode = profile(r#""mode":"planted""#);
    let id = r#"{"current":"a","profiles":[{"name":"a","mode":"AK","access_key_id":"LTAI+planted","access_key_secret":"s"}]}"#;
    let current = r#"{"current":"planted","profiles":[]}"#;
    let ini = ("ALIBABA_CLOUD_CREDENTIALS_FILE", "/ini");
    for (clients, variables, files) in [
        (
            &["go", "java"][..],
            &[
                ("ALIBABA_CLOUD_ACCESS_KEY_ID", "planted"),
                ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "LTAIx"),
            ][..],
            &[][..],
        ),
        (
            &["go", "oss2"],
            &[
                ("OSS_ACCESS_KEY_ID", "planted"),
                ("OSS_ACCESS_KEY_SECRET", "s"),
            ],
            &[],
        ),
        (&["go", "aliyun-cli"], &[], &[(CLI, &*role)]),
        (&["go", "aliyun-cli"], &[], &[(CLI, &*instance)]),
        (&["go", "aliyun-cli"], &[], &[(CLI, &*mode)]),
        (&["go", "aliyun-cli"], &[], &[(CLI, id)]),
        (&["go", "aliyun-cli"], &[], &[(CLI, current)]),
        (
            &["go", "aliyun-cli", "python"],
            &[("ALIBABA_CLOUD_PROFILE", "planted")],
            &[
                (CLI, id),
                ("/home/job/.alibabacloud/credentials.ini", "[a]\n"),
            ],
        ),
        (
            &["go"],
            &[("ALIBABA_CLOUD_CONFIG_FILE", "planted")],
            &[("planted", "{")],
        ),
        (&["go"], &[ini], &[("/ini", "[default]\ntype = planted\n")]),
        (
            &["python"],
            &[ini],
            &[(
                "/ini",
                "[default]\ntype = oidc_role_arn\nrole_arn = planted\n",
            )],
        ),
        (
            &["go"],
            &[("ALIBABA_CLOUD_CREDENTIALS_FILE", "planted")],
            &[("planted", "{}")],
        ),
        (
            &["go"],
            &[
                ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::planted"),
                ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
                ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "t"),
            ],
            &[("t", "t")],
        ),
        (
            &["go"],
            &[
                ("ALIBABA_CLOUD_ROLE_ARN", "r"),
                ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
                ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "planted"),
            ],
            &[],
        ),
        (
            &["go", "python"],
            &[("ALIBABA_CLOUD_ECS_METADATA", "planted")],
            &[],
        ),
        (
            &["go", "python"],
            &[(
                "ALIBABA_CLOUD_CREDENTIALS_URI",
                "http://planted@127.0.0.1/planted",
            )],
            &[],
        ),
        (
            &["go", "python"],
            &[("ALIBABA_CLOUD_CREDENTIALS_URI", "planted")],
            &[],
        ),
        (
            &["ossutil"],
            &[],
            &[(
                UTIL,
                "[Credentials]\nmode=RamRoleArn\naccessKeyID=planted\naccessKeySecret=s\nramRoleArn=planted\n",
            )],
        ),
        (
            &["ossutil"],
            &[],
            &[(
                UTIL,
                "[Credentials]\nmode=EcsRamRole\necsRoleName=planted\n",
            )],
        ),
        (
            &["ossutil"],
            &[],
            &[(
                UTIL,
                "[Credentials]\n[AkService]\necsAk=http://a.example/planted\n",
            )],
        ),
        (&["pyodps"], &[("ODPS_STS_ACCOUNT_FILE", "planted")], &[]),
        (
            &["pyodps"],
            &[("ODPS_STS_ACCOUNT_FILE", "/odps")],
            &[(
                "/odps",
                r#"{"accessKeyId":"planted","accessKeySecret":"s","securityToken":"t","expiration":"planted"}"#,
            )],
        ),
        (
            &["boto3"],
            &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "planted"),
                ("AWS_ROLE_ARN", "r"),
            ],
            &[],
        ),
        (
            &["boto3"],
            &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
                ("AWS_ROLE_ARN", "planted"),
            ],
            &[("/t", "t")],
        ),
        (&["boto3"], &[("AWS_PROFILE", "planted")], &[]),
        (
            &["boto3"],
            &[("AWS_CONFIG_FILE", "planted")],
            &[("planted", "[default]\nrole_arn = planted\n")],
        ),
        (
            &["boto3"],
            &[("AWS_CONFIG_FILE", "/c")],
            &[(
                "/c",
                "[default]\nsso_account_id = planted\ncredential_process = planted\n",
            )],
        ),
        (
            &["boto3"],
            &[("AWS_SHARED_CREDENTIALS_FILE", "/c")],
            &[(
                "/c",
                "[default]\naws_access_key_id = LTAIx # planted\naws_secret_access_key = s\n",
            )],
        ),
        (
            &["boto3"],
            &[(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://127.0.0.1/planted",
            )],
            &[],
        ),
        (
            &["boto3"],
            &[
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/"),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "planted"),
            ],
            &[],
        ),
    ] {
        for client in clients {
            let variables = [&[HOME][..], variables].concat();
            let one = explained(client, &variables, files, Metadata::Unknown);
            // Keys are printed by no report, and have a form for logs that shows nothing.
            let shown = format!(
                "{:?} {:?} {:?} {}",
                one.steps,
                one.obstacles,
                fix(&one),
                one.instead()
            );
            let keys = one.steps.iter().filter_map(|result| match &result.outcome {
                Outcome::Answers(finding) | Outcome::Depends(finding, _) => finding.keys.as_ref(),
                _ => None,
            });
            assert_eq!(
                keys.filter(|keys| keys.access_key_id.contains("planted"))
                    .count(),
                0,
                "{client}"
            );
            assert!(!shown.contains("planted"), "{client}: {shown}");
        }
    }
}

#[test]
fn only_the_server_of_the_credentials_uri_is_ours() {
    const OTHER: &str = "http://127.0.0.1:9000/x";
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let profile = |uri: &str| {
        format!(
            r#"{{"current":"a","profiles":[{{"name":"a","mode":"CredentialsURI","credentials_uri":"{uri}"}}]}}"#
        )
    };
    let util = |uri: &str| format!("[Credentials]\n[AkService]\necsAk={uri}\n");
    let served = Some(Served::Credentials {
        access_key_id: "STS.x".to_owned(),
        expires_at: "2099-01-01T00:00:00Z".to_owned(),
    });
    let refused = Some(Served::Nothing {
        reason: "it refuses".to_owned(),
        remedy: "permit it".to_owned(),
    });
    for (uri, served, expected) in [
        (URI.1, &served, Outlook::Ours),
        (URI.1, &None, Outlook::Ours),
        (OTHER, &served, Outlook::Others),
        (OTHER, &refused, Outlook::Others),
    ] {
        let (profile, util) = (profile(uri), util(uri));
        let container = uri.replace("/x", "/api/v1/container/x");
        let cli = [("/home/job/.aliyun/config.json", &*profile)];
        let util = [("/home/account/.ossutilconfig", &*util)];
        for (client, variables, files) in [
            ("aliyun-cli", &[URI, HOME][..], &cli[..]),
            ("ossutil", &[URI, HOME], &util),
            ("boto3", &[URI, HOME, (FULL, &container)], &[]),
        ] {
            let one = with_server(
                client,
                variables,
                files,
                Metadata::Unreachable,
                served.clone(),
            );
            assert_eq!(one.outlook, expected, "{client} {uri} {served:?}");
        }
    }
    for (variables, served) in [
        (&[(FULL, OTHER)][..], &None),
        (&[URI, (FULL, URI.1)], &served),
        (
            &[URI, (FULL, "http://127.0.0.1:7002/api/v1/container/x")],
            &refused,
        ),
        (
            &[URI, (FULL, "http://127.0.0.2:7002/api/v1/container/x")],
            &served,
        ),
        (
            &[URI, (FULL, "http://127.0.0.1:7002/api/v1/container/y")],
            &served,
        ),
    ] {
        let one = with_server("boto3", variables, &[], Metadata::Unknown, served.clone());
        assert_eq!(one.outlook, Outlook::Others, "{variables:?}");
    }
}

#[test]
fn every_fix_has_an_effect_and_does_not_contradict_itself() {
    const CLI: &str = "/home/job/.aliyun/config.json";
    let instance = r#"{"current":"a","profiles":[{"name":"a","mode":"EcsRamRole"}]}"#;
    let util = "[Credentials]\nmode=EcsRamRole\necsRoleName=r\n";
    for (client, variables, files, expected) in [
        (
            "aliyun-cli",
            &[URI][..],
            &[(CLI, instance)][..],
            "choose another profile with --profile or --config-path; ",
        ),
        (
            "ossutil",
            &[URI],
            &[("/home/account/.ossutilconfig", util)],
            "remove mode and ecsRoleName from /home/account/.ossutilconfig; ",
        ),
        (
            "go",
            &[("ALIBABA_CLOUD_CREDENTIALS_URI", "http://a.example/")],
            &[],
            "export ALIBABA_CLOUD_ECS_METADATA_DISABLED=true; then: set ALIBABA_CLOUD_CREDENTIALS_URI to ",
        ),
        (
            "go",
            &[KEY[0], KEY[1]],
            &[],
            "unset ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET; export ALIBABA_CLOUD_ECS_METADATA_DISABLED=true; then: run it with ",
        ),
        (
            "boto3",
            &[
                URI,
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", URI.1),
                ("AWS_ACCESS_KEY_ID", "LTAIx"),
            ],
            &[],
            "unset AWS_ACCESS_KEY_ID",
        ),
        (
            "boto3",
            &[
                URI,
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", URI.1),
                ("AWS_PROFILE", "z"),
            ],
            &[],
            "unset AWS_PROFILE",
        ),
        (
            "oss2",
            &[("OSS_ACCESS_KEY_ID", "LTAIx")],
            &[],
            "unset OSS_ACCESS_KEY_ID; then: ",
        ),
    ] {
        let variables = [&[HOME][..], variables].concat();
        let one = explained(client, &variables, files, Metadata::Unknown);
        let fix = fix(&one).unwrap();
        assert!(fix.starts_with(expected), "{client}: {fix}");
    }
}

#[test]
fn failure_comes_before_what_the_client_does_not_get_to() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "LTAIx"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/c"),
        HOME,
    ];
    let keys = "[default]\naws_access_key_id = LTAIy\naws_secret_access_key = planted\n";
    let one = explained("boto3", &variables, &[("/c", keys)], Metadata::Unknown);
    assert_eq!(one.outlook, Outlook::Fails);
    assert!(
        one.instead().starts_with("AWS_ACCESS_KEY_ID is set"),
        "{}",
        one.instead()
    );
}

#[test]
fn manifest_is_told_what_to_change_in_it() {
    let variables = [&KEY[..], &[HOME]].concat();
    for (client, then) in [
        ("go", "add the sidecar by `ram-sidecar inject`"),
        (
            "boto3",
            "add the sidecar by `ram-sidecar inject --container`",
        ),
    ] {
        let one = explained(client, &variables, &[], Metadata::Unknown);
        let fix = one.fix(Environment::Manifest).unwrap();
        assert_eq!(fix.then.as_deref(), Some(then));
        let line = "remove from env: ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET; add to env: ALIBABA_CLOUD_ECS_METADATA_DISABLED=true";
        assert_eq!(fix.line.as_deref(), Some(line).filter(|_| client == "go"));
    }
}

#[test]
fn cycle_of_profiles_ends() {
    let text = r#"{"current":"a","profiles":[{"name":"a","mode":"ChainableRamRoleArn","ram_role_arn":"r","source_profile":"a"}]}"#;
    let files = [("/home/job/.aliyun/config.json", text)];
    let one = explained("python", &[URI, HOME], &files, Metadata::Unreachable);
    assert_eq!(one.outlook, Outlook::Ours);
}

#[test]
fn address_that_is_not_on_loopback_is_not_ours() {
    for (uri, expected) in [
        ("http://127.0.0.1:7002/x", Outlook::Ours),
        ("http://localhost/x", Outlook::Ours),
        ("http://127.0.0.1.example.com/x", Outlook::Others),
        ("https://example.com/x", Outlook::Others),
        ("HTTP://127.0.0.1/x", Outlook::Ours),
        ("http://LOCALHOST/x", Outlook::Ours),
        ("http://127.1/x", Outlook::Nothing),
        ("http://127.0.0.1:7002/x\n", Outlook::Nothing),
        ("http://127.0.0.1:7002@evil.example/x", Outlook::Nothing),
        ("http://localhost:bad/x", Outlook::Nothing),
    ] {
        let uri = ("ALIBABA_CLOUD_CREDENTIALS_URI", uri);
        let one = explained("go", &[uri, HOME], &[], Metadata::Unreachable);
        assert_eq!(one.outlook, expected, "{uri:?}");
    }
}

#[test]
fn every_client_has_a_name_of_its_own_a_version_and_a_source_for_each_step() {
    let names: BTreeSet<&str> = CLIENTS.iter().map(|client| client.name).collect();
    assert_eq!(names.len(), CLIENTS.len());
    for client in CLIENTS {
        assert!(!client.version.is_empty() && !client.steps.is_empty());
        assert!(client.steps.iter().all(|step| !step.source.is_empty()));
    }
}

#[test]
fn a_metadata_service_with_credentials_of_others_is_no_condition() {
    for (role, outlook) in [("", Outlook::Others), ("named", Outlook::OursUnless)] {
        let service = Metadata::Others {
            access_key_id: "STS.node".to_owned(),
        };
        let role = ("ALIBABA_CLOUD_ECS_METADATA", role);
        let one = explained("go", &[URI, HOME, role], &[], service);
        assert_eq!(one.outlook, outlook);
        let (_, finding, _) = one.first().unwrap();
        let is_told = finding.identity.ends_with(" responds: STS.node");
        assert_eq!(is_told, outlook == Outlook::Others);
    }
}

#[test]
fn a_switch_counts_only_as_true_and_its_other_value_is_told() {
    const SWITCH: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
    for (value, ignored) in [
        (Some("1"), &[SWITCH][..]),
        (Some("true "), &[SWITCH]),
        (Some("TRUE"), &[]),
        (None, &[]),
    ] {
        let switch = value.map(|value| (SWITCH, value));
        let variables: Vec<_> = [URI, HOME].into_iter().chain(switch).collect();
        let one = explained("go", &variables, &[], Metadata::Unknown);
        assert_eq!(one.ignored, ignored, "{value:?}");
    }
}

#[test]
fn the_end_of_a_token_in_a_profile_is_told() {
    for (expiration, ends) in [
        ("1767225600", Some("2026-01-01T00:00:00Z")),
        ("0", None),
        ("\"planted\"", None),
    ] {
        let text = format!(
            r#"{{"current":"a","profiles":[{{"name":"a","mode":"StsToken","access_key_id":"STS.x","access_key_secret":"s","sts_token":"t","sts_expiration":{expiration}}}]}}"#
        );
        let files = [("/home/job/.aliyun/config.json", &*text)];
        let one = explained("go", &[HOME], &files, Metadata::Unknown);
        let (_, finding, _) = one.first().unwrap();
        assert_eq!(finding.ends.as_deref(), ends);
    }
}
