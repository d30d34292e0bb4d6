//! The admission webhook as the API server calls it: over TLS, with a client that verifies the certificate.

mod accounts;
mod certificates;
mod floods;
pub(crate) mod metrics;
mod requests;
mod settings;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http::{self, Reply};
use crate::support::{Process, Scratch, command, eventually};

/// The name of the service.
const NAME: &str = "ram-sidecar.ram-sidecar.svc";

/// The settings for pods without annotations.
const DEFAULTS: [&str; 4] = [
    "--oidc-provider-arn",
    "acs:ram::1:oidc-provider/cluster",
    "--role",
    "job",
];

/// The real binary, killed on drop, and the files of its certificate.
struct Webhook {
    process: Process,
    authority: Authority,
    files: Files,
}

impl Webhook {
    /// Starts it with a certificate of a new authority.
    fn start(args: &[&str]) -> Self {
        Self::start_in(args, &[])
    }

    /// Starts it like [`Self::start`], with variables.
    fn start_in(args: &[&str], env: &[(&str, &str)]) -> Self {
        let authority = Authority::new();
        let files = Files::new();
        files.replace(&authority.issue(NAME));
        let (certificate, key) = (files.certificate(), files.key());
        let fixed = [
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            certificate.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
        ];
        let args = [&fixed[..], args].concat();
        Self {
            process: Process::start(command("webhook", &args, env)),
            authority,
            files,
        }
    }

    fn address(&self) -> SocketAddr {
        let line = self.logged("Listening for reviews");
        let event: Value = serde_json::from_str(&line).unwrap();
        event["address"].as_str().unwrap().parse().unwrap()
    }

    /// Waits for a log line that contains `needle`, and returns it.
    fn logged(&self, needle: &str) -> String {
        eventually(needle, || {
            let stderr = self.process.stderr();
            let mut lines = stderr.lines();
            lines.find(|line| line.contains(needle)).map(str::to_owned)
        })
    }

    /// Counts the log lines that contain `needle`.
    fn count(&self, needle: &str) -> usize {
        let stderr = self.process.stderr();
        stderr.lines().filter(|line| line.contains(needle)).count()
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Returns a value of `/proc/PID/status`, without its unit (KiB for memory).
    fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap().trim_start_matches(':').split_whitespace();
        value.clone().next().unwrap().parse().unwrap()
    }

    /// Returns a client that trusts only its authority.
    fn client(&self) -> Client {
        Client {
            address: self.address(),
            config: self.authority.client(rustls::ALL_VERSIONS),
        }
    }
}

/// A client that verifies the certificate and its name.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Client {
    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(NAME).unwrap();
        TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await
    }

    /// Sends bytes and reads until the server closes the connection, which it must do cleanly.
    async fn raw(&self, request: &[u8]) -> std::io::Result<Reply> {
        let mut stream = self.connect().await?;
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(http::parse(&answer))
    }

    async fn get(&self, path: &str) -> Reply {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        self.raw(request.as_bytes()).await.unwrap()
    }

    /// Sends a body as the API server does.
    async fn post(&self, body: &str) -> std::io::Result<Reply> {
        self.raw(posted(body).as_bytes()).await
    }

    /// Requests the review of a pod, and returns the response.
    async fn review(&self, pod: &Value) -> Value {
        let reply = self.post(&review(pod)).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let answer: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(answer["response"]["uid"], UID);
        answer["response"].clone()
    }
}

/// Returns the request of the API server with a body.
fn posted(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /inject?timeout=10s HTTP/1.1\r\nHost: {NAME}:443\r\nUser-Agent: kube-apiserver-admission\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A certificate authority.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { params, key }
    }

    fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: self.certify(name, &key),
            key: key.serialize_pem(),
        }
    }

    fn certify(&self, name: &str, key: &KeyPair) -> String {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).unwrap().pem()
    }

    fn root(&self) -> CertificateDer<'static> {
        let root = self.params.self_signed(&self.key).unwrap();
        root.der().clone()
    }

    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // The API server offers both.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// The files of a certificate, replaced as the kubelet replaces those of a Secret: a symbolic link to their directory is
/// replaced.
struct Files {
    scratch: Scratch,
    versions: std::cell::Cell<u32>,
}

impl Files {
    fn new() -> Self {
        let scratch = Scratch::new();
        for name in ["tls.crt", "tls.key"] {
            let link = scratch.join(name);
            std::os::unix::fs::symlink(Path::new("..data").join(name), link).unwrap();
        }
        Self {
            scratch,
            versions: std::cell::Cell::new(0),
        }
    }

    fn certificate(&self) -> PathBuf {
        self.scratch.join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.scratch.join("tls.key")
    }

    fn replace(&self, pair: &Pair) {
        self.put(&pair.certificate, &pair.key);
    }

    fn put(&self, certificate: &str, key: &str) {
        let version = self.versions.replace(self.versions.get() + 1);
        let directory = format!("..{version}");
        fs::create_dir(self.scratch.join(&directory)).unwrap();
        fs::write(self.scratch.join(&directory).join("tls.crt"), certificate).unwrap();
        fs::write(self.scratch.join(&directory).join("tls.key"), key).unwrap();
        let link = self.scratch.join("..data_tmp");
        std::os::unix::fs::symlink(&directory, &link).unwrap();
        fs::rename(&link, self.scratch.join("..data")).unwrap();
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "trainer-", "labels": { "ram-sidecar/inject": "true" } },
        "spec": {
            "containers": [{
                "name": "job",
                "image": "job:1",
                "env": [{ "name": "PASSWORD", "value": PLANTED }],
            }],
        },
    })
}

fn review(pod: &Value) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": UID,
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "team",
            "operation": "CREATE",
            "object": pod,
            "dryRun": false,
        },
    })
    .to_string()
}

/// Applies the patch of a response with an independent implementation.
fn patched(pod: &Value, response: &Value) -> Value {
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
    let patch = STANDARD
        .decode(response["patch"].as_str().unwrap())
        .unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// A secret in a job's environment, which must never be printed.
const PLANTED: &str = "planted-password";
