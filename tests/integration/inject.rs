//! Manifests through the real binary: its output, its messages and its errors.

mod address;
mod controllers;
mod endpoints;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Ended, Scratch, command, environment, required, under};

const RRSA: [&str; 4] = [
    "--role",
    "acs:ram::1234567890123456:role/job",
    "--oidc-provider-arn",
    "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1",
];

/// Runs `ram-sidecar inject …args` to its end with a standard input.
pub(crate) fn inject(args: &[&str], input: &str) -> Ended {
    inject_under(&[], args, input)
}

fn inject_under(starter: &[&str], args: &[&str], input: &str) -> Ended {
    let mut command = under(starter, &command("inject", args, &[]));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // The command may stop reading early.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn manifests() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/inject");
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut inputs: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .filter(|path| !path.to_str().unwrap().ends_with(".out.yaml"))
        .collect();
    inputs.sort();
    inputs
}

/// Returns the flags in the first line of a manifest.
pub(crate) fn flags(manifest: &str) -> Vec<&str> {
    let line = manifest
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# inject"));
    line.expect("the first line has the flags")
        .split_whitespace()
        .collect()
}

/// Each manifest has its output in a file beside it, with the messages on top. `WRITE_MANIFESTS=1` writes these files.
#[test]
fn every_kind_of_manifest_gets_the_expected_output() {
    let is_writing = environment("WRITE_MANIFESTS").is_some_and(|value| value == "1");
    let inputs = manifests();
    assert!(inputs.len() >= 20, "only {} manifests", inputs.len());
    for path in inputs {
        let manifest = fs::read_to_string(&path).unwrap();
        let file = path.to_str().unwrap();
        let args = [&["-f", file], &flags(&manifest)[..]].concat();
        let Ended {
            code,
            stdout,
            stderr,
        } = inject(&args, "");
        assert_eq!(code, Some(0), "{file}: {stderr}");
        let messages: Vec<String> = stderr.lines().map(|line| format!("# {line}\n")).collect();
        let printed = messages.concat() + &stdout;
        let beside = path.with_extension("out.yaml");
        if is_writing {
            fs::write(&beside, &printed).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        assert!(printed == expected, "{file} becomes\n{printed}");
        // The output is a manifest, which a second injection leaves unchanged.
        let again = inject(&flags(&manifest), &stdout);
        assert_eq!((again.code, again.stdout), (Some(0), stdout), "{file}");
    }
}

#[test]
fn a_file_and_standard_input_give_the_same_output() {
    let path = manifests()
        .into_iter()
        .find(|path| path.ends_with("pod.yaml"))
        .unwrap();
    let file = path.to_str().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let of_file = inject(&[&["-f", file], &RRSA[..]].concat(), "");
    let of_input = inject(&RRSA, &text);
    let of_dash = inject(&[&["-f", "-"], &RRSA[..]].concat(), &text);
    assert_eq!(of_file.code, Some(0), "{}", of_file.stderr);
    assert_eq!(of_file.stdout, of_input.stdout);
    assert_eq!(of_file.stdout, of_dash.stdout);
    let both = inject(&[&["-f", file, "-f", "-"], &RRSA[..]].concat(), &text);
    assert_eq!(both.stdout, format!("{0}---\n{0}", of_file.stdout));
    assert_eq!(both.stderr.lines().count(), 2, "{}", both.stderr);
}

#[test]
fn all_errors_in_manifests_are_reported_and_nothing_is_printed() {
    let scratch = Scratch::new();
    let good = scratch.join("good.yaml");
    fs::write(
        &good,
        "kind: Pod\nmetadata: {name: good}\nspec: {containers: [{name: a}]}\n",
    )
    .unwrap();
    let broken = scratch.join("broken.yaml");
    fs::write(&broken, "kind: Pod\nspec:\n  a: 1\n  a: 2\n").unwrap();
    let wrong = scratch.join("wrong.yaml");
    let text = "\
kind: Pod
metadata: {name: windows}
spec: {os: {name: windows}, containers: [{name: a}]}
---
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {annotations: {ram-sidecar/duration: 5m, ram-sidecar/classic: maybe}}, spec: {containers: [{name: a}]}}}
---
- a
";
    fs::write(&wrong, text).unwrap();
    let files = [&good, &broken, &wrong].map(|path| path.to_str().unwrap());
    let args: Vec<&str> = files
        .iter()
        .flat_map(|file| ["-f", file])
        .chain(RRSA)
        .collect();
    let Ended {
        code,
        stdout,
        stderr,
    } = inject(&args, "");
    assert_eq!((code, stdout.as_str()), (Some(65), ""), "{stderr}");
    let [_, broken, wrong] = files;
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "ram-sidecar: 5 errors:",
            &format!("  {broken}, line 4, column 3: the key `a` occurs twice; remove one of them"),
            &format!(
                "  {wrong}, line 9: the document is not an object; write a Kubernetes object, or remove the document"
            ),
            "  Pod/windows: the pod is for Windows, but the sidecar runs on Linux only; exclude the pod",
            "  Deployment/web: the annotation ram-sidecar/classic: `maybe` is neither true nor false",
            "  Deployment/web: the annotation ram-sidecar/duration: `5m` is outside the limits of STS; choose 15m to 12h",
        ]
    );
}

