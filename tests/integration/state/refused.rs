//! A state that may be invalid: it is ignored with a warning, and the daemon obtains new credentials.

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

use super::{now, settled, start, time};

/// Damages the state at a path.
type Damage<'a> = Box<dyn Fn(&Path) + 'a>;

/// A valid state, which a killed daemon left.
struct Rig {
    sts: Arc<Sandbox>,
    scratch: Scratch,
    path: PathBuf,
    /// The content of the state.
    state: Vec<u8>,
    /// The `AccessKeyId` in it.
    id: String,
}

impl Rig {
    async fn new() -> Self {
        let (sts, scratch) = (sts().await, Scratch::new());
        let path = scratch.join("state");
        let daemon = start(&sts, &path);
        let id = settled(&daemon, &path).text("AccessKeyId");
        drop(daemon);
        let state = fs::read(&path).unwrap();
        Self {
            sts,
            scratch,
            path,
            state,
            id,
        }
    }

    /// Writes a state, with the mode that its writer sets.
    fn put(&self, content: &[u8]) {
        let _ = fs::remove_file(&self.path);
        fs::write(&self.path, content).unwrap();
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Asserts that a daemon ignores the state for this reason, and obtains new credentials.
    fn assert_ignored(&self, daemon: &Daemon, requests_before: u64, reason: &str) {
        let line = daemon.logged("The state in");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let sentence = event["message"].as_str().unwrap();
        let start = format!("The state in {} is ignored: ", self.path.display());
        assert!(sentence.starts_with(&start), "{sentence}");
        assert!(sentence.contains(reason), "{reason}: {sentence}");
        assert!(sentence.ends_with("; new credentials are obtained"));
        let reply = daemon.credentials();
        assert_eq!(reply.status, 200, "{reason}: {reply:?}");
        assert_ne!(reply.text("AccessKeyId"), self.id, "{reason}");
        assert!(self.sts.request_count() > requests_before, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_another_role_session_or_identity_are_never_served() {
    let rig = Rig::new().await;
    let sts = &rig.sts;
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
    let obtained_otherwise = "obtained with another identity, session name";
    let of_other = format!(
        "credentials of {}, but the settings now ask for",
        sts.role_arn()
    );
    let none: &[(&str, &str)] = &[];
    let policy = [("RAM_SIDECAR_POLICY", policy)];
    for (args, env, reason) in [
        (&role[..], none, of_other.as_str()),
        (&["--role-session-name", "other"], none, obtained_otherwise),
        (&["--duration", "30m"], none, obtained_otherwise),
        (&["--source-identity", "alice"], none, obtained_otherwise),
        (&[], &policy, obtained_otherwise),
    ] {
        rig.put(&rig.state);
        let requests = sts.request_count();
        let args = [&["--state", rig.path.to_str().unwrap()], args].concat();
        let daemon = beside(sts, &args, env);
        rig.assert_ignored(&daemon, requests, reason);
    }

    // The same user with another AccessKey: it is unknown that it is the same user.
    rig.put(&rig.state);
    let requests = sts.request_count();
    sts.rotate_access_key();
    rig.assert_ignored(&start(sts, &rig.path), requests, obtained_otherwise);

    rig.put(&rig.state);
    let (requests, key) = (sts.request_count(), sts.access_key());
    let (id, secret) = (rig.scratch.join("id"), rig.scratch.join("secret"));
    fs::write(&id, &key.id).unwrap();
    fs::write(&secret, key.secret.expose_secret()).unwrap();
    let files = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", id.to_str().unwrap()),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
            secret.to_str().unwrap(),
        ),
    ];
    let args = ["--state", rig.path.to_str().unwrap()];
    rig.assert_ignored(&with(sts, &args, &files), requests, obtained_otherwise);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_may_be_invalid_is_ignored_and_replaced() {
    let rig = Rig::new().await;
    let text = String::from_utf8(rig.state.clone()).unwrap();
    let half = &rig.state[..rig.state.len() / 2];
    let edited = text.replace("\"access_key_id\":\"STS.", "\"access_key_id\":\"STS.x");
    let later = text.replace("{\"ram-sidecar-state\":1", "{\"ram-sidecar-state\":2");
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
        ("it is damaged", Box::new(|_| rig.put(half))),
        ("it is damaged", Box::new(|_| rig.put(b""))),
        ("it is damaged", Box::new(|_| rig.put(edited.as_bytes()))),
        ("format version 2", Box::new(|_| rig.put(later.as_bytes()))),
    ];
    if required("root", rustix::process::geteuid().is_root()) {
        let give = |path: &Path| chown(path, Some(65_534), None).unwrap();
        cases.push(("it belongs to user 65534", Box::new(give)));
    }
    for (reason, damage) in cases {
        rig.put(&rig.state);
        damage(&rig.path);
        let requests = rig.sts.request_count();
        let daemon = start(&rig.sts, &rig.path);
        rig.assert_ignored(&daemon, requests, reason);
        let warning = daemon.logged("is ignored");
        assert!(warning.contains("WARN"), "{warning}");
        let new = settled(&daemon, &rig.path);
        let found = fs::symlink_metadata(&rig.path).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o7777 == 0o600);
        drop(daemon);
        let successor = start(&rig.sts, &rig.path);
        assert_eq!(successor.credentials().body, new.body, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_state_is_ignored_and_remains_unchanged() {
    let rig = Rig::new().await;
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
            "it does not hold a state of ram-sidecar",
            "it exists and is not as ram-sidecar writes it",
            Box::new(|_| rig.put(b"[role]\narn = 'mine'\n")),
        ),
    ];
    for (reason, not_written, damage) in cases {
        damage(&rig.path);
        let before = fs::symlink_metadata(&rig.path).unwrap();
        let requests = rig.sts.request_count();
        let daemon = start(&rig.sts, &rig.path);
        rig.assert_ignored(&daemon, requests, reason);
        let ready = eventually("the failure shows", || {
            Some(daemon.probe("/ready")).filter(|ready| ready.body.contains("state_message"))
        });
        assert_eq!(ready.status, 200);
        let sentence = ready.text("state_message");
        assert!(sentence.contains(not_written), "{sentence}");
        assert!(sentence.contains("name another file"), "{sentence}");
        let found = fs::symlink_metadata(&rig.path).unwrap();
        assert_eq!(
            (found.file_type(), found.len()),
            (before.file_type(), before.len())
        );
        fs::remove_file(&rig.path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_of_a_state_are_not_served() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    sts.set_faults(Plan::parse("lifetime=8s").unwrap());
    let first = start(&sts, &path);
    let before = settled(&first, &path);
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
