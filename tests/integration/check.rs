//! `check`: what it finds, what it says, and what it leaves alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ram_sidecar::sandbox::Sandbox;
use ram_sidecar::time::clock::Clock;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, check, on_terminal};
use crate::upstream::{beside, sts};

/// Runs it beside `sts` with an AccessKey, where it may block.
fn beside_sts(sts: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let (role, endpoint) = (sts.role_arn(), sts.endpoint());
    let (id, secret) = (sts.access_key_id(), sts.access_key_secret());
    let own = [
        ("ALIBABA_CLOUD_ROLE_ARN", role.as_str()),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", &id),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.expose_secret()),
    ];
    check(args, &[&own, env].concat())
}

fn json(report: &str) -> Value {
    serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_shows_findings_and_credentials_but_no_secret() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let file = scratch.join("credentials");
    let args = [
        "--file",
        file.to_str().unwrap(),
        "--key",
        "planted-key-of-the-uri",
    ];
    let env = [
        ("RAM_SIDECAR_IDENTITY", "access_key"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/t"),
        (
            "RAM_SIDECAR_POLICY",
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*"}]}"#,
        ),
    ];
    let (code, report) = beside_sts(&sts, &args, &env);
    assert_eq!(code, Some(0), "{report}");
    for part in [
        "✓ role.arn                    acs:ram::1234567890123456:role/sandbox-role  (ALIBABA_CLOUD_ROLE_ARN)",
        "✓ identity.access_key_secret  (set, not shown)  (ALIBABA_CLOUD_ACCESS_KEY_SECRET)",
        "✓ serve.key                   (set, not shown)  (--key)",
        "✓ access_key                  configured by ALIBABA_CLOUD_ACCESS_KEY_ID, used",
        "! oidc                        configured by ALIBABA_CLOUD_OIDC_TOKEN_FILE, not used",
        "✓ caller                      acs:ram::1234567890123456:user/sandbox-user, account 1234567890123456",
        "  session policy              {\"",
        " ms for the last call",
        "✓ clock                       agrees with that of STS",
        "✓ AccessKeyId                 STS.Sandbox",
        "  ARN                         acs:ram::1234567890123456:assumed-role/sandbox-role/",
        "\n✓ Credentials were obtained",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
    assert!(
        !report.contains("planted") && !report.contains('\u{1b}'),
        "{report}"
    );
    assert!(!file.exists(), "it changes nothing");
    assert!(!report.contains("role.duration"), "a default\n{report}");
    let args = [&args[..], &["--verbose"]].concat();
    let (_, report) = beside_sts(&sts, &args, &env);
    let line = report.lines().find(|line| line.contains("role.duration"));
    let line = line.unwrap_or_else(|| panic!("--verbose shows defaults\n{report}"));
    assert!(line.ends_with(" 1h  (default)"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_is_the_message_that_the_daemon_logs() {
    let sts = sts().await;
    sts.permit_assume_role(&sts.user_arn(), false);
    let (code, report) = beside_sts(&sts, &["--json"], &[]);
    assert_eq!(code, Some(69), "{report}");
    let report = json(&report);
    assert_eq!(report["good"], false);
    assert_eq!(
        (&report["stage"], &report["code"]),
        (&"sts".into(), &"NoPermission".into())
    );
    let told = report["verdict"][0].as_str().unwrap();
    let id = report["request_id"].as_str().unwrap();
    let without_id = |sentence: &str, id: &str| sentence.replace(id, "");

    let reply = beside(&sts, &[], &[]).credentials();
    let sentence = reply.text("Message");
    let other_id = sentence
        .rsplit_once("RequestId ")
        .unwrap()
        .1
        .trim_end_matches(')');
    assert_eq!(without_id(told, id), without_id(&sentence, other_id));
    assert_ne!(id, other_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_shows_claims_of_the_token_but_not_the_token() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let file = scratch.join("token");
    let token = sts.oidc_token(
        "system:serviceaccount:a:b",
        "other-audience",
        std::time::Duration::from_secs(600),
    );
    fs::write(&file, &token).unwrap();
    let (role, endpoint, provider) = (sts.role_arn(), sts.endpoint(), sts.oidc_provider_arn());
    let env = [
        ("ALIBABA_CLOUD_ROLE_ARN", role.as_str()),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", &provider),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let (code, report) = check(&[], &env);
    assert_eq!(code, Some(69), "{report}");
    let claims = "iss https://oidc.sandbox.invalid, aud other-audience, sub system:serviceaccount:a:b, exp 20";
    assert_eq!(
        report.matches(claims).count(),
        2,
        "as found, and in the diagnosis\n{report}"
    );
    assert!(
        report.contains("\n✗ AssumeRoleWithOIDC at 127.0.0.1:"),
        "{report}"
    );
    assert!(report.contains("\n  ✗ role "), "{report}");
    assert!(
        report.contains("was refused with AuthenticationFail.OIDCToken.AudienceNotMatch"),
        "{report}"
    );
    for part in token.split('.') {
        assert!(!report.contains(part), "{report}");
    }
}

#[test]
fn the_report_and_the_log_name_what_other_users_can_change() {
    let scratch = Scratch::new();
    let (config, programs) = (scratch.join("config.toml"), scratch.join("programs"));
    fs::write(&config, "").unwrap();
    fs::create_dir(&programs).unwrap();
    let expected = |what: &str, mode: &str| {
        format!(
            "Other users can change {what}, and with it the role or the programs of this process: every user can write {mode}; let only root and user "
        )
    };
    let of_program = |path: &Path| {
        let (program, directory) = (path.join("printer"), path.display());
        let what = format!("the program for credentials {}", program.display());
        expected(&what, &format!("{directory} (mode 0777)"))
    };
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let file = config.to_str().unwrap();
    let printer = programs.join("printer");
    fs::write(&printer, "").unwrap();
    let env = [("RAM_SIDECAR_COMMAND", printer.to_str().unwrap())];
    let (_, report) = check(&["--config", file], &env);
    assert!(!report.contains("Other users"), "{report}");

    set(&config, 0o666);
    set(&programs, 0o777);
    let (_, report) = check(&["--config", file], &env);
    let of_config = expected(
        &format!("the configuration {file}"),
        &format!("{file} (mode 0666)"),
    );
    for part in [&of_config, &of_program(&programs)] {
        assert!(report.contains(part), "{part}\n{report}");
    }
    let args = [&LISTEN[..], &["--sandbox", "--config", file]].concat();
    Daemon::spawn(&args, &[]).logged(&of_config);
}

#[test]
fn configuration_mistakes_become_the_verdict() {
    let (code, report) = check(&["--json", "--drain", "x"], &[("RAM_SIDECAR_LOG", "loud")]);
    assert_eq!(code, Some(69));
    let report = json(&report);
    assert_eq!(report["stage"], "configuration");
    let verdict: Vec<&str> = report["verdict"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    assert!(
        verdict.iter().any(|told| told.starts_with("--drain: `x`")),
        "{verdict:?}"
    );
    assert!(
        verdict
            .iter()
            .any(|told| told.starts_with("role.arn: no role is given")),
        "{verdict:?}"
    );
    assert!(
        verdict
            .iter()
            .any(|told| told.starts_with("RAM_SIDECAR_LOG: `loud`")),
        "{verdict:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_sts_refuses_fail_the_check() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let script = scratch.join("script");
    let printed = r#"{"AccessKeyId":"STS.Unknown","AccessKeySecret":"planted-secret","SecurityToken":"CAISplanted","Expiration":"2999-01-01T00:00:00Z"}"#;
    fs::write(&script, format!("echo '{printed}'")).unwrap();
    let command = format!(r#"["/bin/sh", "{}"]"#, script.display());
    let endpoint = sts.endpoint();
    let env = [
        ("RAM_SIDECAR_COMMAND", command.as_str()),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
    ];
    let (code, report) = check(&[], &env);
    assert_eq!(code, Some(69), "{report}");
    assert!(report.contains("InvalidAccessKeyId.NotFound"), "{report}");
    assert!(!report.contains("planted"), "{report}");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    let env = [
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", "planted-secret"),
        (
            "ALIBABA_CLOUD_STS_ENDPOINT",
            "me:planted-word@sts.aliyuncs.com",
        ),
        (
            "RAM_SIDECAR_COMMAND",
            r#"["helper", "--password", "planted"]"#,
        ),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", "https://example/planted"),
    ];
    for args in [&[][..], &["--json"]] {
        let (code, report) = check(args, &env);
        assert_eq!(code, Some(69));
        assert!(!report.contains("planted"), "{report}");
    }
}

#[test]
fn the_sandbox_and_a_job_without_a_role_can_be_checked() {
    let (code, report) = check(&["--sandbox"], &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("valid nowhere else"), "{report}");
    let (code, report) = check(&["--role-preset", "none"], &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("This job has no role"), "{report}");
}

#[test]
fn clock_warns_beyond_30_seconds_and_fails_from_15_minutes_on() {
    for (skew, code, mark) in [
        ("20s", 0, "✓ clock"),
        ("40s", 0, "! clock"),
        ("-40s", 0, "! clock"),
        ("16m", 69, "✗ clock"),
        ("-16m", 69, "✗ clock"),
    ] {
        let fault = format!("skew={skew}");
        let (actual, report) = check(&["--sandbox", "--fault", &fault], &[]);
        assert_eq!(actual, Some(code), "{skew}\n{report}");
        assert!(report.contains(mark), "{skew}\n{report}");
        assert_eq!(report.contains("set it (NTP)"), skew != "20s", "{report}");
        assert_eq!(report.contains("✗ The clock"), code == 69, "{report}");
    }
}

#[test]
fn colours_are_for_terminals_that_allow_them() {
    for (env, has_colour) in [
        (&[][..], true),
        (&[("NO_COLOR", "")], true),
        (&[("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let Some(printed) = on_terminal("check --role-preset none", env) else {
            return;
        };
        assert_eq!(printed.contains('\u{1b}'), has_colour, "{env:?} {printed}");
        let mark = "\u{1b}[32m✓\u{1b}[0m This job has no role";
        assert_eq!(printed.contains(mark), has_colour, "{env:?} {printed}");
    }
}

#[test]
fn terminal_shows_that_the_attempt_is_under_way() {
    let slow = "check --sandbox --fault latency=2500ms";
    let Some(printed) = on_terminal(slow, &[]) else {
        return;
    };
    let (progress, report) = printed.split_once("Identity").expect("a report");
    assert!(
        progress.contains("Obtaining credentials (1 s)"),
        "{progress}"
    );
    assert!(!report.contains("Obtaining"), "{report}");
    assert!(
        !on_terminal(slow, &[("TERM", "dumb")])
            .unwrap()
            .contains("Obtaining")
    );
}

#[test]
fn an_endpoint_that_did_not_answer_is_not_timed() {
    let scratch = Scratch::new();
    let config = scratch.join("config.json");
    let end = Clock::machine().now().wall.timestamp() + 600;
    let profile = serde_json::json!({"current": "sso", "profiles": [{
        "name": "sso", "mode": "CloudSSO", "access_key_id": "STS.a", "access_key_secret": "planted-secret",
        "sts_token": "planted-token", "sts_expiration": end,
    }]});
    fs::write(&config, profile.to_string()).unwrap();
    let own = [
        ("ALIBABA_CLOUD_CONFIG_FILE", config.to_str().unwrap()),
        ("ALIBABA_CLOUD_STS_ENDPOINT", "http://127.0.0.1:1"),
    ];
    let (code, report) = check(&["--identity", "profile"], &own);
    assert_eq!(code, Some(0), "{report}");
    for part in [
        "! endpoint               127.0.0.1:1, did not answer, and is not needed",
        "nothing renews them by itself; let aliyun-cli renew the keys of this CloudSSO profile",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
    let role = [(
        "ALIBABA_CLOUD_ROLE_ARN",
        "acs:ram::1234567890123456:role/job",
    )];
    let (code, report) = check(&["--identity", "profile"], &[&own[..], &role].concat());
    assert_eq!(code, Some(69), "{report}");
    assert!(report.contains("127.0.0.1:1, did not answer\n"), "{report}");
    assert!(!report.contains(" ms "), "{report}");
}

#[test]
fn an_identity_beside_the_sandbox_is_unused_for_a_reason() {
    let own = [("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIexample")];
    let (code, report) = check(&["--sandbox", "--fault", "skew=20m"], &own);
    assert_eq!(code, Some(69), "{report}");
    for part in [
        "configured by ALIBABA_CLOUD_ACCESS_KEY_ID, not used: --sandbox has its own",
        "  20 min behind that of STS",
        "The clock of this machine is 20 min behind that of STS",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
}

#[test]
fn a_proxy_that_no_credentials_need_is_a_warning() {
    let daemon = crate::serving::sandbox(&[], &[]);
    let uri = daemon.uri();
    let env = [
        ("RAM_SIDECAR_IDENTITY", "credentials_uri"),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", &*uri),
        ("ALL_PROXY", "socks5h://me:planted-word@proxy:1080"),
    ];
    let (code, report) = check(&LISTEN, &env);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("! ALL_PROXY: its scheme"), "{report}");
    // STS would be called past the proxy.
    assert!(!report.contains("endpoint"), "{report}");
    assert!(!report.contains("planted"), "{report}");
    let role = [
        &env[..],
        &[("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job")],
    ]
    .concat();
    let (code, report) = check(&LISTEN, &role);
    assert_eq!(code, Some(69), "{report}");
    assert!(report.contains("✗ ALL_PROXY: its scheme"), "{report}");
}

#[test]
fn clients_that_a_command_of_exec_would_lead_elsewhere_are_told() {
    let home = Scratch::new();
    let home = home.path().to_str().unwrap();
    let aws = [
        ("AWS_ACCESS_KEY_ID", "AKIAx"),
        ("AWS_SECRET_ACCESS_KEY", "planted"),
    ];
    let oss = [
        ("OSS_ACCESS_KEY_ID", "LTAIx"),
        ("OSS_ACCESS_KEY_SECRET", "planted"),
    ];
    for (args, env, client) in [
        (&["--sandbox"][..], &aws[..0], None),
        (&["--sandbox"], &aws, None),
        (&["--sandbox", "--container"], &aws, Some("boto3")),
        (&["--sandbox"], &oss, Some("oss2")),
    ] {
        let (code, report) = check(args, &[&[("HOME", home)], env].concat());
        assert_eq!(code, Some(0), "{report}");
        let told = "A command of exec would not get these credentials by";
        assert_eq!(report.contains(told), client.is_some(), "{report}");
        assert!(
            client.is_none_or(|client| report.contains(client)),
            "{report}"
        );
    }
}
