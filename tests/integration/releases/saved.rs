//! States of other versions.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ram_sidecar::credentials::hex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::documents::document;
use crate::serving::LISTEN;
use crate::state::{now, start, wait_until_saved};
use crate::support::{Daemon, Scratch};
use crate::upstream::sts;

use super::{GUIDE, releases};

/// Returns a state with another content, and the digest that makes it valid.
pub(super) fn sealed(text: &str, change: impl Fn(&str) -> String) -> String {
    let (head, state) = text.split_once(r#""state":"#).unwrap();
    let state = change(state.strip_suffix('}').unwrap());
    let (start, _) = head.split_once(r#""sha256":"#).unwrap();
    let digest = hex(&Sha256::digest(&state));
    format!(r#"{start}"sha256":"{digest}","state":{state}}}"#)
}

/// Moves all times of a state by the same span, so that it was written a minute ago.
fn moved(text: &str) -> String {
    let document: Value = serde_json::from_str(text).unwrap();
    let written_at: DateTime<Utc> = document["state"]["written_at"]["wall"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let span = TimeDelta::seconds((now() - written_at).num_seconds() - 60);
    sealed(text, |state| {
        let parts = state
            .split('"')
            .map(|part| match part.parse::<DateTime<Utc>>() {
                Ok(time) => (time + span).to_rfc3339_opts(SecondsFormat::Millis, true),
                Err(_) => part.to_owned(),
            });
        parts.collect::<Vec<_>>().join("\"")
    })
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_state_of_every_release_is_served_before_sts_responds() {
    for release in releases() {
        let (text, settings) = (release.text("state"), release.text("state.env"));
        assert_eq!(
            sealed(&text, str::to_owned),
            text,
            "it is as a daemon wrote it"
        );
        let scratch = Scratch::new();
        let path = scratch.join("state");
        write(&path, &moved(&text));
        let settings = settings.lines().map(|line| line.split_once('=').unwrap());
        let mut env: Vec<_> = settings.collect();
        env.push(("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted"));
        env.push(("RAM_SIDECAR_STATE", path.to_str().unwrap()));
        let daemon = Daemon::spawn(&LISTEN, &env);
        let reply = daemon.credentials();
        assert_eq!(reply.status, 200, "{reply:?} {}", daemon.stderr());
        daemon.logged("Serving the credentials of the saved state");
        let saved: Value = serde_json::from_str(&text).unwrap();
        for (served, name) in [
            ("AccessKeyId", "access_key_id"),
            ("AccessKeySecret", "access_key_secret"),
            ("SecurityToken", "security_token"),
        ] {
            assert_eq!(
                Some(reply.text(served).as_str()),
                saved["state"][name].as_str()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_later_format_is_ignored_and_replaced() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    write(
        &path,
        r#"{"ram-sidecar-state":99,"blake3":"00","roles":[{"access_key_id":"STS.Later"}]}"#,
    );
    let daemon = start(&sts, &path);
    let event: Value = serde_json::from_str(&daemon.logged("The saved state is ignored")).unwrap();
    let sentence = "it is of format version 99, which this version of ram-sidecar does not know";
    assert_eq!(event["error"], sentence);
    assert!(document(GUIDE).contains(&format!("\n{sentence}\n")));
    let reply = wait_until_saved(&daemon, &path);
    assert_eq!(
        (reply.status, sts.request_count()),
        (200, 1),
        "one AssumeRole more"
    );
    drop(daemon);
    assert_eq!(start(&sts, &path).credentials().body, reply.body);
}

/// An earlier version would call a state with other keys damaged, instead of later.
#[tokio::test(flavor = "multi_thread")]
async fn states_of_one_format_have_the_same_keys() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    wait_until_saved(&start(&sts, &path), &path);
    let written = keys(&fs::read_to_string(&path).unwrap());
    for release in releases() {
        let frozen = keys(&release.text("state"));
        if frozen.0 == written.0 {
            assert_eq!(
                frozen.1, written.1,
                "a state with other keys is of another format"
            );
        }
    }
}

/// Returns the version of a state's format, and its keys.
fn keys(text: &str) -> (Value, Vec<String>) {
    let document: Value = serde_json::from_str(text).unwrap();
    let names = text
        .split('"')
        .skip(1)
        .step_by(2)
        .zip(text.split('"').skip(2).step_by(2));
    let keys = names
        .filter(|(_, after)| after.starts_with(':'))
        .map(|(name, _)| name.to_owned());
    (document["ram-sidecar-state"].clone(), keys.collect())
}
