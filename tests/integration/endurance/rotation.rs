//! Files that are replaced at the highest rate.

use std::collections::BTreeSet;
use std::path::Path;

use super::{observe, wait_until_ready};
use crate::sandbox::Sandbox;
use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually};

#[test]
fn readers_see_ten_rotations_and_only_complete_files() {
    let (sandbox, scratch) = (Sandbox::start(&["--fault", "lifetime=15s"]), Scratch::new());
    let path = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    let (json, camel) = (path("json"), format!("{},format=json-camel", path("camel")));
    let ossfs = format!("{},format=ossfs", path("ossfs"));
    let outputs = ["--container", "--metadata-listen", "127.0.0.1:0"];
    let files = ["--file", &json, "--file", &camel, "--file", &ossfs];
    let daemon = Daemon::spawn(&[&LISTEN[..], &outputs, &files].concat(), &sandbox.env());
    wait_until_ready(&daemon);
    let (rotations, observations) = observe(&daemon, Path::new(&json), || {
        let mut ids = BTreeSet::new();
        // At most one renewal happens per second; `eventually` times out after half a minute.
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
    for client in observations {
        assert!(client.refusals.is_empty(), "{client:?}");
        assert!(
            client.ids.len() + 3 > rotations && client.successes > 100,
            "{client:?}"
        );
    }
}
