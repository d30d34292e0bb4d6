//! The ECS metadata dialect, tested with real SDKs where 100.100.100.200 is the daemon, and with single requests.

use std::fs;
use std::process::Output;

use crate::clients::{issued_by, names};
use crate::namespace::in_own_network;
use crate::stub_oss::{self, BUCKET, OBJECTS};
use crate::stubs::Stub;
use crate::support::{Daemon, Scratch};
use crate::toolchains::Language;
use crate::upstream::{self, sts};

mod inside;
mod statuses;

in_own_network! {
    Python:
        python_follows_a_rotation,
        python_follows_a_rotation_where_a_token_is_demanded,
        python_finds_the_instances_role_by_default,
        python_takes_the_uri_where_the_metadata_service_is_disabled,
        oss2_lists_a_bucket_with_the_instances_role,
        oss2_is_refused_where_a_token_is_demanded;
    Node:
        node_follows_a_rotation,
        node_follows_a_rotation_where_a_token_is_demanded,
        node_finds_the_instances_role_by_default,
        node_takes_the_uri_where_the_metadata_service_is_disabled;
    Go:
        go_follows_a_rotation,
        go_follows_a_rotation_where_a_token_is_demanded,
        go_finds_the_instances_role_by_default,
        go_takes_the_uri_where_the_metadata_service_is_disabled,
        ossutil_lists_a_bucket_with_the_instances_role,
        ossutil_is_refused_where_a_token_is_demanded;
    Java:
        java_follows_a_rotation,
        java_follows_a_rotation_where_a_token_is_demanded,
        java_finds_the_instances_role_by_default,
        java_takes_the_uri_where_the_metadata_service_is_disabled;
}

#[tokio::test(flavor = "multi_thread")]
async fn oss2_lists_a_bucket_with_the_uri_instead_of_the_metadata_service() {
    let sts = sts().await;
    let oss = stub_oss::start(issued_by(&sts));
    let daemon = upstream::beside(&sts, &[], &[]);
    let uri = daemon.uri();
    for version in ["v1", "v4"] {
        let Some(output) = oss2(&oss, version, &uri) else {
            return;
        };
        assert_eq!(listed_by_oss2(&output), OBJECTS, "{version}");
    }
    assert_eq!(oss.rejections(), Vec::<String>::new());
    // Five objects in pages of two, signed in two ways.
    assert_eq!(oss.accepted().len(), 6);
    plant(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn ossutil_lists_a_bucket_with_the_uri_in_its_configuration() {
    let sts = sts().await;
    let oss = stub_oss::start(issued_by(&sts));
    let daemon = upstream::beside(&sts, &[], &[]);
    let service = format!("[AkService]\necsAk={}\n", daemon.uri());
    let Some(output) = ossutil(&oss, &service) else {
        return;
    };
    assert_eq!(listed_by_ossutil(&output), OBJECTS, "{output:?}");
    assert_eq!(oss.rejections(), Vec::<String>::new());
    assert_eq!(oss.accepted(), [format!("GET /{BUCKET}/")]);
    plant(&daemon);
}

/// Registers the daemon's current credentials as secrets, which must not be logged.
fn plant(daemon: &Daemon) {
    assert_eq!(daemon.credentials().status, 200);
}

/// Runs `oss2` with its ECS provider, which calls `url`; `None` without Python.
fn oss2(oss: &Stub, version: &str, url: &str) -> Option<Output> {
    let home = Scratch::new();
    let mut command = Language::Python.program("oss_ecs_provider", home.path())?;
    command.args([&oss.endpoint(), BUCKET, version, url]);
    Some(command.output().expect("Python runs"))
}

fn listed_by_oss2(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    names(output)
}

/// Runs ossutil with the lines `source` in its configuration, which name the source of credentials; `None` without Go.
fn ossutil(oss: &Stub, source: &str) -> Option<Output> {
    let home = Scratch::new();
    let mut command = Language::Go.program("ossutil", home.path())?;
    let file = home.join("configuration");
    // Without this section it ignores all others.
    let text = format!("[Credentials]\nlanguage=EN\n{source}");
    fs::write(&file, text).expect("the target directory is writable");
    command
        .args(["ls", &format!("oss://{BUCKET}"), "-e", &oss.endpoint()])
        .args(["--retry-times", "1"])
        .arg("-c")
        .arg(&file)
        .current_dir(home.path());
    Some(command.output().expect("ossutil runs"))
}

fn listed_by_ossutil(output: &Output) -> Vec<String> {
    let lines = String::from_utf8_lossy(&output.stdout);
    let start = format!("oss://{BUCKET}/");
    let names = lines.lines().filter_map(|line| line.split_once(&start));
    names.map(|(_, name)| name.to_owned()).collect()
}

const LIST: &str = "/latest/meta-data/ram/security-credentials/";
