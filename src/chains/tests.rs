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
            served: None,
            container: None,
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
            let one = explained(client, &[URI, HOME], &[], metadata);
            assert_eq!(one.outlook, expected, "{client} {metadata:?}");
        }
        let disabled = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "True");
        let one = explained(client, &[URI, HOME, disabled], &[], Metadata::Reachable);
        assert_eq!((one.outlook, one.line()), (Outlook::Ours, None), "{client}");
    }
}

#[test]
fn line_removes_everything_that_comes_before_ours() {
    let files = [("/home/job/.aliyun/config.json", PROFILE)];
    let variables = [&KEY[..], &[URI, HOME]].concat();
    let one = explained("go", &variables, &files, Metadata::Unknown);
    assert_eq!(one.outlook, Outlook::Others);
    assert_eq!(
        one.line().unwrap(),
        "unset ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET; export ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true ALIBABA_CLOUD_ECS_METADATA_DISABLED=true"
    );
    let one = explained("go", &[HOME], &[], Metadata::Unreachable);
    assert_eq!(one.outlook, Outlook::Nothing);
    assert!(one.counts() && one.line().unwrap().starts_with("run it with"));
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

#[test]
fn secret_in_the_place_of_an_id_is_not_shown() {
    let secret = "x".repeat(30);
    let variables = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", &*secret),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "LTAIx"),
    ];
    let one = explained("go", &variables, &[], Metadata::Unreachable);
    let (_, finding, _) = one.first().unwrap();
    assert_eq!(one.outlook, Outlook::Others);
    assert!(!finding.identity.contains(&secret), "{finding:?}");
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
