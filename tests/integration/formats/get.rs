//! The output of `get`, and its errors.

use super::*;
use crate::support::unused_address;

const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// Prints with `get`, which must succeed without messages.
fn printed(args: &[&str], env: &[(&str, &str)]) -> String {
    let Ended {
        code,
        stdout,
        stderr,
    } = run_command("get", args, env);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    stdout
}

#[test]
fn get_prints_what_the_files_hold_and_the_uri_serves() {
    for format in ["json", "json-camel", "aliyun-cli", "ini", "aws"] {
        let rig = Rig::start(format);
        let mut current = rig.settled();
        for _ in 0..2 {
            let text = printed(&["--format", format, "--from", &rig.daemon.uri()], &[]);
            let file = fs::read_to_string(&rig.target).unwrap();
            assert_eq!(text, file.trim_end(), "{format}");
            if format == "json" {
                assert_eq!(text, rig.daemon.credentials().body);
            }
            current = rig.rotated(&current);
        }
    }
}

#[test]
fn get_prints_every_spelling_for_credential_processes_and_json_by_default() {
    let daemon = Daemon::spawn(&[&["--sandbox"], &LISTEN[..]].concat(), &[]);
    let uri = daemon.uri();
    let served: Value = serde_json::from_str(&daemon.credentials().body).unwrap();
    let text = printed(&["--format", "process", "--from", &uri], &[]);
    let process: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(triple(&process), triple(&served));
    assert_eq!(process["Expiration"], served["Expiration"]);
    for (snake, pascal) in [
        ("access_key_id", "AccessKeyId"),
        ("access_key_secret", "AccessKeySecret"),
        ("sts_token", "SecurityToken"),
        ("expiration", "Expiration"),
        ("SecretAccessKey", "AccessKeySecret"),
        ("SessionToken", "SecurityToken"),
    ] {
        assert_eq!(process[snake], served[pascal], "{snake}");
    }
    assert_eq!(process["mode"], "StsToken");
    assert_eq!(process["Version"], 1);

    let by_default = printed(&[], &[(URI, &uri)]);
    assert_eq!(by_default, daemon.credentials().body);
    // The flag overrides the variable.
    let wrong = "http://10.0.0.1/somewhere";
    assert_eq!(printed(&["--from", &uri], &[(URI, wrong)]), by_default);
}

#[test]
fn a_shell_evaluates_what_get_prints() {
    let daemon = Daemon::spawn(&[&["--sandbox"], &LISTEN[..]].concat(), &[]);
    let uri = daemon.uri();
    let served: Value = serde_json::from_str(&daemon.credentials().body).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "eval \"$(\"$0\" get --format env)\" && env"])
        .arg(PROGRAM)
        .env_clear()
        .env(URI, uri)
        .envs(environment("PATH").map(|path| ("PATH", path)));
    let output = finished(&mut shell);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let exported = String::from_utf8(output.stdout).unwrap();
    let exported = variables(exported.lines());
    assert_eq!(read_variables(&exported), triple(&served));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_override_the_uri_variable_and_get_assumes_the_role() {
    let sts = sts().await;
    let nobody = Stub::start(|_| Reply::accepted("application/json", "{}".to_owned()));
    let uri = nobody.endpoint();
    let (endpoint, role) = (sts.endpoint(), sts.role_arn());
    let (key_id, secret) = (sts.access_key_id(), sts.access_key_secret());
    let scratch = Scratch::new();
    let file = scratch.join("config.toml");
    fs::write(&file, format!("[sts]\nendpoint = [\"{endpoint}\"]\n")).unwrap();
    for flags in [
        ["--sts-endpoint", &endpoint],
        ["--config", file.to_str().unwrap()],
    ] {
        let env = [
            ("ALIBABA_CLOUD_ROLE_ARN", role.as_str()),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", &key_id),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.expose_secret()),
            (URI, &uri),
        ];
        let Ended {
            code,
            stdout,
            stderr,
        } = run_command("get", &flags, &env);
        assert_eq!(code, Some(0), "{stderr}");
        let credentials: Value = serde_json::from_str(&stdout).unwrap();
        let issued = sts.issued(&id(&credentials)).expect("it is of this STS");
        let (secret, token) = (
            issued.access_key_secret.expose_secret(),
            issued.security_token.expose_secret(),
        );
        assert_eq!(credentials["AccessKeySecret"], *secret);
        assert_eq!(credentials["SecurityToken"], *token);
        assert!(
            !stderr.contains(secret) && !stderr.contains(token),
            "{stderr}"
        );
    }
    assert_eq!(nobody.accepted(), Vec::<String>::new());
    assert_eq!(sts.request_count(), 2);
}

