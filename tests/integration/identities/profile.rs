//! The identity `profile`: a profile of aliyun-cli.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::SystemTime;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use ram_sidecar::credentials::timestamp;
use ram_sidecar::sandbox::Sandbox;
use secrecy::ExposeSecret as _;
use serde::Serialize as _;
use serde_json::{Serializer, Value, json, ser::PrettyFormatter};

use crate::http;
use crate::identities::{HOUR, Planted, daemon, failing, fresh, refused, second_role, served_role};
use crate::stubs::{Reply, Stub, now};
use crate::support::{Daemon, Scratch, eventually};
use crate::upstream::{beside, renew_until, sts};

/// A home directory with a file of aliyun-cli. On drop, it asserts that the daemon has not written the file.
struct Home {
    scratch: Scratch,
    expected: Mutex<(Vec<u8>, SystemTime)>,
}

impl Home {
    fn new(current: &str, profiles: &[Value]) -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join(".aliyun")).unwrap();
        let expected = Mutex::new((Vec::new(), SystemTime::UNIX_EPOCH));
        let home = Self { scratch, expected };
        home.write(current, profiles);
        home
    }

    fn file(&self) -> PathBuf {
        self.scratch.join(".aliyun/config.json")
    }

    /// Writes the file as aliyun-cli does it: indented by tabs.
    fn write(&self, current: &str, profiles: &[Value]) {
        let config = json!({"current": current, "profiles": profiles, "meta_path": ""});
        let mut text = Vec::new();
        let mut serializer =
            Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
        config.serialize(&mut serializer).unwrap();
        self.put(&text);
    }

    fn put(&self, text: &[u8]) {
        let next = self.scratch.join("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.file()).unwrap();
        *self.expected.lock().unwrap() = self.state();
    }

    fn state(&self) -> (Vec<u8>, SystemTime) {
        let changed_at = fs::metadata(self.file()).unwrap().modified().unwrap();
        (fs::read(self.file()).unwrap(), changed_at)
    }

    /// Starts a daemon that finds the file through `HOME`, and that must not print its secrets.
    fn daemon(&self, sts: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> Daemon {
        let home = self.scratch.path().to_str().unwrap();
        let settings = [("HOME", home), ("RAM_SIDECAR_IDENTITY", "profile")];
        let daemon = daemon(sts, args, &[&settings, env].concat());
        let config: Value = serde_json::from_slice(&self.state().0).unwrap();
        for profile in config["profiles"].as_array().unwrap() {
            for name in ["access_key_secret", "sts_token"] {
                if let Some(secret) = profile[name].as_str().filter(|text| !text.is_empty()) {
                    daemon.plant(secret);
                }
            }
        }
        daemon
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let beside: Vec<_> = fs::read_dir(self.scratch.join(".aliyun"))
                .unwrap()
                .collect();
            assert_eq!(beside.len(), 1, "a file was created: {beside:?}");
            let expected = self.expected.lock().unwrap();
            assert!(*expected == self.state(), "the file was written");
        }
    }
}

/// Returns a profile with every field that any version of aliyun-cli writes, empty unless it is in `rest`.
fn profile(name: &str, mode: &str, rest: &Value) -> Value {
    let mut profile = json!({
        "name": name, "mode": mode, "region_id": "cn-hangzhou", "output_format": "json",
        "language": "en", "expired_seconds": 0, "retry_timeout": 0, "connect_timeout": 0,
        "retry_count": 0, "cloud_sso_access_token_expire": 0, "sts_expiration": 0,
        "oauth_access_token_expire": 0, "oauth_refresh_token_expire": 0,
        "auto_plugin_install": false, "auto_plugin_install_enable_pre": false,
    });
    for field in [
        "access_key_id",
        "access_key_secret",
        "sts_token",
        "sts_region",
        "ram_role_name",
        "ram_role_arn",
        "ram_session_name",
        "external_id",
        "source_profile",
        "private_key",
        "key_pair_name",
        "verified",
        "site",
        "process_command",
        "credentials_uri",
        "oidc_provider_arn",
        "oidc_token_file",
        "cloud_sso_sign_in_url",
        "access_token",
        "cloud_sso_access_config",
        "cloud_sso_account_id",
        "oauth_access_token",
        "oauth_refresh_token",
        "oauth_site_type",
        "endpoint_type",
        "endpoint",
        "external_account_type",
        "bearer_token",
        "bearer_token_header_key",
    ] {
        profile[field] = json!("");
    }
    for (field, value) in rest.as_object().unwrap() {
        profile[field] = value.clone();
    }
    profile
}

/// Returns a profile of the RAM user's AccessKey.
fn ak(sts: &Sandbox, name: &str) -> Value {
    profile(name, "AK", &keys(sts))
}

