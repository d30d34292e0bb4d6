//! What a command sees of the world: the documented variables, and all else as it would be without `exec`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{EXECUTABLE, Job, ended, exec, plain, sandboxed, text};
use crate::support::{Scratch, eventually, required};
use crate::toolchains::tool;

/// What `exec` must not hand on.
const OURS: [(&str, &str); 18] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIofDaemon"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "SecretOfDaemon"),
    ("ALIBABA_CLOUD_SECURITY_TOKEN", "TokenOfDaemon"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", "/x"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", "/x"),
    ("ALIBABA_CLOUD_SECURITY_TOKEN_FILE", "/x"),
    ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/real"),
    ("ALIBABA_CLOUD_ROLE_SESSION_NAME", "session"),
    (
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        "acs:ram::1:oidc-provider/p",
    ),
    ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/x"),
    ("ALIBABA_CLOUD_ECS_METADATA", "name"),
    ("ALIBABA_CLOUD_IMDS_ENDPOINT", "http://127.0.0.1:1"),
    ("ALIBABA_CLOUD_PROFILE", "name"),
    ("ALIBABA_CLOUD_CONFIG_FILE", "/x"),
    ("RAM_SIDECAR_LOG", "error"),
    ("RAM_SIDECAR_ROLE_VIA", ""),
    ("RAM_SIDECAR_UNKNOWN", "x"),
    ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:1/old"),
];

fn names(output: &str) -> BTreeSet<&str> {
    let names = output.lines().filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name).collect()
}

#[test]
fn a_command_gets_the_documented_variables_and_none_of_the_daemons() {
    let mut command = sandboxed(&["env"]);
    command
        .envs(OURS)
        .env("UNRELATED", "kept = as it is")
        .env("ALIBABA_CLOUD_REGION_ID", "cn-hangzhou")
        .env("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou");
    let (code, seen, complaint) = ended(command);
    assert_eq!(code, Some(0), "{complaint}");
    let expected = [
        "ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
        "ALIBABA_CLOUD_CREDENTIALS_FILE",
        "ALIBABA_CLOUD_CREDENTIALS_URI",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED",
        "ALIBABA_CLOUD_REGION_ID",
        "ALIBABA_CLOUD_STS_REGION",
        "PATH",
        "UNRELATED",
    ];
    assert_eq!(names(&seen), BTreeSet::from(expected), "{seen}");
    for line in [
        "ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true",
        "ALIBABA_CLOUD_CREDENTIALS_FILE=/dev/null",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true",
        "UNRELATED=kept = as it is",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line}: {seen}");
    }
    let uri = seen
        .lines()
        .find_map(|line| line.strip_prefix("ALIBABA_CLOUD_CREDENTIALS_URI="));
    let uri = uri.expect("the URI is there");
    let (place, key) = uri.rsplit_once('/').unwrap();
    assert!(place.starts_with("http://127.0.0.1:"), "{uri}");
    let is_random = key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_random, "{uri}");
}

#[test]
fn aws_sdks_get_their_variables_only_when_asked_for() {
    let (_, seen, _) = ended(exec(&["--sandbox", "--container"], &["env"]));
    let seen = names(&seen);
    for name in [
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_REQUEST_CHECKSUM_CALCULATION",
        "AWS_RESPONSE_CHECKSUM_VALIDATION",
    ] {
        assert!(seen.contains(name), "{name}");
    }
    let (_, seen, _) = ended(sandboxed(&["env"]));
    assert!(!seen.contains("AWS_"), "{seen}");
}

