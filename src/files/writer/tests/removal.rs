//! When a file is removed, and when it stays.

use super::*;
use crate::failure::Stage;
use crate::files::place::Place;
use crate::files::writer::reconcile::{Written, remove_expired};

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
async fn an_expired_file_that_was_unavailable_is_removed_when_it_is_available_again() {
    let directory = testing::directory("writer");
    let mut rig = start(on_disk(&directory)).await;
    rig.renew("a", HOUR);
    rig.until(is_written).await;
    fs::rename(directory.join("disk"), directory.join("aside")).unwrap();
    // The clock is set, and the credentials expire while their file is unavailable.
    rig.clock.shift_wall(TimeDelta::hours(2));
    assert_removed_when_available(&rig, &directory).await;
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
    assert_removed_when_available(&rig, &directory).await;
}

/// Makes a directory that can become unavailable, and returns the path of the file in it.
fn on_disk(directory: &Path) -> PathBuf {
    fs::create_dir(directory.join("disk")).unwrap();
    directory.join("disk/credentials")
}

/// Makes the file available again after the credentials have expired, and waits for its removal.
async fn assert_removed_when_available(rig: &Rig, directory: &Path) {
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
        .expect("the file is removed");
}

#[tokio::test]
async fn an_expired_file_is_removed_even_if_the_next_cannot_be_written() {
    // The longest possible name leaves no room for the suffix of a temporary file.
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
        "valid credentials stay"
    );

    disk = until(now);
    writer.reconcile(&offer, &mut disk, now).await.unwrap_err();
    assert!(!path.exists() && disk.written.is_none());
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
        let write = |ownership| options.write(&credentials, ownership);
        let (replaced, latest) = (Ownership::default(), Ownership::default());
        write(&replaced).unwrap();
        write(&latest).unwrap();
        options.withdraw(&replaced);
        assert_eq!(
            options.expiration(&Place::open(&path).unwrap()),
            Some(credentials.expires_at)
        );
        options.withdraw(&latest);
        assert!(fs::symlink_metadata(&path).is_err());
        // A write after the withdrawal leaves no file.
        assert!(write(&latest).is_err());
        let left = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(left.count(), 0, "{format:?}");
    }
}
