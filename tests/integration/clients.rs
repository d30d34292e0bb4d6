//! The official SDKs, used as their users use them, against the real daemon.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use chrono::TimeDelta;
use ram_sidecar::credentials::timestamp;
use ram_sidecar::sandbox::{Options, Sandbox};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::access;
use crate::stubs::{Issued, Lookup, Reply, Stub, now};
use crate::support::{Daemon, Process, Scratch, eventually};
use crate::toolchains::{Language, tool};
use crate::{stub_odps, stub_oss};

pub(crate) mod matrix;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs names of its own: clients::matrix::every_client_follows_two_rotations runs it in a namespace"]
async fn matrix_in_its_own_network() {
    matrix::selected_clients().await;
}

#[test]
fn python_follows_a_rotation() {
    let ways = [
        "credentials_uri",
        "credentials_uri_async",
        "default",
        "default_async",
    ];
    follows_a_rotation(Language::Python, &ways);
}

#[test]
fn node_follows_a_rotation() {
    follows_a_rotation(Language::Node, &["credentials_uri", "default"]);
}

#[test]
fn fetch_of_node_and_undici_are_served_in_every_dialect() {
    let home = Scratch::new();
    let Some(mut command) = Language::Node.program("fetch", home.path()) else {
        return;
    };
    let daemon = access::start(&[], &[]);
    let urls = access::dialects(&daemon)
        .map(|dialect| format!("http://{}{}", dialect.address, dialect.path()));
    let token = format!("http://{}/latest/api/token", daemon.metadata());
    let output = finished(command.args(&urls).arg(&token));
    let answers: Vec<[String; 3]> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answers.len(), 3 * 4);
    for [way, url, answer] in answers {
        let is_served = if url == token {
            answer.len() > 20 && !answer.starts_with('{')
        } else {
            access::has_credentials(answer.as_bytes())
        };
        assert!(is_served, "{way} {url}: {answer}");
    }
}

#[test]
fn go_follows_a_rotation() {
    follows_a_rotation(Language::Go, &["credentials_uri", "default"]);
}

#[test]
fn java_follows_a_rotation() {
    follows_a_rotation(Language::Java, &["credentials_uri", "default"]);
}

#[test]
fn curl_follows_a_rotation() {
    if tool("curl").is_none() {
        return;
    }
    let sidecar = Sidecar::start(&[]);
    sidecar.assert_followed(&["curl"], || {
        let mut curl = Command::new("curl");
        curl.args([
            "--disable",
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "5",
        ]);
        let output = finished(curl.arg(&sidecar.uri));
        json!({ "curl": triple(&serde_json::from_slice(&output.stdout).expect("a JSON answer")) })
    });
}

#[tokio::test]
async fn oss2_lists_a_bucket_with_v1_and_v4_signatures() {
    let sts = sts().await;
    let oss = stub_oss::start(issued_by(&sts));

    for version in ["v1", "v4"] {
        let arguments = [
            oss.endpoint(),
            stub_oss::BUCKET.to_owned(),
            version.to_owned(),
        ];
        let Some(output) = example_beside_a_daemon(&sts, "oss_example", arguments).await else {
            return;
        };
        assert_eq!(names(&output), stub_oss::OBJECTS, "{output:?}");
    }

    assert_eq!(oss.rejections(), Vec::<String>::new());
    // Five objects in pages of two, listed in two ways, signed in two ways.
    assert_eq!(oss.accepted().len(), 12);
}

#[tokio::test]
async fn pyodps_lists_tables_with_v2_and_v4_signatures() {
    let sts = sts().await;
    let odps = stub_odps::start(issued_by(&sts));

    for region in [&[][..], &["cn-hangzhou"]] {
        let endpoint = odps.endpoint() + stub_odps::PREFIX;
        let mut arguments = vec![endpoint, stub_odps::PROJECT.to_owned()];
        arguments.extend(region.iter().map(ToString::to_string));
        let Some(output) = example_beside_a_daemon(&sts, "odps_example", arguments).await else {
            return;
        };
        assert_eq!(names(&output), stub_odps::TABLES, "{output:?}");
    }

    assert_eq!(odps.rejections(), Vec::<String>::new());
    assert!(!odps.accepted().is_empty());
}

