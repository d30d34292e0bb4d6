//! Random numbers come from the system call, and where that fails nothing else is blamed.

use std::process::{Command, Stdio};

use crate::access::has;
use crate::namespace;
use crate::serving::sandbox;
use crate::support::{Scratch, command, required, under};

#[test]
fn without_dev_credentials_are_served() {
    let module = concat!(module_path!(), "::in_own_namespace");
    namespace::passes_with_network_and_mounts(module, "without_dev_credentials_are_served");
}

#[test]
fn without_any_randomness_the_reason_is_told() {
    if !required("strace", has("strace")) {
        return;
    }
    let module = concat!(module_path!(), "::in_own_namespace");
    namespace::passes_with_network_and_mounts(module, "without_any_randomness_the_reason_is_told");
}

mod in_own_namespace {
    use super::*;

    #[test]
    #[ignore = "hides /dev: the test of the same name runs it in a namespace"]
    fn without_any_randomness_the_reason_is_told() {
        hide_dev();
        let scratch = Scratch::new();
        let trace = scratch.path().join("trace");
        let inject = "inject=getrandom:error=EPERM";
        let filter = ["strace", "-f", "-o", trace.to_str().unwrap(), "-e", inject];
        for name in ["serve", "check", "get"] {
            let mut traced = under(&filter, &command(name, &["--sandbox"], &[]));
            let output = traced.stdin(Stdio::piped()).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(71), "{name}: {stderr}");
            assert_eq!(
                stderr.trim_end(),
                "ram-sidecar: the system call getrandom, which provides random numbers, fails: Operation not permitted (os error 1); permit it in the seccomp filter of this process"
            );
        }
    }

    fn hide_dev() {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "none", "/dev"]).status();
        assert!(mounted.unwrap().success());
    }

    #[test]
    #[ignore = "hides /dev: the test of the same name runs it in a namespace"]
    fn without_dev_credentials_are_served() {
        hide_dev();
        let daemon = sandbox(&["--metadata-listen", "127.0.0.1:0"], &[]);
        daemon.uri();
        assert_eq!(daemon.credentials().status, 200);
    }
}

#[test]
fn a_filtered_system_call_is_named() {
    if !required("strace", has("strace")) {
        return;
    }
    let filter = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "inject=getrandom:error=EPERM",
    ];
    let keys = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIexample"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "the0secret1of2the3user"),
        (
            "ALIBABA_CLOUD_ROLE_ARN",
            "acs:ram::1234567890123456:role/job",
        ),
        ("ALIBABA_CLOUD_STS_ENDPOINT", "https://127.0.0.1:1"),
    ];
    let cases: [(&str, &[&str], i32, &str); 2] = [
        (
            "get",
            &[],
            69,
            "cannot make a nonce for the request: the system call getrandom, which provides random numbers, fails: Operation not permitted (os error 1); permit the system call getrandom in the seccomp filter of this process; no file below /dev is needed",
        ),
        (
            "exec",
            &["--", "true"],
            71,
            "cannot make a secret path: the system call getrandom, which provides random numbers, fails: Operation not permitted (os error 1)",
        ),
    ];
    for (name, args, code, reason) in cases {
        let output = under(&filter, &command(name, args, &keys))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    }
}
