//! A disk that is really full.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::{beside, read, watched};
use crate::files::SmallDisk;
use crate::namespace;
use crate::sandbox::Sandbox;
use crate::support::eventually;

/// Runs the test below where this user may mount a file system.
#[test]
fn a_full_disk_keeps_nobody_from_being_served_and_what_ends_on_it_is_removed() {
    namespace::passes_with_mounts(module_path!(), "on_a_disk_of_its_own");
}

#[test]
#[ignore = "mounts a file system: the test above runs it in a mount namespace of its own"]
fn on_a_disk_of_its_own() {
    let disk = SmallDisk::mount().expect("the right to mount");
    let (sandbox, file) = (
        Sandbox::start(&["--fault", "lifetime=12s"]),
        disk.0.join("credentials"),
    );
    let state = disk.0.join("state");
    let daemon = beside(&sandbox, &file, &["--state", state.to_str().unwrap()]);
    super::ready(&daemon);
    eventually("the state is kept", || state.exists().then_some(()));
    let ballast = disk.0.join("ballast");

    let ((), seen) = watched(&daemon, &file, || {
        fill(&ballast);
        let told = eventually("both are missed", || {
            let told = daemon.probe("/ready");
            ["file_message", "state_message"]
                .iter()
                .all(|name| told.body.contains(name))
                .then_some(told)
        });
        assert_eq!(told.status, 503);
        for name in ["file_message", "state_message"] {
            assert!(
                told.text(name).contains("No space left on device"),
                "{told:?}"
            );
        }
        // It cannot be replaced, but it must not outlive what is in it.
        for path in [&file, &state] {
            eventually("what has ended is gone", || {
                fill(&ballast);
                (!path.exists()).then_some(())
            });
        }
        assert_eq!(daemon.credentials().status, 200);

        std::fs::remove_file(&ballast).unwrap();
        super::ready(&daemon);
        let written = read(&file).expect("it is written again").unwrap();
        eventually("the state too", || {
            let told = daemon.probe("/ready");
            (state.exists() && !told.body.contains("state_message")).then_some(())
        });
        assert!(written.ends_at > super::now());
    });
    for seen in seen.iter().filter(|seen| seen.place != "file") {
        assert!(seen.refusals.is_empty() && seen.ids.len() >= 3, "{seen:?}");
    }
}

/// Takes all the room that there is, also what has become free since.
fn fill(ballast: &Path) {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).open(ballast).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
}
