//! What single requests in the ECS metadata dialect are answered.

use ram_sidecar::sandbox::{Fault, Times};
use tokio::time::{Duration, Instant};

use super::LIST;
use crate::http::{self, Reply};
use crate::serving::LISTEN;
use crate::support::{Daemon, eventually};
use crate::upstream::{self, sts};

#[test]
fn a_token_is_given_for_1_to_21600_seconds() {
    let daemon = speaking(&[], &[]);
    for ttl in ["1", "21600"] {
        let reply = put(&daemon, &[(TTL, ttl)]);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        // It becomes the value of a header as it is.
        let is_plain = |byte: u8| byte.is_ascii_graphic();
        assert!(!reply.body.is_empty() && reply.body.bytes().all(is_plain));
    }
    let bad = ["", "0", "21601", "-1", "1.5", "60s", "garbage"];
    let missing = put(&daemon, &[]);
    let refused = bad.map(|ttl| put(&daemon, &[(TTL, ttl)]));
    for reply in [missing].iter().chain(&refused) {
        assert_refused(reply, 400, "MissingOrInvalidParameters");
    }
}

#[test]
fn what_a_proxy_forwards_is_refused() {
    let daemon = speaking(&[], &[]);
    let forwarded = ("X-Forwarded-For", "10.0.0.1");
    let reply = put(&daemon, &[(TTL, "60"), forwarded]);
    assert_refused(&reply, 403, "ForwardedRefused");
    let reply = get_with(&daemon, LIST, &[forwarded]);
    assert_refused(&reply, 403, "ForwardedRefused");
}

#[test]
fn a_token_opens_everything_until_it_ends_whether_or_not_one_is_demanded() {
    for args in [&[][..], &["--metadata-v2-only"]] {
        let daemon = speaking(args, &REGION);
        let role = role_path(&daemon);
        let (lasting, short) = (token(&daemon, "21600"), token(&daemon, "1"));
        // What cannot be in a token, and what could be.
        let mut forged = lasting.clone();
        forged.replace_range(..1, if lasting.starts_with('x') { "y" } else { "x" });
        for path in [LIST, &role, REGION_ID] {
            let with = |token: &str| get_with(&daemon, path, &[(TOKEN, token)]);
            assert_eq!(with(&lasting).status, 200, "{path}");
            for token in ["", "garbage", "=", &forged] {
                assert_refused(&with(token), 401, "Unauthorized");
            }
            let ended = eventually("the token ends", || {
                Some(with(&short)).filter(|reply| reply.status != 200)
            });
            assert_refused(&ended, 401, "Unauthorized");
        }
        let unknown = get_with(&daemon, "/latest/meta-data/x", &[(TOKEN, &lasting)]);
        assert_refused(&unknown, 404, "NotFound");
    }
}

#[test]
fn a_token_of_another_process_is_refused() {
    let [one, other] = [(); 2].map(|()| speaking(&[], &[]));
    let reply = get_with(&one, LIST, &[(TOKEN, &token(&other, "60"))]);
    assert_refused(&reply, 401, "Unauthorized");
}

#[test]
fn without_a_token_nothing_is_told_where_one_is_demanded() {
    let daemon = speaking(&["--metadata-v2-only"], &REGION);
    for path in [LIST, &role_path(&daemon), REGION_ID, "/latest/meta-data/x"] {
        assert_refused(&get(&daemon, path), 403, "Forbidden");
    }
}

#[test]
fn the_name_and_the_credentials_of_the_role_are_told_bare() {
    for (args, name) in [
        (&[][..], None),
        (&["--metadata-role-name", "job-1"], Some("job-1")),
    ] {
        let daemon = speaking(args, &[]);
        let role = daemon.metadata_role();
        assert!(name.is_none_or(|name| name == role), "{role}");
        // Go sends a question mark with nothing behind it, others leave the slash out.
        for path in [LIST, &format!("{LIST}?"), LIST.trim_end_matches('/')] {
            let reply = get(&daemon, path);
            assert_eq!((reply.status, &reply.body), (200, &role), "{path}");
            assert_eq!(reply.header("content-type"), Some("text/plain"));
        }
        let document = daemon.credentials();
        for query in ["", "?", "?x=1"] {
            let reply = get(&daemon, &format!("{LIST}{role}{query}"));
            assert_eq!((reply.status, &reply.body), (200, &document.body));
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
    }
}

#[test]
fn the_role_is_named_after_the_one_that_is_assumed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sts = runtime.block_on(sts());
    let daemon = upstream::beside(&sts, &METADATA, &[]);
    daemon.uri();
    let arn = sts.role_arn();
    let name = arn.rsplit('/').next().unwrap();
    assert_eq!(get(&daemon, LIST).body, name);
    let reply = get(&daemon, &format!("{LIST}{name}"));
    assert_eq!(reply.body, daemon.credentials().body);
    assert!(sts.issued(&reply.text("AccessKeyId")).is_some());
}