#[tokio::test]
async fn the_stub_of_oss_refuses_forged_credentials_as_oss_does() {
    for (forgery, code) in FORGERIES.into_iter().zip([
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidSecurityToken",
        "SecurityTokenExpired",
    ]) {
        for version in ["v1", "v4"] {
            let oss = stub_oss::start(only(genuine(), forgery));
            let arguments = [
                oss.endpoint(),
                stub_oss::BUCKET.to_owned(),
                version.to_owned(),
            ];
            let Some(output) = example_beside_a_forger(forgery, "oss_example", arguments).await
            else {
                return;
            };
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && stderr.contains(code),
                "{code}: {stderr}"
            );
            assert_eq!(oss.rejections(), [code], "{version}");
            assert_eq!(oss.accepted(), Vec::<String>::new(), "{version}");
        }
    }
}

#[tokio::test]
async fn the_stub_of_odps_refuses_forged_credentials_as_odps_does() {
    for (forgery, code) in FORGERIES.into_iter().zip([
        "ODPS-0410051:Invalid credentials - accessKeyId not found",
        "ODPS-0410042:Invalid signature value - User signature does not match",
        "ODPS-0410051:Invalid credentials - STS token is invalid",
        "ODPS-0410051:Invalid credentials - STS token is expired",
    ]) {
        for region in [&[][..], &["cn-hangzhou"]] {
            let odps = stub_odps::start(only(genuine(), forgery));
            let endpoint = odps.endpoint() + stub_odps::PREFIX;
            let mut arguments = vec![endpoint, stub_odps::PROJECT.to_owned()];
            arguments.extend(region.iter().map(ToString::to_string));
            let Some(output) = example_beside_a_forger(forgery, "odps_example", arguments).await
            else {
                return;
            };
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && stderr.contains(code),
                "{code}: {stderr}"
            );
            let rejections = odps.rejections();
            assert!(
                rejections.iter().all(|rejection| rejection == code),
                "{rejections:?}"
            );
            assert_eq!(odps.accepted(), Vec::<String>::new(), "{region:?}");
        }
    }
}

/// A daemon with an embedded STS, and the file that it writes.
pub(crate) struct Sidecar {
    // Dropped before the directory in which it writes.
    pub(crate) daemon: Daemon,
    pub(crate) uri: String,
    file: PathBuf,
    _scratch: Scratch,
}

impl Sidecar {
    /// Starts a daemon whose credentials expire so soon that every SDK requests them at every fetch.
    pub(crate) fn start(args: &[&str]) -> Self {
        let scratch = Scratch::new();
        let file = scratch.join("credentials");
        let lifetime = ["--fault", "lifetime=170s"];
        let path = file
            .to_str()
            .expect("the target directory has a plain name");
        let daemon = Daemon::spawn(
            &[
                &["--sandbox"],
                &lifetime[..],
                &LISTEN,
                &["--file", path],
                args,
            ]
            .concat(),
            &[],
        );
        Self {
            uri: daemon.uri(),
            daemon,
            file,
            _scratch: scratch,
        }
    }

    /// Returns the credentials in the file, whose secrets must never be printed.
    pub(crate) fn credentials_in_file(&self) -> Value {
        let credentials = eventually("the daemon writes its file", || {
            let text = std::fs::read(&self.file).ok()?;
            let document = serde_json::from_slice(&text).expect("the file is whole");
            Some(triple(&document))
        });
        for field in ["AccessKeySecret", "SecurityToken"] {
            self.daemon.plant(
                credentials[field]
                    .as_str()
                    .expect("credentials are strings"),
            );
        }
        credentials
    }

