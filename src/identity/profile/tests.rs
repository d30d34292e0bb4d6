use serde_json::{Value, json};

use super::*;
use crate::refresh::store::tests::noon;

fn defaults() -> Defaults {
    Defaults {
        session_name: RoleSessionName::derive("trainer-0"),
        launch: Launch {
            search_path: "/usr/bin".into(),
            hidden: Vec::new(),
            timeout: Duration::from_secs(1),
        },
        metadata: Metadata {
            url: "http://127.0.0.1:1".into(),
            allow_v1: false,
            disabled: false,
        },
        own_port: 7001,
        outbound: Outbound::default(),
    }
}

/// Parses the profile `p`, and returns the kind of its content and its roles.
fn parse(profiles: &[Value]) -> Result<(&'static str, Vec<RoleRequest>), String> {
    let config = json!({"current": "p", "profiles": profiles}).to_string();
    let config = Config::parse(&config).map_err(|error| error.to_string())?;
    let (content, roles) = resolve(&config, &config.current, &defaults(), noon())
        .map_err(|error| error.to_string())?;
    let kind = match content {
        Content::Proof(_) => "keys",
        Content::Identity(identity) => identity.kind(),
    };
    Ok((kind, roles))
}

fn profile(name: &str, mode: &str, rest: &Value) -> Value {
    let mut profile = json!({
        "name": name, "mode": mode, "access_key_id": "", "access_key_secret": "", "sts_token": "",
        "ram_role_name": "", "ram_role_arn": "", "ram_session_name": "", "expired_seconds": 0,
        "policy": "", "region_id": "cn-hangzhou", "output_format": "json", "language": "en",
        "retry_timeout": 0, "source_profile": "", "process_command": "", "sts_expiration": 0,
    });
    for (key, value) in rest.as_object().unwrap() {
        profile[key] = value.clone();
    }
    profile
}

const ARN: &str = "acs:ram::1:role/r";

#[test]
fn every_mode_yields_its_identity_and_roles() {
    let keys = json!({"access_key_id": "LTAI", "access_key_secret": "s", "sts_token": "t", "ram_role_arn": ARN});
    let oidc = json!({"oidc_provider_arn": "acs:ram::1:oidc-provider/p", "oidc_token_file": "/t", "ram_role_arn": ARN});
    for (mode, rest, kind, roles) in [
        ("AK", &keys, "keys", 0),
        ("StsToken", &keys, "keys", 0),
        ("RamRoleArn", &keys, "keys", 1),
        (
            "EcsRamRole",
            &json!({"ram_role_name": "r"}),
            "ecs_ram_role",
            0,
        ),
        ("EcsRamRole", &json!({}), "ecs_ram_role", 0),
        ("OIDC", &oidc, "oidc", 1),
        (
            "External",
            &json!({"process_command": "helper --json"}),
            "process",
            0,
        ),
        (
            "CredentialsURI",
            &json!({"credentials_uri": "http://localhost:7002/x"}),
            "credentials_uri",
            0,
        ),
    ] {
        let (found, hops) = parse(&[profile("p", mode, rest)]).unwrap();
        assert_eq!((found, hops.len()), (kind, roles), "{mode}");
    }
}

#[test]
fn role_request_has_the_parameters_of_the_profile() {
    let rest = json!({
        "access_key_id": "LTAI", "access_key_secret": "s", "ram_role_arn": ARN, "ram_session_name": "me",
        "expired_seconds": 1800, "policy": "{}", "external_id": "partner",
    });
    let (_, roles) = parse(&[profile("p", "RamRoleArn", &rest)]).unwrap();
    let request = &roles[0];
    assert_eq!(
        (request.arn.as_str(), request.session_name.as_str()),
        (ARN, "me")
    );
    assert_eq!(request.duration, Duration::from_secs(1800));
    assert_eq!(request.policy.as_deref(), Some("{}"));
    assert_eq!(request.external_id.as_deref(), Some("partner"));

    let rest = json!({"access_key_id": "LTAI", "access_key_secret": "s", "ram_role_arn": ARN});
    let (_, roles) = parse(&[profile("p", "RamRoleArn", &rest)]).unwrap();
    assert_eq!(
        (roles[0].session_name.as_str(), roles[0].duration.as_secs()),
        ("trainer-0", 3600)
    );
}

#[test]
fn roles_of_source_profiles_are_assumed_first() {
    let chained = |name: &str, source: &str, role: &str| {
        profile(
            name,
            "ChainableRamRoleArn",
            &json!({"source_profile": source, "ram_role_arn": role}),
        )
    };
    let keys = json!({"access_key_id": "LTAI", "access_key_secret": "s", "ram_role_arn": "acs:ram::1:role/first"});
    let profiles = [
        chained("p", "q", "acs:ram::1:role/third"),
        chained("q", "r", "acs:ram::1:role/second"),
        profile("r", "RamRoleArn", &keys),
    ];
    let (_, roles) = parse(&profiles).unwrap();
    let names: Vec<&str> = roles.iter().map(|role| role.arn.name()).collect();
    assert_eq!(names, ["first", "second", "third"]);

    let cycle = [chained("p", "q", ARN), chained("q", "p", ARN)];
    assert_eq!(
        parse(&cycle).unwrap_err(),
        "its source profiles form a cycle: p → q → p"
    );
    let cycle = [chained("p", "p", ARN)];
    assert!(parse(&cycle).unwrap_err().ends_with("cycle: p → p"));

    let long: Vec<Value> = ["p", "b", "c", "d", "e", "f"]
        .windows(2)
        .map(|pair| chained(pair[0], pair[1], ARN))
        .collect();
    assert_eq!(
        parse(&long).unwrap_err(),
        "its profiles chain more than 4 roles"
    );
}

