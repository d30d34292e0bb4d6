use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;

use super::*;

use crate::failure::Stage;
use crate::files::writer::reconcile::{Written, remove_expired};
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
            .expect("the file reaches the status")
            .unwrap()
            .clone()
    }

    /// Returns the `AccessKeyId` that the file holds.
    fn content(&self) -> String {
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
    assert_eq!(rig.content(), "STS.a");
    let first = fs::metadata(&rig.path).unwrap();
    assert_eq!(first.mode() & 0o7777, 0o640);

    rig.renew("b", HOUR);
    let replaced = async {
        while rig.content() != "STS.b" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), replaced)
        .await
        .expect("it is replaced");
    assert_ne!(
        fs::metadata(&rig.path).unwrap().ino(),
        first.ino(),
        "replaced, not rewritten"
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[tokio::test]
async fn a_missing_directory_is_reported_until_it_is_back() {
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
    assert_eq!(rig.content(), "STS.a");
}

#[tokio::test]
async fn an_expired_file_is_removed() {
    let directory = testing::directory("writer");
    let mut rig = start(directory.join("credentials")).await;
    rig.renew("a", Duration::from_secs(2));
    rig.until(is_written).await;
    rig.until(is_waiting).await;
    assert!(!rig.path.exists());
}

#[tokio::test]
async fn an_expired_file_that_was_out_of_reach_is_removed_when_it_is_back() {
    let directory = testing::directory("writer");
    let mut rig = start(on_disk(&directory)).await;
    rig.renew("a", HOUR);
    rig.until(is_written).await;
    fs::rename(directory.join("disk"), directory.join("aside")).unwrap();
    // The clock is set, and the credentials end while their file is away.
    rig.clock.shift_wall(TimeDelta::hours(2));
    comes_back_and_goes(&rig, &directory).await;
}

#[tokio::test]
async fn a_file_is_removed_at_its_deadline_whatever_the_wall_clock_shows() {
    let directory = testing::directory("writer");
    let mut rig = start(on_disk(&directory)).await;
    let now = rig.clock.now();
    let mut lease = lease("a", now.after(Duration::from_secs(2)));
    lease.credentials.expires_at = now.wall + HOUR;
    rig.publisher.renewed(lease, now);
    rig.until(is_written).await;
    fs::rename(directory.join("disk"), directory.join("aside")).unwrap();
    comes_back_and_goes(&rig, &directory).await;
}

/// Makes the file system that comes and goes, and returns where the file is on it.
fn on_disk(directory: &Path) -> PathBuf {
    fs::create_dir(directory.join("disk")).unwrap();
    directory.join("disk/credentials")
}

/// Brings the file system back when the credentials have ended, and expects the file to be removed.
async fn comes_back_and_goes(rig: &Rig, directory: &Path) {
    let fail = || {
        let failure = Failure::new(Stage::Sts, "TimedOut", "down");
        rig.publisher.failed(failure, rig.clock.now());
    };
    fail();
    rig.status.clone().wait_for(is_waiting).await.unwrap();
    fs::rename(directory.join("aside"), directory.join("disk")).unwrap();
    let removed = async {
        while rig.path.exists() {
            fail();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), removed)
        .await
        .expect("it is removed");
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
    let ends_in = |seconds| {
        let end = Clock::machine().now().wall + TimeDelta::seconds(seconds);
        let end = crate::credentials::timestamp(end);
        format!(r#"{{"Code":"Success","AccessKeyId":"STS.old","Expiration":"{end}"}}"#)
    };
    for (content, stays) in [(ends_in(600), true), (ends_in(-600), false)] {
        let path = testing::directory("writer").join("credentials");
        fs::write(&path, &content).unwrap();
        let mut rig = start(path).await;
        // The status changes after the first look at the file.
        rig.status.changed().await.unwrap();
        assert_eq!(rig.path.exists(), stays, "{content}");
        rig.renew("new", HOUR);
        rig.until(is_written).await;
        assert_eq!(rig.content(), "STS.new");
    }
}

#[tokio::test]
async fn an_expired_file_is_removed_even_if_the_next_cannot_be_written() {
    // The longest of names leaves no space for a temporary one.
    let path = testing::directory("writer").join("n".repeat(255));
    fs::write(&path, r#"{"Expiration":"2020-01-01T00:00:00Z"}"#).unwrap();
    let until = |deadline: Moment| Disk {
        written: Some(Written {
            generation: 7,
            expires_at: deadline.wall,
            deadline,
        }),
        last_expired: None,
    };
    let (publisher, mut subscriber, _) = store::channel(|_| "new".into());
    let clock = Clock::machine();
    let now = clock.now();
    publisher.renewed(lease("new", now.after(HOUR)), now);
    let offer = subscriber.snapshot().offer(now);
    let writer = Writer {
        target: options(&path),
        subscriber,
        clock,
        status: watch::Sender::default(),
        ownership: Ownership::default(),
    };

    let mut disk = until(now.after(HOUR));
    writer.reconcile(&offer, &mut disk, now).await.unwrap_err();
    assert!(
        path.exists() && disk.written.is_some(),
        "what is good stays"
    );

    disk = until(now);
    writer.reconcile(&offer, &mut disk, now).await.unwrap_err();
    assert!(!path.exists() && disk.written.is_none());
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
        // What has ended and cannot be removed makes no hot loop.
        (1, Some(now), after(2)),
    ] {
        let first = retries(now, failures, deadline).min_by_key(|at| now.until(*at));
        assert_eq!(first, Some(expected), "{failures} {deadline:?}");
    }
}

#[tokio::test]
async fn valid_credentials_of_another_process_are_not_removed() {
    let path = testing::directory("writer").join("credentials");
    let now = Clock::machine().now().wall;
    let document = |end| {
        format!(
            r#"{{"Expiration":"{}"}}"#,
            crate::credentials::timestamp(end)
        )
    };
    let later = now + TimeDelta::hours(1);
    fs::write(&path, document(later)).unwrap();
    let valid = remove_expired(&options(&path), now, &Ownership::default(), now).unwrap();
    assert_eq!(
        valid.map(crate::credentials::timestamp),
        Some(crate::credentials::timestamp(later))
    );

    fs::write(&path, document(now)).unwrap();
    assert_eq!(
        remove_expired(
            &options(&path),
            now - TimeDelta::hours(1),
            &Ownership::default(),
            now
        )
        .unwrap(),
        None
    );
    assert!(!path.exists());
}

#[test]
fn withdrawing_removes_only_the_version_that_this_process_wrote() {
    for format in [Format::Json, Format::Ossfs] {
        let path = testing::directory("writer").join("credentials");
        let options = CredentialsFile {
            format,
            ..options(&path)
        };
        let credentials = store::tests::credentials("x");
        let write = |ownership| options.write(&credentials, ownership, noon().wall);
        let (ours, theirs) = (Ownership::default(), Ownership::default());
        write(&ours).unwrap();
        write(&theirs).unwrap();
        options.withdraw(&ours);
        assert_eq!(options.expiration(), Some(credentials.expires_at));
        options.withdraw(&theirs);
        assert!(fs::symlink_metadata(&path).is_err());
        // A write that comes too late leaves nothing behind.
        assert!(write(&theirs).is_err());
        let left = fs::read_dir(path.parent().unwrap()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
        assert!(
            left.iter().all(|path| path.is_dir()) && left.len() < 3,
            "{left:?}"
        );
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
    let write = || options.write(&credentials, &ownership, noon().wall);
    write().unwrap();
    write().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "MY_OWN=x").unwrap();
    assert_eq!(write().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    // In another format of ours it is not lost.
    fs::write(&path, Format::Json.file(&credentials)).unwrap();
    write().unwrap();
}
