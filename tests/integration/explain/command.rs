//! The command itself: its text, its exit codes, its mistakes.

use super::*;
use crate::support::required;

/// Runs `explain` with variables in a home of its own; returns the exit code, standard output and standard error.
fn explained(
    arguments: &[&str],
    variables: &[(&str, &str)],
    input: &str,
) -> (Option<i32>, String, String) {
    use std::io::Write as _;
    use std::process::Stdio;

    let home = Scratch::new();
    let mut command = Command::new(PROGRAM);
    command
        .arg("explain")
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("COLUMNS", "1000")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    for text in [&out, &err] {
        assert!(!text.contains("planted"), "{text}");
    }
    (output.status.code(), out, err)
}

const KEY: [(&str, &str); 2] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIx"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted"),
];

#[test]
fn exit_code_is_zero_only_if_every_client_that_counts_uses_ours() {
    let daemon = Daemon::spawn(
        &[
            "--sandbox",
            "--key",
            "planted-key",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "off",
        ],
        &[],
    );
    let uri = daemon.uri();
    let ours = [
        ("ALIBABA_CLOUD_CREDENTIALS_URI", &*uri),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ];
    let (code, out, err) = explained(&[], &ours, "");
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    assert!(
        out.contains("our credentials, by ALIBABA_CLOUD_CREDENTIALS_URI: STS.Sandbox"),
        "{out}"
    );

    let (code, out, _) = explained(&["--client", "boto3"], &ours, "");
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("exec --container"), "{out}");

    let wrong = uri.replace("planted-key", "another");
    let variables = [("ALIBABA_CLOUD_CREDENTIALS_URI", &*wrong), ours[1]];
    let (code, out, _) = explained(&["--client", "go"], &variables, "");
    assert_eq!(code, Some(1), "{out}");
    for expected in ["HTTP 404 with the code NotFound", "correct the path"] {
        assert!(out.contains(expected), "{out}");
    }

    let (code, out, _) = explained(&["--client", "go"], &[&ours[..], &KEY].concat(), "");
    assert_eq!(code, Some(1), "{out}");
    let line = "for ours: unset ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET\n";
    assert!(out.contains(line), "{out}");

    // Whatever listens elsewhere is not ours.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("http://{}/", other.local_addr().unwrap());
    let container = uri.replace("/credentials/", "/container/");
    for (address, code) in [(&*other, Some(1)), (&*uri, Some(1)), (&*container, Some(0))] {
        let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", address);
        let variables = [&ours[..], &[container]].concat();
        let (got, out, _) = explained(&["--client", "boto3"], &variables, "");
        assert_eq!(got, code, "{out}");
    }
}

#[test]
fn an_answer_that_no_client_can_use_is_told() {
    use std::io::{Read as _, Write as _};

    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in server.incoming().map(Result::unwrap) {
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
        }
    });
    let variables = [("ALIBABA_CLOUD_CREDENTIALS_URI", &*uri)];
    let (code, out, _) = explained(&["--client", "go"], &variables, "");
    let expected = "no credentials: its answer has expired, or is not of the form of credentials";
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains(expected), "{out}");
}

#[test]
fn file_that_cannot_be_judged_is_named() {
    let directory = Scratch::new();
    let path = directory.join("config.json");
    for (content, condition) in [
        (
            vec![b' '; (1 << 20) + 1],
            ", if it is complete, which cannot be seen from here",
        ),
        (
            b"{\"x\": 1e999}".to_vec(),
            ", which is not strict JSON, if the client can read it",
        ),
    ] {
        fs::write(&path, content).unwrap();
        let path = path.display().to_string();
        let variables = [("ALIBABA_CLOUD_CONFIG_FILE", &*path)];
        let (_, out, _) = explained(&["--client", "go"], &variables, "");
        let expected = format!(
            "cli_profile: the credentials in the file that ALIBABA_CLOUD_CONFIG_FILE names{condition}"
        );
        assert!(out.contains(&expected) && !out.contains(&path), "{out}");
    }
}

