//! Directories that other users change, and what others put into them.

use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::sync::Barrier;
use std::thread;

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use super::*;
use crate::files::place::Place;
use crate::formats::format::FILES;

/// The user who attacks, and another one.
const USER: u32 = 4001;
const OTHER: u32 = 4002;

fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        testing::skipped("root");
    }
    is_root
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_link_in_the_place_of_the_directory_is_never_followed() {
    if !is_root() {
        return;
    }
    for (_, format) in FILES {
        let base = testing::directory("places");
        let (home, roots) = (base.join("home"), base.join("roots"));
        let (directory, aside) = (home.join("directory"), home.join("aside"));
        for path in [&home, &roots, &directory] {
            fs::create_dir(path).unwrap();
        }
        chown(&home, Some(USER), None).unwrap();
        let file = CredentialsFile {
            format,
            uid: Some(USER),
            ..options(&directory.join("credentials"))
        };
        let (credentials, ownership) = (store::tests::credentials("x"), Ownership::default());
        file.check().unwrap();
        file.write(&credentials, &ownership).unwrap();

        fs::rename(&directory, &aside).unwrap();
        symlink(&roots, &directory).unwrap();
        for refusal in [file.check(), file.write(&credentials, &ownership)] {
            let sentence = file.failure(&refusal.unwrap_err()).to_string();
            let link = format!(
                "{} is a symbolic link that another user may have placed",
                directory.display()
            );
            assert!(sentence.contains(&link), "{sentence}");
            let user = format!("{} belongs to user {USER}; ", home.display());
            assert!(
                sentence.contains(&user) && sentence.contains("name the directory itself"),
                "{sentence}"
            );
        }
        fs::write(roots.join("credentials"), "").unwrap();
        file.withdraw(&ownership);
        assert_eq!(names(&roots), ["credentials"], "{format:?}");
    }
}

#[test]
fn a_replaced_directory_is_reported() {
    let base = testing::directory("places");
    let file = options(&base.join("directory/credentials"));
    let (credentials, ownership) = (store::tests::credentials("x"), Ownership::default());
    let log = testing::Log::start();
    for (round, expected) in [false, false, true, false].into_iter().enumerate() {
        let directory = base.join("directory");
        if round == 2 {
            fs::rename(&directory, base.join("aside")).unwrap();
        }
        fs::create_dir_all(&directory).unwrap();
        file.write(&credentials, &ownership).unwrap();
        let lines = log.take();
        let is_told = lines
            .iter()
            .any(|line| line.contains("WARN") && line.contains("was replaced"));
        assert_eq!(is_told, expected, "{round}: {lines:?}");
    }
}

#[test]
fn what_another_user_has_put_there_is_refused_in_every_format() {
    if !is_root() {
        return;
    }
    for (name, format) in FILES {
        let directory = testing::directory("places");
        let sticky = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(&directory, sticky).unwrap();
        let file = CredentialsFile {
            format,
            uid: Some(USER),
            ..options(&directory.join("credentials"))
        };
        let credentials = store::tests::credentials("planted");
        file.write(&credentials, &Ownership::default()).unwrap();
        let before = names(&directory);

        for (owner, is_accepted) in [(OTHER, false), (USER, true), (0, true)] {
            lchown(&file.path, Some(owner), None).unwrap();
            for outcome in [
                file.check(),
                file.write(&credentials, &Ownership::default()),
            ] {
                if is_accepted {
                    outcome.unwrap();
                    continue;
                }
                let sentence = file.failure(&outcome.unwrap_err()).to_string();
                let reason = format!("it exists and belongs to user {OTHER}; ");
                assert!(sentence.contains(&reason), "{name}: {sentence}");
                assert_eq!(names(&directory), before);
            }
        }
    }
}

#[test]
fn a_foreign_document_that_appears_while_serving_is_not_overwritten() {
    for (_, format) in FILES {
        let path = testing::directory("places").join("credentials");
        let file = CredentialsFile {
            format,
            ..options(&path)
        };
        fs::write(&path, "mine").unwrap();
        let outcome = file.write(&store::tests::credentials("x"), &Ownership::default());
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}

#[test]
fn temporary_files_of_killed_processes_are_removed_at_the_start_and_with_each_write() {
    let directory = testing::directory("places");
    let file = options(&directory.join("credentials"));
    let own = ".credentials.ram-sidecar-0123456789abcdef";
    let foreign = [
        ".credentials.ram-sidecar-0123456789abcdeg",
        ".credentials.ram-sidecar-0123",
        ".other.ram-sidecar-0123456789abcdef",
    ];
    for name in foreign {
        fs::write(directory.join(name), "").unwrap();
    }
    let leave = || fs::write(directory.join(own), "secret").unwrap();
    let is_left = || directory.join(own).exists();

    leave();
    file.check().unwrap();
    assert!(!is_left());
    let write = || {
        let credentials = store::tests::credentials("x");
        file.write(&credentials, &Ownership::default()).unwrap();
    };
    leave();
    write();
    assert!(!is_left());
    fs::create_dir(directory.join(own)).unwrap();
    fs::write(directory.join(own).join("AccessKeyId"), "").unwrap();
    write();
    assert!(!is_left());

    // Another process writes.
    let lock = fs::File::open(&directory).unwrap();
    flock(&lock, FlockOperation::LockShared).unwrap();
    leave();
    write();
    assert!(is_left());
    // It does not take so long.
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let left = fs::File::options().write(true).open(directory.join(own));
    left.unwrap().set_modified(long_ago).unwrap();
    write();
    assert!(!is_left());
    drop(lock);

    if is_root() {
        leave();
        chown(directory.join(own), Some(OTHER), None).unwrap();
        write();
        assert!(is_left(), "it is not ours");
        fs::remove_file(directory.join(own)).unwrap();
    }
    let mut all: Vec<String> = foreign.map(str::to_owned).into();
    all.push("credentials".into());
    all.sort_unstable();
    assert_eq!(names(&directory), all);
}

#[test]
fn a_place_stays_the_directory_that_was_opened() {
    let base = testing::directory("places");
    let (directory, roots) = (base.join("directory"), base.join("roots"));
    for path in [&directory, &roots] {
        fs::create_dir(path).unwrap();
    }
    let file = options(&directory.join("credentials"));
    let ownership = Ownership::default();
    let place = Place::open(&file.path).unwrap();
    fs::rename(&directory, base.join("aside")).unwrap();
    symlink(&roots, &directory).unwrap();
    let replacement = file.replacement(&place, None);
    replacement.run(b"content", &ownership).unwrap();
    assert_eq!(names(&roots), Vec::<String>::new());
    assert_eq!(names(&base.join("aside")), ["credentials"]);
    assert!(ownership.owns(&place));
}

#[test]
fn writers_that_start_together_leave_what_the_others_have_written() {
    for (name, format) in FILES {
        for _ in 0..100 {
            let directory = testing::directory("places");
            let file = CredentialsFile {
                format,
                ..options(&directory.join("credentials"))
            };
            let starts = Barrier::new(4);
            thread::scope(|scope| {
                for writer in ["a", "b", "c", "d"] {
                    let (file, starts) = (&file, &starts);
                    scope.spawn(move || {
                        let credentials = store::tests::credentials(writer);
                        starts.wait();
                        file.check().unwrap();
                        file.write(&credentials, &Ownership::default()).unwrap();
                        assert!(fs::exists(&file.path).unwrap(), "{name}");
                    });
                }
            });
        }
    }
}
