//! The dialect of AWS SDKs, as raw requests and boto3 see it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use chrono::TimeDelta;
use ram_sidecar::credentials::timestamp;
use serde_json::{Value, json};

use crate::clients::{
    ACCESS_KEY_ID, FORGERIES, Forgery, finished, genuine, issued_by, names, only,
};
use crate::http;
use crate::serving::LISTEN;
use crate::stub_s3;
use crate::stubs::{Reply, Stub, now};
use crate::support::{Daemon, Scratch, eventually, run};
use crate::toolchains::Language;
use crate::upstream::{beside, sts};

fn sandbox(args: &[&str]) -> Daemon {
    Daemon::spawn(&[&["--sandbox"], &LISTEN[..], args].concat(), &[])
}

fn ask(daemon: &Daemon, authorization: Option<&str>) -> http::Reply {
    let header = authorization.map(|text| format!("Authorization: {text}\r\n"));
    daemon.raw(&format!(
        "GET {PATH} HTTP/1.1\r\nHost: {}\r\n{}\r\n",
        daemon.data(),
        header.unwrap_or_default()
    ))
}

const PATH: &str = "/api/v1/container/0";

/// A file with a token, and the flags that name it.
struct Token {
    scratch: Scratch,
}

impl Token {
    fn new(content: &str) -> Self {
        let token = Self {
            scratch: Scratch::new(),
        };
        token.replace(content);
        token
    }

    fn path(&self) -> String {
        self.scratch.join("token").to_str().unwrap().to_owned()
    }

    fn replace(&self, content: &str) {
        let fresh = self.scratch.join("fresh");
        fs::write(&fresh, content).unwrap();
        fs::rename(fresh, self.path()).unwrap();
    }
}