#[test]
fn metadata_service_is_ours_only_at_an_address_of_this_machine() {
    const OTHERS: &str = "ecs_ram_role: the role of the ECS instance, if";
    const UP: &str = "ip link set lo up";
    for (network, expected) in [
        ("true", OTHERS),
        (UP, OTHERS),
        // Any address can be bound.
        (
            &*format!("{UP} && echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind"),
            OTHERS,
        ),
        (
            &*format!("{UP} && ip addr add 100.100.100.200/32 dev lo"),
            "passes over ecs_ram_role: 100.100.100.200 does not respond",
        ),
    ] {
        let script =
            format!("PATH=$PATH:/usr/sbin:/sbin && {network} && exec \"$0\" explain --client go");
        let home = Scratch::new();
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--net", "sh", "-c", &script, PROGRAM])
            .env_clear()
            .envs(environment("PATH").map(|path| ("PATH", path)))
            .env("HOME", home.path());
        let output = command.output();
        let is_run = output
            .as_ref()
            .is_ok_and(|output| !output.stdout.is_empty());
        let what =
            "a network namespace (unshare of util-linux, ip of iproute2, the right to use them)";
        if !required(what, is_run) {
            return;
        }
        let out = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
        assert!(out.contains(expected), "{network}: {out}");
    }
}

#[test]
fn a_command_is_explained_in_the_environment_of_exec() {
    let proxy = ("HTTP_PROXY", "http://proxy.invalid:3128");
    let variables = [&KEY[..], &[proxy]].concat();
    let (code, out, _) = explained(&["--", "true"], &variables, "");
    assert_eq!(code, Some(0), "{out}");
    let property = (
        "JAVA_TOOL_OPTIONS",
        "-Dalibabacloud.accessKeyId=LTAIp -Dalibabacloud.accessKeySecret=planted",
    );
    let (code, out, _) = explained(&["--", "true"], &[property], "");
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("Will not use ours: java."), "{out}");
    // A program counts where it is the command.
    for program in ["aliyun", "/opt/bin/ossutil"] {
        let (code, out, _) = explained(&["--", program, "ls"], &[], "");
        assert_eq!(code, Some(1), "{program}: {out}");
    }
}

#[test]
fn flags_and_settings_of_exec_change_what_its_command_finds() {
    let proxy = ("HTTP_PROXY", "http://proxy.invalid:3128");
    let container = ("RAM_SIDECAR_CONTAINER", "true");
    for (client, flags, variables, expected) in [
        ("boto3", &[][..], &[][..], 1),
        ("boto3", &["--container"], &[], 0),
        ("boto3", &[], &[container], 0),
        ("boto3", &["--container=false"], &[container], 1),
        ("oss2", &[], &[], 1),
        ("oss2", &["--env", "oss"], &[], 0),
        ("python", &[], &[proxy], 0),
        ("python", &["--keep-http-proxy"], &[proxy], 1),
        ("go", &["--metadata"], &[], 0),
        ("pyodps", &["--file", "/f,format=none"], &[], 78),
    ] {
        let arguments = [&["--client", client], flags, &["--", "true"]].concat();
        let (code, out, err) = explained(&arguments, variables, "");
        assert_eq!(code, Some(expected), "{arguments:?}: {out}{err}");
    }
}

#[test]
fn clients_with_the_same_answer_share_lines_that_fit() {
    let disabled = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "1");
    for (columns, width) in [("", 80), ("x", 80), ("60", 60)] {
        let variables = [&KEY[..], &[disabled, ("COLUMNS", columns)]].concat();
        let (_, out, _) = explained(&[], &variables, "");
        assert!(
            out.contains("\n  ✗ python, java, go, node, php\n      env: the AccessKey LTAIx "),
            "{out}"
        );
        let mut lines = out
            .lines()
            .filter(|line| !line.starts_with("      for ours"));
        assert!(lines.all(|line| line.chars().count() <= width), "{out}");
        let shell = "      for ours, first: unset ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET; export ALIBABA_CLOUD_ECS_METADATA_DISABLED=true\n";
        assert!(out.contains(shell), "{out}");
        let words: Vec<&str> = out.split_whitespace().collect();
        let words = words.join(" ");
        assert!(
            words.contains(
                "ALIBABA_CLOUD_ECS_METADATA_DISABLED is set, but has no effect: only `true` has"
            ),
            "{out}"
        );
        assert!(
            words.ends_with("✗ Will not use ours: python, java, go, node, php, aliyun-cli."),
            "{out}"
        );
    }
}

