//! Writes the directory of this version, until it is released.

use std::fs;
use std::path::Path;

use ram_sidecar::sandbox::{Options, Sandbox};
use serde_json::Value;

use crate::documents::document;
use crate::inject::{flags, inject};
use crate::namespace;
use crate::state::wait_until_saved;
use crate::support::{Scratch, environment};
use crate::upstream::beside;

use super::saved::sealed;
use super::{Release, VERSION, interface};

/// Of those in `tests/data/inject`, which are run too.
const INJECTED: [&str; 5] = ["pod", "deployment", "job", "pod-container", "pod-sandbox"];

fn is_released() -> bool {
    document("CHANGELOG.md").contains(&format!("\n## [{VERSION}] - "))
}

/// `FREEZE=1` writes the directory.
#[test]
fn a_version_is_frozen_whole_when_it_is_released() {
    let release = Release::of(VERSION);
    if environment("FREEZE").is_some_and(|value| value == "1") {
        assert!(
            !is_released(),
            "{VERSION} is released: what it left behind does not change any more"
        );
        write(&release.directory);
        namespace::passes(module_path!(), "the_state_is_written");
    }
    if is_released() {
        assert_eq!(
            release.interface(),
            interface::current(),
            "FREEZE=1, before the release"
        );
    }
}

fn write(directory: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["manifests", "chart"] {
        let _ = fs::remove_dir_all(directory.join(name));
        fs::create_dir_all(directory.join(name)).unwrap();
    }
    let lines: Vec<_> = interface::current().into_iter().collect();
    fs::write(directory.join("interface.txt"), lines.join("\n") + "\n").unwrap();
    let status = serde_json::to_string_pretty(&interface::report()).unwrap();
    fs::write(directory.join("status.json"), status + "\n").unwrap();
    let manifests = directory.join("manifests");
    for name in INJECTED {
        let input = document(&format!("tests/data/inject/{name}.yaml"));
        let comment = input.lines().next().unwrap();
        let text = format!("{comment}\n{}", inject(&flags(&input), &input).stdout);
        fs::write(manifests.join(name).with_extension("yaml"), text).unwrap();
    }
    for (from, to) in [
        ("config/kubernetes/native/pod.yaml", "manifests/native.yaml"),
        // Equal to the kustomization's result, as TestChart verifies.
        (
            "tests/cluster/testdata/chart/default.yaml",
            "manifests/webhook.yaml",
        ),
    ] {
        fs::copy(root.join(from), directory.join(to)).unwrap();
    }
    // Its only value that must be filled in.
    let values = document("config/helm/ram-sidecar/values.yaml");
    let values = values.replace(
        "oidc-provider-arn: \"\"",
        "oidc-provider-arn: acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1",
    );
    fs::write(directory.join("chart/every-value.yaml"), values).unwrap();
    let chart = root.join("tests/cluster/testdata/chart");
    for entry in fs::read_dir(chart).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(name) = name.strip_suffix(".values.yaml") {
            fs::copy(&path, directory.join(format!("chart/{name}.yaml"))).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes a part of the directory of this version, in a network of its own"]
async fn the_state_is_written() {
    let listen = ([127, 0, 0, 1], 7005).into();
    let sts = Sandbox::start(Options {
        listen,
        ..Options::default()
    })
    .await
    .unwrap();
    let scratch = Scratch::new();
    let path = scratch.join("state");
    let session = "job-0";
    let args = [
        "--state",
        path.to_str().unwrap(),
        "--role-session-name",
        session,
    ];
    let daemon = beside(&sts, &args, &[]);
    wait_until_saved(&daemon, &path);
    let text = fs::read_to_string(&path).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    // The boot of the machine that freezes it ends before the release is old.
    let boot_id = state["state"]["boot_id"].as_str().unwrap();
    let text = sealed(&text, |state| {
        state.replace(boot_id, "00000000-0000-4000-8000-000000000000")
    });
    let directory = Release::of(VERSION).directory;
    fs::write(directory.join("state"), text).unwrap();
    let settings = [
        ("ALIBABA_CLOUD_STS_ENDPOINT", sts.endpoint()),
        ("ALIBABA_CLOUD_ROLE_ARN", sts.role_arn()),
        ("ALIBABA_CLOUD_ROLE_SESSION_NAME", session.to_owned()),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id()),
    ];
    let lines = settings.map(|(name, value)| format!("{name}={value}\n"));
    fs::write(directory.join("state.env"), lines.concat()).unwrap();
}
