//! Every format of a file, read by the tools that it is for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use chrono::TimeDelta;
use ram_sidecar::credentials::timestamp;
use ram_sidecar::sandbox::{Fault, Sandbox, Times};
use rustix::fs::{Mode, OFlags, openat};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::clients::{Sidecar, finished, issued_by, names, triple};
use crate::serving::LISTEN;
use crate::stubs::{Lookup, Reply, Stub, now};
use crate::support::{Daemon, Ended, Process, Scratch, environment, eventually, run, run_command};
use crate::toolchains::Language;
use crate::upstream::{beside, sts};
use crate::{stub_odps, stub_oss, stub_s3};

mod foreign;
mod get;
mod process;

/// A daemon that writes a file of one format.
struct Rig {
    // Dropped before the directory in which it writes.
    daemon: Daemon,
    format: &'static str,
    target: PathBuf,
    _scratch: Scratch,
}

impl Rig {
    /// Starts one with an STS of its own.
    fn start(format: &'static str) -> Self {
        Self::spawn(format, |file| {
            let args = ["--sandbox", "--file", file];
            Daemon::spawn(&[&LISTEN[..], &args].concat(), &[])
        })
    }

    /// Starts one that gets its credentials from `sts`.
    fn beside(sts: &Sandbox, format: &'static str) -> Self {
        Self::spawn(format, |file| beside(sts, &["--file", file], &[]))
    }

    fn spawn(format: &'static str, spawn: impl Fn(&str) -> Daemon) -> Self {
        let scratch = Scratch::new();
        let target = scratch.join("target");
        Self {
            daemon: spawn(&format!("{},format={format}", target.display())),
            format,
            target,
            _scratch: scratch,
        }
    }

    /// Returns the served credentials, once the file contains them too.
    fn settled(&self) -> Value {
        let file = match self.format {
            "ossfs" => self.target.join("AccessKeyId"),
            _ => self.target.clone(),
        };
        eventually("the file contains what is served", || {
            let served: Value = serde_json::from_str(&self.daemon.credentials().body).ok()?;
            let text = fs::read_to_string(&file).ok()?;
            let id = served["AccessKeyId"].as_str()?;
            text.contains(id).then(|| triple(&served))
        })
    }

    fn rotated(&self, old: &Value) -> Value {
        self.daemon.signal("HUP");
        eventually("the credentials are renewed", || {
            let new = self.settled();
            (new["AccessKeyId"] != old["AccessKeyId"]).then_some(new)
        })
    }

    /// Asserts that `read` gets what is served, before and after a rotation.
    fn assert_read(&self, mut read: impl FnMut(&Path) -> Value) {
        let old = self.settled();
        assert_eq!(read(&self.target), old);
        let new = self.rotated(&old);
        assert_eq!(read(&self.target), new);
        for field in ["AccessKeyId", "AccessKeySecret", "SecurityToken"] {
            assert_ne!(old[field], new[field], "{field}");
        }
    }
}

#[test]
fn json_is_what_is_served() {
    let rig = Rig::start("json");
    rig.assert_read(|file| {
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text, rig.daemon.credentials().body);
        triple(&serde_json::from_str(&text).unwrap())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn pyodps_reads_json_camel_and_follows_a_rotation() {
    let home = Scratch::new();
    let Some(mut command) = Language::Python.program("odps_file", home.path()) else {
        return;
    };
    let sts = sts().await;
    let requested = Arc::new(Mutex::new(BTreeSet::new()));
    let odps = stub_odps::start(remembering(issued_by(&sts), Arc::clone(&requested)));
    let rig = Rig::beside(&sts, "json-camel");
    let old = rig.settled();

    command
        .args([
            odps.endpoint() + stub_odps::PREFIX,
            stub_odps::PROJECT.to_owned(),
        ])
        .env("ODPS_STS_ACCOUNT_FILE", &rig.target)
        .env("ODPS_STS_TOKEN_HOURS", "0");
    let mut pyodps = Process::start(command);
    let tables = json!(stub_odps::TABLES).to_string();
    let listed = |answer: String| serde_json::from_str::<Value>(&answer).unwrap().to_string();
    // It lists once at its start.
    assert_eq!(listed(pyodps.ask("nothing")), tables);
    assert_eq!(*requested.lock().unwrap(), BTreeSet::from([id(&old)]));

    let new = rig.rotated(&old);
    assert_eq!(listed(pyodps.ask("again")), tables);
    assert_eq!(
        *requested.lock().unwrap(),
        BTreeSet::from([id(&old), id(&new)])
    );
    assert_eq!(odps.rejections(), Vec::<String>::new());
}

/// Records the `AccessKeyId`s that are looked up.
fn remembering(lookup: Lookup, requested: Arc<Mutex<BTreeSet<String>>>) -> Lookup {
    Arc::new(move |id| {
        requested.lock().unwrap().insert(id.to_owned());
        lookup(id)
    })
}

fn id(credentials: &Value) -> String {
    credentials["AccessKeyId"].as_str().unwrap().to_owned()
}

#[test]
fn ossfs_finds_one_value_a_file_for_its_owner_only() {
    let rig = Rig::start("ossfs");
    rig.assert_read(|directory| {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(directory), 0o700);
        let mut found: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, FILES_OF_OSSFS);
        for name in FILES_OF_OSSFS {
            assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
        }
        let read = read_ossfs(directory);
        assert_eq!(
            read["Expiration"].as_str().unwrap(),
            rig.daemon.credentials().text("Expiration")
        );
        triple(&read)
    });
    let link = fs::read_link(&rig.target).unwrap();
    assert_eq!(
        link.components().count(),
        1,
        "{link:?} can be mounted elsewhere"
    );
}