#[test]
fn of_the_plain_keys_those_are_told_that_are_configured() {
    let keys = [
        ("RAM_SIDECAR_METADATA_REGION_ID", "region-id", "cn-hangzhou"),
        ("RAM_SIDECAR_METADATA_ZONE_ID", "zone-id", "cn-hangzhou-i"),
        ("RAM_SIDECAR_METADATA_INSTANCE_ID", "instance-id", "i-job"),
        (
            "RAM_SIDECAR_METADATA_OWNER_ACCOUNT_ID",
            "owner-account-id",
            "1234567890123456",
        ),
    ];
    let silent = speaking(&[], &[]);
    let daemon = speaking(&[], &keys.map(|(variable, _, value)| (variable, value)));
    for (_, key, value) in keys {
        let path = format!("/latest/meta-data/{key}");
        let reply = get(&daemon, &path);
        assert_eq!((reply.status, reply.body.as_str()), (200, value));
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_refused(&get(&silent, &path), 404, "NotFound");
    }
}

#[test]
fn what_is_not_here_is_not_found() {
    let daemon = speaking(&[], &[]);
    let role = daemon.metadata_role();
    for path in [
        "/",
        "/latest",
        "/latest/meta-data/",
        "/latest/meta-data/hostname",
        "/latest/user-data",
        "/latest/dynamic/instance-identity/document",
        "/api/v1/credentials/0",
        "/ready",
        &format!("{LIST}another"),
        &format!("{LIST}{role}x"),
        &format!("{LIST}{role}/"),
        // Python's SDK would send the line break of a name.
        &format!("{LIST}{role}%0A"),
    ] {
        assert_refused(&get(&daemon, path), 404, "NotFound");
    }
}

#[test]
fn another_method_is_told_which_ones_are_answered() {
    for args in [&[][..], &["--metadata-v2-only"]] {
        let daemon = speaking(args, &[]);
        let role = role_path(&daemon);
        for (method, path, allow) in [
            ("GET", TOKEN_PATH, "PUT"),
            ("PUT", LIST, "GET, HEAD"),
            ("PUT", &role, "GET, HEAD"),
            ("PUT", REGION_ID, "GET, HEAD"),
            ("POST", TOKEN_PATH, "GET, HEAD, PUT"),
            ("POST", LIST, "GET, HEAD, PUT"),
            ("POST", &role, "GET, HEAD, PUT"),
            ("DELETE", &role, "GET, HEAD, PUT"),
            ("OPTIONS", "*", "GET, HEAD, PUT"),
        ] {
            let reply = ask(&daemon, method, path, &[("Content-Length", "0")]);
            assert_refused(&reply, 405, "MethodNotAllowed");
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        }
        let head = ask(&daemon, "HEAD", TOKEN_PATH, &[]);
        assert_eq!((head.status, head.body.as_str()), (405, ""));
        assert_eq!(head.header("allow"), Some("PUT"));
    }
}