    /// Asserts that the program `follow` of a language gets the credentials in the file, before and after a rotation.
    pub(crate) fn assert_followed_by(&self, mut command: Command, ways: &[&str]) {
        command.args(ways);
        let mut program = Process::start(command);
        self.assert_followed(ways, || {
            let answer = program.ask("fetch");
            serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer}: {error}"))
        });
    }

    /// Asserts that `fetch` gets the credentials in the file, before and after a rotation, in each of `ways`.
    pub(crate) fn assert_followed(&self, ways: &[&str], mut fetch: impl FnMut() -> Value) {
        let old = self.agreed(ways, &mut fetch);
        self.daemon.signal("HUP");
        eventually("the daemon rotates its credentials", || {
            (self.credentials_in_file()["AccessKeyId"] != old["AccessKeyId"]).then_some(())
        });
        let new = self.agreed(ways, &mut fetch);
        for field in FIELDS {
            assert_ne!(old[field], new[field], "{field}");
        }
    }

    fn agreed(&self, ways: &[&str], fetch: &mut impl FnMut() -> Value) -> Value {
        let mut compare = || {
            let credentials = self.credentials_in_file();
            let expected: Value = ways
                .iter()
                .map(|way| ((*way).to_owned(), credentials.clone()))
                .collect();
            (credentials, fetch(), expected)
        };
        let (credentials, fetched, expected) = compare();
        if fetched == expected {
            return credentials;
        }
        // The daemon may have renewed its credentials between the two reads, but not twice in a row.
        let (credentials, fetched, expected) = compare();
        assert_eq!(fetched, expected, "{}", self.daemon.stderr());
        credentials
    }
}

#[test]
fn default_chains_pass_the_profile_of_aliyun_cli_that_leaves_the_uri_to_the_variable() {
    for language in [
        Language::Python,
        Language::Node,
        Language::Go,
        Language::Java,
    ] {
        let home = Scratch::new();
        let Some(command) = language.program("follow", home.path()) else {
            continue;
        };
        let profile = json!({
            "current": "job",
            "profiles": [{ "name": "job", "mode": "CredentialsURI", "region_id": "cn-hangzhou" }],
        });
        std::fs::create_dir(home.join(".aliyun")).unwrap();
        std::fs::write(home.join(".aliyun/config.json"), profile.to_string()).unwrap();
        let sidecar = Sidecar::start(&[]);
        sidecar.assert_followed_by(beside(&sidecar.uri, command), &["default"]);
    }
}

fn follows_a_rotation(language: Language, ways: &[&str]) {
    let home = Scratch::new();
    let Some(command) = language.program("follow", home.path()) else {
        return;
    };
    let sidecar = Sidecar::start(&[]);
    sidecar.assert_followed_by(beside(&sidecar.uri, command), ways);
}

async fn sts() -> Arc<Sandbox> {
    let sandbox = Sandbox::start(Options::default()).await;
    Arc::new(sandbox.expect("loopback has a free port"))
}

/// Returns a lookup of the credentials that an STS has issued, by which stubs verify signatures.
pub(crate) fn issued_by(sts: &Arc<Sandbox>) -> Lookup {
    let sts = Arc::clone(sts);
    Arc::new(move |access_key_id| {
        let issued = sts.issued(access_key_id)?;
        Some(Issued {
            access_key_secret: issued.access_key_secret.expose_secret().to_owned(),
            security_token: issued.security_token.expose_secret().to_owned(),
            expires_at: issued.expires_at,
        })
    })
}

