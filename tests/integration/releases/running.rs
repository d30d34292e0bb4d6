//! Daemons with the arguments, variables and files of every release, at their own ports, in a network of their own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ram_sidecar::sandbox::Sandbox;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::http;
use crate::identities::second_role;
use crate::namespace;
use crate::support::{Daemon, Scratch, eventually, run_command};
use crate::upstream::sts;

use super::{Release, releases, sidecars, texts};

const POD_UID: &str = "4d1f0f6e-7c39-4c61-9a35-6f0d5c0e8f11";

const POLICY: &str =
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*"}]}"#;

type Variables = Vec<(String, String)>;

#[test]
fn sidecars_of_every_release_serve_their_jobs_and_pass_their_probes() {
    namespace::passes(module_path!(), "frozen_sidecars_run");
}

#[test]
fn settings_of_every_release_have_their_effect() {
    namespace::passes(module_path!(), "frozen_settings_are_used");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the default ports: sidecars_of_every_release_serve_their_jobs_and_pass_their_probes runs it"]
async fn frozen_sidecars_run() {
    let sts = sts().await;
    for release in releases() {
        for (path, text) in release.manifests() {
            for (sidecar, pod) in sidecars(&text) {
                if sidecar["args"][0] == "serve" {
                    tokio::task::block_in_place(|| runs(&sts, &path, &sidecar, &pod));
                }
            }
        }
    }
}

/// Runs a sidecar and its probes as the kubelet does, and requests credentials as its job does.
fn runs(sts: &Sandbox, manifest: &str, sidecar: &Value, pod: &Value) {
    let scratch = Scratch::new();
    let mut env = variables(sidecar, sts);
    let words = sidecar["args"].as_array().unwrap().iter().skip(1);
    let mut args: Vec<String> = words
        .map(|word| word.as_str().unwrap().to_owned())
        .collect();
    for mount in sidecar["volumeMounts"].as_array().unwrap() {
        let inside = mount["mountPath"].as_str().unwrap();
        let outside = scratch.join(inside.trim_start_matches('/'));
        fs::create_dir_all(&outside).unwrap();
        let moved = |text: &mut String| *text = text.replace(inside, outside.to_str().unwrap());
        env.iter_mut().map(|(_, value)| value).for_each(moved);
        args.iter_mut().for_each(moved);
    }
    for (name, value) in &env {
        match name.as_str() {
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE" => {
                let token = sts.oidc_token("system:serviceaccount:a:b", "sts.aliyuncs.com", HOUR);
                fs::write(value, token).unwrap();
            }
            "RAM_SIDECAR_CONTAINER_TOKEN_FILE" => {
                fs::write(value, "a-token-of-the-kubelet").unwrap();
            }
            _ => {}
        }
    }
    // A later webhook may set what this version does not know.
    env.push(("RAM_SIDECAR_OF_A_LATER_VERSION".to_owned(), "1".to_owned()));
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let daemon = Daemon::spawn(&args, &env);
    daemon.logged(
        "RAM_SIDECAR_OF_A_LATER_VERSION is not a variable of ram-sidecar, and has no effect",
    );
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let command = texts(&sidecar[probe]["exec"]["command"]);
        if let [_, name, args @ ..] = command.as_slice() {
            let ended = run_command(name, args, &env);
            assert_eq!(ended.code, Some(0), "{manifest}, {probe}: {}", ended.stderr);
        }
    }
    let containers = pod["containers"].as_array().unwrap();
    let jobs = containers
        .iter()
        .flat_map(|container| variables(container, sts));
    let uris = jobs.filter(|(name, _)| name == "ALIBABA_CLOUD_CREDENTIALS_URI");
    let mut count = 0;
    for (_, uri) in uris {
        let (host, path) = uri
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        let reply = http::get(host.parse::<SocketAddr>().unwrap(), &format!("/{path}"));
        assert_eq!(
            (reply.status, reply.text("Code")),
            (200, "Success".to_owned()),
            "{manifest}"
        );
        count += 1;
    }
    assert!(count > 0, "{manifest} has no job");
}