fn keys(sts: &Sandbox) -> Value {
    let key = sts.access_key();
    json!({"access_key_id": key.id, "access_key_secret": key.secret.expose_secret()})
}

/// Returns a profile of the RAM user's AccessKey and the role that it assumes.
fn assuming(sts: &Sandbox, name: &str) -> Value {
    let mut profile = profile(name, "RamRoleArn", &keys(sts));
    profile["ram_role_arn"] = json!(sts.role_arn());
    profile["ram_session_name"] = json!("from-profile");
    profile["expired_seconds"] = json!(900);
    profile
}

fn chained(name: &str, source: &str, role: &str) -> Value {
    let rest =
        json!({"source_profile": source, "ram_role_arn": role, "ram_session_name": "chained"});
    profile(name, "ChainableRamRoleArn", &rest)
}

/// Returns a profile of temporary credentials.
fn sts_token(credentials: &http::Reply, expiration: i64) -> Value {
    let rest = json!({
        "access_key_id": credentials.text("AccessKeyId"),
        "access_key_secret": credentials.text("AccessKeySecret"),
        "sts_token": credentials.text("SecurityToken"),
        "sts_expiration": expiration,
    });
    profile("default", "StsToken", &rest)
}

fn end(credentials: &http::Reply) -> i64 {
    let end: DateTime<Utc> = credentials.text("Expiration").parse().unwrap();
    end.timestamp()
}

#[tokio::test(flavor = "multi_thread")]
async fn ak_assumes_the_role_and_is_never_served() {
    let sts = sts().await;
    let role = sts.role_arn();
    let mut profile = ak(&sts, "default");
    // `aliyun configure` leaves the fields of an earlier mode behind.
    profile["sts_token"] = json!("CAISplantedAndStale");
    profile["sts_expiration"] = json!(1_700_000_000);
    let home = Home::new("default", &[profile]);
    let with_role = home.daemon(&sts, &["--role-arn", &role], &[]);
    assert_eq!(served_role(&sts, &with_role), role);
    refused(&home.daemon(&sts, &[], &[]), "IdentityNotTemporary");
}

