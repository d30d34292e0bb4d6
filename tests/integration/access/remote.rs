//! Clients on other machines.

use super::holds_credentials;
use super::network::{METADATA, OURS, Pair, curl};

const KEY: &str = "3f1c8a9be07d42655b8e6f0c97a1d2e4";
const ROLE: &str = "latest/meta-data/ram/security-credentials/";

#[test]
fn another_machine_is_served_by_the_key_and_by_nothing_else() {
    let Some(pair) = Pair::new() else { return };
    let address = format!("{OURS}:7002");
    let daemon = pair.daemon(
        &["--listen", &address, "--allow-remote", "--container"],
        &[("RAM_SIDECAR_KEY", KEY)],
    );
    assert_eq!(
        daemon.uri(),
        format!("http://{address}/api/v1/credentials/{KEY}")
    );
    let ask = |path: &str| {
        curl(
            |words| pair.there(words),
            &[&format!("http://{address}{path}")],
        )
    };
    for prefix in ["/api/v1/credentials/", "/api/v1/container/"] {
        let (status, body) = ask(&format!("{prefix}{KEY}"));
        assert_eq!(status, "200", "{body}");
        assert!(holds_credentials(body.as_bytes()));
        for wrong in ["0", "", &KEY[1..], &KEY.to_uppercase(), &format!("{KEY}0")] {
            let (status, body) = ask(&format!("{prefix}{wrong}"));
            assert_eq!(status, "404", "{wrong}: {body}");
            assert!(
                !body.contains(KEY) && !holds_credentials(body.as_bytes()),
                "{body}"
            );
        }
    }
    // Its address is told, its user and process cannot be known.
    let told = daemon.logged("A new caller");
    assert!(
        told.contains("\"from\":\"10.177.0.2\"") && !told.contains("\"uid\""),
        "{told}"
    );
    // Another name of this machine may be a rebound one.
    let (status, _) = curl(
        |words| pair.there(words),
        &[
            "-H",
            "Host: evil.example",
            &format!("http://{address}/api/v1/credentials/{KEY}"),
        ],
    );
    assert_eq!(status, "403");
    let (status, _) = curl(
        |words| pair.here(words),
        &[&format!("http://{address}/api/v1/credentials/{KEY}")],
    );
    assert_eq!(status, "200");
}

#[test]
fn users_of_another_machine_are_unknown_and_so_refused_where_users_are_restricted() {
    let Some(pair) = Pair::new() else { return };
    let address = format!("{OURS}:7002");
    let uri = format!("http://{address}/api/v1/credentials/{KEY}");
    let _daemon = pair.daemon(
        &["--listen", &address, "--allow-remote", "--allow-uids", "0"],
        &[("RAM_SIDECAR_KEY", KEY)],
    );
    let (status, body) = curl(|words| pair.there(words), &[&uri]);
    assert_eq!(status, "403");
    assert!(body.contains("CallerRefused"), "{body}");
    assert_eq!(curl(|words| pair.here(words), &[&uri]).0, "200");
}

#[test]
fn the_metadata_dialect_is_for_this_machine_whatever_it_listens_on() {
    let Some(pair) = Pair::new() else { return };
    let address = format!("{OURS}:7002");
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
        refused_there(&pair, &[&format!("{role}{path}")], "RemoteRefused");
    }
    let token = format!("http://{METADATA}/latest/api/token");
    refused_there(
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
        curl(|words| pair.here(words), &[&role]),
        ("200".into(), "sandbox-role".into())
    );
    let (status, body) = curl(|words| pair.here(words), &[&format!("{role}sandbox-role")]);
    assert!(status == "200" && holds_credentials(body.as_bytes()));
    daemon.logged("RemoteRefused");
    assert_eq!(
        super::lines(&daemon, &["\"WARN\"", "RemoteRefused"]).len(),
        1
    );
}

/// keepalived and IPVS set the parameter on their nodes.
#[test]
fn another_machine_is_another_one_where_any_address_can_be_bound() {
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
    refused_there(
        &pair,
        &[&format!("http://{METADATA}/{ROLE}sandbox-role")],
        "RemoteRefused",
    );
}

/// kube-proxy used to set the parameter on every node (CVE-2020-8558).
#[test]
fn another_machine_is_refused_where_loopback_addresses_are_routed() {
    let Some(pair) = Pair::new() else { return };
    pair.route_loopback_here();
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
        refused_there(&pair, &[uri], "RemoteRefused");
        assert_eq!(curl(|words| pair.here(words), &[uri]).0, "200", "{uri}");
    }
    refused_there(
        &pair,
        &["-X", "POST", "http://127.0.0.1:7003/stop"],
        "RemoteRefused",
    );
}

#[test]
fn another_machine_may_probe_but_not_stop_the_daemon() {
    let Some(pair) = Pair::new() else { return };
    let mut daemon = pair.daemon(&["--listen", "127.0.0.1:7002"], &[]);
    let admin = format!("{OURS}:7003");
    assert_eq!(
        curl(
            |words| pair.there(words),
            &[&format!("http://{admin}/ready")]
        )
        .0,
        "200"
    );
    let stop = format!("http://{admin}/stop");
    refused_there(&pair, &["-X", "POST", &stop], "RemoteRefused");
    let stop = ["stop", "--admin-listen", &admin];
    let ran = pair.there(&[&[env!("CARGO_BIN_EXE_ram-sidecar")], &stop[..]].concat());
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(69), "{told}");
    assert!(
        told.contains("only a program of the same pod may stop this process"),
        "{told}"
    );
    assert_eq!(
        curl(
            |words| pair.here(words),
            &["http://127.0.0.1:7002/api/v1/credentials/0"]
        )
        .0,
        "200"
    );
    let (status, _) = curl(
        |words| pair.here(words),
        &["-X", "POST", "http://127.0.0.1:7003/stop"],
    );
    assert_eq!(status, "202");
    assert_eq!(daemon.ended(), Some(0));
}

fn refused_there(pair: &Pair, words: &[&str], code: &str) {
    let (status, body) = curl(|words| pair.there(words), words);
    assert_eq!(status, "403", "{words:?}: {body}");
    assert!(
        body.contains(&format!("\"Code\":\"{code}\"")) && !holds_credentials(body.as_bytes()),
        "{body}"
    );
}
