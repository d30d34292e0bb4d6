mod places;
mod removal;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;

use super::*;

use crate::formats::format::Format;
use crate::refresh::store::tests::{lease, noon};
use crate::refresh::store::{self, Publisher};
use crate::testing;

const HOUR: Duration = Duration::from_secs(3600);

fn options(path: &Path) -> CredentialsFile {
    CredentialsFile {
        path: path.to_owned(),
        format: Format::Json,
        mode: 0o640,
        uid: None,
        gid: None,
    }
}

struct Rig {
    publisher: Publisher,
    clock: Clock,
    status: watch::Receiver<Status>,
    path: PathBuf,
}

/// Starts a writer on `path`, under the real clock: paused time and real files do not mix.
async fn start(path: PathBuf) -> Rig {
    let (publisher, subscriber, _) =
        store::channel(|credentials| credentials.access_key_id.clone().into());
    let clock = Clock::machine();
    let writer = Writer::new(options(&path), subscriber, clock.clone())
        .await
        .unwrap();
    let status = writer.status();
    tokio::spawn(writer.run());
    Rig {
        publisher,
        clock,
        status,
        path,
    }
}

impl Rig {
    fn renew(&self, name: &str, lifetime: Duration) {
        let now = self.clock.now();
        self.publisher
            .renewed(lease(name, now.after(lifetime)), now);
    }

    async fn until(&mut self, expected: fn(&Status) -> bool) -> Status {
        let deadline = Duration::from_secs(20);
        let status = tokio::time::timeout(deadline, self.status.wait_for(expected)).await;
        status
            .expect("the file reaches the expected status")
            .unwrap()
            .clone()
    }

    /// Returns the `AccessKeyId` in the file.
    fn access_key_id(&self) -> String {
        let document = fs::read(&self.path).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
        document["AccessKeyId"].as_str().unwrap().to_owned()
    }
}

fn is_written(state: &Status) -> bool {
    matches!(state, Status::Written)
}

fn is_failed(state: &Status) -> bool {
    matches!(state, Status::Failed(_))
}

fn is_waiting(state: &Status) -> bool {
    matches!(state, Status::Waiting)
}

#[tokio::test]
async fn the_file_follows_the_credentials_with_its_mode_and_no_temporary_file_stays() {
    let directory = testing::directory("writer");
    let mut rig = start(directory.join("credentials")).await;
    assert_eq!(
        fs::read_dir(&directory).unwrap().count(),
        0,
        "the write check cleans up"
    );

    rig.renew("a", HOUR);
    rig.until(is_written).await;
    assert_eq!(rig.access_key_id(), "STS.a");
    let first = fs::metadata(&rig.path).unwrap();
    assert_eq!(first.mode() & 0o7777, 0o640);

    rig.renew("b", HOUR);
    let replaced = async {
        while rig.access_key_id() != "STS.b" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), replaced)
        .await
        .expect("the file is replaced");
    assert_ne!(
        fs::metadata(&rig.path).unwrap().ino(),
        first.ino(),
        "replaced, not rewritten"
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[tokio::test]
async fn a_missing_directory_is_reported_until_it_exists_again() {
    let directory = testing::directory("writer");
    let mut rig = start(directory.join("credentials")).await;
    fs::remove_dir_all(&directory).unwrap();
    rig.renew("a", HOUR);
    let Status::Failed(failure) = rig.until(is_failed).await else {
        unreachable!()
    };
    let sentence = failure.to_string();
    assert!(
        sentence.contains(&*rig.path.to_string_lossy()),
        "{sentence}"
    );
    assert!(
        sentence.contains("mode 0640") && sentence.contains("No such file"),
        "{sentence}"
    );

    fs::create_dir_all(&directory).unwrap();
    rig.until(is_written).await;
    assert_eq!(rig.access_key_id(), "STS.a");
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_refused_with_the_reason() {
    let directory = testing::directory("writer");
    fs::write(directory.join("file"), "").unwrap();
    for (path, reason) in [
        (directory.join("missing/credentials"), "No such file"),
        (directory.join("file/credentials"), "Not a directory"),
        (directory.clone(), "it is a directory"),
        ("/dev/null".into(), "not a regular file"),
    ] {
        let (_, subscriber, _) = store::channel(|_| "".into());
        let refusal = Writer::new(options(&path), subscriber, Clock::machine())
            .await
            .unwrap_err();
        let sentence = refusal.to_string();
        assert!(sentence.contains(&*path.to_string_lossy()), "{sentence}");
        assert!(sentence.contains(reason), "{sentence}");
    }
}

#[tokio::test]
async fn an_existing_file_stays_until_it_expires() {
    let expiring_in = |seconds| {
        let expiration = Clock::machine().now().wall + TimeDelta::seconds(seconds);
        let expiration = crate::credentials::timestamp(expiration);
        format!(r#"{{"Code":"Success","AccessKeyId":"STS.old","Expiration":"{expiration}"}}"#)
    };
    for (content, stays) in [(expiring_in(600), true), (expiring_in(-600), false)] {
        let path = testing::directory("writer").join("credentials");
        fs::write(&path, &content).unwrap();
        let mut rig = start(path).await;
        // The status changes after the file was read for the first time.
        rig.status.changed().await.unwrap();
        assert_eq!(rig.path.exists(), stays, "{content}");
        rig.renew("new", HOUR);
        rig.until(is_written).await;
        assert_eq!(rig.access_key_id(), "STS.new");
    }
}

#[test]
fn a_failure_is_followed_by_a_backoff_whatever_the_deadline() {
    let now = noon();
    let after = |seconds| now.after(Duration::from_secs(seconds));
    for (failures, deadline, expected) in [
        (1, None, after(2)),
        (2, None, after(4)),
        (1000, None, after(30)),
        (1, Some(after(1)), after(1)),
        (1, Some(after(3)), after(2)),
        // Expired credentials that cannot be removed do not cause a hot loop.
        (1, Some(now), after(2)),
    ] {
        let first = retries(now, failures, deadline).min_by_key(|at| now.until(*at));
        assert_eq!(first, Some(expected), "{failures} {deadline:?}");
    }
}

#[test]
fn a_changed_file_is_replaced_only_if_it_holds_credentials() {
    let path = testing::directory("writer").join("variables");
    let options = CredentialsFile {
        format: Format::Env,
        mode: 0o400,
        ..options(&path)
    };
    let credentials = store::tests::credentials("x");
    let ownership = Ownership::default();
    let write = || options.write(&credentials, &ownership);
    write().unwrap();
    write().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "MY_OWN=x").unwrap();
    assert_eq!(write().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    // A file that ram-sidecar wrote in another format is replaced.
    fs::write(&path, Format::Json.file(&credentials)).unwrap();
    write().unwrap();
}