#[tokio::test(flavor = "multi_thread")]
async fn sts_token_is_passed_through_only_with_an_expiry_and_assumes_a_role_with_or_without() {
    let sts = sts().await;
    let first = beside(&sts, &[], &[]);
    first.uri();
    let credentials = first.credentials();
    let role = second_role(&sts);
    for expiration in [0, end(&credentials)] {
        let home = Home::new("default", &[sts_token(&credentials, expiration)]);
        let with_role = home.daemon(&sts, &["--role-arn", &role], &[]);
        assert_eq!(served_role(&sts, &with_role), role);
        let without = home.daemon(&sts, &[], &[]);
        if expiration == 0 {
            refused(&without, "IdentityNotTemporary");
            continue;
        }
        without.uri();
        let served = without.credentials();
        for name in ["AccessKeyId", "SecurityToken", "Expiration"] {
            assert_eq!(served.text(name), credentials.text(name));
        }
    }

    let expired = (now() - TimeDelta::minutes(1)).timestamp();
    let home = Home::new("default", &[sts_token(&credentials, expired)]);
    let message = refused(&home.daemon(&sts, &[], &[]), "ExpiredAnswer");
    assert!(
        message.contains(
            "the profile default returned credentials that have expired, or do so within a second"
        ),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ram_role_arn_is_passed_through_or_assumes_the_configured_role() {
    let sts = sts().await;
    let home = Home::new("default", &[assuming(&sts, "default")]);
    let without = home.daemon(&sts, &[], &[]);
    assert_eq!(served_role(&sts, &without), sts.role_arn());
    let issued = sts
        .issued(&without.credentials().text("AccessKeyId"))
        .unwrap();
    assert_eq!(issued.session_name, "from-profile");
    // The expiry has whole seconds.
    let seconds = (issued.expires_at - issued.issued_at).num_seconds();
    assert!((899..=900).contains(&seconds), "{seconds}");

    let role = second_role(&sts);
    let with_role = home.daemon(&sts, &["--role-arn", &role], &[]);
    assert_eq!(served_role(&sts, &with_role), role);
}

#[tokio::test(flavor = "multi_thread")]
async fn chained_profiles_assume_their_roles_in_turn_and_a_failure_names_the_hop() {
    let sts = sts().await;
    let role = second_role(&sts);
    let profiles = [
        assuming(&sts, "first"),
        chained("second", "first", &role),
        ak(&sts, "other"),
    ];
    let home = Home::new("second", &profiles);
    let daemon = home.daemon(&sts, &[], &[]);
    assert_eq!(served_role(&sts, &daemon), role);

    let first = sts.role_arn();
    sts.permit_assume_role(&sts.user_arn(), false);
    let sentence = failing(&daemon, "NoPermission");
    let start = format!("at hop 1 of 2, {first}: AssumeRole at 127.0.0.1:");
    assert!(sentence.starts_with(&start), "{sentence}");

    sts.permit_assume_role(&sts.user_arn(), true);
    sts.permit_assume_role(&first, false);
    fails_with(&daemon, &format!("at hop 2 of 2, {role}: "));
    sts.permit_assume_role(&first, true);
    fresh(&daemon);
}

/// Renews until an attempt fails with a message that begins with `start`.
fn fails_with(daemon: &Daemon, start: &str) {
    renew_until(daemon, start, |ready| {
        ready.body.contains(&format!("\"Message\":\"{start}"))
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ecs_ram_role_calls_the_metadata_service() {
    let sts = sts().await;
    let first = beside(&sts, &[], &[]);
    first.uri();
    let credentials = first.credentials();
    let body = credentials.body.clone();
    let metadata = Stub::start(move |request| {
        let body = match (request.method.as_str(), request.path.as_str()) {
            ("PUT", "/latest/api/token") => "token".to_owned(),
            ("GET", "/latest/meta-data/ram/security-credentials/") => "node-role".to_owned(),
            ("GET", "/latest/meta-data/ram/security-credentials/node-role") => body.clone(),
            _ => {
                return Reply {
                    status: StatusCode::NOT_FOUND,
                    ..Reply::accepted("text/plain", String::new())
                };
            }
        };
        Reply::accepted("text/plain", body)
    });
    let endpoint = metadata.endpoint();
    let env = [("ALIBABA_CLOUD_IMDS_ENDPOINT", endpoint.as_str())];
    let role = second_role(&sts);
    for name in ["", "node-role"] {
        let rest = json!({ "ram_role_name": name });
        let home = Home::new("default", &[profile("default", "EcsRamRole", &rest)]);
        let without = home.daemon(&sts, &[], &env);
        without.uri();
        assert_eq!(
            without.credentials().text("AccessKeyId"),
            credentials.text("AccessKeyId")
        );
        let with_role = home.daemon(&sts, &["--role-arn", &role], &env);
        assert_eq!(served_role(&sts, &with_role), role);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_assumes_the_role_of_the_profile_and_then_the_configured_role() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let token = sts.oidc_token("system:serviceaccount:a:b", "sts.aliyuncs.com", HOUR);
    fs::write(scratch.join("token"), &token).unwrap();
    let rest = json!({
        "oidc_provider_arn": sts.oidc_provider_arn(), "oidc_token_file": scratch.join("token"),
        "ram_role_arn": sts.role_arn(), "ram_session_name": "from-profile",
    });
    let home = Home::new("default", &[profile("default", "OIDC", &rest)]);
    let without = home.daemon(&sts, &[], &[]);
    without.plant(&token);
    assert_eq!(served_role(&sts, &without), sts.role_arn());
    let role = second_role(&sts);
    let with_role = home.daemon(&sts, &["--role-arn", &role], &[]);
    with_role.plant(&token);
    assert_eq!(served_role(&sts, &with_role), role);
}

#[tokio::test(flavor = "multi_thread")]
async fn external_command_is_split_like_in_aliyun_cli() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let planted = Planted::new();
    let script = scratch.join("my script");
    let body = format!(
        "[ \"$1\" = 'two words' ] || exit 9\ncat <<'END'\n{}\nEND\n",
        planted.pascal()
    );
    fs::write(&script, body).unwrap();
    let command = format!("/bin/sh '{}' \"two words\"", script.display());
    let rest = json!({ "process_command": command });
    let home = Home::new("default", &[profile("default", "External", &rest)]);
    let daemon = home.daemon(&sts, &[], &[]);
    daemon.uri();
    planted.assert_served(&daemon.credentials());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_uri_calls_the_other_server() {
    let sts = sts().await;
    let first = beside(&sts, &[], &[]);
    let rest = json!({"credentials_uri": first.uri()});
    let home = Home::new("default", &[profile("default", "CredentialsURI", &rest)]);
    let without = home.daemon(&sts, &[], &[]);
    assert_eq!(served_role(&sts, &without), sts.role_arn());
    let role = second_role(&sts);
    let with_role = home.daemon(&sts, &["--role-arn", &role], &[]);
    assert_eq!(served_role(&sts, &with_role), role);
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_name_the_file_and_the_profile() {
    let sts = sts().await;
    let home = Home::new("other", &[ak(&sts, "other"), assuming(&sts, "named")]);
    let file = home.file();
    let named = [("ALIBABA_CLOUD_PROFILE", "named")];
    let by_home = home.daemon(&sts, &[], &named);
    assert_eq!(served_role(&sts, &by_home), sts.role_arn());

    let file = [("ALIBABA_CLOUD_CONFIG_FILE", file.to_str().unwrap())];
    let by_file = daemon(&sts, &[], &[file, named].concat());
    assert_eq!(served_role(&sts, &by_file), sts.role_arn());
    let current = daemon(&sts, &[], &file);
    refused(&current, "IdentityNotTemporary");
}

#[tokio::test(flavor = "multi_thread")]
async fn file_without_empty_fields_is_read() {
    let sts = sts().await;
    let mut profile = keys(&sts);
    profile["name"] = json!("default");
    profile["mode"] = json!("RamRoleArn");
    profile["ram_role_arn"] = json!(sts.role_arn());
    let home = Home::new("default", &[profile]);
    let daemon = home.daemon(&sts, &[], &[]);
    assert_eq!(served_role(&sts, &daemon), sts.role_arn());
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_file_is_explained_and_recovery_needs_no_restart() {
    let sts = sts().await;
    let cycle = [
        chained("a", "b", &sts.role_arn()),
        chained("b", "a", &sts.role_arn()),
    ];
    let home = Home::new("a", &cycle);
    let daemon = home.daemon(&sts, &[], &[]);
    let message = refused(&daemon, "ProfileUnusable");
    let file = home.file();
    let file = file.to_str().unwrap();
    for part in [file, "form a cycle: a → b → a", "aliyun configure"] {
        assert!(message.contains(part), "{part}: {message}");
    }

    home.write("a", &[assuming(&sts, "a")]);
    daemon.signal("HUP");
    assert_eq!(served_role(&sts, &daemon), sts.role_arn());

    home.put(b"{\"current\": \"a\", \"profiles\": [PlantedSecret1");
    daemon.plant("PlantedSecret1");
    let sentence = failing(&daemon, "ProfileUnusable");
    assert!(sentence.contains("Syntax at line 1"), "{sentence}");
    assert_eq!(daemon.credentials().status, 200);

    home.write("gone", &[assuming(&sts, "a")]);
    let start = format!("cannot use {file}: it has no profile `gone`, only a");
    fails_with(&daemon, &start);
    home.write("a", &[assuming(&sts, "a")]);
    fresh(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_token_replaces_the_previous_one() {
    let sts = sts().await;
    let first = beside(&sts, &[], &[]);
    first.uri();
    let before = first.credentials();
    let home = Home::new("default", &[sts_token(&before, end(&before))]);
    let daemon = home.daemon(&sts, &[], &[]);
    daemon.uri();
    let planted = Planted {
        expires_at: timestamp(now() + TimeDelta::hours(2)),
        ..Planted::new()
    };
    let rest = json!({
        "access_key_id": planted.id, "access_key_secret": planted.secret,
        "sts_token": planted.token,
        "sts_expiration": planted.expires_at.parse::<DateTime<Utc>>().unwrap().timestamp(),
    });
    home.write("default", &[profile("default", "StsToken", &rest)]);
    daemon.signal("HUP");
    eventually("the new token is served", || {
        (daemon.credentials().text("AccessKeyId") == planted.id).then_some(())
    });
    planted.assert_served(&daemon.credentials());
}

#[test]
fn a_file_that_is_not_one_of_profiles_is_not_asked_for_a_key() {
    let scratch = Scratch::new();
    let file = scratch.join("config.json");
    let utf16: Vec<u8> = "{\"current\": \"default\"}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (text, reason) in [
        (&b""[..], "it is empty"),
        (&utf16, "not the JSON of aliyun-cli"),
        (&[0xff, 0xfe, b'{', 0], "it is not UTF-8 text"),
        (
            b"{\"current\": \"default\", \"profiles\": []}",
            "it contains no profiles",
        ),
    ] {
        fs::write(&file, text).unwrap();
        assert_profile_advice(&file, reason);
    }
    fs::remove_file(&file).unwrap();
    assert_profile_advice(&file, "No such file");
    fs::create_dir(&file).unwrap();
    assert_profile_advice(&file, "not a regular file");
}

fn assert_profile_advice(file: &std::path::Path, reason: &str) {
    let environment = [
        ("RAM_SIDECAR_IDENTITY", "profile"),
        ("ALIBABA_CLOUD_CONFIG_FILE", file.to_str().unwrap()),
        (
            "ALIBABA_CLOUD_ROLE_ARN",
            "acs:ram::1234567890123456:role/job",
        ),
    ];
    let (code, report) = crate::support::check(&[], &environment);
    assert_eq!(code, Some(69), "{report}");
    assert!(
        report.contains(reason)
            && report.contains("aliyun configure")
            && !report.contains("exactly one key"),
        "{report}"
    );
}