/// Reads the files through one handle of their directory.
fn read_ossfs(directory: &Path) -> Value {
    let handle = File::open(directory).expect("the directory is never absent");
    FILES_OF_OSSFS
        .into_iter()
        .map(|name| {
            let file = openat(&handle, name, OFlags::RDONLY, Mode::empty());
            let file = file.unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut text = String::new();
            File::from(file).read_to_string(&mut text).unwrap();
            (name.to_owned(), json!(text))
        })
        .collect()
}

const FILES_OF_OSSFS: [&str; 4] = [
    "AccessKeyId",
    "AccessKeySecret",
    "Expiration",
    "SecurityToken",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_four_files_in_a_loop_never_sees_a_mixed_set() {
    let sts = sts().await;
    let scratch = Scratch::new();
    let target = scratch.join("keys");
    let file = format!("{},format=ossfs", target.display());
    // One process renews at most once a second, and several may write the same files.
    let daemons: Vec<Daemon> = (0..4)
        .map(|_| beside(&sts, &["--file", &file], &[]))
        .collect();
    eventually("the files are written", || target.exists().then_some(()));

    let deadline = now() + TimeDelta::minutes(3);
    let mut seen = BTreeSet::new();
    let mut readings = 0_u64;
    while seen.len() <= 50 {
        let read = read_ossfs(&target);
        let issued = sts
            .issued(&id(&read))
            .expect("the STS knows what it issued");
        let (secret, token) = (
            issued.access_key_secret.expose_secret(),
            issued.security_token.expose_secret(),
        );
        assert_eq!(
            read,
            json!({
                "AccessKeyId": issued.access_key_id,
                "AccessKeySecret": secret,
                "SecurityToken": token,
                "Expiration": timestamp(issued.expires_at),
            })
        );
        if seen.insert(id(&read)) {
            for daemon in &daemons {
                daemon.plant(secret);
                daemon.plant(token);
                daemon.signal("HUP");
            }
        }
        readings += 1;
        assert!(now() < deadline, "{} rotations in time", seen.len());
    }
    assert!(readings > 1000, "{readings} readings  are too few");
}

#[test]
fn old_directories_of_ossfs_are_removed() {
    let rig = Rig::start("ossfs");
    let mut current = rig.settled();
    for _ in 0..3 {
        current = rig.rotated(&current);
    }
    let prepared = || -> Vec<PathBuf> {
        let entries = fs::read_dir(rig.target.parent().unwrap()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| *path != rig.target).collect()
    };
    assert_eq!(prepared().len(), 4, "recent directories may have readers");
    for directory in prepared() {
        let directory = File::open(directory).unwrap();
        directory.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    rig.rotated(&current);
    eventually("only the previous directory remains", || {
        (prepared().len() == 2).then_some(())
    });
}

#[test]
fn a_shell_and_every_tool_that_takes_lines_literally_read_env() {
    let rig = Rig::start("env");
    rig.assert_read(|file| {
        let sourced = shell("set -a; . \"$1\"; env", file);
        let text = fs::read_to_string(file).unwrap();
        // As `docker run --env-file` and systemd do.
        let literal = variables(text.lines().filter(|line| !line.starts_with('#')));
        let relevant = |variables: Vec<(String, String)>| {
            let is_relevant = |name: &str| name.starts_with("ALIBABA_") || name.starts_with("OSS_");
            let mut relevant: Vec<_> = variables
                .into_iter()
                .filter(|(name, _)| is_relevant(name))
                .collect();
            relevant.sort();
            relevant
        };
        let (sourced, literal) = (relevant(variables(sourced.lines())), relevant(literal));
        assert_eq!(sourced, literal);
        read_variables(&literal)
    });
}

#[test]
fn an_sdk_finds_the_variables_of_env() {
    let home = Scratch::new();
    let Some(follow) = Language::Python.program("follow", home.path()) else {
        return;
    };
    let rig = Rig::start("env");
    rig.assert_read(|file| {
        let mut sourcing = Command::new("sh");
        sourcing
            .args(["-c", "set -a; . \"$1\"; shift; echo fetch | \"$@\"", "sh"])
            .arg(file)
            .arg(follow.get_program())
            .args(follow.get_args())
            .arg("default")
            .env_clear()
            .envs(follow.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let output = finished(&mut sourcing);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["default"].clone()
    });
}

/// Runs a script with a file as its argument, and returns what it prints.
fn shell(script: &str, argument: &Path) -> String {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(argument)
        .env_clear()
        .envs(environment("PATH").map(|path| ("PATH", path)));
    String::from_utf8(finished(&mut shell).stdout).unwrap()
}

fn variables<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Reads both spellings, which must agree.
fn read_variables(variables: &[(String, String)]) -> Value {
    let of = |prefix: &str, names: [&str; 3]| -> Value {
        let values = names.map(|name| {
            let name = format!("{prefix}{name}");
            let found = variables.iter().find(|(known, _)| *known == name);
            found.unwrap_or_else(|| panic!("no {name}")).1.clone()
        });
        let [id, secret, token] = values;
        json!({ "AccessKeyId": id, "AccessKeySecret": secret, "SecurityToken": token })
    };
    let names = ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET"];
    let sdk = of("ALIBABA_CLOUD_", [names[0], names[1], "SECURITY_TOKEN"]);
    let oss = of("OSS_", [names[0], names[1], "SESSION_TOKEN"]);
    assert_eq!(sdk, oss);
    sdk
}

#[test]
fn the_reader_of_aliyun_clis_file_reads_aliyun_cli() {
    assert_read_by("cli-profile", "aliyun-cli");
}

#[test]
fn the_reader_of_ossutils_file_reads_ini() {
    assert_read_by("ossutil", "ini");
}

fn assert_read_by(reader: &str, format: &'static str) {
    let home = Scratch::new();
    let Some(mut readers) = Language::Go.program("readers", home.path()) else {
        return;
    };
    readers.arg(reader);
    let rig = Rig::start(format);
    rig.assert_read(|file| {
        let mut reading = copy(&readers);
        let output = finished(reading.arg(file));
        serde_json::from_slice(&output.stdout).unwrap()
    });
}

fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_lists_a_bucket_with_aws_before_and_after_a_rotation() {
    let home = Scratch::new();
    let Some(mut boto3) = Language::Python.program("s3_example", home.path()) else {
        return;
    };
    let sts = sts().await;
    let s3 = stub_s3::start(issued_by(&sts));
    let rig = Rig::beside(&sts, "aws");
    boto3
        .args([stub_s3::ENDPOINT, stub_s3::BUCKET])
        .env("AWS_SHARED_CREDENTIALS_FILE", &rig.target)
        .env("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        .env("HTTP_PROXY", s3.endpoint());
    let mut current = rig.settled();
    for _ in 0..2 {
        let mut listed = names(&finished(&mut copy(&boto3)));
        // The second run finds what the first one put.
        listed.retain(|name| !name.starts_with("put/"));
        assert_eq!(listed, stub_s3::OBJECTS);
        current = rig.rotated(&current);
    }
    assert_eq!(s3.rejections(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ossutil_lists_a_bucket_with_ini() {
    let home = Scratch::new();
    let Some(ossutil) = Language::Go.program("ossutil", home.path()) else {
        return;
    };
    let sts = sts().await;
    let oss = stub_oss::start(issued_by(&sts));
    let rig = Rig::beside(&sts, "ini");
    let mut current = rig.settled();
    for _ in 0..2 {
        let mut listing = copy(&ossutil);
        listing
            .arg("ls")
            .arg(format!("oss://{}", stub_oss::BUCKET))
            .arg("-c")
            .arg(&rig.target)
            .args(["-e", &oss.endpoint()])
            .current_dir(home.path());
        let output = finished(&mut listing);
        let printed = String::from_utf8(output.stdout).unwrap();
        for name in stub_oss::OBJECTS {
            let url = format!("oss://{}/{name}", stub_oss::BUCKET);
            assert!(printed.contains(&url), "{url}: {printed}");
        }
        current = rig.rotated(&current);
    }
    assert_eq!(oss.rejections(), Vec::<String>::new());
    assert_eq!(oss.accepted().len(), 2);
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_ram-sidecar");
