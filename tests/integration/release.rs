//! What a release is made of, as far as it costs little: its version, and the module of the wheel.

use std::fs;
use std::path::Path;

use crate::toolchains::tool;

#[test]
fn the_changelog_begins_with_the_version_of_the_crate() {
    let changelog = Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md");
    let changelog = fs::read_to_string(changelog).unwrap();
    let latest = changelog.split("\n## [").nth(1).expect("a section");
    let version = match latest.strip_prefix("Unreleased]\n\nWhat version ") {
        Some(rest) => rest.split_once(" will offer.\n"),
        None => latest.split_once("] - "),
    };
    let version = version.map(|(version, _)| version);
    assert_eq!(version, Some(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_wheel_describes_itself_as_the_crate_does() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wheel/pyproject.toml");
    let project = fs::read_to_string(project).unwrap();
    for line in [
        concat!("description = \"", env!("CARGO_PKG_DESCRIPTION"), "\""),
        concat!("license = \"", env!("CARGO_PKG_LICENSE"), "\""),
    ] {
        assert!(project.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn the_image_and_the_wheel_are_compiled_with_the_same_flags() {
    let flags = ["Dockerfile", ".ci/release"].map(|file| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let (_, flags) = text.split_once("export RUSTFLAGS=").expect("flags");
        let flags = flags.split('"').nth(1).expect("quoted flags");
        flags.to_owned()
    });
    assert_eq!(flags[0], flags[1]);
}

#[test]
fn the_module_of_the_wheel_passes_its_tests() {
    let Some(mut python) = tool("python3") else {
        return;
    };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wheel/test_ram_sidecar.py");
    let output = python.args(["-B", "-W", "error"]).arg(tests).output();
    let output = output.unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && report.contains("\nOK\n"),
        "{report}"
    );
}
