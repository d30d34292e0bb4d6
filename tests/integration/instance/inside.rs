//! Tests in a network where 100.100.100.200 is this machine; each function is a test, see [`crate::namespace`].

use std::net::SocketAddr;
use std::process::Command;

use ram_sidecar::sandbox::Sandbox;

use super::{LIST, listed_by_oss2, listed_by_ossutil, oss2, ossutil, plant};
use crate::clients::{self, Sidecar, issued_by};
use crate::http;
use crate::namespace;
use crate::stub_oss::{self, BUCKET, OBJECTS};
use crate::stubs::Stub;
use crate::support::{Daemon, Scratch, eventually};
use crate::toolchains::Language;
use crate::upstream::{self, sts};

pub(super) fn python_follows_a_rotation() {
    follows(Language::Python, &PYTHON_WAYS, &OPEN);
}

pub(super) fn python_follows_a_rotation_where_a_token_is_demanded() {
    follows(Language::Python, &PYTHON_WAYS, &HARDENED);
}

pub(super) fn python_finds_the_instances_role_by_default() {
    finds_by_default(Language::Python, &["default", "default_async"]);
}

pub(super) fn python_takes_the_uri_where_the_metadata_service_is_disabled() {
    takes_the_uri(Language::Python, &["default", "default_async"]);
}

pub(super) fn node_follows_a_rotation() {
    follows(Language::Node, &WAYS, &OPEN);
}

pub(super) fn node_follows_a_rotation_where_a_token_is_demanded() {
    follows(Language::Node, &WAYS, &HARDENED);
}

pub(super) fn node_finds_the_instances_role_by_default() {
    finds_by_default(Language::Node, &["default"]);
}

pub(super) fn node_takes_the_uri_where_the_metadata_service_is_disabled() {
    takes_the_uri(Language::Node, &["default"]);
}

pub(super) fn go_follows_a_rotation() {
    follows(Language::Go, &WAYS, &OPEN);
}

pub(super) fn go_follows_a_rotation_where_a_token_is_demanded() {
    follows(Language::Go, &WAYS, &HARDENED);
}

pub(super) fn go_finds_the_instances_role_by_default() {
    finds_by_default(Language::Go, &["default"]);
}

pub(super) fn go_takes_the_uri_where_the_metadata_service_is_disabled() {
    takes_the_uri(Language::Go, &["default"]);
}

pub(super) fn java_follows_a_rotation() {
    follows(Language::Java, &WAYS, &OPEN);
}

pub(super) fn java_follows_a_rotation_where_a_token_is_demanded() {
    follows(Language::Java, &WAYS, &HARDENED);
}

pub(super) fn java_finds_the_instances_role_by_default() {
    finds_by_default(Language::Java, &["default"]);
}

pub(super) fn java_takes_the_uri_where_the_metadata_service_is_disabled() {
    takes_the_uri(Language::Java, &["default"]);
}

pub(super) fn oss2_lists_a_bucket_with_the_instances_role() {
    with_oss(|sts, oss| {
        let daemon = upstream::beside(sts, &LISTEN, &[]);
        for version in ["v1", "v4"] {
            let output = oss2(oss, version, &role_url(&daemon)).unwrap();
            assert_eq!(listed_by_oss2(&output), OBJECTS, "{version}");
        }
        assert_eq!(oss.rejections(), Vec::<String>::new());
        // Five objects in pages of two, signed in two ways.
        assert_eq!(oss.accepted().len(), 6);
        plant(&daemon);
    });
}

pub(super) fn oss2_is_refused_where_a_token_is_demanded() {
    with_oss(|sts, oss| {
        let daemon = upstream::beside(sts, &[&LISTEN[..], &["--metadata-v2-only"]].concat(), &[]);
        let output = oss2(oss, "v1", &role_url(&daemon)).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains("http code:403"),
            "{error}"
        );
        assert_eq!(oss.accepted(), Vec::<String>::new());
        plant(&daemon);
    });
}

