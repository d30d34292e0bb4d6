//! `get` as the program that tools run for credentials.

use super::*;

/// The command that tools run to get credentials.
fn process_command(uri: &str) -> String {
    format!("{PROGRAM} get --format process --from {uri}")
}

#[test]
fn pythons_default_chain_runs_get_and_follows_a_rotation() {
    follows_by_process(Language::Python, &["default", "default_async"]);
}

#[test]
fn gos_default_chain_runs_get_and_follows_a_rotation() {
    follows_by_process(Language::Go, &["default"]);
}

#[test]
fn nodes_default_chain_runs_get_and_follows_a_rotation() {
    follows_by_process(Language::Node, &["default"]);
}

#[test]
fn botocore_runs_get_and_follows_a_rotation() {
    let home = Scratch::new();
    let Some(mut command) = Language::Python.program("aws_process", home.path()) else {
        return;
    };
    let sidecar = Sidecar::start(&[]);
    let file = home.join("config");
    let process = process_command(&sidecar.uri);
    fs::write(
        &file,
        format!("[default]\ncredential_process = {process}\n"),
    )
    .unwrap();
    command.env("AWS_CONFIG_FILE", file);
    sidecar.assert_followed_by(command, &["boto3"]);
}

fn follows_by_process(language: Language, ways: &[&str]) {
    let home = Scratch::new();
    let Some(mut command) = language.program("follow", home.path()) else {
        return;
    };
    let sidecar = Sidecar::start(&[]);
    fs::create_dir(home.join(".aliyun")).unwrap();
    let profile = json!({
        "name": "job",
        "mode": "External",
        "process_command": process_command(&sidecar.uri),
    });
    let configuration = json!({ "current": "job", "profiles": [profile] });
    fs::write(home.join(".aliyun/config.json"), configuration.to_string()).unwrap();
    command.env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
    sidecar.assert_followed_by(command, ways);
}

#[test]
fn the_second_oss_sdk_of_go_runs_get_and_follows_a_rotation() {
    let home = Scratch::new();
    let Some(readers) = Language::Go.program("readers", home.path()) else {
        return;
    };
    let sidecar = Sidecar::start(&[]);
    sidecar.assert_followed(&["process"], || {
        let mut reading = copy(&readers);
        let output = finished(reading.args(["process", &process_command(&sidecar.uri)]));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        json!({ "process": answer })
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_oss_sdk_of_python_lists_a_bucket_with_what_get_prints() {
    let home = Scratch::new();
    let Some(mut command) = Language::Python.program("oss_v2_process", home.path()) else {
        return;
    };
    let sts = sts().await;
    let oss = stub_oss::start(issued_by(&sts));
    let daemon = beside(&sts, &[], &[]);
    let process = process_command(&daemon.uri());
    command.args([&oss.endpoint(), stub_oss::BUCKET, &process]);
    let output = finished(&mut command);
    assert_eq!(names(&output), stub_oss::OBJECTS);
    assert_eq!(oss.rejections(), Vec::<String>::new());
    assert_eq!(oss.accepted().len(), 3);
}
