//! Every code block of the documents is run, is checked by a test, or says why it is not.
//!
//! The comment above a block is `<!-- run: GROUP -->`, `<!-- checked: FILE.rs::TEST -->` or `<!-- not run: REASON -->`. The blocks of a
//! group of one document are one script, in a network of its own: with the STS of a sandbox, stubs of OSS and MaxCompute, and
//! real packages. Where a script calls a daemon that it does not start, one runs.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ram_sidecar::sandbox::{Options, Sandbox};
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret as _;

use super::{assert_test, document};
use crate::clients::issued_by;
use crate::metadata::attach;
use crate::namespace::{self, METADATA};
use crate::stub_metadata::{Metadata, Mode};
use crate::stub_oss::VIRTUAL_HOST;
use crate::support::{Scratch, environment, eventually};
use crate::toolchains::Language;
use crate::{stub_odps, stub_oss, stub_s3};

/// A code block, and what its comment says.
struct Block {
    document: String,
    treatment: Treatment,
    language: String,
    text: String,
}

enum Treatment {
    Run(String),
    Checked(String),
    NotRun,
}

/// Returns the documents with blocks. The Chinese README has those of the English one.
fn documents() -> Vec<String> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut directories = vec![root.join("docs/src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                names.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    names.sort();
    names
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for name in documents() {
        let text = document(&name);
        let mut lines = text.lines().enumerate();
        let mut comment = "";
        while let Some((number, line)) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else {
                comment = line.trim();
                continue;
            };
            let place = format!("{name}:{}", number + 1);
            let body = lines.by_ref().map(|(_, line)| line);
            let body: Vec<&str> = body.take_while(|line| line.trim_start() != "```").collect();
            let content = comment
                .strip_prefix("<!-- ")
                .and_then(|rest| rest.strip_suffix(" -->"));
            let (kind, value) = content
                .and_then(|content| content.split_once(": "))
                .unwrap_or_else(|| {
                    panic!("{place}: the comment above says neither run, checked nor not run")
                });
            let treatment = match kind {
                "run" => Treatment::Run(value.to_owned()),
                "checked" => Treatment::Checked(value.to_owned()),
                "not run" if value.len() > 5 => Treatment::NotRun,
                _ => panic!("{place}: {kind} is not run, checked or not run with a reason"),
            };
            blocks.push(Block {
                document: name.clone(),
                treatment,
                language: language.to_owned(),
                text: body.join("\n"),
            });
        }
    }
    blocks
}

#[test]
#[expect(clippy::print_stdout, reason = "the share is of interest")]
fn nine_in_ten_blocks_of_the_guides_are_run_or_checked() {
    let blocks = blocks();
    let (mut all, mut guides, mut proven, mut proven_guides) = (0, 0, 0, 0);
    for block in &blocks {
        let is_guide = block.document.contains("/guides/");
        let is_proven = match &block.treatment {
            Treatment::Run(_) => true,
            Treatment::Checked(test) => {
                let (file, test) = test.split_once(".rs::").expect("FILE.rs::TEST");
                assert_test(&block.document, file, test);
                true
            }
            Treatment::NotRun => false,
        };
        all += 1;
        guides += usize::from(is_guide);
        proven += usize::from(is_proven);
        proven_guides += usize::from(is_guide && is_proven);
    }
    println!(
        "run or checked: {proven} of {all} code blocks; of the guides {proven_guides} of {guides}"
    );
    assert!(
        proven_guides * 10 >= guides * 9,
        "{proven_guides} of {guides}"
    );
}

