//! Clients on other machines.

use super::has_credentials;
use super::network::{LOCAL, METADATA, Pair, curl};

const KEY: &str = "3f1c8a9be07d42655b8e6f0c97a1d2e4";
const ROLE: &str = "latest/meta-data/ram/security-credentials/";

#[test]
fn another_machine_is_served_only_with_the_key() {
    let Some(pair) = Pair::new() else { return };
    let address = format!("{LOCAL}:7002");
    let daemon = pair.daemon(
        &["--listen", &address, "--allow-remote", "--container"],
        &[("RAM_SIDECAR_KEY", KEY)],
    );
    assert_eq!(
        daemon.uri(),
        format!("http://{address}/api/v1/credentials/{KEY}")
    );
    let request = |path: &str| {
        curl(
            |words| pair.remote(words),
            &[&format!("http://{address}{path}")],
        )
    };
    for prefix in ["/api/v1/credentials/", "/api/v1/container/"] {
        let (status, body) = request(&format!("{prefix}{KEY}"));
        assert_eq!(status, "200", "{body}");
        assert!(has_credentials(body.as_bytes()));
        for wrong in ["0", "", &KEY[1..], &KEY.to_uppercase(), &format!("{KEY}0")] {
            let (status, body) = request(&format!("{prefix}{wrong}"));
            assert_eq!(status, "404", "{wrong}: {body}");
            assert!(
                !body.contains(KEY) && !has_credentials(body.as_bytes()),
                "{body}"
            );
        }
    }
    // Its address is logged; its user and process are unknown.
    let entry = daemon.logged("A new caller");
    assert!(
        entry.contains("\"from\":\"10.177.0.2\"") && !entry.contains("\"uid\""),
        "{entry}"
    );
    // An unknown host name may be one of DNS rebinding.
    let (status, _) = curl(
        |words| pair.remote(words),
        &[
            "-H",
            "Host: evil.example",
            &format!("http://{address}/api/v1/credentials/{KEY}"),
        ],
    );
    assert_eq!(status, "403");
    let (status, _) = curl(
        |words| pair.local(words),
        &[&format!("http://{address}/api/v1/credentials/{KEY}")],
    );
    assert_eq!(status, "200");
}

#[test]
fn callers_from_another_machine_are_refused_if_users_are_restricted() {
    let Some(pair) = Pair::new() else { return };
    let address = format!("{LOCAL}:7002");
    let uri = format!("http://{address}/api/v1/credentials/{KEY}");
    let _daemon = pair.daemon(
        &["--listen", &address, "--allow-remote", "--allow-uids", "0"],
        &[("RAM_SIDECAR_KEY", KEY)],
    );
    let (status, body) = curl(|words| pair.remote(words), &[&uri]);
    assert_eq!(status, "403");
    assert!(body.contains("CallerRefused"), "{body}");
    assert_eq!(curl(|words| pair.local(words), &[&uri]).0, "200");
}

#[test]
fn metadata_dialect_refuses_other_machines_on_every_listening_address() {
    let Some(pair) = Pair::new() else { return };
    let address = format!("{LOCAL}:7002");
    let (role, listen) = (
        format!("http://{METADATA}/{ROLE}"),
        format!("{METADATA}:80"),
    );
    let args = [
        "--listen",
        &address,
        "--allow-remote",
        "--metadata-listen",
        &listen,
    ];
    let daemon = pair.daemon(&args, &[("RAM_SIDECAR_KEY", KEY)]);
    for path in ["", "sandbox-role", "x"] {
        assert_refused_remotely(&pair, &[&format!("{role}{path}")], "RemoteRefused");
    }
    let token = format!("http://{METADATA}/latest/api/token");
    assert_refused_remotely(
        &pair,
        &[
            "-X",
            "PUT",
            "-H",
            "X-aliyun-ecs-metadata-token-ttl-seconds: 60",
            &token,
        ],
        "RemoteRefused",
    );
    assert_eq!(
        curl(|words| pair.local(words), &[&role]),
        ("200".into(), "sandbox-role".into())
    );
    let (status, body) = curl(|words| pair.local(words), &[&format!("{role}sandbox-role")]);
    assert!(status == "200" && has_credentials(body.as_bytes()));
    daemon.logged("RemoteRefused");
    assert_eq!(
        super::lines(&daemon, &["\"WARN\"", "RemoteRefused"]).len(),
        1
    );
}

/// keepalived and IPVS set the parameter on their nodes.
#[test]
fn another_machine_is_refused_where_any_address_can_be_bound() {
    let Some(pair) = Pair::new() else { return };
    pair.set("net.ipv4.ip_nonlocal_bind=1");
    let _daemon = pair.daemon(
        &[
            "--listen",
            "127.0.0.1:7002",
            "--metadata-listen",
            &format!("{METADATA}:80"),
        ],
        &[],
    );
    assert_refused_remotely(
        &pair,
        &[&format!("http://{METADATA}/{ROLE}sandbox-role")],
        "RemoteRefused",
    );
}

