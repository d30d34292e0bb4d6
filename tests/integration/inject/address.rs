//! The address of the ECS metadata service, as the init container gives it to a pod.

use std::process::Command;

use crate::http;
use crate::namespace::{self, METADATA};
use crate::serving::sandbox;
use crate::support::{command, required, under};

#[test]
fn the_network_gets_the_address_once_and_a_sidecar_serves_it() {
    let module = concat!(module_path!(), "::in_own_network");
    namespace::passes(
        module,
        "the_network_gets_the_address_once_and_a_sidecar_serves_it",
    );
}

mod in_own_network {
    #[test]
    #[ignore = "needs 100.100.100.200 for itself: the test of the same name runs it in a network of its own"]
    fn the_network_gets_the_address_once_and_a_sidecar_serves_it() {
        if crate::namespace::is_here() {
            super::check_address();
        }
    }
}

fn check_address() {
    ip("addr del 100.100.100.200/32 dev lo");
    assert_eq!(addresses(), 0);
    // The command needs the capability, and may be repeated.
    let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if required("setpriv (util-linux)", has_setpriv) {
        let starter = [
            "setpriv",
            "--bounding-set=-net_admin",
            "--inh-caps=-net_admin",
        ];
        let bare = command("metadata-address", &[], &[]);
        let output = under(&starter, &bare).output().unwrap();
        assert_eq!(output.status.code(), Some(71));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("the capability NET_ADMIN is missing"),
            "{stderr}"
        );
        assert_eq!(addresses(), 0);
    }
    for _ in 0..2 {
        let output = command("metadata-address", &[], &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert_eq!(addresses(), 1);
    }
    let daemon = sandbox(&["--metadata-listen", METADATA], &[]);
    daemon.uri();
    let path = "/latest/meta-data/ram/security-credentials/";
    let name = http::get(METADATA.parse().unwrap(), path);
    assert_eq!((name.status, name.body), (200, daemon.metadata_role()));
}

/// Counts how often the interface has the address.
fn addresses() -> usize {
    ip("-4 -o addr show dev lo")
        .matches(" 100.100.100.200/32 ")
        .count()
}

fn ip(args: &str) -> String {
    let script = format!("PATH=$PATH:/usr/sbin:/sbin; exec ip {args}");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
