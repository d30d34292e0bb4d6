//! Runs the clients, in a network of loopback alone, where the services have names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use ram_sidecar::sandbox::{Options, Plan, Sandbox};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::row::Row;
use super::{report, selected};
use crate::clients::{FIELDS, issued_by};
use crate::exec::clients::below;
use crate::stubs::{Issued, Lookup, Stub, now};
use crate::support::{Process, Scratch};
use crate::toolchains::matrix;
use crate::{stub_odps, stub_oss, stub_s3};

/// Runs each selected client, and reports what came of it.
pub(crate) async fn selected_clients() {
    let scratch = Scratch::new();
    let hosts = scratch.join("hosts");
    let s3 = stub_s3::ENDPOINT.trim_start_matches("http://");
    let (oss, bucket) = (&stub_oss::VIRTUAL_HOST[1..], stub_oss::BUCKET);
    let names = format!("127.0.0.1 localhost {oss} {bucket}.{oss} {s3} {bucket}.{s3}\n");
    fs::write(&hosts, names).unwrap();
    let mut mount = Command::new("mount");
    let mounted = mount.arg("--bind").arg(&hosts).arg("/etc/hosts").status();
    assert!(mounted.unwrap().success());

    let places = Arc::new(Semaphore::new(AT_ONCE));
    let runs: Vec<_> = selected()
        .into_iter()
        .map(|row| {
            let places = Arc::clone(&places);
            tokio::spawn(async move {
                let _place = places.acquire().await.unwrap();
                let since = Instant::now();
                let mut outcome = match run(&row).await {
                    Ok(version) => json!({ "version": version }),
                    Err(error) => json!({ "error": error }),
                };
                outcome["date"] = json!(now().format("%Y-%m-%d").to_string());
                outcome["seconds"] = json!(since.elapsed().as_secs());
                (row.name, outcome)
            })
        })
        .collect();
    let mut outcomes = BTreeMap::new();
    for run in runs {
        let (name, outcome) = run.await.unwrap();
        outcomes.insert(name, outcome);
        fs::write(report(), json!(outcomes).to_string()).unwrap();
    }
}

/// Runs a client until it has succeeded with three credentials, one after the other, and returns its version.
async fn run(row: &Row) -> Result<String, String> {
    let options = Options {
        faults: Plan::parse(&format!("lifetime={}s", row.lifetime.unwrap_or(LIFETIME))).unwrap(),
        ..Options::default()
    };
    let sts = Arc::new(Sandbox::start(options).await.unwrap());
    let latest = Arc::new(Mutex::new(String::new()));
    let lookup = remembering(issued_by(&sts), Arc::clone(&latest));
    let (oss, odps, s3) = (
        stub_oss::start(Arc::clone(&lookup)),
        stub_odps::start(Arc::clone(&lookup)),
        stub_s3::start(lookup),
    );
    let home = Scratch::new();
    let mut client = start(row, &home, &sts, [&oss, &odps, &s3]);
    let version: Value = answered(&mut client, None)?;

    let deadline = Instant::now() + DEADLINE;
    let mut used = BTreeSet::new();
    while used.len() < 3 {
        if Instant::now() > deadline {
            return Err(format!("{} credentials in {DEADLINE:?}", used.len()));
        }
        let outcome = answered(&mut client, Some("request"));
        let explained = |error| {
            let refusals = [oss.rejections(), odps.rejections(), s3.rejections()].concat();
            format!(
                "{error}, after {} credentials; refused: {refusals:?}",
                used.len()
            )
        };
        let printed = outcome.and_then(|outcome| match &outcome["error"] {
            Value::String(error) => Err(error.clone()),
            _ => Ok(outcome["printed"].as_str().unwrap_or_default().to_owned()),
        });
        let id = printed.and_then(|printed| judged(printed.trim(), &sts, &latest));
        used.insert(id.map_err(explained)?);
        sleep(PAUSE).await;
    }
    let refusals = [oss.rejections(), odps.rejections(), s3.rejections()].concat();
    // Some look for objects that may be there.
    let is_expected = |code: &String| code == "NoSuchKey" || row.refusals.contains(code);
    let unexpected = refusals.iter().find(|code| !is_expected(code));
    match unexpected {
        Some(code) => Err(format!("a service refused it: {code}")),
        None => Ok(version["version"].as_str().unwrap_or_default().to_owned()),
    }
}