#[test]
fn document_has_the_four_fields_of_aws_with_the_credentials_of_the_uri() {
    let daemon = sandbox(&["--container"]);
    let reply = ask(&daemon, None);
    assert_eq!(reply.status, 200, "{reply:?}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
    let json: Value = serde_json::from_str(&reply.body).unwrap();
    let served: Value = serde_json::from_str(&daemon.credentials().body).unwrap();
    assert_eq!(
        json,
        json!({
            "AccessKeyId": served["AccessKeyId"],
            "SecretAccessKey": served["AccessKeySecret"],
            "Token": served["SecurityToken"],
            "Expiration": served["Expiration"],
        })
    );

    daemon.signal("HUP");
    eventually("it follows a rotation", || {
        (ask(&daemon, None).text("AccessKeyId") != json["AccessKeyId"]).then_some(())
    });
}

#[test]
fn dialect_is_served_only_where_enabled_and_only_under_its_key() {
    let daemon = sandbox(&[]);
    let reply = daemon.get(PATH);
    assert_eq!((reply.status, reply.text("Code")), (404, "NotFound".into()));
    let daemon = sandbox(&["--container=false"]);
    assert_eq!(daemon.get(PATH).status, 404);

    let daemon = sandbox(&["--container", "--key", "right"]);
    for path in ["0", "righ", "right/", "", "%72ight", "right/right"] {
        let reply = daemon.get(&format!("/api/v1/container/{path}"));
        assert_eq!(reply.status, 404, "{path}");
    }
    assert_eq!(daemon.get("/api/v1/container/right").status, 200);
}

#[test]
fn only_the_current_content_of_the_token_file_is_accepted() {
    let token = Token::new("planted-first-token");
    let daemon = sandbox(&["--container", "--container-token-file", &token.path()]);
    daemon.plant("planted-first-token");
    daemon.plant("planted-second-token");
    assert_eq!(ask(&daemon, Some("planted-first-token")).status, 200);
    for wrong in [
        None,
        Some(""),
        Some("planted-second-token"),
        Some("planted-first-toke"),
        Some("planted-first-token2"),
        Some("Bearer planted-first-token"),
    ] {
        let reply = ask(&daemon, wrong);
        assert_eq!(
            (reply.status, reply.text("Code")),
            (401, "ContainerTokenRefused".into()),
            "{wrong:?}"
        );
        let message = reply.text("Message");
        assert!(message.contains("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
    }
    // The URI requires no token.
    assert_eq!(daemon.credentials().status, 200);

    token.replace("planted-second-token");
    assert_eq!(ask(&daemon, Some("planted-second-token")).status, 200);
    assert_eq!(ask(&daemon, Some("planted-first-token")).status, 401);
}

#[test]
fn unusable_token_file_refuses_every_caller_until_it_is_repaired() {
    let token = Token::new("planted-token");
    let daemon = sandbox(&["--container", "--container-token-file", &token.path()]);
    daemon.plant("planted-token");
    let path = token.path();
    let path = Path::new(&path);
    assert_eq!(ask(&daemon, Some("planted-token")).status, 200);
    let unusable: [(Spoil, &str); 5] = [
        (|path| fs::write(path, "").unwrap(), "does not contain 1 to"),
        (
            |path| fs::write(path, "planted-token\n").unwrap(),
            "not even a line break",
        ),
        (
            |path| fs::write(path, "x".repeat(5000)).unwrap(),
            "does not contain 1 to",
        ),
        (
            |path| fs::remove_file(path).unwrap(),
            "No such file or directory",
        ),
        // Not even root reads it.
        (
            |path| fs::create_dir(path).unwrap(),
            "is not a regular file",
        ),
    ];
    for (make, reason) in unusable {
        make(path);
        for authorization in [None, Some(""), Some("planted-token")] {
            let reply = ask(&daemon, authorization);
            assert_eq!(
                (reply.status, reply.text("Code")),
                (503, "ContainerTokenUnusable".into()),
                "{reason}: {authorization:?}"
            );
            let message = reply.text("Message");
            assert!(message.contains("container.token_file cannot be used"));
        }
        daemon.logged(reason);
    }
    assert_eq!(daemon.credentials().status, 200, "the URI serves on");
    fs::remove_dir(path).unwrap();
    token.replace("planted-token");
    assert_eq!(ask(&daemon, Some("planted-token")).status, 200);
}

/// Makes a file unusable.
type Spoil = fn(&Path);

#[test]
fn token_file_that_no_header_can_carry_is_a_startup_error() {
    let token = Token::new("");
    let path = token.path();
    let flags = ["--sandbox", "--container", "--container-token-file", &path];
    let start = || run(&[&LISTEN[..], &flags].concat(), &[]);
    for content in [
        "planted-token\n",
        "planted-token\r\n",
        "planted-token ",
        " planted-token",
        "planted\ttoken",
        "plänted-token",
        "",
    ] {
        token.replace(content);
        let (code, message) = start();
        assert_eq!(code, Some(78), "{message}");
        assert!(message.contains("--container-token-file"), "{message}");
        assert!(
            message.contains("not even a line break or a space"),
            "{message}"
        );
        assert!(!message.contains("planted"), "{message}");
    }
    fs::remove_file(&path).unwrap();
    let (code, message) = start();
    assert_eq!(code, Some(78), "{message}");
    assert!(message.contains("No such file or directory"), "{message}");

    token.replace("planted-token");
    let flags = ["--sandbox", "--container-token-file", &path];
    let (code, message) = run(&[&LISTEN[..], &flags].concat(), &[]);
    assert_eq!(code, Some(78), "{message}");
    assert!(message.contains("container.enabled"), "{message}");
}

/// Returns the command of the example: boto3 that gets its credentials at `uri`, and comes to `s3` as its proxy.
fn boto3(home: &Path, uri: &str, s3: &Stub) -> Option<Command> {
    let mut command = Language::Python.program("s3_example", home)?;
    command
        .args([stub_s3::ENDPOINT, stub_s3::BUCKET])
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
        .env("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        .env("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("HTTP_PROXY", s3.endpoint());
    Some(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_lists_puts_and_gets_with_and_without_a_token_file() {
    let home = Scratch::new();
    let sts = sts().await;
    let token = Token::new("planted-token");
    let path = token.path();
    for flags in [&[][..], &["--container-token-file", &path]] {
        let s3 = stub_s3::start(issued_by(&sts));
        let daemon = beside(&sts, &[&["--container"], flags].concat(), &[]);
        daemon.plant("planted-token");
        let uri = format!("http://{}{PATH}", daemon.data());
        let Some(mut command) = boto3(home.path(), &uri, &s3) else {
            return;
        };
        if !flags.is_empty() {
            command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &path);
        }
        daemon.credentials();
        let output = finished(&mut command);
        assert_eq!(names(&output), stub_s3::OBJECTS);
        assert_eq!(s3.rejections(), Vec::<String>::new());
        // Five objects in pages of two, one put and one got.
        assert_eq!(s3.accepted().len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_without_the_token_gets_no_credentials() {
    let home = Scratch::new();
    let sts = sts().await;
    let token = Token::new("planted-token");
    let path = token.path();
    let s3 = stub_s3::start(issued_by(&sts));
    let daemon = beside(&sts, &["--container", "--container-token-file", &path], &[]);
    let uri = format!("http://{}{PATH}", daemon.data());
    let Some(mut command) = boto3(home.path(), &uri, &s3) else {
        return;
    };
    let Output { status, stderr, .. } = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&stderr);
    assert!(!status.success(), "{complaint}");
    assert!(complaint.contains("ContainerTokenRefused"), "{complaint}");
    assert_eq!(s3.accepted(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn stub_of_s3_refuses_forged_credentials_like_oss() {
    let home = Scratch::new();
    for (forgery, code) in FORGERIES.into_iter().zip([
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidSecurityToken",
        "SecurityTokenExpired",
    ]) {
        let s3 = stub_s3::start(only(genuine(), forgery));
        let forger = forger(forgery);
        let Some(mut command) = boto3(home.path(), &forger.endpoint(), &s3) else {
            return;
        };
        let Output { status, stderr, .. } = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&stderr);
        assert!(
            !status.success() && complaint.contains(code),
            "{code}: {complaint}"
        );
        assert_eq!(s3.rejections(), [code]);
        assert_eq!(s3.accepted(), Vec::<String>::new());
    }
}

/// Serves `forgery` in the dialect of AWS SDKs.
fn forger(forgery: Forgery) -> Stub {
    let genuine = genuine();
    let (mut secret, mut token) = (genuine.access_key_secret, genuine.security_token);
    match forgery {
        Forgery::Secret => secret.push('x'),
        Forgery::Token => token.push('x'),
        Forgery::AccessKeyId | Forgery::Lifetime => {}
    }
    let answer = json!({
        "AccessKeyId": ACCESS_KEY_ID,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": timestamp(now() + TimeDelta::hours(1)),
    });
    Stub::start(move |_| Reply::accepted("application/json", answer.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn default_checksums_of_boto3_are_refused() {
    let home = Scratch::new();
    let sts = sts().await;
    let s3 = stub_s3::start(issued_by(&sts));
    let daemon = beside(&sts, &["--container"], &[]);
    let uri = format!("http://{}{PATH}", daemon.data());
    let Some(mut command) = boto3(home.path(), &uri, &s3) else {
        return;
    };
    command.env_remove("AWS_REQUEST_CHECKSUM_CALCULATION");
    let Output { status, stderr, .. } = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&stderr);
    assert!(
        !status.success() && complaint.contains("NotImplemented"),
        "{complaint}"
    );
    assert_eq!(s3.rejections(), ["NotImplemented"]);
}