/// Runs `get`, which must fail with one sentence and print nothing; returns the sentence.
fn failed(args: &[&str], env: &[(&str, &str)], expected: i32) -> String {
    let Ended {
        code,
        stdout,
        stderr,
    } = run_command("get", args, env);
    assert_eq!((code, stdout.as_str()), (Some(expected), ""), "{stderr}");
    stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn get_reports_why_a_daemon_has_no_credentials() {
    let sts = sts().await;
    let message = "You are not authorized to do this action.".to_owned();
    let refusal = Fault::Refusal {
        status: 403,
        code: "NoPermission".to_owned(),
        message,
    };
    sts.inject(refusal, Times::UntilCleared);
    let refused = beside(&sts, &[], &[]);
    let roleless = Daemon::spawn(&LISTEN, &[("RAM_SIDECAR_ROLE_PRESET", "none")]);
    for daemon in [refused, roleless] {
        let uri = format!("http://{}/api/v1/credentials/0", daemon.data());
        let sentence = eventually("the daemon knows why", || {
            let reply = daemon.credentials();
            (reply.text("Code") != "CredentialsPending").then(|| reply.text("Message"))
        });
        let stderr = failed(&["--from", &uri], &[], 69);
        assert!(stderr.contains(&sentence), "{sentence}\n{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn get_reports_that_there_is_no_role() {
    let stderr = failed(&["--role-preset", "none"], &[], 69);
    assert!(stderr.contains("role.preset is none"), "{stderr}");
}

#[test]
fn get_reports_that_no_daemon_runs() {
    let address = unused_address();
    let uri = format!("http://{address}/api/v1/credentials/planted-key");
    for stderr in [
        failed(&["--from", &uri], &[], 69),
        failed(&[], &[(URI, &uri)], 69),
    ] {
        assert!(stderr.contains(&address.to_string()), "{stderr}");
        assert!(!stderr.contains("planted-key"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn get_reports_a_wrong_path_without_repeating_it() {
    let daemon = Daemon::spawn(
        &[&["--sandbox"], &LISTEN[..]].concat(),
        &[("RAM_SIDECAR_KEY", "planted-right-key")],
    );
    let uri = format!(
        "http://{}/api/v1/credentials/planted-wrong-key",
        daemon.data()
    );
    let stderr = failed(&["--from", &uri], &[], 69);
    assert!(
        stderr.contains("HTTP 404") && !stderr.contains("planted"),
        "{stderr}"
    );
    let text = printed(&["--from", &daemon.uri()], &[]);
    assert!(!text.contains("planted"));
}

#[test]
fn get_reports_the_origin_of_an_invalid_address_without_repeating_it() {
    let plain = "http://10.0.0.1/planted";
    for (args, env, origin) in [
        (&["--from", plain][..], &[][..], "--from"),
        (&[], &[(URI, plain)], URI),
        (&["--from", ""], &[], "--from"),
        (&["--from", "file:///planted"], &[], "--from"),
    ] {
        let stderr = failed(args, env, 78);
        assert!(
            stderr.contains(origin) && !stderr.contains("planted"),
            "{stderr}"
        );
    }
}

#[test]
fn from_cannot_be_combined_with_settings() {
    let from = ["--from", "http://127.0.0.1:1/x"];
    for setting in [
        &["--region", "cn-hangzhou"][..],
        &["--vpc"],
        &["--config", "/nowhere"],
        &["--role-arn", "acs:ram::1:role/x"],
    ] {
        let stderr = failed(&[&from, setting].concat(), &[], 64);
        assert!(stderr.contains("cannot be used with"), "{stderr}");
    }
}

#[test]
fn what_is_printed_for_people_fails_if_the_output_is_full_but_not_if_it_is_closed() {
    for arguments in [
        &["check", "--sandbox", "--json"][..],
        &["manual"],
        &["completions", "bash"],
    ] {
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        let full = File::options().write(true).open("/dev/full").unwrap();
        for (output, code) in [(Stdio::from(full), 71), (Stdio::from(closed), 0)] {
            let mut command = Command::new(PROGRAM);
            let command = command.args(arguments).env_clear().stdout(output);
            let ended = command.stderr(Stdio::piped()).output().unwrap();
            let stderr = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {stderr}");
            assert_eq!(stderr.contains("cannot print the "), code != 0, "{stderr}");
        }
    }
}

#[test]
fn get_fails_if_its_output_is_closed_or_full() {
    let daemon = Daemon::spawn(&[&["--sandbox"], &LISTEN[..]].concat(), &[]);
    let uri = daemon.uri();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for (output, reason) in [
        (Stdio::from(closed), "Broken pipe"),
        (Stdio::from(full), "No space left on device"),
    ] {
        let child = Command::new(PROGRAM)
            .args(["get", "--from", &uri])
            .env_clear()
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(71), "{stderr}");
        let sentence = "cannot print the credentials: ";
        assert!(
            stderr.contains(sentence) && stderr.contains(reason),
            "{stderr}"
        );
        daemon.credentials();
    }
}