#[cfg(feature = "inject")]
#[test]
fn a_credentials_uri_of_a_pod_is_compared_with_its_sidecar() {
    const INJECT: [&str; 2] = ["--identity", "sandbox"];
    let pod = |fields: &str, uri: &str| {
        let uri = format!("{{name: ALIBABA_CLOUD_CREDENTIALS_URI, value: \"{uri}\"}}");
        let disabled = "{name: ALIBABA_CLOUD_ECS_METADATA_DISABLED, value: \"true\"}";
        format!(
            "kind: Pod\nmetadata: {{name: p}}\nspec:\n  {fields}\n  containers:\n  - name: main\n    env: [{uri}, {disabled}]\n"
        )
    };
    let side = |container: &str| format!("initContainers: [{container}]");
    let at = |rest: &str| format!("http://127.0.0.1:{rest}");
    let right = at("7002/api/v1/credentials/k");
    for (flags, fields, uri, mark) in [
        (&[][..], String::new(), right.clone(), '✗'),
        (&[], "hostNetwork: true".to_owned(), right.clone(), '!'),
        (&[], side("{name: ram-sidecar}"), right.clone(), '!'),
        (
            &[],
            side("{name: ram-sidecar}"),
            "http://10.0.0.1/".to_owned(),
            '✗',
        ),
        (&["--key", "k"], String::new(), right.clone(), '✓'),
        (
            &["--key", "k"],
            String::new(),
            right.replace("127.0.0.1", "localhost"),
            '✓',
        ),
        (
            &["--key", "k"],
            String::new(),
            at("7003/api/v1/credentials/k"),
            '✗',
        ),
        (
            &["--key", "k"],
            String::new(),
            at("7002/api/v1/credentials/other"),
            '✗',
        ),
        (&["--key", "k"], String::new(), at("7002/k"), '✗'),
        (
            &["--key", "k", "--port", "9000"],
            String::new(),
            right.clone(),
            '✗',
        ),
        (&[], String::new(), at("7002/api/v1/credentials/0"), '✗'),
        (
            &[],
            String::new(),
            at("7002/api/v1/credentials/$(RAM_SIDECAR_POD_UID)"),
            '✓',
        ),
    ] {
        let mut manifest = pod(&fields, &uri);
        let is_injected = fields.is_empty() && (!flags.is_empty() || uri != right);
        if is_injected {
            manifest = crate::inject::inject(&[&INJECT[..], flags].concat(), &manifest).stdout;
        }
        let (code, out, err) = explained(&["-f", "-", "--client", "go"], &[], &manifest);
        assert_eq!(code, Some(i32::from(mark != '✓')), "{manifest}{out}{err}");
        assert!(out.contains(&format!("\n  {mark} go\n")), "{uri}: {out}");
        let remedy = match (mark, is_injected) {
            ('✗', false) => "`ram-sidecar inject`",
            ('✗', true) => "set ALIBABA_CLOUD_CREDENTIALS_URI to http://127.0.0.1:",
            ('!', _) => "see that a server of ours has that port and that key",
            _ => "our credentials",
        };
        assert!(out.contains(remedy), "{uri}: {out}");
    }
}

/// Flags of inject; pod: as it is, with the sidecar moved behind `setup`, with a wrong URI, or with the network of its node;
/// client; container; mark; what is said.
#[cfg(feature = "inject")]
const IN_PODS_WITH_A_SIDECAR: &str = "
 | as it is | go | setup | ✓ | our credentials
 | moved | go | setup | ✗ | the sidecar starts after this init container has ended
 | moved | go | setup | ✗ | put the sidecar before it in initContainers
 | moved | go | main | ✓ | our credentials
--container | moved | boto3 | setup | ✗ | the sidecar starts after this init container has ended
--metadata-address | moved | go | setup | ✗ | the sidecar starts after this init container has ended
--metadata-address | moved | go | main | ✓ | our credentials
--classic | as it is | go | setup | ✗ | put the sidecar before it in initContainers
--classic --metadata-address | as it is | go | setup | ✗ | put the sidecar before it in initContainers
--only-containers main | as it is | go | other | ✗ | among --only-containers
--only-containers main | as it is | boto3 | main | ✗ | on the manifest that has no sidecar yet
--container | as it is | boto3 | main | ✓ | our credentials
--container | wrong | boto3 | main | ✓ | our credentials
--container | wrong | go | main | ✗ | another port
--key 0 | node | go | main | ! | cannot be seen here
--key 0 --container | node | boto3 | main | ! | cannot be seen here
 | node | go | main | ✓ | our credentials
";

