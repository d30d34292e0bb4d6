//! `serve.allow_uids`: which users of this machine get credentials.

use std::net::SocketAddr;

use super::{Dialect, dialects, has, has_ipv6_loopback, is_root, lines, output, start};
use crate::support::{eventually, required, run};

const NOBODY: &str = "65534";

#[test]
fn disallowed_user_is_refused_in_every_dialect_with_one_warning() {
    let own = rustix::process::geteuid().as_raw();
    let other = (own + 1).to_string();
    let daemon = start(&["--allow-uids", &other], &[]);
    for _ in 0..3 {
        for dialect in dialects(&daemon) {
            let reply = dialect.ask();
            assert_eq!(
                (reply.status, reply.text("Code").as_str()),
                (403, "CallerRefused"),
                "{}",
                dialect.name
            );
            assert_eq!(reply.header("content-type"), Some("application/json"));
            assert!(
                reply.text("Message").contains("serve.allow_uids"),
                "{reply:?}"
            );
        }
    }
    let uid = format!("\"uid\":{own}");
    // Repeated refusals are logged at the level `debug`.
    eventually("all refusals are logged", || {
        (lines(&daemon, &["CallerRefused", &uid]).len() >= 9).then_some(())
    });
    let warnings = lines(&daemon, &["\"WARN\"", "CallerRefused", &uid]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(lines(&daemon, &["A new caller"]).is_empty());
    // Probes are not restricted.
    assert_eq!(daemon.probe("/ready").status, 200);
}

#[test]
fn allowed_user_is_served_in_every_dialect() {
    let own = rustix::process::geteuid().as_raw();
    let both = format!("{},{own}", own + 1);
    let daemon = start(&["--allow-uids", &both], &[]);
    for dialect in dialects(&daemon) {
        assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
    }
    assert_eq!(lines(&daemon, &["CallerRefused"]), [""; 0]);
}

#[test]
fn only_its_own_user_stops_the_daemon_unless_others_may() {
    if !can_switch_users() {
        return;
    }
    let curl = ["curl", "-s", "-w", " %{http_code}"];
    let other = [
        "setpriv",
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
    ];
    let restricted = ["--admin-stop", "anyone", "--allow-uids", "1"];
    for (args, starter, code) in [
        (&[][..], &other[..], Some("StopRefused")),
        (&[], &[], None),
        (&["--allow-uids", NOBODY], &other, Some("StopRefused")),
        (&restricted, &other, Some("CallerRefused")),
        (&restricted, &[], None),
        (&["--admin-stop", "anyone"], &other, None),
    ] {
        let mut daemon = start(args, &[]);
        let stop = format!("http://{}/stop", daemon.admin());
        let ran = output(&[starter, &curl, &["-X", "POST", &stop]].concat());
        let answer = String::from_utf8_lossy(&ran.stdout).into_owned();
        if let Some(code) = code {
            assert!(
                answer.contains(code) && answer.ends_with(" 403"),
                "{answer}"
            );
            assert_eq!(daemon.probe("/ready").status, 200);
        } else {
            assert!(answer.ends_with(" 202"), "{args:?}: {answer}");
            assert_eq!(daemon.ended(), Some(0));
        }
    }
}

/// Java uses IPv6 sockets for IPv4 connections too.
#[test]
fn user_of_a_dual_stack_socket_is_known() {
    let own = rustix::process::geteuid().as_raw();
    let daemon = start(&["--allow-uids", &own.to_string()], &[]);
    let mapped = format!("[::ffff:127.0.0.1]:{}", daemon.data().port());
    if !required("IPv6", has_ipv6_loopback()) {
        return;
    }
    let mapped: SocketAddr = mapped.parse().unwrap();
    let request = b"GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let received = super::exchange(mapped, request);
    assert!(
        super::has_credentials(&received),
        "{}",
        String::from_utf8_lossy(&received)
    );
}

#[test]
fn only_the_allowed_user_is_served_on_either_loopback_address() {
    if !can_switch_users() {
        return;
    }
    for (allowed, root, nobody) in [
        (NOBODY, "403", "200"),
        ("0", "200", "403"),
        ("0,65534", "200", "200"),
    ] {
        let daemon = start(&["--allow-uids", allowed], &[]);
        for dialect in with_ipv6(dialects(&daemon)) {
            let uri = format!("http://{}{}", dialect.address, dialect.path());
            assert_eq!(status_for("0", &uri), root, "root, {allowed}, {uri}");
            assert_eq!(status_for(NOBODY, &uri), nobody, "nobody, {allowed}, {uri}");
        }
    }
}

#[test]
fn user_who_disconnects_at_once_is_not_mistaken_for_root() {
    if !can_switch_users() {
        return;
    }
    let daemon = start(&["--allow-uids", "0"], &[]);
    let port = daemon.data().port();
    let script = format!(
        "for i in $(seq 100); do exec 3<>/dev/tcp/127.0.0.1/{port}; \
         printf 'GET /api/v1/credentials/0 HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nUser-Agent: disconnected\\r\\n\\r\\n' >&3; \
         exec 3>&-; done"
    );
    let ran = output(&[
        "setpriv",
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
        "bash",
        "-c",
        &script,
    ]);
    assert!(ran.status.success(), "{ran:?}");
    // Some connections end before their request is checked.
    let handled = || {
        let refused = lines(&daemon, &["A request was refused"]).len();
        refused + lines(&daemon, &["A connection ended early"]).len()
    };
    eventually("all connections are handled", || {
        (handled() >= 100).then_some(())
    });
    assert_eq!(
        lines(&daemon, &["disconnected"]),
        [""; 0],
        "no request was served"
    );
    let refusals = lines(&daemon, &["A request was refused"]);
    let is_expected = |line: &String| line.contains("CallerRefused") && !line.contains("\"uid\":0");
    assert!(refusals.iter().all(is_expected), "{refusals:?}");
}

#[test]
fn invalid_user_ids_are_configuration_errors() {
    for (value, sentence) in [
        (
            "root",
            "`root` is not a user id; write numbers, like 0,1000",
        ),
        ("-1", "`-1` is not a user id; write numbers, like 0,1000"),
        (
            "4294967296",
            "`4294967296` is not a user id; write numbers, like 0,1000",
        ),
        ("0,x", "`x` is not a user id; write numbers, like 0,1000"),
        ("0;1", "`0;1` is not a user id; write numbers, like 0,1000"),
        (
            "0x10",
            "`0x10` is not a user id; write numbers, like 0,1000",
        ),
        ("0,,1", "it is empty or has an empty entry"),
        (",", "it is empty or has an empty entry"),
    ] {
        let (code, message) = run(&["--sandbox", &format!("--allow-uids={value}")], &[]);
        assert_eq!(code, Some(78), "{value}: {message}");
        assert_eq!(message.lines().count(), 2, "{message}");
        assert!(
            message.contains(&format!("--allow-uids: {sentence}")),
            "{message}"
        );
        let (code, message) = run(&["--sandbox"], &[("RAM_SIDECAR_ALLOW_UIDS", value)]);
        assert_eq!(code, Some(78), "{value}: {message}");
        assert!(
            message.contains(&format!("RAM_SIDECAR_ALLOW_UIDS: {sentence}")),
            "{message}"
        );
    }
    let (code, message) = run(&["--sandbox", "--allow-uids="], &[]);
    assert_eq!(
        code,
        Some(78),
        "an empty list would refuse every user: {message}"
    );
}

fn can_switch_users() -> bool {
    let programs = ["setpriv", "curl", "bash"];
    required(
        "root, with setpriv, curl and bash",
        is_root() && programs.into_iter().all(has),
    )
}

/// Adds the data listener on the IPv6 loopback address.
fn with_ipv6(dialects: [Dialect; 3]) -> Vec<Dialect> {
    let mut all: Vec<Dialect> = dialects.into();
    if required("an IPv6 loopback address", has_ipv6_loopback()) {
        let Dialect {
            name,
            address,
            prefix,
            last,
        } = all[0];
        let address = SocketAddr::new("::1".parse().unwrap(), address.port());
        all.push(Dialect {
            name,
            address,
            prefix,
            last,
        });
    }
    all
}

/// Returns the status of a request that a user sends with curl.
fn status_for(uid: &str, uri: &str) -> String {
    let as_user = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"];
    let curl = [
        "curl",
        "-s",
        "-m",
        "10",
        "--noproxy",
        "*",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        uri,
    ];
    let ran = output(&[&as_user[..], &curl].concat());
    String::from_utf8_lossy(&ran.stdout).into_owned()
}
