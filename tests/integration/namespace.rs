//! Network namespaces in which 100.100.100.200 is this machine, and mount namespaces, each for one test.
//!
//! A test that needs one is ignored; another test runs it in a process of its own, within the namespace.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::required;

/// The address of the ECS metadata service.
pub(crate) const METADATA: &str = "100.100.100.200:80";

/// Defines, for each function of the module `inside`, a test that runs it in a network namespace.
///
/// The language of its client precedes it, because packages can be installed only outside of the namespace.
macro_rules! in_own_network {
    ($($language:ident: $($name:ident),+;)+) => {
        $($(
            #[test]
            fn $name() {
                if $crate::toolchains::Language::$language.is_installed() {
                    let module = concat!(module_path!(), "::in_own_network");
                    $crate::namespace::passes(module, stringify!($name));
                }
            }
        )+)+

        mod in_own_network {
            $($(
                #[test]
                #[ignore = "needs 100.100.100.200 for itself: the test of the same name runs it in a network of its own"]
                fn $name() {
                    if $crate::namespace::is_here() {
                        super::inside::$name();
                    }
                }
            )+)+
        }
    };
}
pub(crate) use in_own_network;

/// Runs an ignored test of this program in a network namespace, where it must pass without skipping anything.
pub(crate) fn passes(module: &str, name: &str) {
    let flags = ["--net", "--map-root-user --net"]
        .into_iter()
        .find(|flags| in_namespace(flags, "exit 0").status.success());
    let what = "a network namespace (unshare of util-linux, ip of iproute2, the right to use them)";
    let Some(flags) = flags else {
        required(what, false);
        return;
    };
    assert_passed(&in_namespace(flags, &alone(module, name)));
}

/// Runs an ignored test of this program in a mount namespace, where it must pass without skipping anything.
pub(crate) fn passes_with_mounts(module: &str, name: &str) {
    passes_in(&["--mount"], "", module, name);
}

/// Does so in a network namespace too, where only loopback is up.
pub(crate) fn passes_with_network_and_mounts(module: &str, name: &str) {
    let up = "PATH=$PATH:/usr/sbin:/sbin && ip link set lo up && ";
    passes_in(&["--mount", "--net"], up, module, name);
}

fn passes_in(flags: &[&str], prepare: &str, module: &str, name: &str) {
    let run = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.arg("--map-root-user").args(flags);
        unshare
            .args(["sh", "-c", &format!("{prepare}{script}")])
            .output()
    };
    let is_there = run("exit 0").is_ok_and(|output| output.status.success());
    if required(
        "a mount namespace (unshare of util-linux, ip of iproute2, the right to use them)",
        is_there,
    ) {
        assert_passed(&run(&alone(module, name)).unwrap());
    }
}

/// Returns the shell script that runs one ignored test of this program.
fn alone(module: &str, name: &str) -> String {
    let program = std::env::current_exe().unwrap();
    // The names of tests do not contain the crate.
    let (_, module) = module.split_once("::").unwrap();
    format!(
        "exec '{}' --ignored --exact --nocapture {module}::{name}",
        program.display()
    )
}

fn assert_passed(output: &Output) {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains(" 1 passed;") && !text.contains("SKIPPED"),
        "{text}"
    );
}

/// Whether this process is in such a network namespace; if not, the test is reported as skipped.
pub(crate) fn is_here() -> bool {
    let is_here = TcpListener::bind(METADATA).is_ok();
    required("a network where 100.100.100.200 is this machine", is_here)
}

/// Runs a shell script in a network namespace where 100.100.100.200 is this machine.
fn in_namespace(flags: &str, script: &str) -> Output {
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin && ip link set lo up && ip addr add 100.100.100.200/32 dev lo && {script}"
    );
    Command::new("sh")
        .args(["-c", &format!("exec unshare {flags} sh -c \"$0\""), &script])
        .output()
        .expect("there is a shell")
}