#[cfg(feature = "inject")]
#[test]
fn a_container_that_the_sidecar_of_its_pod_does_not_serve_is_told_what_helps() {
    const POD: &str = "kind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: main}, {name: other}]\n  initContainers: [{name: setup}]\n";
    const WRONG: &str = "{name: main, env: [{name: ALIBABA_CLOUD_CREDENTIALS_URI, value: \"http://127.0.0.1:9/api/v1/credentials/0\"}]}";
    // As a webhook that is called later does.
    let moved = |yaml: &str| {
        let starts = [
            "  - name: ram-sidecar\n",
            "  - name: setup\n",
            "  volumes:\n",
        ];
        let [sidecar, setup, end] = starts.map(|start| yaml.find(start).unwrap());
        let (before, after) = (&yaml[..sidecar], &yaml[end..]);
        let (sidecar, setup) = (&yaml[sidecar..setup], &yaml[setup..end]);
        format!("{before}{setup}{sidecar}{after}")
    };
    for row in IN_PODS_WITH_A_SIDECAR.trim_matches('\n').lines() {
        let cells: Vec<&str> = row.split(" | ").map(str::trim).collect();
        let [flags, how, client, container, mark, expected] = cells[..] else {
            panic!("{row}");
        };
        let pod = match how {
            "wrong" => POD.replace("{name: main}", WRONG),
            "node" => POD.replace("spec:\n", "spec:\n  hostNetwork: true\n"),
            _ => POD.to_owned(),
        };
        let mut inject = vec!["--identity", "sandbox"];
        inject.extend(flags.split_whitespace());
        let mut manifest = crate::inject::inject(&inject, &pod).stdout;
        if how == "moved" {
            manifest = moved(&manifest);
        }
        let (_, out, err) = explained(&["-f", "-", "--client", client], &[], &manifest);
        let heading = format!("container {container}\n  {mark} {client}\n");
        let found = out.split_once(&heading).map(|(_, found)| found);
        let found = found.unwrap_or_else(|| panic!("{row}: {out}{err}"));
        let found = found.split("\n\n").next().unwrap();
        assert!(found.contains(expected), "{row}: {out}");
        assert!(!found.contains("add the sidecar by"), "{row}: {out}");
    }
}

#[cfg(feature = "inject")]
#[test]
fn an_env_that_the_api_server_refuses_is_told() {
    for env in ["{A: b}", "[A=b]", "[{name: A, value: 1}]"] {
        let manifest = format!("kind: Pod\nspec: {{containers: [{{name: main, env: {env}}}]}}\n");
        let (code, out, _) = explained(&["-f", "-", "--client", "go"], &[], &manifest);
        assert_eq!(code, Some(1), "{out}");
        assert!(
            out.contains("the API server refuses its env"),
            "{env}: {out}"
        );
    }
}

