//! A state that cannot be used is ignored with a log event, and the daemon obtains new credentials.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use ram_sidecar::sandbox::{Fault, Plan, Sandbox, Times};
use secrecy::ExposeSecret as _;

use crate::support::{Daemon, Scratch, eventually, required};
use crate::upstream::{beside, sts, with};

use super::{now, start, time, wait_until_saved};

/// Damages the state at a path.
type Damage<'a> = Box<dyn Fn(&Path) + 'a>;

/// A valid state, left by a killed daemon.
struct SavedState {
    sts: Arc<Sandbox>,
    scratch: Scratch,
    path: PathBuf,
    /// The content of the state.
    content: Vec<u8>,
    /// The `AccessKeyId` in it.
    id: String,
}

impl SavedState {
    async fn new() -> Self {
        let (sts, scratch) = (sts().await, Scratch::new());
        let path = scratch.join("state");
        let daemon = start(&sts, &path);
        let id = wait_until_saved(&daemon, &path).text("AccessKeyId");
        drop(daemon);
        let content = fs::read(&path).unwrap();
        Self {
            sts,
            scratch,
            path,
            content,
            id,
        }
    }

    /// Writes a state, with the mode that its writer sets.
    fn write(&self, content: impl AsRef<[u8]>) {
        let _ = fs::remove_file(&self.path);
        fs::write(&self.path, content).unwrap();
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Asserts that a daemon ignores the state for this reason, and obtains new credentials.
    fn assert_ignored(&self, daemon: &Daemon, requests_before: u64, reason: &str) {
        let line = daemon.logged("The saved state is ignored");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["path"].as_str(), self.path.to_str());
        let error = event["error"].as_str().unwrap();
        assert!(error.contains(reason), "{reason}: {error}");
        let reply = daemon.credentials();
        assert_eq!(reply.status, 200, "{reason}: {reply:?}");
        assert_ne!(reply.text("AccessKeyId"), self.id, "{reason}");
        assert!(self.sts.request_count() > requests_before, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_another_role_session_or_identity_are_never_served() {
    let state = SavedState::new().await;
    let sts = &state.sts;
    let trust = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":["{}"]}}}}]}}"#,
        sts.user_arn()
    );
    let other_role = sts
        .add_role("second", &trust, Duration::from_secs(7200))
        .unwrap();
    let policy =
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*"}]}"#;
    let role = ["--role-arn", other_role.as_str()];
    let other_settings = "obtained with another identity, session name";
    let wrong_role = format!(
        "credentials of {}, but the settings now require",
        sts.role_arn()
    );
    let none: &[(&str, &str)] = &[];
    let policy = [("RAM_SIDECAR_POLICY", policy)];
    for (args, env, reason) in [
        (&role[..], none, wrong_role.as_str()),
        (&["--role-session-name", "other"], none, other_settings),
        (&["--duration", "30m"], none, other_settings),
        (&["--source-identity", "alice"], none, other_settings),
        (&[], &policy, other_settings),
    ] {
        state.write(&state.content);
        let requests = sts.request_count();
        let args = [&["--state", state.path.to_str().unwrap()], args].concat();
        let daemon = beside(sts, &args, env);
        state.assert_ignored(&daemon, requests, reason);
    }

    // The daemon does not know that another AccessKey belongs to the same user.
    state.write(&state.content);
    let requests = sts.request_count();
    sts.rotate_access_key();
    state.assert_ignored(&start(sts, &state.path), requests, other_settings);

    state.write(&state.content);
    let (requests, key) = (sts.request_count(), sts.access_key());
    let (id, secret) = (state.scratch.join("id"), state.scratch.join("secret"));
    fs::write(&id, &key.id).unwrap();
    fs::write(&secret, key.secret.expose_secret()).unwrap();
    let files = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", id.to_str().unwrap()),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
            secret.to_str().unwrap(),
        ),
    ];
    let args = ["--state", state.path.to_str().unwrap()];
    state.assert_ignored(&with(sts, &args, &files), requests, other_settings);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_or_damaged_state_is_ignored_and_replaced() {
    let state = SavedState::new().await;
    let text = String::from_utf8(state.content.clone()).unwrap();
    let half = &state.content[..state.content.len() / 2];
    let edited = text.replace("\"access_key_id\":\"STS.", "\"access_key_id\":\"STS.x");
    let newer = text.replace("{\"ram-sidecar-state\":1", "{\"ram-sidecar-state\":2");
    let mode = |mode| {
        move |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap()
    };
    let link = |path: &Path| {
        let target = path.with_file_name("target");
        fs::rename(path, &target).unwrap();
        symlink(&target, path).unwrap();
    };
    let mut cases: Vec<(&str, Damage<'_>)> = vec![
        (
            "its mode 0644 lets other users read or write it",
            Box::new(mode(0o644)),
        ),
        (
            "its mode 0620 lets other users read or write it",
            Box::new(mode(0o620)),
        ),
        ("it is a symbolic link", Box::new(link)),
        ("it is damaged", Box::new(|_| state.write(half))),
        ("it is damaged", Box::new(|_| state.write(b""))),
        ("it is damaged", Box::new(|_| state.write(&edited))),
        ("format version 2", Box::new(|_| state.write(&newer))),
    ];
    if required("root", rustix::process::geteuid().is_root()) {
        let change_owner = |path: &Path| chown(path, Some(65_534), None).unwrap();
        cases.push(("it belongs to user 65534", Box::new(change_owner)));
    }
    for (reason, damage) in cases {
        state.write(&state.content);
        damage(&state.path);
        let requests = state.sts.request_count();
        let daemon = start(&state.sts, &state.path);
        state.assert_ignored(&daemon, requests, reason);
        let warning = daemon.logged("is ignored");
        assert!(warning.contains("WARN"), "{warning}");
        let new = wait_until_saved(&daemon, &state.path);
        let metadata = fs::symlink_metadata(&state.path).unwrap();
        assert!(metadata.is_file() && metadata.permissions().mode() & 0o7777 == 0o600);
        drop(daemon);
        let successor = start(&state.sts, &state.path);
        assert_eq!(successor.credentials().body, new.body, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_state_is_ignored_and_remains_unchanged() {
    let state = SavedState::new().await;
    let pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        let made = Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(path)
            .status();
        assert!(made.unwrap().success());
    };
    let cases: [(&str, &str, Damage<'_>); 2] = [
        (
            "it is not a regular file",
            "it exists and is not a regular file",
            Box::new(pipe),
        ),
        (
            "it does not contain a state of ram-sidecar",
            "it exists and is not in ram-sidecar's format",
            Box::new(|_| state.write(b"[role]\narn = 'mine'\n")),
        ),
    ];
    for (reason, write_error, damage) in cases {
        damage(&state.path);
        let before = fs::symlink_metadata(&state.path).unwrap();
        let requests = state.sts.request_count();
        let daemon = start(&state.sts, &state.path);
        state.assert_ignored(&daemon, requests, reason);
        let ready = eventually("/ready reports the failure", || {
            Some(daemon.probe("/ready")).filter(|ready| ready.body.contains("state_message"))
        });
        assert_eq!(ready.status, 200);
        let message = ready.text("state_message");
        assert!(message.contains(write_error), "{message}");
        assert!(message.contains("name another file"), "{message}");
        let metadata = fs::symlink_metadata(&state.path).unwrap();
        assert_eq!(
            (metadata.file_type(), metadata.len()),
            (before.file_type(), before.len())
        );
        fs::remove_file(&state.path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_of_a_state_are_not_served() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    sts.set_faults(Plan::parse("lifetime=8s").unwrap());
    let first = start(&sts, &path);
    let before = wait_until_saved(&first, &path);
    drop(first);
    let end = time(&before, "Expiration") + TimeDelta::seconds(1);
    eventually("the credentials expire", || (now() > end).then_some(()));
    sts.inject(Fault::InternalError, Times::UntilCleared);
    let successor = start(&sts, &path);
    let line = successor.logged("is ignored");
    assert!(line.contains("the credentials in it expired at"), "{line}");
    assert!(line.contains("INFO"), "{line}");
    assert_eq!(successor.credentials().status, 503);
    eventually("the state is removed", || (!path.exists()).then_some(()));
}