/// Runs an example beside a daemon that gets its credentials from `sts`.
async fn example_beside_a_daemon(
    sts: &Sandbox,
    name: &'static str,
    arguments: impl IntoIterator<Item = String>,
) -> Option<Output> {
    let (endpoint, role) = (sts.endpoint(), sts.role_arn());
    let (key_id, secret) = (sts.access_key_id(), sts.access_key_secret());
    let arguments: Vec<String> = arguments.into_iter().collect();
    // The stubs run on this thread.
    blocking(move || {
        let home = Scratch::new();
        let command = Language::Python.program(name, home.path())?;
        let file = home.join("credentials");
        let file = file
            .to_str()
            .expect("the target directory has a plain name");
        let daemon = Daemon::spawn(
            &[
                &["--sts-endpoint", &endpoint],
                &LISTEN[..],
                &["--file", file],
            ]
            .concat(),
            &[
                ("ALIBABA_CLOUD_ROLE_ARN", &role),
                ("ALIBABA_CLOUD_ACCESS_KEY_ID", &key_id),
                ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.expose_secret()),
            ],
        );
        Some(finished(beside(&daemon.uri(), command).args(arguments)))
    })
    .await
}

/// Runs an example that is served `forgery` instead of the genuine credentials.
async fn example_beside_a_forger(
    forgery: Forgery,
    name: &'static str,
    arguments: impl IntoIterator<Item = String>,
) -> Option<Output> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let genuine = genuine();
    let (mut secret, mut token) = (genuine.access_key_secret, genuine.security_token);
    match forgery {
        Forgery::Secret => secret.push('x'),
        Forgery::Token => token.push('x'),
        Forgery::AccessKeyId | Forgery::Lifetime => {}
    }
    let answer = json!({
        "Code": "Success",
        "AccessKeyId": ACCESS_KEY_ID,
        "AccessKeySecret": secret,
        "SecurityToken": token,
        "Expiration": timestamp(now() + TimeDelta::hours(1)),
    });
    let forger = Stub::start(move |_| Reply::accepted("application/json", answer.to_string()));
    let uri = forger.endpoint();
    blocking(move || {
        let home = Scratch::new();
        let command = Language::Python.program(name, home.path())?;
        Some(
            beside(&uri, command)
                .args(arguments)
                .output()
                .expect("python runs"),
        )
    })
    .await
}

/// What is wrong with the credentials that a client gets.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Forgery {
    AccessKeyId,
    Secret,
    Token,
    Lifetime,
}

/// All forgeries.
pub(crate) const FORGERIES: [Forgery; 4] = [
    Forgery::AccessKeyId,
    Forgery::Secret,
    Forgery::Token,
    Forgery::Lifetime,
];

/// Returns the credentials that the stubs know.
pub(crate) fn genuine() -> Issued {
    Issued {
        access_key_secret: "genuine-secret".to_owned(),
        security_token: "CAIS+genuine/token==".to_owned(),
        expires_at: now() + TimeDelta::hours(1),
    }
}

/// Returns a lookup that finds these credentials only, or none if the id is forged.
pub(crate) fn only(mut issued: Issued, forgery: Forgery) -> Lookup {
    if forgery == Forgery::Lifetime {
        issued.expires_at = now() - TimeDelta::seconds(1);
    }
    let is_known = forgery != Forgery::AccessKeyId;
    Arc::new(move |id| (is_known && id == ACCESS_KEY_ID).then(|| issued.clone()))
}

/// Configures a client for the URI of a daemon.
pub(crate) fn beside(uri: &str, mut command: Command) -> Command {
    command.env("ALIBABA_CLOUD_CREDENTIALS_URI", uri);
    command.env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
    command
}

/// Runs a client until it exits, which must be with success.
pub(crate) fn finished(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{stderr}",
        output.status
    );
    output
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("the work does not panic")
}

/// Returns the names that an example printed.
pub(crate) fn names(output: &Output) -> Vec<String> {
    serde_json::from_slice(&output.stdout).expect("a JSON list of names")
}

/// Returns the three fields of credentials that every client gets.
pub(crate) fn triple(credentials: &Value) -> Value {
    FIELDS
        .iter()
        .map(|field| ((*field).to_owned(), credentials[*field].clone()))
        .collect()
}

pub(crate) const FIELDS: [&str; 3] = ["AccessKeyId", "AccessKeySecret", "SecurityToken"];

/// The id of the credentials that the stubs know.
pub(crate) const ACCESS_KEY_ID: &str = "STS.Example";

const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
