//! Files that are replaced as often as they ever are.

use std::collections::BTreeSet;
use std::path::Path;

use super::{ready, watched};
use crate::sandbox::Sandbox;
use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually};

#[test]
fn readers_in_a_loop_see_ten_rotations_and_no_bad_file() {
    let (sandbox, scratch) = (Sandbox::start(&["--fault", "lifetime=15s"]), Scratch::new());
    let path = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    let (json, camel) = (path("json"), format!("{},format=json-camel", path("camel")));
    let ossfs = format!("{},format=ossfs", path("ossfs"));
    let ways = ["--container", "--metadata-listen", "127.0.0.1:0"];
    let files = ["--file", &json, "--file", &camel, "--file", &ossfs];
    let daemon = Daemon::spawn(&[&LISTEN[..], &ways, &files].concat(), &sandbox.env());
    ready(&daemon);
    let (read, seen) = watched(&daemon, Path::new(&json), || {
        let mut ids = BTreeSet::new();
        // A renewal a second is the most that there are; `eventually` gives up after half a minute.
        eventually("ten rotations", || {
            daemon.signal("HUP");
            let camel: serde_json::Value =
                serde_json::from_slice(&std::fs::read(path("camel")).unwrap()).unwrap();
            for name in [
                "accessKeyId",
                "accessKeySecret",
                "securityToken",
                "expiration",
            ] {
                assert!(
                    camel[name].as_str().is_some_and(|text| !text.is_empty()),
                    "{name}"
                );
            }
            ids.insert(std::fs::read_to_string(path("ossfs/AccessKeyId")).unwrap());
            (ids.len() > 10).then_some(ids.len())
        })
    });
    for seen in seen {
        assert!(seen.refusals.is_empty(), "{seen:?}");
        assert!(seen.ids.len() + 3 > read && seen.good > 100, "{seen:?}");
    }
}