#[test]
fn all_errors_in_flags_are_reported_before_anything_is_read() {
    let args = [
        "-f",
        "/nowhere",
        "--role",
        "a b",
        "--env",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET=planted",
    ];
    let Ended {
        code,
        stdout,
        stderr,
    } = inject(&args, "");
    assert_eq!((code, stdout.as_str()), (Some(64), ""));
    assert!(
        stderr.starts_with("ram-sidecar: 2 errors:\n  --role: `a b` is not a role"),
        "{stderr}"
    );
    assert!(
        stderr.contains("\n  --env: ALIBABA_CLOUD_ACCESS_KEY_SECRET is a secret"),
        "{stderr}"
    );
    assert!(!stderr.contains("planted"), "{stderr}");
    let twice = inject(&["-f", "-", "-f", "-"], "");
    assert_eq!(twice.code, Some(64));
    assert!(
        twice.stderr.contains("standard input can be read once"),
        "{}",
        twice.stderr
    );
    assert_eq!(inject(&["--rolle", "a"], "").code, Some(64));
    let empty = inject(&["--identity", "sandbox", "--key", ""], "kind: Pod\n");
    let expected = "--key: it is empty; give it a value, or leave the flag out";
    assert!(
        empty.code == Some(64) && empty.stderr.contains(expected),
        "{}",
        empty.stderr
    );
}

#[test]
fn unreadable_files_and_unwritable_output_are_reported() {
    let scratch = Scratch::new();
    let directory = scratch.path().to_str().unwrap();
    let missing = scratch.join("missing.yaml");
    let missing = missing.to_str().unwrap();
    let Ended {
        code,
        stdout,
        stderr,
    } = inject(&["-f", directory, "-f", missing], "");
    assert_eq!((code, stdout.as_str()), (Some(71), ""));
    let expected =
        format!("cannot read {directory}: it is a directory; name its files, each with -f");
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(
        stderr.contains(&format!("cannot read {missing}: No such file or directory")),
        "{stderr}"
    );

    let pod = "kind: Pod\nspec: {containers: [{name: a}]}\n";
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let manifest = scratch.join("pod.yaml");
    fs::write(&manifest, pod).unwrap();
    let args = ["-f", manifest.to_str().unwrap(), "--identity", "sandbox"];
    let output = command("inject", &args, &[]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(71));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot print the manifests: "), "{stderr}");
}

#[test]
fn manifests_without_pods_are_printed_with_a_message() {
    let Ended {
        code,
        stdout,
        stderr,
    } = inject(&RRSA, "kind: ConfigMap\ndata: {a: \"1\"} # one\n");
    assert_eq!(code, Some(0));
    assert_eq!(stdout, "kind: ConfigMap\ndata:\n  a: \"1\"\n");
    assert_eq!(
        stderr,
        "the input has neither a pod nor a pod template: nothing was added\n"
    );
    assert_eq!(inject(&RRSA, "").code, Some(0));
}

#[test]
fn a_name_from_a_manifest_cannot_add_a_line() {
    let pod = "kind: Pod\nmetadata: {name: \"a\\nPod/b: gets nothing\"}\nspec: {containers: [{name: a}]}\n";
    let Ended { stderr, .. } = inject(&["--identity", "sandbox"], pod);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("Pod/a Pod/b: gets nothing: gets a native sidecar"),
        "{stderr}"
    );
}

#[test]
fn expensive_input_is_rejected_within_bounded_memory() {
    let starter = ["prlimit", "--as=536870912:536870912"];
    if !required(
        "prlimit",
        std::process::Command::new("prlimit")
            .arg("--version")
            .output()
            .is_ok(),
    ) {
        return;
    }
    let laughs: Vec<String> = (1..20)
        .map(|level| {
            format!(
                "a{level}: &a{level} [{}]\n",
                vec![format!("*a{}", level - 1); 9].join(",")
            )
        })
        .collect();
    let keys: Vec<String> = (0..1_000_000).map(|key| format!("k{key}: 1\n")).collect();
    for (name, input) in [
        ("laughs", format!("a0: &a0 ha\n{}", laughs.concat())),
        ("elements", format!("a: [{}]\n", "1,".repeat(4 << 20))),
        ("depth", "[".repeat(8 << 20)),
        ("keys", keys.concat()),
        (
            "a long text",
            format!(
                "a: &a {}\nb: [{}]",
                "x".repeat(1 << 20),
                "*a, ".repeat(10_000)
            ),
        ),
        ("JSON", format!("{{\"a\": [{}]}}", "[],".repeat(4 << 20))),
        ("size", "# none\n".repeat(4 << 20)),
    ] {
        let Ended {
            code,
            stdout,
            stderr,
        } = inject_under(&starter, &RRSA, &input);
        assert_eq!((code, stdout.as_str()), (Some(65), ""), "{name}: {stderr}");
        assert!(
            stderr.starts_with("ram-sidecar: standard input, line "),
            "{name}: {stderr}"
        );
    }
}
