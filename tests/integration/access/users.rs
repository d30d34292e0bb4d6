//! `serve.allow_uids`: which users of this machine get credentials.

use std::net::SocketAddr;

use super::{Dialect, dialects, has, has_ipv6_loopback, is_root, lines, output, speaker};
use crate::support::{eventually, required, run};

const NOBODY: &str = "65534";

#[test]
fn a_user_who_is_not_allowed_is_refused_in_every_dialect_and_told_of_once() {
    let ours = rustix::process::geteuid().as_raw();
    let other = (ours + 1).to_string();
    let daemon = speaker(&["--allow-uids", &other], &[]);
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
    let uid = format!("\"uid\":{ours}");
    // Of the others there are lines of the least important kind.
    eventually("all are told of", || {
        (lines(&daemon, &["CallerRefused", &uid]).len() >= 9).then_some(())
    });
    let told = lines(&daemon, &["\"WARN\"", "CallerRefused", &uid]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(lines(&daemon, &["A new caller"]).is_empty());
    // Probes are for everybody.
    assert_eq!(daemon.probe("/ready").status, 200);
}

#[test]
fn an_allowed_user_is_served_in_every_dialect() {
    let ours = rustix::process::geteuid().as_raw();
    let both = format!("{},{ours}", ours + 1);
    let daemon = speaker(&["--allow-uids", &both], &[]);
    for dialect in dialects(&daemon) {
        assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
    }
    assert_eq!(lines(&daemon, &["CallerRefused"]), [""; 0]);
}

#[test]
fn a_user_who_is_not_allowed_cannot_stop_it_either_but_its_own_user_can() {
    if !can_be_others() {
        return;
    }
    let mut daemon = speaker(&["--allow-uids", "1"], &[]);
    let stop = format!("http://{}/stop", daemon.admin());
    let curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"];
    let other = [
        "setpriv",
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
    ];
    let asked = |who: &[&str]| {
        let ran = output(&[who, &curl, &["-X", "POST", &stop]].concat());
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    assert_eq!(asked(&other), "403");
    assert_eq!(daemon.probe("/ready").status, 200);
    assert_eq!(asked(&[]), "202");
    assert_eq!(daemon.ended(), Some(0));
}

/// Java's sockets are of IPv6, whatever they connect to.
#[test]
fn a_client_of_a_dual_stack_socket_is_known_too() {
    let ours = rustix::process::geteuid().as_raw();
    let daemon = speaker(&["--allow-uids", &ours.to_string()], &[]);
    let mapped = format!("[::ffff:127.0.0.1]:{}", daemon.data().port());
    if !required("IPv6", has_ipv6_loopback()) {
        return;
    }
    let mapped: SocketAddr = mapped.parse().unwrap();
    let request = b"GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let received = super::exchange(mapped, request);
    assert!(
        super::holds_credentials(&received),
        "{}",
        String::from_utf8_lossy(&received)
    );
}

#[test]
fn of_two_users_the_allowed_one_is_served_by_either_loopback_address() {
    if !can_be_others() {
        return;
    }
    for (allowed, root, nobody) in [
        (NOBODY, "403", "200"),
        ("0", "200", "403"),
        ("0,65534", "200", "200"),
    ] {
        let daemon = speaker(&["--allow-uids", allowed], &[]);
        for dialect in twins(dialects(&daemon)) {
            let uri = format!("http://{}{}", dialect.address, dialect.path());
            assert_eq!(asked_by("0", &uri), root, "root, {allowed}, {uri}");
            assert_eq!(asked_by(NOBODY, &uri), nobody, "nobody, {allowed}, {uri}");
        }
    }
}

#[test]
fn a_user_who_closes_at_once_is_not_taken_for_root() {
    if !can_be_others() {
        return;
    }
    let daemon = speaker(&["--allow-uids", "0"], &[]);
    let port = daemon.data().port();
    let script = format!(
        "for i in $(seq 100); do exec 3<>/dev/tcp/127.0.0.1/{port}; \
         printf 'GET /api/v1/credentials/0 HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nUser-Agent: gone\\r\\n\\r\\n' >&3; \
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
    // Of some the end is seen before they are judged.
    let seen = || {
        let judged = lines(&daemon, &["A request was refused"]).len();
        judged + lines(&daemon, &["A connection ended early"]).len()
    };
    eventually("all have been seen", || (seen() >= 100).then_some(()));
    assert_eq!(lines(&daemon, &["gone"]), [""; 0], "nobody was let in");
    let told = lines(&daemon, &["A request was refused"]);
    let known = |line: &String| line.contains("CallerRefused") && !line.contains("\"uid\":0");
    assert!(told.iter().all(known), "{told:?}");
}

#[test]
fn user_ids_that_are_none_are_refused_at_the_start() {
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
        let (code, told) = run(&["--sandbox", &format!("--allow-uids={value}")], &[]);
        assert_eq!(code, Some(78), "{value}: {told}");
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(
            told.contains(&format!("--allow-uids: {sentence}")),
            "{told}"
        );
        let (code, told) = run(&["--sandbox"], &[("RAM_SIDECAR_ALLOW_UIDS", value)]);
        assert_eq!(code, Some(78), "{value}: {told}");
        assert!(
            told.contains(&format!("RAM_SIDECAR_ALLOW_UIDS: {sentence}")),
            "{told}"
        );
    }
    let (code, told) = run(&["--sandbox", "--allow-uids="], &[]);
    assert_eq!(
        code,
        Some(78),
        "an empty list allows nobody by mistake: {told}"
    );
}

fn can_be_others() -> bool {
    let programs = ["setpriv", "curl", "bash"];
    required(
        "root, with setpriv, curl and bash",
        is_root() && programs.into_iter().all(has),
    )
}

/// Adds the twin of the data listener on the other loopback address.
fn twins(dialects: [Dialect; 3]) -> Vec<Dialect> {
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

/// Returns the status that a user's curl gets.
fn asked_by(uid: &str, uri: &str) -> String {
    let become_user = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"];
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
    let ran = output(&[&become_user[..], &curl].concat());
    String::from_utf8_lossy(&ran.stdout).into_owned()
}