/// Returns the variables of a container, as the kubelet sets them, with the role and the STS of the sandbox.
fn variables(container: &Value, sts: &Sandbox) -> Variables {
    let mut set: Variables = Vec::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap();
        let value = match name {
            "ALIBABA_CLOUD_ROLE_ARN" => sts.role_arn(),
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN" => sts.oidc_provider_arn(),
            _ => match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                None => variable["value"].as_str().unwrap().to_owned(),
                Some("metadata.uid") => POD_UID.to_owned(),
                Some("metadata.name") => "job-0".to_owned(),
                Some("status.podIP") => "127.0.0.1".to_owned(),
                Some(other) => panic!("{name} is {other} of the pod"),
            },
        };
        let value = set.iter().fold(value, |value, (name, known)| {
            value.replace(&format!("$({name})"), known)
        });
        set.push((name.to_owned(), value));
    }
    set.push(("ALIBABA_CLOUD_STS_ENDPOINT".to_owned(), sts.endpoint()));
    set
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the default ports: settings_of_every_release_have_their_effect runs it"]
async fn frozen_settings_are_used() {
    let sts = sts().await;
    assert!(second_role(&sts).ends_with(":role/second"));
    for release in releases() {
        let scratch = Scratch::new();
        let directory = scratch.path();
        let roots = rcgen::generate_simple_self_signed(["sts".to_owned()]).unwrap();
        for (name, text) in [
            ("id", sts.access_key_id()),
            ("secret", sts.access_key_secret().expose_secret().to_owned()),
            ("policy", POLICY.to_owned()),
            ("token", "a-token-of-the-kubelet".to_owned()),
            ("roots.pem", roots.cert.pem()),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
        let file = directory.join("ram-sidecar.toml");
        fs::write(&file, filled(&release, "config.toml", directory, &sts)).unwrap();
        let [variables, flags] =
            ["variables", "flags"].map(|name| filled(&release, name, directory, &sts));
        let variables: Vec<_> = variables
            .lines()
            .map(|line| line.split_once('=').unwrap())
            .collect();
        let key = [
            ("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", directory.join("id")),
            (
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
                directory.join("secret"),
            ),
        ];
        let key = key
            .each_ref()
            .map(|(name, path)| (*name, path.to_str().unwrap()));
        let flags: Vec<_> = flags.lines().collect();
        for (args, env) in [
            (vec!["--config", file.to_str().unwrap()], &[][..]),
            (Vec::new(), &variables),
            (flags, &key),
        ] {
            tokio::task::block_in_place(|| serves(directory, &args, env));
        }
    }
}

/// Returns a file of a release, with the directory and the STS of this run.
fn filled(release: &Release, name: &str, directory: &Path, sts: &Sandbox) -> String {
    let text = release
        .text(name)
        .replace("/DIRECTORY", directory.to_str().unwrap());
    text.replace("http://STS", &sts.endpoint())
}

/// Asserts that a daemon serves what the settings of a release ask for, in every dialect.
fn serves(directory: &Path, args: &[&str], env: &[(&str, &str)]) {
    let daemon = Daemon::spawn(args, env);
    let reply = daemon.get("/api/v1/credentials/frozen-key");
    assert_eq!(
        reply.status,
        200,
        "{args:?} {env:?} {reply:?} {}",
        daemon.stderr()
    );
    let listeners = [daemon.data(), daemon.admin(), daemon.metadata()];
    assert_eq!(listeners.map(|address| address.port()), [7012, 7013, 7014]);
    assert_eq!(daemon.metadata_role(), "frozen");
    let refused = daemon.get("/api/v1/container/frozen-key");
    assert_eq!(refused.text("Code"), "ContainerTokenRefused");
    for (name, mode) in [("credentials", 0o640), ("state", 0o600)] {
        let path = directory.join(name);
        let written = eventually("the file is written", || fs::metadata(&path).ok());
        assert_eq!(written.permissions().mode() & 0o7777, mode, "{name}");
        // The next daemon writes it anew.
        fs::remove_file(path).unwrap();
    }
    assert!(
        !daemon.stderr().contains("needs attention"),
        "{}",
        daemon.stderr()
    );
}

const HOUR: Duration = Duration::from_secs(3600);
