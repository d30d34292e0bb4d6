//! A disk without free space.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::{FILE, observe, read_file, start_daemon, wait_until_ready};
use crate::files::SmallDisk;
use crate::namespace;
use crate::sandbox::Sandbox;
use crate::support::eventually;

/// Runs the test below where this user may mount a file system.
#[test]
fn clients_are_served_while_the_disk_is_full_and_expired_files_are_removed() {
    namespace::passes_with_mounts(module_path!(), "on_a_small_disk");
}

#[test]
#[ignore = "mounts a file system: the test above runs it in a mount namespace of its own"]
fn on_a_small_disk() {
    let disk = SmallDisk::mount().expect("the right to mount");
    let (sandbox, file) = (
        Sandbox::start(&["--fault", "lifetime=12s"]),
        disk.0.join("credentials"),
    );
    let state = disk.0.join("state");
    let daemon = start_daemon(&sandbox, &file, &["--state", state.to_str().unwrap()]);
    wait_until_ready(&daemon);
    eventually("the state is saved", || state.exists().then_some(()));
    let ballast = disk.0.join("ballast");

    let ((), observations) = observe(&daemon, &file, || {
        fill(&ballast);
        let reply = eventually("both errors are reported", || {
            let reply = daemon.probe("/ready");
            ["file_message", "state_message"]
                .iter()
                .all(|name| reply.body.contains(name))
                .then_some(reply)
        });
        assert_eq!(reply.status, 503);
        for name in ["file_message", "state_message"] {
            assert!(
                reply.text(name).contains("No space left on device"),
                "{reply:?}"
            );
        }
        // The files cannot be replaced, but must not exist longer than their credentials are valid.
        for path in [&file, &state] {
            eventually("the expired file is removed", || {
                fill(&ballast);
                (!path.exists()).then_some(())
            });
        }
        assert_eq!(daemon.credentials().status, 200);

        std::fs::remove_file(&ballast).unwrap();
        wait_until_ready(&daemon);
        let written = read_file(&file).expect("the file is written again");
        eventually("the state is saved again", || {
            let reply = daemon.probe("/ready");
            (state.exists() && !reply.body.contains("state_message")).then_some(())
        });
        assert!(written.expires_at > super::now());
    });
    for client in observations.iter().filter(|one| one.source != FILE) {
        assert!(
            client.refusals.is_empty() && client.ids.len() >= 3,
            "{client:?}"
        );
    }
}

/// Fills the disk, including space that has become free since the last call.
fn fill(ballast: &Path) {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).open(ballast).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
}
