//! Responses to single requests in the ECS metadata dialect.

use ram_sidecar::sandbox::{Fault, Times};
use tokio::time::{Duration, Instant};

use super::LIST;
use crate::http::{self, Reply};
use crate::serving::LISTEN;
use crate::support::{Daemon, eventually};
use crate::upstream::{self, sts};

#[test]
fn token_lifetime_is_1_to_21600_seconds() {
    let daemon = serving(&[], &[]);
    for ttl in ["1", "21600"] {
        let reply = put(&daemon, &[(TTL, ttl)]);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        // Clients send it unchanged as a header's value.
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
fn forwarded_request_is_refused() {
    let daemon = serving(&[], &[]);
    let forwarded = ("X-Forwarded-For", "10.0.0.1");
    let reply = put(&daemon, &[(TTL, "60"), forwarded]);
    assert_refused(&reply, 403, "ForwardedRefused");
    let reply = get_with(&daemon, LIST, &[forwarded]);
    assert_refused(&reply, 403, "ForwardedRefused");
}

#[test]
fn token_is_accepted_until_it_expires_whether_or_not_one_is_required() {
    for args in [&[][..], &["--metadata-v2-only"]] {
        let daemon = serving(args, &REGION);
        let role = role_path(&daemon);
        let (lasting, short) = (token(&daemon, "21600"), token(&daemon, "1"));
        // Malformed tokens, and a well-formed one that was not issued.
        let mut forged = lasting.clone();
        forged.replace_range(..1, if lasting.starts_with('x') { "y" } else { "x" });
        for path in [LIST, &role, REGION_ID] {
            let with = |token: &str| get_with(&daemon, path, &[(TOKEN, token)]);
            assert_eq!(with(&lasting).status, 200, "{path}");
            for token in ["", "garbage", "=", &forged] {
                assert_refused(&with(token), 401, "Unauthorized");
            }
            let ended = eventually("the token expires", || {
                Some(with(&short)).filter(|reply| reply.status != 200)
            });
            assert_refused(&ended, 401, "Unauthorized");
        }
        let unknown = get_with(&daemon, "/latest/meta-data/x", &[(TOKEN, &lasting)]);
        assert_refused(&unknown, 404, "NotFound");
    }
}

#[test]
fn token_of_another_process_is_refused() {
    let [one, other] = [(); 2].map(|()| serving(&[], &[]));
    let reply = get_with(&one, LIST, &[(TOKEN, &token(&other, "60"))]);
    assert_refused(&reply, 401, "Unauthorized");
}

#[test]
fn request_without_the_required_token_is_refused() {
    let daemon = serving(&["--metadata-v2-only"], &REGION);
    for path in [LIST, &role_path(&daemon), REGION_ID, "/latest/meta-data/x"] {
        assert_refused(&get(&daemon, path), 403, "Forbidden");
    }
}

#[test]
fn name_and_credentials_of_the_role_are_bare_bodies() {
    for (args, name) in [
        (&[][..], None),
        (&["--metadata-role-name", "job-1"], Some("job-1")),
    ] {
        let daemon = serving(args, &[]);
        let role = daemon.metadata_role();
        assert!(name.is_none_or(|name| name == role), "{role}");
        // The Go SDK sends an empty query; others omit the trailing slash.
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
fn role_name_is_that_of_the_assumed_role() {
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
fn plain_keys_are_served_only_where_configured() {
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
    let unconfigured = serving(&[], &[]);
    let daemon = serving(&[], &keys.map(|(variable, _, value)| (variable, value)));
    for (_, key, value) in keys {
        let path = format!("/latest/meta-data/{key}");
        let reply = get(&daemon, &path);
        assert_eq!((reply.status, reply.body.as_str()), (200, value));
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_refused(&get(&unconfigured, &path), 404, "NotFound");
    }
}

#[test]
fn unknown_path_is_not_found() {
    let daemon = serving(&[], &[]);
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
fn other_methods_are_refused_with_the_allowed_ones() {
    for args in [&[][..], &["--metadata-v2-only"]] {
        let daemon = serving(args, &[]);
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
            let reply = send(&daemon, method, path, &[("Content-Length", "0")]);
            assert_refused(&reply, 405, "MethodNotAllowed");
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        }
        let head = send(&daemon, "HEAD", TOKEN_PATH, &[]);
        assert_eq!((head.status, head.body.as_str()), (405, ""));
        assert_eq!(head.header("allow"), Some("PUT"));
    }
}

#[test]
fn head_response_is_that_of_get_without_the_body() {
    let daemon = serving(&[], &REGION);
    let role = role_path(&daemon);
    for path in [LIST, &role, REGION_ID, "/latest/meta-data/zone-id", "/x"] {
        let (get, head) = (get(&daemon, path), send(&daemon, "HEAD", path, &[]));
        assert_eq!((head.status, head.body.as_str()), (get.status, ""));
        assert_eq!(
            head.header("content-length"),
            Some(get.body.len().to_string().as_str())
        );
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[test]
fn paths_are_case_insensitive() {
    let daemon = serving(&[], &REGION);
    let role = daemon.metadata_role();
    let reply = send(&daemon, "PUT", "/LATEST/API/TOKEN", &[(TTL, "60")]);
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
fn job_without_a_role_has_none_in_the_metadata_dialect() {
    let args = [&LISTEN[..], &METADATA, &["--role-preset", "none"]].concat();
    let daemon = Daemon::spawn(&args, &REGION);
    for path in [LIST, &role_path(&daemon)] {
        assert_refused(&get(&daemon, path), 404, "NoRole");
    }
    assert_eq!(get(&daemon, REGION_ID).body, REGION[0].1);
    assert_eq!(put(&daemon, &[(TTL, "60")]).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_arrives_within_a_second_while_sts_hangs() {
    let sts = sts().await;
    sts.inject(Fault::Hang, Times::UntilCleared);
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
        // The fastest of three, because a busy machine may delay one.
        let times = (0..3).map(|_| {
            let requested_at = Instant::now();
            let reply = send(&daemon, method, path, &[(TTL, "60")]);
            assert_eq!(reply.status, status, "{reply:?}");
            requested_at.elapsed()
        });
        let took = times.min().unwrap();
        assert!(took < SDK_TIMEOUT, "{method} {path}: {took:?}");
    }
    sts.clear_faults();
    eventually("it recovers", || {
        (get(&daemon, &role).status == 200).then_some(())
    });
}

/// Starts a daemon with an embedded STS that serves the dialect on a free loopback port.
fn serving(args: &[&str], env: &[(&str, &str)]) -> Daemon {
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
    send(daemon, "GET", path, headers)
}

fn put(daemon: &Daemon, headers: &[(&str, &str)]) -> Reply {
    send(daemon, "PUT", TOKEN_PATH, headers)
}

/// Fetches a token, which must not appear in the log.
fn token(daemon: &Daemon, ttl: &str) -> String {
    let reply = put(daemon, &[(TTL, ttl)]);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body
}

/// Sends a request, and asserts what holds for every response.
fn send(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
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

/// The timeout of the SDKs.
const SDK_TIMEOUT: Duration = Duration::from_secs(1);
