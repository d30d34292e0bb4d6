//! What the containers of a pod are told, tried on the sidecar that the pod gets.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};

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

#[test]
fn a_scraper_reads_the_metrics_where_the_pod_says_and_cannot_stop_the_sidecar() {
    passes("a_scraper_reads_the_metrics_where_the_pod_says_and_cannot_stop_the_sidecar");
}

#[test]
fn the_readiness_probe_prints_why_there_are_no_credentials() {
    passes("the_readiness_probe_prints_why_there_are_no_credentials");
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

    #[test]
    #[ignore = "needs the ports of a pod for itself: the test of the same name runs it in a network of its own"]
    fn a_scraper_reads_the_metrics_where_the_pod_says_and_cannot_stop_the_sidecar() {
        if crate::namespace::is_here() {
            super::check_scraper();
        }
    }

    #[test]
    #[ignore = "needs the ports of a pod for itself: the test of the same name runs it in a network of its own"]
    fn the_readiness_probe_prints_why_there_are_no_credentials() {
        if crate::namespace::is_here() {
            super::check_readiness();
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
        Pod::of(&job, &place, &["--identity", "sandbox"], &scratch)
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

fn check_scraper() {
    let scratch = Scratch::new();
    for (flags, moved) in [
        (&["--metrics", "--classic"][..], "7003"),
        (&["--metrics", "--port", "7012", "--metadata"], "7013"),
    ] {
        let pod = Pod::new(flags, &scratch);
        let mut sidecar = pod.sidecar();
        assert_ready(&pod);
        let annotations = &pod.0["metadata"]["annotations"];
        let [port, path] = ["port", "path"].map(|name| {
            annotations[format!("prometheus.io/{name}")]
                .as_str()
                .unwrap()
        });
        assert_eq!(port, moved);
        // An address of the pod that is not loopback; the credentials are not there.
        let pod_address = format!("http://{POD_IP}:{port}");
        let metrics = request(&pod_address, path, "");
        assert_eq!(metrics.status, 200, "{}", metrics.body);
        assert!(
            metrics
                .body
                .contains("ram_sidecar_phase{phase=\"fresh\"} 1"),
            "{}",
            metrics.body
        );
        let data: u16 = port.parse::<u16>().unwrap() - 1;
        assert!(TcpStream::connect((POD_IP, data)).is_err());
        let stop = |ip: &str| {
            let text = format!("POST /stop HTTP/1.1\r\nHost: {ip}:{port}\r\n\r\n");
            http::raw(format!("{ip}:{port}").parse().unwrap(), &text)
        };
        let refused = stop(POD_IP);
        assert_eq!(
            (refused.status, refused.text("Code").as_str()),
            (403, "RemoteRefused")
        );
        assert_eq!(stop("127.0.0.1").status, 202);
        assert_eq!(sidecar.ended(), Some(0));
    }
    let pod = Pod::new(&[], &scratch);
    let _sidecar = pod.sidecar();
    assert_ready(&pod);
    assert!(TcpStream::connect((POD_IP, 7003)).is_err());
}

fn check_readiness() {
    let scratch = Scratch::new();
    let ready = Pod::new(&["--readiness", "--metrics"], &scratch);
    let mut sidecar = ready.sidecar();
    assert_ready(&ready);
    assert_eq!(probe(&ready, "readinessProbe"), (Some(0), String::new()));
    sidecar.signal("KILL");
    sidecar.ended();

    let unreachable = [
        "--identity",
        "credentials_uri",
        "--credentials-uri",
        "http://127.0.0.1:9/none",
    ];
    let pod = Pod::of(
        POD,
        "",
        &[&unreachable[..], &["--readiness"]].concat(),
        &scratch,
    );
    let sidecar = pod.sidecar();
    sidecar.logged("No credentials");
    let (code, printed) = probe(&pod, "readinessProbe");
    assert_eq!(code, Some(1), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(
        printed.starts_with("ram-sidecar: ") && printed.contains("127.0.0.1:9"),
        "{printed}"
    );
}

/// Runs the startup probe as the kubelet does.
fn assert_ready(pod: &Pod) {
    assert_eq!(probe(pod, "startupProbe"), (Some(0), String::new()));
}

/// Runs a probe of the sidecar as the kubelet does; returns its exit code and what the events of the pod show.
fn probe(pod: &Pod, name: &str) -> (Option<i32>, String) {
    let env = pod.environment("ram-sidecar");
    let env = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let probe = &pod.container("ram-sidecar")[name]["exec"]["command"];
    let words = probe.as_array().unwrap().iter().skip(1);
    let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
    let ended = run_command(words[0], &words[1..], &env.collect::<Vec<_>>());
    (ended.code, ended.stdout + &ended.stderr)
}

const POD: &str = "kind: Pod\nspec: {containers: [{name: job, image: job}]}\n";

/// An address that the network has, and that is not loopback's.
const POD_IP: &str = "100.100.100.200";

const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// A pod after injection, whose volumes are in a directory.
struct Pod(Value);

impl Pod {
    fn new(flags: &[&str], directory: &Scratch) -> Self {
        Self::of(
            POD,
            "",
            &[&["--identity", "sandbox"], flags].concat(),
            directory,
        )
    }

    /// Returns the pod, or the template, at a place of a manifest.
    fn of(manifest: &str, place: &str, flags: &[&str], directory: &Scratch) -> Self {
        let text = super::inject(flags, manifest).stdout;
        let directory = directory.path().to_str().unwrap();
        let text = text
            .replace("/mnt/.alibabacloud", directory)
            .replace("/var/lib/ram-sidecar", directory)
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
