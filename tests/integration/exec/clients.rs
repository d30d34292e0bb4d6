//! Real clients below `exec`: they come to it, whatever else is in their home.

use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;

use ram_sidecar::sandbox::{Options, Sandbox};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::EXECUTABLE;
use crate::clients::{finished, issued_by};
use crate::stub_oss;
use crate::support::{Process, Scratch};
use crate::toolchains::Language;

/// Runs what a command would run, below `exec`, with its environment.
fn below(settings: &[&str], command: &Command) -> Command {
    let mut exec = Command::new(EXECUTABLE);
    exec.arg("exec").args(settings).arg("--");
    exec.arg(command.get_program()).args(command.get_args());
    exec.env_clear();
    for (name, value) in command.get_envs() {
        exec.env(name, value.expect("nothing is taken away"));
    }
    exec
}

/// Puts everything into a home that the SDKs prefer, as long as nothing forbids it.
fn furnish(home: &Scratch) {
    let profile = json!({
        "current": "default",
        "profiles": [{
            "name": "default", "mode": "AK", "access_key_id": "LTAIofProfile",
            "access_key_secret": "SecretOfProfile", "region_id": "cn-hangzhou",
        }],
    });
    let ini = "[default]\nenable = true\ntype = access_key\naccess_key_id = LTAIofIni\naccess_key_secret = SecretOfIni\n";
    fs::create_dir(home.join(".aliyun")).unwrap();
    fs::create_dir(home.join(".alibabacloud")).unwrap();
    fs::write(home.join(".aliyun/config.json"), profile.to_string()).unwrap();
    // The two places at which SDKs look.
    fs::write(home.join(".alibabacloud/credentials.ini"), ini).unwrap();
    fs::write(home.join(".alibabacloud/credentials"), ini).unwrap();
}

fn comes_to_exec(language: Language) {
    let home = Scratch::new();
    let (Some(mut command), Some(mut plain)) = (
        language.program("follow", home.path()),
        language.program("follow", home.path()),
    ) else {
        return;
    };
    furnish(&home);
    command.args(["default", "credentials_uri"]);
    let mut exec = Process::start(below(&["--sandbox"], &command));
    let answer: Value = serde_json::from_str(&exec.ask("fetch")).expect("JSON");
    let id = answer["default"]["AccessKeyId"].as_str();
    assert!(
        id.is_some_and(|id| id.starts_with("STS.Sandbox")),
        "{answer}"
    );
    assert_eq!(answer["default"], answer["credentials_uri"]);

    // The home is not an empty threat.
    plain.arg("default");
    let answer = Process::start(plain).ask("fetch");
    assert!(
        answer.contains("LTAIof"),
        "the profile counts without exec: {answer}"
    );
}

#[test]
fn python_takes_what_exec_serves_and_no_profile() {
    comes_to_exec(Language::Python);
}

#[test]
fn go_takes_what_exec_serves_and_no_profile() {
    comes_to_exec(Language::Go);
}

#[test]
fn node_takes_what_exec_serves_and_no_profile() {
    comes_to_exec(Language::Node);
}

#[test]
fn java_takes_what_exec_serves_and_no_profile() {
    comes_to_exec(Language::Java);
}

#[tokio::test]
async fn the_example_of_the_documentation_lists_a_bucket() {
    let sts = Sandbox::start(Options::default()).await;
    let sts = Arc::new(sts.expect("loopback has a free port"));
    let oss = stub_oss::start(issued_by(&sts));
    let home = Scratch::new();
    let prepared = tokio::task::spawn_blocking({
        let home = home.path().to_owned();
        move || Language::Python.program("oss_example", &home)
    });
    let Some(mut example) = prepared.await.unwrap() else {
        return;
    };
    furnish(&home);
    example.args([&oss.endpoint(), stub_oss::BUCKET, "v4"]);
    let mut command = below(&["--sts-endpoint", &sts.endpoint()], &example);
    command
        .env("ALIBABA_CLOUD_ROLE_ARN", sts.role_arn())
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id())
        .env(
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            sts.access_key_secret().expose_secret(),
        );
    let running = tokio::task::spawn_blocking(move || finished(&mut command));
    let Output { stdout, .. } = running.await.unwrap();
    let names: Vec<String> = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(names, stub_oss::OBJECTS);
    assert_eq!(oss.rejections(), Vec::<String>::new());
}
