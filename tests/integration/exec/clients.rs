//! Real clients below `exec`: they come to it, whatever else is in their home.

use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;

use ram_sidecar::sandbox::{Options, Sandbox};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{EXECUTABLE, ended, exec};
use crate::clients::{finished, issued_by};
use crate::metadata::attach;
use crate::namespace::{METADATA, in_own_network};
use crate::stub_metadata::{Metadata, Mode};
use crate::stubs::{Reply, Stub, decoded};
use crate::support::{Process, Scratch, environment};
use crate::toolchains::{Language, tool};
use crate::{stub_odps, stub_oss, stub_s3};

/// Runs what a command would run, below `exec`, with its environment.
pub(crate) fn below(settings: &[&str], command: &Command) -> Command {
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
async fn oss2_finds_the_default_provider_under_exec() {
    let sts = sts().await;
    let oss = stub_oss::start(issued_by(&sts));
    let arguments = [&oss.endpoint(), stub_oss::BUCKET, "v4"];
    let Some(output) = run_under_exec(&sts, &[], "oss_example", &arguments).await else {
        return;
    };
    assert_eq!(printed(&output), stub_oss::OBJECTS);
    assert_eq!(oss.rejections(), Vec::<String>::new());
}

#[tokio::test]
async fn oss2_finds_the_variables_of_env_oss() {
    let sts = sts().await;
    let oss = stub_oss::start(issued_by(&sts));
    let arguments = [&oss.endpoint(), stub_oss::BUCKET];
    let output = run_under_exec(&sts, &["--env", "oss"], "oss_environment", &arguments).await;
    let Some(output) = output else {
        return;
    };
    assert_eq!(printed(&output), stub_oss::OBJECTS);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("expire and are not renewed"), "{log}");
    assert_eq!(oss.rejections(), Vec::<String>::new());
}

#[tokio::test]
async fn pyodps_finds_the_json_camel_file_of_exec() {
    let sts = sts().await;
    let odps = stub_odps::start(issued_by(&sts));
    let directory = Scratch::new();
    let file = format!(
        "{},format=json-camel",
        directory.join("odps.json").display()
    );
    let endpoint = odps.endpoint() + stub_odps::PREFIX;
    let arguments = [&endpoint, stub_odps::PROJECT];
    let output = run_under_exec(&sts, &["--file", &file], "odps_file", &arguments).await;
    let Some(output) = output else {
        return;
    };
    assert_eq!(printed(&output), stub_odps::TABLES);
    assert_eq!(odps.rejections(), Vec::<String>::new());
}

#[tokio::test]
async fn obstore_finds_the_token_file_of_exec_and_obeys_no_proxy() {
    let sts = sts().await;
    let s3 = stub_s3::start(issued_by(&sts));
    let proxy = s3.endpoint();
    let flags = ["--container", "--keep-http-proxy"];
    let arguments = [stub_s3::ENDPOINT, stub_s3::BUCKET];
    let env = [("HTTP_PROXY", proxy.as_str())];
    let output = run_with_variables(&sts, &flags, "obstore_example", &arguments, &env).await;
    let Some(output) = output else {
        return;
    };
    // The stub encodes names for every client, as OSS does for those that ask for it.
    let names = printed(&output);
    let names: Vec<String> = names.iter().map(|name| decoded(name)).collect();
    assert_eq!(names, stub_s3::OBJECTS);
    assert_eq!(s3.rejections(), Vec::<String>::new());
}

#[test]
fn variables_that_aws_clients_prefer_are_told_where_they_are_served() {
    for (flags, is_told) in [
        (&["--sandbox", "--container"][..], true),
        (&["--sandbox"], false),
    ] {
        let mut command = exec(flags, &["true"]);
        command
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "planted");
        let (code, _, complaint) = ended(command);
        assert_eq!(code, Some(0), "{complaint}");
        assert!(!complaint.contains("planted"), "{complaint}");
        for expected in [
            "Clients of the command will not use these credentials",
            "boto3",
            "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY",
        ] {
            assert_eq!(complaint.contains(expected), is_told, "{complaint}");
        }
    }
}

