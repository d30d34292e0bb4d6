//! The settings of the admission webhook.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::checker::{Checker, Reported};
use crate::config::setting::{Setting, settings};
use crate::config::{Errors, Input, log, parse};
use crate::inject::admission::Policy;
use crate::inject::policy::{AnnotationPolicy, annotations};
use crate::inject::webhook::{Accounts, Certificate, Options};
use crate::inject::{Field, Request};

settings! {
    /// The settings of the webhook itself, in the order of the help.
    pub SETTINGS;

    /// Where reviews and probes are answered, by https only
    LISTEN: SocketAddr = Setting::new("webhook.listen", "ADDRESS", parse::address).flag("listen").default("0.0.0.0:8443");
    /// The PEM file of the certificate and its chain, reloaded when it changes
    TLS_CERT: PathBuf = Setting::new("webhook.tls_cert", "PATH", path).flag("tls-cert").default("/etc/ram-sidecar/tls/tls.crt");
    /// The PEM file of its key, reloaded when it changes
    TLS_KEY: PathBuf = Setting::new("webhook.tls_key", "PATH", path).flag("tls-key").default("/etc/ram-sidecar/tls/tls.key");
    /// What to do with a pod that is to have the sidecar and cannot have it: Fail (deny it) or Ignore (create it without, and warn its owner)
    FAILURE_POLICY: Policy = Setting::new("webhook.failure_policy", "POLICY", policy).flag("failure-policy").default("Fail");
    /// Read the annotations of each pod's service account from the API server; needs `get` on serviceaccounts
    READ_SERVICE_ACCOUNTS: bool = Setting::new("webhook.read_service_accounts", "BOOL", parse::boolean).flag("read-service-accounts").default("false");
    /// The annotations that a service account may set for its pods, or none; by default role, duration, service-account-token-expiration, skip-containers and only-containers
    ACCOUNT_ANNOTATIONS: BTreeSet<Field> = Setting::new("webhook.account_annotations", "NAME,…", annotations).flag("account-annotations");
    /// The annotations that a pod may set, or none; by default all
    POD_ANNOTATIONS: BTreeSet<Field> = Setting::new("webhook.pod_annotations", "NAME,…", annotations).flag("pod-annotations");
    /// What the image of an annotation must begin with, such as registry.example.com/team/; by default anything
    IMAGE_PREFIX: Vec<String> = Setting::new("webhook.image_prefix", "PREFIX,…", parse::list).flag("image-prefix");
    /// The API server; by default the one of the cluster
    KUBERNETES_URL: String = Setting::new("webhook.kubernetes_url", "URL", url).flag("kubernetes-url");
    /// The token for the API server, read again for each request
    KUBERNETES_TOKEN_FILE: PathBuf = Setting::new("webhook.kubernetes_token_file", "PATH", path).flag("kubernetes-token-file").default("/var/run/secrets/kubernetes.io/serviceaccount/token");
    /// The CA of the API server, read again for each request
    KUBERNETES_CA_FILE: PathBuf = Setting::new("webhook.kubernetes_ca_file", "PATH", path).flag("kubernetes-ca-file").default("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
    /// How long to answer after the signal to stop, because the cluster may still send reviews
    DRAIN: Duration = Setting::new("webhook.drain", "DURATION", parse::duration).flag("drain").default("5s");
}

/// Checks the settings of the webhook, those of the injection, and `log.*`.
///
/// The defaults apply to fields that neither a pod nor its service account sets.
pub fn webhook(input: &Input<'_>, defaults: Request) -> Result<Options, Errors> {
    let mut checker = Checker::new(input, SETTINGS);
    let options = options(&mut checker, input, defaults);
    checker.finish(options)
}

fn options(
    checker: &mut Checker,
    input: &Input<'_>,
    mut defaults: Request,
) -> Result<Options, Reported> {
    let listen = checker.value(&LISTEN);
    let certificate = certificate(checker);
    let policy = checker.value(&FAILURE_POLICY);
    let accounts = accounts(checker, input);
    let drain = checker.value(&DRAIN);
    let annotations = annotation_policy(checker);
    // A pod may set the fields that are missing.
    for error in defaults.errors() {
        checker.report(error);
    }
    let log = log(checker);
    if checker.layers.is_file_unreadable {
        // The lost file may configure the log.
        checker.report_layer_problems();
    }
    defaults.annotations = annotations?;
    Ok(Options {
        listen: listen?,
        certificate: certificate?,
        policy: policy?,
        accounts: accounts?,
        drain: drain?,
        defaults,
        log: log?,
    })
}

fn certificate(checker: &mut Checker) -> Result<Certificate, Reported> {
    let certificate = checker.value(&TLS_CERT);
    let key = checker.value(&TLS_KEY);
    Certificate::read(certificate?, key?)
        .map_err(|reasons| checker.report_all("--tls-cert, --tls-key", &reasons))
}

fn annotation_policy(checker: &mut Checker) -> Result<AnnotationPolicy, Reported> {
    let account = checker.optional(&ACCOUNT_ANNOTATIONS);
    let pod = checker.optional(&POD_ANNOTATIONS);
    let image_prefixes = checker.optional(&IMAGE_PREFIX);
    let policy = AnnotationPolicy::default();
    Ok(AnnotationPolicy {
        account: account?.unwrap_or(policy.account),
        pod: pod?.unwrap_or(policy.pod),
        image_prefixes: image_prefixes?.unwrap_or_default(),
    })
}

/// Returns how to read service accounts; `None` if they are not read.
fn accounts(checker: &mut Checker, input: &Input<'_>) -> Result<Option<Accounts>, Reported> {
    if !checker.value(&READ_SERVICE_ACCOUNTS)? {
        return Ok(None);
    }
    let url = match checker.optional(&KUBERNETES_URL) {
        Ok(None) => url_of_cluster(input).map_err(|problem| checker.report(problem)),
        given => given.map(Option::unwrap_or_default),
    };
    let token = checker.value(&KUBERNETES_TOKEN_FILE);
    let ca = checker.value(&KUBERNETES_CA_FILE);
    Ok(Some(Accounts {
        url: url?,
        token: token?,
        ca: ca?,
    }))
}

/// Returns the API server of the cluster in which this process runs.
fn url_of_cluster(input: &Input<'_>) -> Result<String, String> {
    let host = input.text("KUBERNETES_SERVICE_HOST");
    let port = input.text("KUBERNETES_SERVICE_PORT");
    let (Some(host), Some(port)) = (host, port) else {
        return Err("--read-service-accounts: this process does not run in a pod, because KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; set --kubernetes-url".to_owned());
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    url(&format!("https://{host}:{port}"))
        .map_err(|reason| format!("KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT: {reason}"))
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("it is empty; give the path of a file".to_owned());
    }
    Ok(text.into())
}

fn policy(text: &str) -> Result<Policy, String> {
    match text.to_ascii_lowercase().as_str() {
        "fail" => Ok(Policy::Fail),
        "ignore" => Ok(Policy::Ignore),
        _ => Err(format!("`{text}` is not a policy; choose Fail or Ignore")),
    }
}

/// Parses the address of an API server, which must be https because the token is sent to it.
fn url(text: &str) -> Result<String, String> {
    let example = "write it like https://10.0.0.1:6443";
    // The text is not repeated, because it may have a password.
    let url =
        Url::parse(text).map_err(|error| format!("it is not an address: {error}; {example}"))?;
    let is_bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if url.scheme() != "https" || !is_bare {
        return Err(format!(
            "it is not just https, a host and a port; {example}"
        ));
    }
    Ok(text.trim_end_matches('/').to_owned())
}