#[test]
fn aws_sdks_get_the_token_that_they_must_send() {
    let scratch = Scratch::new();
    let token = scratch.join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let settings = [
        "--sandbox",
        "--container",
        "--container-token-file",
        text(&token),
    ];
    let words = ["printenv", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
    let (_, seen, complaint) = ended(exec(&settings, &words));
    assert_eq!(seen, text(&token), "{complaint}");
}

#[test]
fn aws_sdks_get_a_token_file_of_exec_if_none_is_configured() {
    let scratch = Scratch::new();
    let directory = text(scratch.path());
    for temporary in [directory, "/nowhere"] {
        let script = "umask 0; echo \"$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE\"; cat \"$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE\"; stat -c ' %a' \"$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE\"";
        let mut command = exec(&["--sandbox", "--container"], &["sh", "-c", script]);
        command.env("TMPDIR", temporary);
        let (code, seen, complaint) = ended(command);
        assert_eq!((code, complaint.as_str()), (Some(0), ""), "{seen}");
        let (path, token) = seen.split_once('\n').expect("two lines");
        // Without a line break, which no header can carry, and readable for a command of another user.
        assert_eq!(token, "ram-sidecar 644");
        let directory = Path::new(path).parent();
        let expected = if temporary == "/nowhere" {
            "/dev/shm"
        } else {
            temporary
        };
        assert_eq!(directory, Some(Path::new(expected)));
        assert!(!Path::new(path).exists(), "{path} is removed");
    }
}

#[test]
fn aliyun_cli_gets_the_path_of_its_file_and_a_second_ram_sidecar_knows_the_variable() {
    let scratch = Scratch::new();
    let path = scratch.join("aliyun.json");
    let file = format!("{},format=aliyun-cli", path.display());
    let script = "echo \"$RAM_SIDECAR_ALIYUN_CONFIG\"; grep -c StsToken \"$RAM_SIDECAR_ALIYUN_CONFIG\"; \"$0\" exec --sandbox -- true";
    let words = ["sh", "-c", script, EXECUTABLE];
    let mut command = exec(&["--sandbox", "--file", &file], &words);
    command.env("HOME", scratch.path());
    let (code, seen, complaint) = ended(command);
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{seen}");
    assert_eq!(seen, format!("{}\n1", path.display()));
    assert!(!scratch.join(".aliyun").exists(), "the home is as it was");
}

/// Asks the metadata dialect for the role and its credentials, as this user and as another.
const ASK: &str = r#"set -u; at=$ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT/latest/meta-data/ram/security-credentials
echo "${ALIBABA_CLOUD_ECS_METADATA_DISABLED-unset}"
curl -s "$at/"; echo; curl -s "$at/$ALIBABA_CLOUD_ECS_METADATA" | grep -o '"AccessKeyId":"STS.Sandbox'
setpriv --reuid=65533 --clear-groups curl -s "$at/"
"#;

#[test]
fn the_metadata_dialect_serves_the_user_of_exec_and_nobody_else() {
    let tools = ["curl", "setpriv"].map(|name| tool(name).is_some());
    if tools.contains(&false) || !required("root", rustix::process::geteuid().is_root()) {
        return;
    }
    let words = ["sh", "-c", ASK];
    let (code, seen, complaint) = ended(exec(&["--sandbox", "--metadata"], &words));
    assert_eq!(code, Some(0), "{complaint}");
    let lines: Vec<&str> = seen.lines().collect();
    let [disabled, role, id, other] = lines[..] else {
        panic!("{seen}\n{complaint}");
    };
    assert_eq!((disabled, role), ("unset", "ram-sidecar-exec"));
    assert_eq!(id, "\"AccessKeyId\":\"STS.Sandbox");
    assert!(other.contains("serve.allow_uids"), "{other}");
    assert!(!other.contains("STS."), "{other}");

    let others = ["--sandbox", "--metadata", "--allow-uids", "0,65533"];
    let (_, seen, complaint) = ended(exec(&others, &words));
    assert_eq!(seen.matches("ram-sidecar-exec").count(), 2, "{complaint}");
}

#[test]
fn a_ram_sidecar_below_exec_metadata_has_its_own_identity() {
    let key = [
        "env",
        "ALIBABA_CLOUD_ACCESS_KEY_ID=LTAI",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET=planted",
    ];
    let check = [EXECUTABLE, "check", "--sts-endpoint", "http://127.0.0.1:1"];
    let (_, report, complaint) = ended(exec(
        &["--sandbox", "--metadata"],
        &[&key[..], &check].concat(),
    ));
    assert!(report.contains("access_key"), "{report}{complaint}");
    assert!(!report.contains("ecs_ram_role"), "{report}");
}

#[test]
fn the_metadata_dialect_is_refused_where_nobody_knows_the_users() {
    let mut command = plain(&["unshare", "--user", EXECUTABLE, "exec"]);
    command.args(["--sandbox", "--metadata", "--", "echo", "started"]);
    let (code, seen, complaint) = ended(command);
    if !required("user namespaces", !complaint.contains("unshare failed")) {
        return;
    }
    assert_eq!((code, seen.as_str()), (Some(71), ""), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(
        complaint.contains("cannot serve the metadata dialect to user"),
        "{complaint}"
    );
    assert!(complaint.contains("leave out --metadata"), "{complaint}");
}

/// A script that says how it finds the world.
///
/// The real-time signals that C libraries keep for themselves are ignored in whatever they start.
const LOOK: &str = r#"pwd; umask; ulimit -S -a; ulimit -H -a; grep -E "^(SigBlk|NoNewPrivs):" /proc/self/status
while read -r name set; do [ "$name" = SigIgn: ] && printf "%x\n" $((0x$set & 0x7fffffff)); done < /proc/self/status
ls /proc/self/fd; cat /proc/self/oom_score_adj; cat"#;

fn look(with: bool, before: &str) -> String {
    let script = format!("echo standard input | ({before}; exec \"$@\")");
    let mut words = vec!["bash", "-c", &script, "bash"];
    if with {
        words.extend([EXECUTABLE, "exec", "--sandbox", "--"]);
    }
    words.extend(["bash", "-c", LOOK]);
    let mut command = plain(&words);
    command.current_dir("/usr/lib");
    let (code, seen, complaint) = ended(command);
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{seen}");
    seen
}

#[test]
fn limits_umask_directory_files_and_ignored_signals_are_as_without_exec() {
    for before in [
        "true",
        "umask 027; ulimit -c 0",
        "umask 077; ulimit -S -n 77; ulimit -S -c 12",
        "ulimit -n 88; exec 9</dev/null",
        "trap '' HUP",
        "trap '' HUP INT QUIT USR1 TERM TSTP WINCH",
    ] {
        let expected = look(false, before);
        assert!(expected.ends_with("standard input"), "{expected}");
        assert_eq!(look(true, before), expected, "{before}");
    }
}

#[test]
fn standard_output_and_error_belong_to_the_command() {
    let (code, output, complaint) = ended(sandboxed(&["sh", "-c", "echo out; echo err >&2"]));
    assert_eq!(code, Some(0));
    assert_eq!((output.as_str(), complaint.as_str()), ("out", "err"));
}

#[test]
fn the_secret_path_is_on_no_command_line_and_in_no_log() {
    let Some(mut job) = Job::start(&["--sandbox", "--log-level", "trace"], &[]) else {
        return;
    };
    job.assert_served();
    let environment: serde_json::Value = serde_json::from_str(&job.ask("environment")).unwrap();
    let uri = environment["ALIBABA_CLOUD_CREDENTIALS_URI"]
        .as_str()
        .unwrap();
    let key = uri.rsplit_once('/').unwrap().1;
    for id in [job.exec.id().to_string(), job.child.to_string()] {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap();
        let line = String::from_utf8_lossy(&line);
        assert!(!line.is_empty() && !line.contains(key), "{line}");
        let mode = std::fs::metadata(format!("/proc/{id}/environ")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o077, 0);
    }
    let log = job.exec.stderr();
    assert!(log.contains("Credentials renewed"), "{log}");
    assert!(!log.contains(key), "{log}");
    job.end(0);
}

#[test]
fn its_memory_is_closed_to_others_while_the_command_is_as_open_as_ever() {
    let Some(job) = Job::start(&["--sandbox"], &[]) else {
        return;
    };
    let owner = |id: String| {
        // The kernel gives what belongs to a process that cannot be dumped to root.
        let mut stat = Command::new("setpriv");
        stat.args(["--reuid=65534", "--clear-groups", "--inh-caps=-all"]);
        stat.args(["cat", &format!("/proc/{id}/environ")]);
        stat.output().is_ok_and(|output| output.status.success())
    };
    for id in [job.exec.id().to_string(), job.child.to_string()] {
        assert!(!owner(id));
    }
    job.end(0);
}

#[test]
fn a_command_gets_no_http_proxy_unless_that_is_kept_and_is_told_so() {
    const PROXY: &str = "http://proxy.invalid:3128";
    let (_, _, complaint) = ended(sandboxed(&["true"]));
    assert_eq!(complaint, "");
    for name in ["HTTP_PROXY", "http_proxy"] {
        for (flags, told) in [
            (&["--sandbox"][..], "HTTP_PROXY is not passed on"),
            (
                &["--sandbox", "--keep-http-proxy"],
                "unset HTTP_PROXY http_proxy",
            ),
        ] {
            let mut command = exec(flags, &["env"]);
            command.env(name, PROXY).env("HTTPS_PROXY", PROXY);
            let (code, seen, complaint) = ended(command);
            assert_eq!(code, Some(0), "{complaint}");
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
            assert!(complaint.contains(told), "{complaint}");
            assert_eq!(names(&seen).contains(name), flags.len() == 2, "{seen}");
            assert!(names(&seen).contains("HTTPS_PROXY"), "{seen}");
        }
    }
}

#[test]
fn loopback_is_excepted_from_every_proxy_for_http() {
    const PROXY: (&str, &str) = ("ALL_PROXY", "http://proxy.invalid:3128");
    let own = "127.0.0.1,localhost";
    for (env, expected) in [
        (&[][..], None),
        (&[("NO_PROXY", "a.example")], Some(["a.example", ""])),
        (&[PROXY], Some([own, own])),
        (&[PROXY, ("NO_PROXY", "")], Some([own, own])),
        (&[PROXY, ("no_proxy", "*")], Some(["", "*"])),
        (
            &[PROXY, ("NO_PROXY", "a.example")],
            Some(["a.example,127.0.0.1,localhost"; 2]),
        ),
        (
            &[PROXY, ("NO_PROXY", "a.example"), ("no_proxy", "b.example")],
            Some([
                "a.example,127.0.0.1,localhost",
                "b.example,127.0.0.1,localhost",
            ]),
        ),
    ] {
        let script = "echo \"$NO_PROXY $no_proxy\"";
        let mut command = sandboxed(&["sh", "-c", script]);
        command.envs(env.iter().copied());
        let (code, seen, complaint) = ended(command);
        assert_eq!((code, complaint.as_str()), (Some(0), ""));
        let [upper, lower] = expected.unwrap_or_default();
        assert_eq!(seen, format!("{upper} {lower}").trim_end(), "{env:?}");
    }
}

#[test]
fn two_execs_at_once_use_different_addresses_and_keys() {
    let (Some(mut one), Some(mut two)) = (
        Job::start(&["--sandbox"], &[]),
        Job::start(&["--sandbox"], &[]),
    ) else {
        return;
    };
    let (first, second) = (one.ask("fetch"), two.ask("fetch"));
    assert_ne!(first, second);
    one.end(0);
    eventually("the other one is served on", || {
        (two.ask("fetch") == second).then_some(())
    });
    two.end(0);
}