#[test]
fn client_that_would_fail_is_told_with_the_variable() {
    let mut command = exec(&["--sandbox", "--container"], &["true"]);
    command.env("AWS_ACCESS_KEY_ID", "planted");
    let (code, _, complaint) = ended(command);
    assert_eq!(code, Some(0), "{complaint}");
    for expected in [
        "boto3",
        "AWS_ACCESS_KEY_ID is set, but",
        "unset AWS_ACCESS_KEY_ID",
    ] {
        assert!(complaint.contains(expected), "{complaint}");
    }
    assert!(!complaint.contains("planted"), "{complaint}");
}

#[test]
fn client_that_would_use_keys_of_others_is_told_also_if_its_chain_does_not_lead_here() {
    let home = Scratch::new();
    furnish(&home);
    // A program is told of only if it is the command.
    let aliyun = home.join("aliyun");
    std::os::unix::fs::symlink("/bin/true", &aliyun).unwrap();
    let aliyun = aliyun.to_str().unwrap();
    for (flags, program, clients) in [
        (&["--sandbox"][..], "true", &["php", "oss2", "oss-v2"][..]),
        (&["--sandbox", "--env", "oss"], "true", &["php"]),
        (
            &["--sandbox", "--env", "oss"],
            aliyun,
            &["php", "aliyun-cli"],
        ),
    ] {
        let mut command = exec(flags, &[program]);
        command
            .env("HOME", home.path())
            .env("OSS_ACCESS_KEY_ID", "LTAIofOss")
            .env("OSS_ACCESS_KEY_SECRET", "planted");
        let (code, _, complaint) = ended(command);
        assert_eq!(code, Some(0), "{complaint}");
        let told = complaint.matches("will not use these credentials").count();
        assert_eq!(told, clients.len(), "{complaint}");
        for client in clients {
            assert!(complaint.contains(client), "{complaint}");
        }
        assert!(!complaint.contains("planted"), "{complaint}");
    }
}