#[test]
fn head_is_answered_like_get_but_for_the_body() {
    let daemon = speaking(&[], &REGION);
    let role = role_path(&daemon);
    for path in [LIST, &role, REGION_ID, "/latest/meta-data/zone-id", "/x"] {
        let (get, head) = (get(&daemon, path), ask(&daemon, "HEAD", path, &[]));
        assert_eq!((head.status, head.body.as_str()), (get.status, ""));
        assert_eq!(
            head.header("content-length"),
            Some(get.body.len().to_string().as_str())
        );
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[test]
fn paths_are_read_without_regard_to_case() {
    let daemon = speaking(&[], &REGION);
    let role = daemon.metadata_role();
    let reply = ask(&daemon, "PUT", "/LATEST/API/TOKEN", &[(TTL, "60")]);
    assert_eq!(reply.status, 200);
    let ossutils = "/latest/meta-data/Ram/security-credentials/";
    for path in [ossutils, &LIST.to_uppercase()] {
        assert_eq!(get(&daemon, path).body, role, "{path}");
        let reply = get(&daemon, &format!("{path}{}", role.to_uppercase()));
        assert_eq!(reply.body, daemon.credentials().body, "{path}");
    }
    assert_eq!(get(&daemon, &REGION_ID.to_uppercase()).body, REGION[0].1);
}

#[test]
fn a_job_without_a_role_has_none_here_either() {
    let args = [&LISTEN[..], &METADATA, &["--role-preset", "none"]].concat();
    let daemon = Daemon::spawn(&args, &REGION);
    for path in [LIST, &role_path(&daemon)] {
        assert_refused(&get(&daemon, path), 404, "NoRole");
    }
    assert_eq!(get(&daemon, REGION_ID).body, REGION[0].1);
    assert_eq!(put(&daemon, &[(TTL, "60")]).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_there_within_a_second_while_sts_hangs() {
    let sts = sts().await;
    sts.inject(Fault::Hang, Times::UntilHealed);
    let daemon = upstream::beside(&sts, &METADATA, &REGION);
    let role = role_path(&daemon);
    sts.wait_for_requests(1).await;
    let reply = get(&daemon, &role);
    assert_refused(&reply, 503, "CredentialsPending");
    assert_eq!(reply.header("retry-after"), Some("1"));
    for (status, method, path) in [
        (503, "GET", role.as_str()),
        (503, "HEAD", &role),
        (200, "GET", LIST),
        (200, "PUT", TOKEN_PATH),
        (200, "GET", REGION_ID),
        (404, "GET", "/latest/meta-data/zone-id"),
        (405, "GET", TOKEN_PATH),
    ] {
        // A machine that is busy may be late once, but hardly every time.
        let times = (0..3).map(|_| {
            let asked_at = Instant::now();
            let reply = ask(&daemon, method, path, &[(TTL, "60")]);
            assert_eq!(reply.status, status, "{reply:?}");
            asked_at.elapsed()
        });
        let took = times.min().unwrap();
        assert!(took < PATIENCE, "{method} {path}: {took:?}");
    }
    sts.heal();
    eventually("it recovers", || {
        (get(&daemon, &role).status == 200).then_some(())
    });
}

/// Starts a daemon with an embedded STS that speaks the dialect on a free port of loopback.
fn speaking(args: &[&str], env: &[(&str, &str)]) -> Daemon {
    let args = [&["--sandbox"], &LISTEN[..], &METADATA, args].concat();
    let daemon = Daemon::spawn(&args, env);
    daemon.uri();
    daemon
}

/// Returns the path of the credentials.
fn role_path(daemon: &Daemon) -> String {
    format!("{LIST}{}", daemon.metadata_role())
}

fn get(daemon: &Daemon, path: &str) -> Reply {
    get_with(daemon, path, &[])
}

fn get_with(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Reply {
    ask(daemon, "GET", path, headers)
}

fn put(daemon: &Daemon, headers: &[(&str, &str)]) -> Reply {
    ask(daemon, "PUT", TOKEN_PATH, headers)
}

/// Fetches a token, which must be told nobody else.
fn token(daemon: &Daemon, ttl: &str) -> String {
    let reply = put(daemon, &[(TTL, ttl)]);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body
}

/// Sends a request, and asserts what is true of every answer.
fn ask(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let address = daemon.metadata();
    let headers = headers.iter().fold(String::new(), |lines, (name, value)| {
        lines + name + ": " + value + "\r\n"
    });
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    let reply = if method == "PUT" {
        // A token is a secret.
        let reply = http::raw(address, &request);
        if reply.status == 200 {
            daemon.plant(&reply.body);
        }
        reply
    } else {
        daemon.raw_metadata(&request)
    };
    let kind = reply.header("content-type");
    assert!(
        matches!(kind, Some("application/json" | "text/plain")),
        "{request}{reply:?}"
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(reply.header("content-length").is_some(), "{reply:?}");
    assert!(!reply.body.ends_with(['\r', '\n']), "{reply:?}");
    assert_eq!(reply.header("allow").is_some(), reply.status == 405);
    reply
}

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.text("Code"), code, "{reply:?}");
    assert!(!reply.text("Message").is_empty(), "{reply:?}");
}

const METADATA: [&str; 2] = ["--metadata-listen", "127.0.0.1:0"];

const REGION: [(&str, &str); 1] = [("RAM_SIDECAR_METADATA_REGION_ID", "cn-hangzhou")];

const TOKEN_PATH: &str = "/latest/api/token";
const REGION_ID: &str = "/latest/meta-data/region-id";

const TTL: &str = "X-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN: &str = "X-aliyun-ecs-metadata-token";

/// After a second the SDKs go away.
const PATIENCE: Duration = Duration::from_secs(1);