#[test]
fn every_runnable_block_runs() {
    if Language::Python.is_installed() {
        namespace::passes(module_path!(), "blocks_run_in_their_own_network");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ports and addresses for itself: every_runnable_block_runs runs it in a network of its own"]
async fn blocks_run_in_their_own_network() {
    let mut groups = BTreeMap::<(String, String), String>::new();
    for block in blocks() {
        if let Treatment::Run(group) = block.treatment {
            let script = groups.entry((block.document, group)).or_default();
            let text = match block.language.as_str() {
                "python" => format!("python - <<'BLOCK'\n{}\nBLOCK\n", block.text),
                _ => block.text + "\n",
            };
            script.push_str(&text);
        }
    }
    assert!(groups.len() > 20, "only {} were found", groups.len());
    let sts = Sandbox::start(Options::default()).await;
    let sts = Arc::new(sts.expect("loopback has a free port"));
    let (oss, odps, s3) = (
        stub_oss::start(issued_by(&sts)),
        stub_odps::start(issued_by(&sts)),
        stub_s3::start(issued_by(&sts)),
    );
    let variables = [
        ("ALIBABA_CLOUD_STS_ENDPOINT", sts.endpoint()),
        ("ALIBABA_CLOUD_ROLE_ARN", sts.role_arn()),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id()),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            sts.access_key_secret().expose_secret().to_owned(),
        ),
        ("OSS_ENDPOINT", oss.endpoint()),
        ("OSS_BUCKET", stub_oss::BUCKET.to_owned()),
        ("ODPS_ENDPOINT", odps.endpoint() + stub_odps::PREFIX),
        ("ODPS_PROJECT", stub_odps::PROJECT.to_owned()),
        ("AWS_ENDPOINT_URL_S3", stub_s3::ENDPOINT.to_owned()),
    ];
    let mut failures = Vec::new();
    for ((document, group), script) in groups {
        let mut variables = variables.to_vec();
        if script.contains("boto3") {
            // That stub is a proxy, because the bucket stands in the host name. `exec` would hide HTTP_PROXY.
            variables.push(("Http_Proxy", s3.endpoint()));
        }
        if script.contains("torch") {
            let stand_ins = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/clients/python/stand-ins"
            );
            variables.push(("PYTHONPATH", stand_ins.to_owned()));
            // It puts the bucket before the host, which therefore needs a name.
            let port = oss.endpoint().rsplit(':').next().unwrap().to_owned();
            let endpoint = format!("http://{}:{port}", &VIRTUAL_HOST[1..]);
            variables.push(("OSS_ENDPOINT", endpoint));
        }
        let instance = script.contains("ecs_ram_role");
        let instance = instance.then(|| Metadata::start_at(METADATA, Mode::Hardened));
        if let Some(service) = &instance {
            attach(&sts, service).await;
            // The instance's role is the only identity, and is passed through.
            let others = ["ALIBABA_CLOUD_ACCESS_KEY", "ALIBABA_CLOUD_ROLE"];
            variables.retain(|(name, _)| !others.iter().any(|other| name.starts_with(other)));
        }
        let failed = tokio::task::block_in_place(|| run(&script, &variables));
        if let Err(output) = failed {
            failures.push(format!(
                "{document}, {group}:\n{script}\n--- printed\n{output}"
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{}\n{:?}",
        failures.join("\n\n"),
        oss.rejections()
    );
}

/// Runs a script with a limit of time, and ends all that it has started. Fails with its output.
fn run(script: &str, variables: &[(&str, String)]) -> Result<(), String> {
    let home = Scratch::new();
    // A refused request is a failure, although the documents do not say --fail.
    fs::write(home.join(".curlrc"), "fail\n").unwrap();
    let bucket = format!("127.0.0.1 localhost {}{VIRTUAL_HOST}\n", stub_oss::BUCKET);
    fs::write(home.join(".hosts"), bucket).unwrap();
    let needs_daemon = script.contains("127.0.0.1:700") && !script.contains("ram-sidecar serve");
    let daemon = if needs_daemon {
        "ram-sidecar serve --log-level error > daemon &\nram-sidecar wait\n"
    } else {
        ""
    };
    let python = Language::Python.program("pod", home.path()).unwrap();
    let programs = [
        env!("CARGO_BIN_EXE_ram-sidecar").as_ref(),
        python.get_program(),
    ];
    let directories = programs.map(|program| Path::new(program).parent().unwrap().to_owned());
    let inherited = environment("PATH").unwrap_or_default();
    let inherited = std::env::split_paths(&inherited).chain(["/usr/sbin".into(), "/sbin".into()]);
    let path = std::env::join_paths(directories.into_iter().chain(inherited)).unwrap();
    let log = fs::File::create(home.join(".output")).unwrap();
    let with_hosts =
        "mount --bind .hosts /etc/hosts && exec timeout 60 bash -euo pipefail -c \"$0\"";
    let mut child = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-c",
            with_hosts,
            &format!("{daemon}{script}"),
        ])
        .env_clear()
        .env("PATH", path)
        .env("HOME", home.path())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let _ = kill_process_group(group, Signal::KILL);
    let are_free = || {
        let mut ports = [7002, 7003, 7005].into_iter();
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        ports.all(is_free).then_some(())
    };
    eventually("the ports of the script are free", are_free);
    if status.success() {
        return Ok(());
    }
    let output = fs::read_to_string(home.join(".output")).unwrap_or_default();
    Err(format!("{status}: {output}"))
}