#[tokio::test]
async fn opendal_lists_a_bucket_with_the_metadata_dialect_of_exec() {
    let sts = sts().await;
    let oss = stub_oss::start(issued_by(&sts));
    let arguments = [&oss.endpoint(), stub_oss::BUCKET];
    let output = run_under_exec(&sts, &["--metadata"], "opendal_example", &arguments).await;
    let Some(output) = output else {
        return;
    };
    assert_eq!(printed(&output), stub_oss::OBJECTS);
    assert_eq!(oss.rejections(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_pythons_sdk_reaches_an_http_proxy_unless_that_is_kept() {
    const WAYS: [&str; 4] = [
        "credentials_uri",
        "credentials_uri_async",
        "default",
        "default_async",
    ];
    for (flags, is_kept) in [
        (&["--sandbox"][..], false),
        (&["--sandbox", "--keep-http-proxy"], true),
    ] {
        let home = Scratch::new();
        let Some(mut command) = Language::Python.program("follow", home.path()) else {
            return;
        };
        let proxy = Stub::start(|_| Reply::accepted("text/plain", "seen".to_owned()));
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(name, proxy.endpoint());
        }
        command.args(WAYS);
        let mut exec = Process::start(below(flags, &command));
        let answer: Value = serde_json::from_str(&exec.ask("fetch")).expect("JSON");
        for way in WAYS {
            let id = answer[way]["AccessKeyId"].as_str().unwrap_or_default();
            assert_eq!(id.starts_with("STS.Sandbox"), !is_kept, "{way}: {answer}");
        }
        // The flag shows that the proxy would have seen them.
        let seen = proxy.accepted();
        assert_eq!(seen.len() >= WAYS.len(), is_kept, "{seen:?}");
        assert!(is_kept || seen.is_empty(), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_curl_reaches_a_proxy() {
    if tool("curl").is_none() {
        return;
    }
    let proxy = Stub::start(|_| Reply::accepted("text/plain", "seen".to_owned()));
    for name in ["http_proxy", "ALL_PROXY"] {
        let mut command = Command::new("sh");
        let script = "curl --silent --fail --disable \"$ALIBABA_CLOUD_CREDENTIALS_URI\"";
        command.args(["-c", script]).env(name, proxy.endpoint());
        command.envs(environment("PATH").map(|path| ("PATH", path)));
        for flags in [&["--sandbox"][..], &["--sandbox", "--keep-http-proxy"]] {
            let output = finished(&mut below(flags, &command));
            let answer = String::from_utf8_lossy(&output.stdout);
            assert!(answer.contains("STS.Sandbox"), "{name}: {answer}");
        }
    }
    assert_eq!(proxy.accepted(), Vec::<String>::new());
}

in_own_network! {
    Python: python_takes_no_role_of_the_node_although_metadata_is_on;
    Go: go_takes_no_role_of_the_node_although_metadata_is_on;
    Node: node_takes_no_role_of_the_node_although_metadata_is_on;
    Java: java_takes_no_role_of_the_node_although_metadata_is_on;
}

/// Tests on a node whose metadata service has a role; each function is a test, see [`crate::namespace`].
mod inside {
    use super::*;

    pub(super) fn python_takes_no_role_of_the_node_although_metadata_is_on() {
        takes_no_role_of_the_node(Language::Python);
    }

    pub(super) fn go_takes_no_role_of_the_node_although_metadata_is_on() {
        takes_no_role_of_the_node(Language::Go);
    }

    pub(super) fn node_takes_no_role_of_the_node_although_metadata_is_on() {
        takes_no_role_of_the_node(Language::Node);
    }

    pub(super) fn java_takes_no_role_of_the_node_although_metadata_is_on() {
        takes_no_role_of_the_node(Language::Java);
    }

    #[tokio::main]
    async fn takes_no_role_of_the_node(language: Language) {
        let (sts, node) = (sts().await, Metadata::start_at(METADATA, Mode::Normal));
        let of_node = attach(&sts, &node).await;
        let home = Scratch::new();
        let program = || language.program("follow", home.path()).expect("a language");
        let (mut command, mut plain) = (program(), program());
        command.arg("default");
        plain.arg("default");
        for (command, is_node) in [
            (below(&["--sandbox", "--metadata"], &command), false),
            (plain, true),
        ] {
            let answer = tokio::task::spawn_blocking(|| Process::start(command).ask("fetch"));
            let answer = answer.await.unwrap();
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            let id = answer["default"]["AccessKeyId"].as_str();
            assert_eq!(id == Some(&of_node.access_key_id), is_node, "{answer}");
            assert!(id.is_some_and(|id| id.starts_with("STS.")), "{answer}");
        }
    }
}

async fn sts() -> Arc<Sandbox> {
    let sts = Sandbox::start(Options::default()).await;
    Arc::new(sts.expect("loopback has a free port"))
}

/// Runs a Python program under `exec`, in a home with other credentials; nothing if there is no Python.
async fn run_under_exec(
    sts: &Sandbox,
    flags: &[&str],
    program: &'static str,
    arguments: &[&str],
) -> Option<Output> {
    run_with_variables(sts, flags, program, arguments, &[]).await
}

/// Runs one like [`run_under_exec`], with more variables.
async fn run_with_variables(
    sts: &Sandbox,
    flags: &[&str],
    program: &'static str,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> Option<Output> {
    let home = Scratch::new();
    let prepared = tokio::task::spawn_blocking({
        let home = home.path().to_owned();
        move || Language::Python.program(program, &home)
    });
    let mut program = prepared.await.unwrap()?;
    furnish(&home);
    program.args(arguments);
    let endpoint = sts.endpoint();
    let flags = [&["--sts-endpoint", &endpoint], flags].concat();
    let mut command = below(&flags, &program);
    command
        .envs(env.iter().copied())
        .env("ALIBABA_CLOUD_ROLE_ARN", sts.role_arn())
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id())
        .env(
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            sts.access_key_secret().expose_secret(),
        );
    let running = tokio::task::spawn_blocking(move || finished(&mut command));
    Some(running.await.unwrap())
}

fn printed(output: &Output) -> Vec<String> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}
