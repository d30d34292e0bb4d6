use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::Arc;

use chrono::TimeDelta;

use super::document::tests::binding;
use super::*;
use crate::files::writer::Writer;
use crate::refresh::store::tests::{lease, noon};
use crate::refresh::store::{self, Subscriber};
use crate::testing;

const HOUR: Duration = Duration::from_secs(3600);

fn store(path: &Path) -> StateFile {
    StateFile::new(path.to_owned(), binding("job", "pod-0"), None)
}

/// Returns what is held by somebody who has just obtained credentials.
fn current(name: &str, clock: &Clock) -> Arc<Current> {
    let now = clock.now();
    let (publisher, mut subscriber, _) = store::channel(crate::formats::json::render);
    publisher.renewed(fresh(name, now), now.after(HOUR / 2));
    current_of(&mut subscriber)
}

fn current_of(subscriber: &mut Subscriber) -> Arc<Current> {
    Arc::clone(subscriber.snapshot().current().unwrap())
}

fn fresh(name: &str, now: Moment) -> Lease {
    let mut lease = lease(name, now.after(Duration::from_secs(3599)));
    lease.credentials.issued_at = now.wall;
    lease.credentials.expires_at = now.wall + HOUR;
    lease
}

/// Writes a state as an earlier process would have.
fn written(name: &str) -> (PathBuf, Arc<Current>) {
    let path = testing::directory("state").join("state");
    let clock = Clock::machine();
    let current = current(name, &clock);
    let ownership = Ownership::default();
    store(&path)
        .replace(&current, &ownership, clock.now())
        .unwrap();
    (path, current)
}

async fn refusal(store: &StateFile) -> String {
    let loaded = store.load(&Clock::machine()).await;
    loaded.unwrap_err().to_string()
}

#[tokio::test]
async fn the_state_restores_the_credentials_and_is_readable_for_nobody_else() {
    let (path, current) = written("a");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let restored = store(&path).load(&Clock::machine()).await.unwrap().unwrap();
    // Moments are saved to the millisecond.
    let sooner = current.lease.deadline.wall - restored.lease.deadline.wall;
    assert!(sooner >= TimeDelta::zero() && sooner < TimeDelta::milliseconds(1));
    let document = crate::formats::json::render(&restored.lease.credentials);
    assert_eq!(document, current.document);
    let directory = path.parent().unwrap();
    assert_eq!(fs::read_dir(directory).unwrap().count(), 1, "no litter");
}

#[tokio::test]
async fn a_missing_file_restores_nothing() {
    let path = testing::directory("state").join("state");
    assert!(
        store(&path)
            .load(&Clock::machine())
            .await
            .unwrap()
            .is_none()
    );
    let path = path.join("state");
    assert!(
        store(&path)
            .load(&Clock::machine())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_state_that_other_users_could_write_or_read_is_refused() {
    let (path, _) = written("a");
    for mode in [0o640, 0o604, 0o620, 0o601, 0o660, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let sentence = format!("its mode {mode:04o} lets other users read or write it");
        assert_eq!(refusal(&store(&path)).await, sentence);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    let link = path.with_file_name("link");
    symlink(&path, &link).unwrap();
    let reason = refusal(&store(&link)).await;
    assert!(reason.starts_with("it is a symbolic link"), "{reason}");

    let user = geteuid().as_raw();
    if user == 0 {
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let sentence = "it belongs to user 65534, and this process runs as user 0";
        assert_eq!(refusal(&store(&path)).await, sentence);
    } else {
        testing::skipped("root");
    }
}

#[tokio::test]
async fn special_files_are_refused_without_waiting_for_them() {
    let directory = testing::directory("state");
    let pipe = directory.join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let socket = directory.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [pipe, socket, directory, "/dev/null".into()] {
        let reason = refusal(&store(&path)).await;
        assert_eq!(reason, "it is not a regular file", "{}", path.display());
        let error = store(&path)
            .replace(
                &current("a", &Clock::machine()),
                &Ownership::default(),
                noon(),
            )
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_or_not_a_state_is_refused() {
    let path = testing::directory("state").join("state");
    let put = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    put(&vec![b' '; (1 << 20) + 1]);
    assert_eq!(refusal(&store(&path)).await, "it is larger than any state");
    put(b"mine");
    let reason = refusal(&store(&path)).await;
    assert_eq!(reason, "it does not contain a state of ram-sidecar");
}

#[tokio::test]
async fn a_state_older_than_its_source_file_is_refused() {
    let (path, _) = written("a");
    let profile = path.with_file_name("config.json");
    let with_source = |file: &Path| StateFile {
        source_file: Some(file.to_owned()),
        ..store(&path)
    };
    let gone = refusal(&with_source(&profile)).await;
    assert!(gone.ends_with("was changed after the credentials in it were obtained"));
    fs::write(&profile, "{}").unwrap();
    assert_eq!(refusal(&with_source(&profile)).await, gone);

    // Obtained after it was changed; what comes within the same millisecond counts as before.
    let clock = Clock::machine();
    clock.shift_wall(TimeDelta::seconds(1));
    let current = current("b", &clock);
    let store = with_source(&profile);
    store
        .replace(&current, &Ownership::default(), clock.now())
        .unwrap();
    assert!(store.load(&clock).await.unwrap().is_some());
}

#[test]
fn only_a_state_or_the_beginning_of_one_is_replaced() {
    let directory = testing::directory("state");
    let path = directory.join("state");
    let clock = Clock::machine();
    let replace =
        || store(&path).replace(&current("a", &clock), &Ownership::default(), clock.now());
    for torn in [
        "",
        "{\"ram",
        "{\"ram-sidecar-state\":1,",
        "{\"ram-sidecar-state\":9}",
    ] {
        fs::write(&path, torn).unwrap();
        replace().unwrap();
    }
    fs::write(&path, "mine").unwrap();
    let error = replace().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    let reason = store(&path).failure(&error).to_string();
    assert!(reason.contains("its content would be lost"), "{reason}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");

    // A link goes, and what it leads to stays.
    let target = directory.join("target");
    fs::rename(&path, &target).unwrap();
    symlink(&target, &path).unwrap();
    replace().unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
}

#[tokio::test]
async fn a_changed_deadline_is_written_and_an_expired_state_is_removed() {
    let path = testing::directory("state").join("state");
    let (publisher, mut subscriber, _) = store::channel(crate::formats::json::render);
    let clock = Clock::machine();
    let writer = Writer::new(store(&path), subscriber.clone(), clock.clone());
    let writer = writer.await.unwrap();
    tokio::spawn(writer.run());
    let now = clock.now();
    for seconds in [3599, 1800, 2] {
        let mut lease = fresh("a", now);
        lease.deadline = now.after(Duration::from_secs(seconds));
        publisher.renewed(lease, now);
        let deadline = current_of(&mut subscriber).lease.deadline;
        let written = async {
            loop {
                let read = file::private(&Place::open(&path).unwrap()).ok().flatten();
                let record = read.and_then(|text| document::parse(&text).ok());
                if record.is_some_and(|record| {
                    let sooner = deadline.wall - record.deadline.wall;
                    sooner >= TimeDelta::zero() && sooner < TimeDelta::milliseconds(1)
                }) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let timeout = Duration::from_secs(20);
        tokio::time::timeout(timeout, written)
            .await
            .expect("written");
    }
    let gone = async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    };
    let timeout = Duration::from_secs(20);
    tokio::time::timeout(timeout, gone).await.expect("removed");
}
