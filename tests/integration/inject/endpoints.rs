//! What the containers of a pod are told, tried on the sidecar that the pod gets.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;

use ram_sidecar::inject::yaml;
use serde_json::Value;

use crate::http::{self, Reply};
use crate::namespace;
use crate::support::{Daemon, Scratch, run_command};

#[test]
fn clients_that_require_a_token_or_know_only_metadata_are_served_also_after_a_restart() {
    passes("clients_that_require_a_token_or_know_only_metadata_are_served_also_after_a_restart");
}

#[test]
fn ranks_of_an_mpi_job_are_served_at_the_address_of_their_launcher() {
    passes("ranks_of_an_mpi_job_are_served_at_the_address_of_their_launcher");
}

#[test]
fn a_moved_sidecar_is_found_by_the_job_and_by_its_probes() {
    passes("a_moved_sidecar_is_found_by_the_job_and_by_its_probes");
}

fn passes(name: &str) {
    namespace::passes(concat!(module_path!(), "::in_own_network"), name);
}

mod in_own_network {
    #[test]
    #[ignore = "needs the ports of a pod for itself: the test of the same name runs it in a network of its own"]
    fn clients_that_require_a_token_or_know_only_metadata_are_served_also_after_a_restart() {
        if crate::namespace::is_here() {
            super::check_clients();
        }
    }

    #[test]
    #[ignore = "needs the ports of a pod for itself: the test of the same name runs it in a network of its own"]
    fn ranks_of_an_mpi_job_are_served_at_the_address_of_their_launcher() {
        if crate::namespace::is_here() {
            super::check_ranks();
        }
    }

    #[test]
    #[ignore = "needs the ports of a pod for itself: the test of the same name runs it in a network of its own"]
    fn a_moved_sidecar_is_found_by_the_job_and_by_its_probes() {
        if crate::namespace::is_here() {
            super::check_port();
        }
    }
}

const UID: &str = "6f8d2b1e-5f0a-4c0b-9d42-0b8f5f6c7a11";

fn check_clients() {
    let scratch = Scratch::new();
    let pod = Pod::new(&["--container", "--metadata"], &scratch);
    // As the kubelet writes it.
    fs::write(scratch.join("token"), UID).unwrap();
    let job = pod.environment("job");
    let token = fs::read_to_string(&job["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).unwrap();
    let uri = &job["AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    let endpoint = &job["ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT"];
    let path = "/latest/meta-data/ram/security-credentials/";
    let mut sidecar = pod.sidecar();
    for _ in 0..2 {
        assert_ready(&pod);
        let reply = request(uri, "", &format!("Authorization: {token}\r\n"));
        assert_eq!(reply.status, 200, "{}", reply.body);
        let reply: Value = serde_json::from_str(&reply.body).unwrap();
        assert!(reply["Token"].is_string(), "{reply}");
        // Its log is JSON, and shows no key.
        assert_eq!(sidecar.stdout(), [""; 0]);
        let role = request(endpoint, path, "").body;
        let reply = request(endpoint, &format!("{path}{role}"), "");
        assert_eq!(reply.status, 200, "{}", reply.body);
        sidecar.signal("KILL");
        sidecar.ended();
        sidecar = pod.sidecar();
    }
}

fn check_ranks() {
    let scratch = Scratch::new();
    let template = "replicas: 1, template: {spec: {containers: [{name: job, image: job}]}}";
    let job = format!(
        "kind: MPIJob\nspec: {{mpiReplicaSpecs: {{Launcher: {{{template}}}, Worker: {{{template}}}}}}}\n"
    );
    let [launcher, worker] = ["Launcher", "Worker"].map(|replica| {
        let place = format!("/spec/mpiReplicaSpecs/{replica}/template");
        Pod::of(&job, &place, &[], &scratch)
    });
    let _sidecar = worker.sidecar();
    assert_ready(&worker);
    let reply = request(&launcher.environment("job")[URI], "", "");
    assert_eq!(reply.status, 200, "{}", reply.body);
}

fn check_port() {
    let scratch = Scratch::new();
    let pod = Pod::new(&["--port", "7012"], &scratch);
    let _sidecar = pod.sidecar();
    assert_ready(&pod);
    let uri = &pod.environment("job")[URI];
    assert!(uri.starts_with("http://127.0.0.1:7012/"), "{uri}");
    let reply = request(uri, "", "");
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// Runs the startup probe as the kubelet does.
fn assert_ready(pod: &Pod) {
    let env = pod.environment("ram-sidecar");
    let env = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let probe = &pod.container("ram-sidecar")["startupProbe"]["exec"]["command"];
    let words = probe.as_array().unwrap().iter().skip(2);
    let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
    let ready = run_command("wait", &words, &env.collect::<Vec<_>>());
    assert_eq!(ready.code, Some(0), "{}", ready.stderr);
}

const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// A pod after injection, whose volumes are in a directory.
struct Pod(Value);

impl Pod {
    fn new(flags: &[&str], directory: &Scratch) -> Self {
        let pod = "kind: Pod\nspec: {containers: [{name: job, image: job}]}\n";
        Self::of(pod, "", flags, directory)
    }

    /// Returns the pod, or the template, at a place of a manifest.
    fn of(manifest: &str, place: &str, flags: &[&str], directory: &Scratch) -> Self {
        let flags = [&["--identity", "sandbox"], flags].concat();
        let text = super::inject(&flags, manifest).stdout;
        let directory = directory.path().to_str().unwrap();
        let text = text
            .replace("/mnt/.alibabacloud", directory)
            .replace("/var/run/secrets/ram-sidecar-container", directory);
        let document = yaml::read(text.as_bytes()).unwrap().swap_remove(0).value;
        Self(document.pointer(place).unwrap().clone())
    }

    fn container(&self, name: &str) -> &Value {
        let lists = ["initContainers", "containers"].map(|list| &self.0["spec"][list]);
        let mut containers = lists.into_iter().filter_map(Value::as_array).flatten();
        containers
            .find(|container| container["name"] == name)
            .unwrap()
    }

    /// Returns the variables of a container as the kubelet sets them.
    fn environment(&self, container: &str) -> HashMap<String, String> {
        let env = self.container(container)["env"].as_array().unwrap().iter();
        let env = env.map(|entry| {
            let value = match entry["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.uid") => UID,
                Some("metadata.name") => "pod",
                _ => entry["value"].as_str().unwrap(),
            };
            let value = value.replace("$(RAM_SIDECAR_POD_UID)", UID);
            (entry["name"].as_str().unwrap().to_owned(), value)
        });
        env.collect()
    }

    fn sidecar(&self) -> Daemon {
        let args = self.container("ram-sidecar")["args"].as_array().unwrap();
        let args = args.iter().map(|word| word.as_str().unwrap());
        let env = self.environment("ram-sidecar");
        let env = env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        // Its name is that of the command.
        let args: Vec<&str> = args.skip(1).collect();
        Daemon::spawn(&args, &env.collect::<Vec<_>>())
    }
}

/// Sends a GET request to an address, followed by a path.
fn request(address: &str, path: &str, headers: &str) -> Reply {
    let address = address.strip_prefix("http://").unwrap();
    let (host, start) = address.split_at(address.find('/').unwrap_or(address.len()));
    let socket: SocketAddr = host.parse().unwrap();
    let line = format!("GET {start}{path} HTTP/1.1");
    http::raw(socket, &format!("{line}\r\nHost: {host}\r\n{headers}\r\n"))
}