#[cfg(feature = "inject")]
#[test]
fn a_manifest_is_explained_container_by_container() {
    let manifest = "\
apiVersion: batch/v1
kind: Job
metadata: {name: train}
spec:
  template:
    spec:
      containers:
      - name: main
        envFrom: [{secretRef: {name: more}}]
        env:
        - {name: ALIBABA_CLOUD_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: k, key: id}}}
        - {name: ALIBABA_CLOUD_ACCESS_KEY_SECRET, valueFrom: {secretKeyRef: {name: k, key: secret}}}
        - {name: ALIBABA_CLOUD_CREDENTIALS_URI, value: \"http://127.0.0.1:7002/api/v1/credentials/$(RAM_SIDECAR_POD_UID)\"}
        - {name: ALIBABA_CLOUD_ECS_METADATA_DISABLED, value: \"true\"}
      - name: side
        volumeMounts: [{name: keys, mountPath: /home/side/.aliyun}]
      - name: home
        volumeMounts: [{name: home, mountPath: /home/job}]
      - name: more
        envFrom: [{secretRef: {name: more}}]
        env:
        - {name: ALIBABA_CLOUD_ACCESS_KEY_ID, value: LTAIfirst}
        - {name: ALIBABA_CLOUD_ACCESS_KEY_ID, value: \"\"}
        - {name: ALIBABA_CLOUD_CREDENTIALS_URI, value: \"http://127.0.0.1:7002/api/v1/credentials/$(RAM_SIDECAR_POD_UID)\"}
        - {name: ALIBABA_CLOUD_ECS_METADATA_DISABLED, value: \"true\"}
      - name: ram-sidecar
---
kind: Pod
metadata: {name: \"alone\\e[31m\"}
spec:
  containers:
  - name: main
    env:
    - {name: ALIBABA_CLOUD_CREDENTIALS_URI, value: \"http://127.0.0.1:7002/api/v1/credentials/0\"}
    - {name: ALIBABA_CLOUD_ECS_METADATA_DISABLED, value: \"true\"}
";
    let (code, out, err) = explained(&["-f", "-", "--client", "python"], &[], manifest);
    assert_eq!((code, &*err), (Some(1), ""), "{out}");
    for expected in [
        "Job/train: container main\n",
        "env: the AccessKey of ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET\n",
        "for ours: remove from env: ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET\n",
        "then: set ALIBABA_CLOUD_CREDENTIALS_URI to the address of the sidecar, as `ram-sidecar inject` does",
        "envFrom takes variables from the secretRef more",
        "Job/train: container side\n",
        "Job/train: container home\n  ✗ python\n      cli_profile: the credentials in ~/.aliyun/config.json",
        "the credentials in ~/.aliyun/config.json",
        "Job/train: container more\n  ! python",
        "see that envFrom adds no credentials",
        "Pod/alone",
        "the server of ALIBABA_CLOUD_CREDENTIALS_URI has no credentials: no container of the pod serves that address",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    assert!(!out.contains("Job/train: container ram-sidecar"), "{out}");
    assert!(!out.contains('\u{1b}'), "{out}");
}

#[test]
fn mistakes_are_answered_with_one_sentence() {
    let (code, _, err) = explained(&["--client", "ruby"], &[], "");
    assert_eq!(code, Some(64));
    assert!(
        err.contains("ruby") && err.contains("python, java"),
        "{err}"
    );
    let (code, out, err) = explained(&["--json", "--"], &[], "");
    assert_eq!((code, &*out), (Some(64), ""), "{err}");
    assert!(err.contains("no command follows --"), "{err}");
    #[cfg(feature = "inject")]
    for (arguments, input, code, expected) in [
        (&["-f", "-"][..], "a: [", 65, "standard input, line 1"),
        (
            &["-f", "-"],
            "kind: Service",
            65,
            "neither a pod nor a pod template",
        ),
        (&["-f", "missing.yaml"], "", 71, "cannot read missing.yaml"),
        (&["-f", "-", "-f", "-"], "", 64, "can be read once"),
        (&["-f", "-", "--ask"], "", 64, "--ask"),
    ] {
        let (got, out, err) = explained(arguments, &[], input);
        assert_eq!((got, &*out), (Some(code), ""), "{err}");
        assert!(err.contains(expected), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sts_says_whose_a_key_is_only_if_it_is_asked() {
    let sts = ram_sidecar::sandbox::Sandbox::start(ram_sidecar::sandbox::Options::default());
    let sts = sts.await.unwrap();
    let (id, secret) = (sts.access_key_id(), sts.access_key_secret());
    let endpoint = sts.endpoint();
    let secret = secrecy::ExposeSecret::expose_secret(&secret).to_owned();
    let answers = tokio::task::spawn_blocking(move || {
        let variables = [
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", &*id),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &*secret),
            ("ALIBABA_CLOUD_STS_ENDPOINT", &*endpoint),
            ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
        ];
        [&["--client", "go"][..], &["--client", "go", "--ask"]].map(|arguments| {
            let (_, out, err) = explained(arguments, &variables, "");
            assert!(!out.contains(&secret) && err.is_empty(), "{out}{err}");
            out
        })
    });
    let [silent, asked] = answers.await.unwrap();
    assert!(!silent.contains("STS:"), "{silent}");
    assert!(asked.contains("STS: acs:ram::"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sts_gets_neither_keys_of_aws_nor_what_may_be_a_secret() {
    let sts = ram_sidecar::sandbox::Sandbox::start(ram_sidecar::sandbox::Options::default());
    let sts = sts.await.unwrap();
    let endpoint = sts.endpoint();
    let answers = tokio::task::spawn_blocking(move || {
        let names = [
            ("go", "ALIBABA_CLOUD_ACCESS_KEY_ID", "planted-id"),
            ("boto3", "AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ];
        names.map(|(client, id, value)| {
            let secret = match client {
                "go" => "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                _ => "AWS_SECRET_ACCESS_KEY",
            };
            let variables = [
                (id, value),
                (secret, "planted"),
                ("ALIBABA_CLOUD_STS_ENDPOINT", &*endpoint),
            ];
            explained(&["--client", client, "--ask"], &variables, "").1
        })
    });
    for out in answers.await.unwrap() {
        assert!(out.contains("AccessKey") && !out.contains("STS:"), "{out}");
    }
    assert!(sts.requests().is_empty());
}

/// The table says so of Node and Go. A newer release that does better is to be told there.
#[test]
fn of_concurrent_first_calls_of_node_one_succeeds_as_the_table_says() {
    let home = Scratch::new();
    let Some(mut command) = Language::Node.program("together", home.path()) else {
        return;
    };
    let daemon = Daemon::spawn(
        &[
            "--sandbox",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "off",
        ],
        &[],
    );
    command
        .env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
        .env("ALIBABA_CLOUD_CREDENTIALS_URI", daemon.uri());
    let output = command.output().expect("node runs");
    let succeeded: Vec<bool> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(succeeded, [true, false, false, false, true], "{output:?}");
}