/// kube-proxy used to set the parameter on every node (CVE-2020-8558).
#[test]
fn another_machine_is_refused_where_loopback_addresses_are_routed() {
    let Some(pair) = Pair::new() else { return };
    pair.route_loopback_to_daemon();
    let _daemon = pair.daemon(
        &[
            "--listen",
            "127.0.0.1:7002",
            "--container",
            "--metadata-listen",
            "127.0.0.1:7004",
        ],
        &[],
    );
    for uri in [
        "http://127.0.0.1:7002/api/v1/credentials/0",
        "http://127.0.0.1:7002/api/v1/container/0",
        &format!("http://127.0.0.1:7004/{ROLE}sandbox-role"),
    ] {
        assert_refused_remotely(&pair, &[uri], "RemoteRefused");
        assert_eq!(curl(|words| pair.local(words), &[uri]).0, "200", "{uri}");
    }
    assert_refused_remotely(
        &pair,
        &["-X", "POST", "http://127.0.0.1:7003/stop"],
        "RemoteRefused",
    );
}

#[test]
fn another_machine_may_probe_but_not_stop_the_daemon() {
    let Some(pair) = Pair::new() else { return };
    let mut daemon = pair.daemon(&["--listen", "127.0.0.1:7002"], &[]);
    let admin = format!("{LOCAL}:7003");
    assert_eq!(
        curl(
            |words| pair.remote(words),
            &[&format!("http://{admin}/ready")]
        )
        .0,
        "200"
    );
    let get = |path: &str| {
        curl(
            |words| pair.remote(words),
            &[&format!("http://{admin}{path}")],
        )
    };
    assert_eq!(get("/metrics").0, "200");
    let page = format!("http://{admin}/");
    assert_refused_remotely(&pair, &[&page], "RemoteRefused");
    let stop = format!("http://{admin}/stop");
    assert_refused_remotely(&pair, &["-X", "POST", &stop], "RemoteRefused");
    let stop = ["stop", "--admin-listen", &admin];
    let ran = pair.remote(&[&[env!("CARGO_BIN_EXE_ram-sidecar")], &stop[..]].concat());
    let message = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(69), "{message}");
    assert!(
        message.contains("only a program of the same pod may stop this process"),
        "{message}"
    );
    assert_eq!(
        curl(
            |words| pair.local(words),
            &["http://127.0.0.1:7002/api/v1/credentials/0"]
        )
        .0,
        "200"
    );
    let (status, _) = curl(
        |words| pair.local(words),
        &["-X", "POST", "http://127.0.0.1:7003/stop"],
    );
    assert_eq!(status, "202");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn another_machine_reads_metrics_and_probes_and_nothing_else_of_a_daemon_that_anyone_may_stop() {
    let Some(pair) = Pair::new() else { return };
    let mut daemon = pair.daemon(
        &["--listen", "127.0.0.1:7002"],
        &[
            ("RAM_SIDECAR_KEY", KEY),
            ("RAM_SIDECAR_ADMIN_STOP", "anyone"),
        ],
    );
    let admin = format!("http://{LOCAL}:7003");
    let mut of_others = vec![];
    for (path, expected) in [
        ("metrics", "200"),
        ("live", "200"),
        ("ready", "200"),
        ("startup", "200"),
        ("", "403"),
        ("api/v1/credentials/0", "404"),
        (ROLE, "404"),
    ] {
        let url = format!("{admin}/{path}");
        let (status, body) = curl(|words| pair.remote(words), &[&url]);
        assert_eq!(status, expected, "{path}: {body}");
        assert!(
            !body.contains(KEY) && !has_credentials(body.as_bytes()),
            "{body}"
        );
        of_others.push(body);
    }
    assert!(
        of_others[0].contains("ram_sidecar_build_info{"),
        "{}",
        of_others[0]
    );
    let stop = ["-X", "POST", &format!("{admin}/stop")];
    assert_refused_remotely(&pair, &stop, "RemoteRefused");
    // So it is for programs of the same pod that do not use its loopback address.
    let (status, body) = curl(|words| pair.local(words), &stop);
    assert!(status == "403" && body.contains("RemoteRefused"), "{body}");
    let (status, _) = curl(
        |words| pair.remote(words),
        &[&format!("http://{LOCAL}:7002/api/v1/credentials/{KEY}")],
    );
    assert_eq!(status, "000");
    let loopback = ["-X", "POST", "http://127.0.0.1:7003/stop"];
    assert_eq!(curl(|words| pair.local(words), &loopback).0, "202");
    assert_eq!(daemon.ended(), Some(0));
}

fn assert_refused_remotely(pair: &Pair, words: &[&str], code: &str) {
    let (status, body) = curl(|words| pair.remote(words), words);
    assert_eq!(status, "403", "{words:?}: {body}");
    assert!(
        body.contains(&format!("\"Code\":\"{code}\"")) && !has_credentials(body.as_bytes()),
        "{body}"
    );
}