pub(super) fn ossutil_lists_a_bucket_with_the_instances_role() {
    with_oss(|sts, oss| {
        let daemon = upstream::beside(sts, &LISTEN, &[]);
        let output = ossutil(oss, &role_lines(&daemon)).unwrap();
        assert_eq!(listed_by_ossutil(&output), OBJECTS, "{output:?}");
        assert_eq!(oss.rejections(), Vec::<String>::new());
        assert_eq!(oss.accepted(), [format!("GET /{BUCKET}/")]);
        plant(&daemon);
    });
}

pub(super) fn ossutil_is_refused_where_a_token_is_demanded() {
    with_oss(|sts, oss| {
        let daemon = upstream::beside(sts, &[&LISTEN[..], &["--metadata-v2-only"]].concat(), &[]);
        let output = ossutil(oss, &role_lines(&daemon)).unwrap();
        let error = String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success() && error.contains("code:Forbidden"),
            "{output:?}"
        );
        assert_eq!(oss.accepted(), Vec::<String>::new());
        plant(&daemon);
    });
}

/// How a daemon serves the dialect, and how its clients are configured.
struct Mode {
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

const OPEN: Mode = Mode {
    args: &LISTEN,
    env: &[],
};

const HARDENED: Mode = Mode {
    args: &[
        "--metadata-listen",
        namespace::METADATA,
        "--metadata-v2-only",
    ],
    env: &[("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")],
};

/// Asserts that programs follow a rotation, both one that looks up the role's name and one that is configured with it.
fn follows(language: Language, ways: &[&str], mode: &Mode) {
    let sidecar = Sidecar::start(mode.args);
    let role = sidecar.daemon.metadata_role();
    for role_name in [&[][..], &[("ALIBABA_CLOUD_ECS_METADATA", role.as_str())]] {
        let home = Scratch::new();
        let mut command = program(language, &home);
        command.envs(mode.env.iter().chain(role_name).copied());
        sidecar.assert_followed_by(command, ways);
    }
}

/// Asserts that programs without any configuration follow a rotation.
fn finds_by_default(language: Language, ways: &[&str]) {
    let sidecar = Sidecar::start(&LISTEN);
    let home = Scratch::new();
    sidecar.assert_followed_by(program(language, &home), ways);
}

/// Asserts that programs follow a rotation at the URI, although the metadata service serves another role.
fn takes_the_uri(language: Language, ways: &[&str]) {
    let instance = Sidecar::start(&LISTEN);
    let sidecar = Sidecar::start(&[]);
    let home = Scratch::new();
    let command = clients::beside(&sidecar.uri, program(language, &home));
    sidecar.assert_followed_by(command, ways);

    let address: SocketAddr = namespace::METADATA.parse().unwrap();
    let path = format!("{LIST}{}", instance.daemon.metadata_role());
    eventually("the instance's role is served", || {
        let served = http::get(address, &path).text("AccessKeyId");
        (instance.credentials_in_file()["AccessKeyId"] == served).then_some(())
    });
    assert_ne!(
        instance.credentials_in_file()["AccessKeyId"],
        sidecar.credentials_in_file()["AccessKeyId"]
    );
}

fn program(language: Language, home: &Scratch) -> Command {
    let program = language.program("follow", home.path());
    program.expect("the toolchain is installed")
}

/// Runs `act` with a stub of OSS that accepts the credentials of an STS.
fn with_oss(act: impl FnOnce(&Sandbox, &Stub)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sts = sts().await;
        let oss = stub_oss::start(issued_by(&sts));
        act(&sts, &oss);
    });
}

fn role_url(daemon: &Daemon) -> String {
    daemon.uri();
    let role = daemon.metadata_role();
    format!("http://100.100.100.200{LIST}{role}")
}

/// Returns the lines of ossutil's configuration that name the role.
fn role_lines(daemon: &Daemon) -> String {
    daemon.uri();
    let role = daemon.metadata_role();
    format!("mode=EcsRamRole\necsRoleName={role}\n")
}

const LISTEN: [&str; 2] = ["--metadata-listen", namespace::METADATA];

const WAYS: [&str; 1] = ["ecs_ram_role"];

const PYTHON_WAYS: [&str; 2] = ["ecs_ram_role", "ecs_ram_role_async"];
