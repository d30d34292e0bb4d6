//! The file of credentials: its readers, and failures of its file system.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::access::has;
use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually, required, run};

fn start(file: &Path, lifetime: &str) -> Daemon {
    let file = file.to_str().unwrap();
    let lifetime = format!("lifetime={lifetime}");
    let args = ["--sandbox", "--fault", &lifetime, "--file", file];
    Daemon::spawn(&[&LISTEN[..], &args].concat(), &[])
}

#[test]
fn the_file_contains_what_is_served_and_only_its_owner_reads_it() {
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let daemon = start(&file, "1h");
    daemon.uri();
    eventually("the file is written", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        daemon.credentials().body
    );
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
}

#[test]
fn mode_and_owner_are_as_configured_whatever_the_umask() {
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let is_root = fs::metadata(scratch.path()).unwrap().uid() == 0;
    let (suffix, owner) = if is_root {
        (",uid=65532,gid=65533", Some((65532, 65533)))
    } else {
        ("", None)
    };
    let target = format!("{},mode=0664{suffix}", file.display());
    let args = [&["--sandbox", "--file", &target], &LISTEN[..]].concat();
    let daemon = Daemon::spawn(&args, &[]);
    eventually("the file is written", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
    let found = fs::metadata(&file).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o664);
    if required("root", owner.is_some()) {
        assert_eq!(Some((found.uid(), found.gid())), owner);
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_reported_and_does_not_end_the_daemon() {
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let args = [
        &["--sandbox", "--file", file.to_str().unwrap()],
        &LISTEN[..],
    ]
    .concat();
    let daemon = Daemon::spawn_under(&["prlimit", "--fsize=0:0"], &args, &[]);
    daemon.uri();
    let reply = eventually("the failure is reported", || {
        let reply = daemon.probe("/ready");
        reply.body.contains("file_message").then_some(reply)
    });
    assert!(
        reply.text("file_message").contains("File too large"),
        "{reply:?}"
    );
    assert_eq!(daemon.credentials().status, 200);
}

#[test]
fn a_reader_in_a_loop_never_sees_a_partial_or_expired_file() {
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let daemon = start(&file, "20s");
    daemon.uri();
    eventually("the file is written", || file.exists().then_some(()));
    let mut seen = BTreeSet::new();
    let mut readings = 0_u64;
    while seen.len() < 4 {
        let text = fs::read_to_string(&file).expect("the file is never absent");
        let json: Value = serde_json::from_str(&text).expect("the file is always complete");
        let expiration: chrono::DateTime<chrono::Utc> =
            json["Expiration"].as_str().unwrap().parse().unwrap();
        let now = ram_sidecar::time::clock::Clock::machine().now().wall;
        assert!(
            expiration > now - chrono::TimeDelta::milliseconds(500),
            "{expiration} at {now}"
        );
        // All fields belong to the same credentials: the sandbox's token names its AccessKeyId.
        let id = json["AccessKeyId"].as_str().unwrap().to_owned();
        assert!(token_of(&json).contains(&id));
        if seen.insert(id) {
            daemon.signal("HUP");
        }
        readings += 1;
    }
    assert!(readings > 1000, "only {readings} reads");
}

fn token_of(json: &Value) -> String {
    use base64::Engine as _;
    let token = json["SecurityToken"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(token)
        .unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_path_that_cannot_be_written_ends_the_start() {
    let scratch = Scratch::new();
    for (file, reason, remedy) in [
        (
            scratch.join("missing/credentials"),
            "No such file or directory",
            "make its directory exist",
        ),
        (
            scratch.path().to_owned(),
            "it is a directory",
            "name a file in it",
        ),
    ] {
        let file = file.to_str().unwrap();
        let (code, stderr) = run(&[&LISTEN[..], &["--sandbox", "--file", file]].concat(), &[]);
        assert_eq!(code, Some(71), "{stderr}");
        assert!(!stderr.contains("Listening for"), "{stderr}");
        let sentence = stderr.lines().last().unwrap();
        for part in [
            &format!("cannot write {file} (mode 0600) as user"),
            reason,
            remedy,
        ] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
    }
}

#[test]
fn a_stop_during_the_start_on_a_slow_volume_leaves_nothing_there() {
    if !required("strace", has("strace")) {
        return;
    }
    let slow = "inject=fsync:delay_enter=1500000";
    let filter = ["strace", "-D", "-f", "-o", "/dev/null", "-e", slow];
    for _ in 0..3 {
        let scratch = Scratch::new();
        let file = scratch.join("credentials");
        let args = ["--sandbox", "--file", file.to_str().unwrap()];
        let mut daemon = Daemon::spawn_under(&filter, &[&LISTEN[..], &args].concat(), &[]);
        daemon.logged("Credentials renewed");
        daemon.signal("TERM");
        assert_eq!(daemon.ended(), Some(0));
        let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn two_files_of_a_slow_volume_do_not_keep_each_other_from_removing_what_a_killed_process_left() {
    if !required("strace", has("strace")) {
        return;
    }
    let slow = "inject=fsync:delay_enter=200000";
    let filter = ["strace", "-D", "-f", "-o", "/dev/null", "-e", slow];
    let scratch = Scratch::new();
    let left =
        [".one", ".two"].map(|name| scratch.join(&format!("{name}.ram-sidecar-0123456789abcdef")));
    for path in &left {
        fs::write(path, "a secret").unwrap();
    }
    let (one, two) = (scratch.join("one"), scratch.join("two"));
    let [one, two] = [&one, &two].map(|path| path.to_str().unwrap());
    let args = ["--sandbox", "--file", one, "--file", two];
    let daemon = Daemon::spawn_under(&filter, &[&LISTEN[..], &args].concat(), &[]);
    // The trial has removed both; the first writes have not ended yet.
    daemon.uri();
    assert_eq!(left.map(|path| path.exists()), [false; 2]);
}

#[test]
fn a_removed_directory_shows_in_readiness_until_it_exists_again() {
    let scratch = Scratch::new();
    let directory = scratch.join("volume");
    fs::create_dir(&directory).unwrap();
    let daemon = start(&directory.join("credentials"), "1h");
    eventually("the file is written", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
    fs::remove_dir_all(&directory).unwrap();
    daemon.signal("HUP");
    let ready = eventually("the failure shows", || {
        Some(daemon.probe("/ready")).filter(|ready| ready.status == 503)
    });
    assert!(
        ready
            .text("file_message")
            .contains("No such file or directory"),
        "{ready:?}"
    );
    assert_eq!(daemon.credentials().status, 200, "the URI still serves");
    daemon.logged("cannot write");

    fs::create_dir(&directory).unwrap();
    eventually("it recovers", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
    assert_eq!(
        fs::read_to_string(directory.join("credentials")).unwrap(),
        daemon.credentials().body
    );
}

#[test]
fn a_directory_that_a_user_replaces_by_a_link_is_not_written_until_it_is_one_again() {
    let scratch = Scratch::new();
    if !required("root", rustix::process::geteuid().is_root()) {
        return;
    }
    let (home, roots) = (scratch.join("home"), scratch.join("roots"));
    let directory = home.join("directory");
    for path in [&home, &directory, &roots] {
        fs::create_dir(path).unwrap();
    }
    chown(&home, Some(65_532), None).unwrap();
    let file = format!("{},uid=65532", directory.join("credentials").display());
    let args = [&LISTEN[..], &["--sandbox", "--file", &file]].concat();
    let daemon = Daemon::spawn(&args, &[]);
    let ready = |status| {
        eventually("the file is written, or not", || {
            Some(daemon.probe("/ready")).filter(|ready| ready.status == status)
        })
    };
    ready(200);
    fs::rename(&directory, home.join("aside")).unwrap();
    symlink(&roots, &directory).unwrap();
    daemon.signal("HUP");
    let message = ready(503).text("file_message");
    let reason = format!(
        "{} is a symbolic link that another user may have placed: {} belongs to user 65532; name the directory itself",
        directory.display(),
        home.display()
    );
    assert!(message.contains(&reason), "{message}");
    assert_eq!(daemon.credentials().status, 200, "the URI still serves");
    assert_eq!(fs::read_dir(&roots).unwrap().count(), 0);

    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    ready(200);
    assert!(directory.join("credentials").exists());
    daemon.logged("The directory of the file was replaced");
}

/// A file system of 16 KiB, unmounted on drop.
pub(crate) struct SmallDisk(pub(crate) Scratch);

impl SmallDisk {
    pub(crate) fn mount() -> Option<Self> {
        let scratch = Scratch::new();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
            .arg(scratch.path())
            .output();
        let is_mounted = mount.is_ok_and(|output| output.status.success());
        required("the right to mount a file system", is_mounted).then_some(Self(scratch))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_complete_until_there_is_space_again() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let file = disk.0.join("credentials");
    let daemon = start(&file, "1h");
    eventually("the file is written", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
    let before = fs::read_to_string(&file).unwrap();

    let ballast = disk.0.join("ballast");
    let _ = fs::write(&ballast, vec![0; 64 * 1024]);
    daemon.signal("HUP");
    let ready = eventually("the failure shows", || {
        Some(daemon.probe("/ready")).filter(|ready| ready.status == 503)
    });
    assert!(
        ready
            .text("file_message")
            .contains("No space left on device"),
        "{ready:?}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before);

    fs::remove_file(&ballast).unwrap();
    eventually("it recovers", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        daemon.credentials().body
    );
}