fn start(row: &Row, home: &Scratch, sts: &Sandbox, [oss, odps, s3]: [&Stub; 3]) -> Process {
    let mut client = row.runner(home.path()).expect("it is installed");
    let port = |stub: &Stub| stub.endpoint().rsplit(':').next().unwrap().to_owned();
    client
        .env(
            "OSS_ENDPOINT",
            format!("http://{}:{}", &stub_oss::VIRTUAL_HOST[1..], port(oss)),
        )
        .env("OSS_BUCKET", stub_oss::BUCKET)
        .env("ODPS_ENDPOINT", odps.endpoint() + stub_odps::PREFIX)
        .env("ODPS_PROJECT", stub_odps::PROJECT)
        .env(
            "AWS_ENDPOINT_URL_S3",
            format!("{}:{}", stub_s3::ENDPOINT, port(s3)),
        )
        .env("STS_ENDPOINT", sts.endpoint().trim_start_matches("http://"));
    if row.package == "osstorchconnector" {
        client.env("PYTHONPATH", matrix().join("../python/stand-ins"));
    }
    let home = home.path().display().to_string();
    let flags = row.exec.iter().map(|flag| flag.replace("$PWD", &home));
    let flags: Vec<String> = flags.collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut exec = below(&flags, &client);
    exec.current_dir(home)
        .env("ALIBABA_CLOUD_STS_ENDPOINT", sts.endpoint())
        .env("ALIBABA_CLOUD_ROLE_ARN", sts.role_arn())
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id())
        .env(
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            sts.access_key_secret().expose_secret(),
        );
    Process::start(exec)
}

/// Returns the next line that the client prints, after it was asked for it.
fn answered(client: &mut Process, question: Option<&str>) -> Result<Value, String> {
    let line = tokio::task::block_in_place(|| client.answer(question, PATIENCE))?;
    serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))
}

/// Judges what a program printed, and returns the `AccessKeyId` with which it got that.
fn judged(printed: &str, sts: &Sandbox, latest: &Mutex<String>) -> Result<String, String> {
    let mut names: Vec<&str> = printed.lines().collect();
    names.sort_unstable();
    let text = stub_oss::text(stub_oss::BUCKET, stub_oss::OBJECTS[1]);
    if names == stub_oss::OBJECTS || names == stub_odps::TABLES || printed.contains(&text) {
        return Ok(latest.lock().unwrap().clone());
    }
    if printed == "AssumedRoleUser" {
        let calls = sts.requests();
        let mut ids = calls
            .iter()
            .rev()
            .filter(|call| call.action == Some("GetCallerIdentity"));
        let call = ids.next().ok_or("STS was not called")?;
        return call.access_key_id.clone().ok_or_else(|| "no id".to_owned());
    }
    // The whole document, or the id in it.
    let document: Option<Value> = serde_json::from_str(printed).ok();
    let fields = document.map(|it| FIELDS.map(|field| it[field].as_str().unwrap_or("").to_owned()));
    let id = fields.as_ref().map_or(printed, |[id, ..]| id);
    let issued = sts
        .issued(id)
        .filter(|issued| issued.expires_at + GRACE > now());
    let issued = issued.ok_or_else(|| format!("it printed {printed}"))?;
    let is_whole = fields.as_ref().is_none_or(|[_, secret, token]| {
        issued.access_key_secret.expose_secret() == secret
            && issued.security_token.expose_secret() == token
    });
    is_whole
        .then(|| id.to_owned())
        .ok_or_else(|| format!("it printed {printed}"))
}

/// Remembers the `AccessKeyId` that was looked up last.
fn remembering(lookup: Lookup, latest: Arc<Mutex<String>>) -> Lookup {
    Arc::new(move |id| {
        id.clone_into(&mut latest.lock().unwrap());
        let issued = lookup(id)?;
        Some(Issued {
            expires_at: issued.expires_at + GRACE,
            ..issued
        })
    })
}

/// Renewed after 12 to 14 seconds.
const LIFETIME: u32 = 30;

/// How many clients run at the same time; most of the time they wait.
const AT_ONCE: usize = 16;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(700);

/// For two rotations, which a client that holds on to credentials until they expire sees after a minute.
const DEADLINE: Duration = Duration::from_secs(180);

/// Services accept credentials for so long after they have expired: some clients use them to the end, and their requests take a
/// while.
const GRACE: TimeDelta = TimeDelta::seconds(5);

/// For an answer, on a machine where many clients start at the same time.
const PATIENCE: Duration = Duration::from_secs(120);
