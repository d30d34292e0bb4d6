//! Configuration errors of listeners that other machines could reach.

use crate::support::{Ended, run, run_command};

const KEY: &str = "3f1c8a9be07d42655b8e6f0c97a1d2e4";

#[test]
fn remote_listener_error_names_every_missing_setting_at_once() {
    let (remote, key) = (
        "can be reached from other machines; listen on 127.0.0.1, or set serve.allow_remote",
        "serve.key must be a random secret of at least 128 bits",
    );
    for address in [
        "0.0.0.0:0",
        "[::]:0",
        "10.177.0.1:7002",
        "100.100.100.200:7002",
    ] {
        assert_refused(&["--listen", address], &[], &[remote, key]);
        assert_refused(
            &["--listen", address, "--allow-remote=false"],
            &[("RAM_SIDECAR_KEY", KEY)],
            &[remote],
        );
        assert_refused(&["--listen", address, "--allow-remote"], &[], &[key]);
    }
    for weak in [
        "0",
        "password",
        "00000000000000000000000000000000",
        "abababababababababababababababababababab",
        "0123456789abcdef0123456789abcde",
        "012345678901234567890123456789012345",
        "abcdefghijklmnopqrstuvwx",
        "-._~-._~-._~-._~-._~-._~-._~-._~-._~-._~",
    ] {
        assert_refused(
            &["--listen", "0.0.0.0:0", "--allow-remote"],
            &[("RAM_SIDECAR_KEY", weak)],
            &[key],
        );
    }
    let metadata =
        "can be reached from other machines, and the metadata dialect does not support a secret";
    for address in [
        "0.0.0.0:80",
        "[::]:80",
        "10.177.0.1:80",
        "100.100.100.201:80",
        "169.254.169.254:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        assert_refused(&["--metadata-listen", address], &[], &[metadata]);
        assert_refused(
            &["--listen", "0.0.0.0:0", "--metadata-listen", address],
            &[],
            &[remote, key, metadata],
        );
    }
}

#[test]
fn metadata_listener_at_the_metadata_address_of_the_identity_is_refused() {
    let sentence = "is the address of the metadata service that the identity uses, which would then be this process";
    let node = ("ALIBABA_CLOUD_ECS_METADATA", "node");
    for (listen, env) in [
        ("100.100.100.200:80", &[node][..]),
        (
            "100.100.100.200:80",
            &[("RAM_SIDECAR_IDENTITY", "ecs_ram_role")],
        ),
        (
            "127.0.0.1:7009",
            &[
                node,
                ("ALIBABA_CLOUD_IMDS_ENDPOINT", "http://127.0.0.1:7009"),
            ],
        ),
        (
            "[::1]:7009",
            &[node, ("ALIBABA_CLOUD_IMDS_ENDPOINT", "http://[::1]:7009/")],
        ),
    ] {
        let (code, message) = run(&["--metadata-listen", listen], env);
        assert_eq!(code, Some(78), "{message}");
        assert!(message.contains(sentence), "{listen}: {message}");
    }
}

/// Asserts that the daemon does not start, and reports exactly `errors` in this order.
fn assert_refused(args: &[&str], env: &[(&str, &str)], errors: &[&str]) {
    let args = [&["--sandbox", "--admin-listen", "off"], args].concat();
    let Ended { code, stderr, .. } = run_command("serve", &args, env);
    assert_eq!(code, Some(78), "{args:?}: {stderr}");
    let message: Vec<&str> = stderr.lines().skip(1).collect();
    assert_eq!(message.len(), errors.len(), "{args:?}: {stderr}");
    for (line, error) in message.iter().zip(errors) {
        assert!(line.contains(error), "{line}\n{error}");
    }
}