#[test]
fn missing_field_of_a_profile_is_named_and_no_value_is_quoted() {
    for (profiles, reason) in [
        (vec![], "it contains no profiles"),
        (
            vec![profile("q", "AK", &json!({}))],
            "it has no profile `p`, only q",
        ),
        (
            vec![profile("p", "", &json!({}))],
            "its profile `p` has no mode",
        ),
        (
            vec![profile("p", "CloudSSO", &json!({}))],
            "lacks sts_token: aliyun-cli saves it when it has logged in",
        ),
        (
            vec![profile("p", "RsaKeyPair", &json!({}))],
            "has the mode RsaKeyPair, which only aliyun-cli itself can use",
        ),
        (
            vec![profile("p", "ak", &json!({}))],
            "has the unknown mode ak; did you mean AK? the modes are AK, StsToken",
        ),
        (
            vec![profile("p", "Sso", &json!({}))],
            "has the unknown mode Sso; the modes are AK, StsToken",
        ),
        (
            vec![profile(
                "p",
                "CredentialsURI",
                &json!({"credentials_uri": "http://127.0.0.1:7001/api/v1/credentials/0"}),
            )],
            "has the address of this daemon (serve.listen) as its credentials_uri",
        ),
        (
            vec![profile("p", "AK", &json!({"access_key_id": "x"}))],
            "lacks access_key_secret",
        ),
        (
            vec![profile("p", "AK", &json!({"access_key_secret": "planted"}))],
            "lacks access_key_id",
        ),
        (
            vec![profile(
                "p",
                "StsToken",
                &json!({"access_key_id": "x", "access_key_secret": "planted"}),
            )],
            "lacks sts_token",
        ),
        (
            vec![profile("p", "RamRoleArn", &json!({}))],
            "lacks ram_role_arn",
        ),
        (
            vec![profile("p", "RamRoleArn", &json!({"ram_role_arn": "x"}))],
            "has an invalid ram_role_arn: it does not begin",
        ),
        (
            vec![profile(
                "p",
                "ChainableRamRoleArn",
                &json!({"ram_role_arn": ARN}),
            )],
            "lacks source_profile",
        ),
        (
            vec![profile("p", "OIDC", &json!({"ram_role_arn": ARN}))],
            "lacks oidc_provider_arn",
        ),
        (
            vec![profile(
                "p",
                "External",
                &json!({"process_command": "./helper --json"}),
            )],
            "its profile `p` has a process_command whose program is a relative path, which leads elsewhere from each working directory; write its path from the root",
        ),
        (
            vec![profile("p", "External", &json!({}))],
            "lacks process_command",
        ),
        (
            vec![profile(
                "p",
                "CredentialsURI",
                &json!({"credentials_uri": "http://10.0.0.1/planted"}),
            )],
            "in the clear",
        ),
        (
            vec![json!({"name": "p", "mode": "AK", "access_key_secret": 7})],
            "not the JSON of aliyun-cli (Data",
        ),
    ] {
        let refusal = parse(&profiles).unwrap_err();
        assert!(refusal.contains(reason), "{refusal}");
        assert!(!refusal.contains("planted"), "{refusal}");
    }
}

#[test]
fn keys_that_the_cli_has_cached_are_passed_through_until_they_expire() {
    let at = |seconds: i64| (noon().wall + chrono::TimeDelta::seconds(seconds)).timestamp();
    for mode in ["CloudSSO", "OAuth"] {
        let cached = |expiration: i64| {
            let rest = json!({
                "access_key_id": "STS.a", "access_key_secret": "planted", "sts_token": "t",
                "sts_expiration": expiration,
            });
            let text = json!({"current": "p", "profiles": [profile("p", mode, &rest)]}).to_string();
            Profile::new(File::new("/x".into()), None, defaults()).parse(&text, noon())
        };
        let (content, roles) = cached(at(3600)).unwrap();
        let Content::Proof(Proof::Lease(lease)) = content else {
            panic!("{content:?}");
        };
        assert_eq!(lease.credentials.expires_at.timestamp(), at(3600));
        assert!(roles.is_empty());
        let failure = cached(at(-1)).unwrap_err();
        assert_eq!(failure.code.as_str(), "ExpiredAnswer");
        assert_eq!(failure.class, FailureClass::Persistent);
        assert!(
            failure.advice.contains("let aliyun-cli renew")
                && failure.advice.contains("--profile p"),
            "{failure}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_stays_unreadable_persists_and_one_that_is_being_written_is_awaited() {
    let path = crate::testing::directory("profile").join("config.json");
    let rest = json!({"access_key_id": "LTAI", "access_key_secret": "s"});
    let whole = json!({"current": "p", "profiles": [profile("p", "AK", &rest)]}).to_string();
    for begun in [None, Some(""), Some("{"), Some(&whole[..40])] {
        let _ = std::fs::remove_file(&path);
        if let Some(text) = begun {
            std::fs::write(&path, text).unwrap();
        }
        let mut profile = Profile::new(File::new(path.clone()), None, defaults());
        let failure = profile.resolve(&Clock::machine()).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Persistent, "{failure}");
        assert!(failure.advice.contains("aliyun configure"), "{failure}");

        let written = async {
            tokio::time::sleep(WRITE_TIME / 2).await;
            std::fs::write(&path, &whole).unwrap();
        };
        let clock = Clock::machine();
        let (resolved, ()) = tokio::join!(profile.resolve(&clock), written);
        assert!(resolved.is_ok(), "{begun:?}");
    }
}
