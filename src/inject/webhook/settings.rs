//! What was said of the admission webhook, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use crate::inject::admission::Policy;
use crate::inject::webhook::{Accounts, Certificate, Options};
use crate::inject::{Given, Request};

use crate::config::checker::Checker;
use crate::config::layers::Layers;
use crate::config::{Input, Mistakes, parse};

/// What was said of the webhook, unchecked.
#[derive(Debug)]
pub struct Webhook {
    /// Its own settings by their flags.
    pub said: BTreeMap<&'static str, Given>,
    /// The defaults of every request: a pod and its service account take precedence.
    pub defaults: Request,
}

/// A setting of the webhook itself.
#[derive(Debug)]
pub struct Own {
    /// The long flag, without dashes.
    pub flag: &'static str,
    /// What stands for the value in the help; nothing if the flag alone says it.
    pub value: Option<&'static str>,
    /// The default.
    pub default: Option<&'static str>,
    /// What it does; shown in the help.
    pub help: &'static str,
}

/// Checks what the webhook needs: its own settings, those of the injection, and `log.*`.
pub fn webhook(input: &Input<'_>, given: Webhook) -> Result<Options, Mistakes> {
    let mut checker = Checker {
        layers: Layers::gather(input),
        problems: Vec::new(),
    };
    let mut reader = Reader {
        said: given.said,
        problems: Vec::new(),
    };
    let listen = reader.value("listen", parse::address);
    let certificate = reader.certificate();
    let policy = reader.value("failure-policy", policy);
    let accounts = reader.accounts(input);
    let drain = reader.value("drain", parse::duration);
    let mut problems = reader.problems;
    // What is missing, a pod may still say.
    problems.extend(given.defaults.mistakes());
    let log = checker.log();
    problems.append(&mut checker.problems);
    if checker.layers.is_file_lost {
        // It may have said how to log.
        problems.append(&mut checker.layers.problems);
    }
    match (listen, certificate, policy, drain, log) {
        (Some(listen), Some(certificate), Some(policy), Some(drain), Some(log))
            if problems.is_empty() =>
        {
            Ok(Options {
                listen,
                certificate,
                policy,
                accounts,
                drain,
                defaults: given.defaults,
                log,
            })
        }
        _ => Err(Mistakes::of(&problems)),
    }
}

struct Reader {
    said: BTreeMap<&'static str, Given>,
    problems: Vec<String>,
}

impl Reader {
    /// Reads one setting; `None` when it is absent or wrong.
    fn value<T>(&mut self, flag: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let default = OWN.iter().find(|own| own.flag == flag)?.default;
        let (text, place) = match self.said.get(flag) {
            Some(Given { text, place }) => (text.as_str(), place.clone()),
            None => (default?, format!("--{flag}")),
        };
        read(text)
            .map_err(|reason| self.problems.push(format!("{place}: {reason}")))
            .ok()
    }

    fn certificate(&mut self) -> Option<Certificate> {
        let certificate = self.value("tls-cert", path);
        let key = self.value("tls-key", path);
        Certificate::read(certificate?, key?)
            .map_err(|reasons| {
                let told = reasons
                    .iter()
                    .map(|reason| format!("--tls-cert, --tls-key: {reason}"));
                self.problems.extend(told);
            })
            .ok()
    }

    /// Reads where service accounts are asked for; nothing if they are not read, or something is wrong with it.
    fn accounts(&mut self, input: &Input<'_>) -> Option<Accounts> {
        if !self.value("read-service-accounts", parse::boolean)? {
            return None;
        }
        let url = if self.said.contains_key("kubernetes-url") {
            self.value("kubernetes-url", url)
        } else {
            self.own_cluster(input)
        };
        let token = self.value("kubernetes-token-file", path);
        let ca = self.value("kubernetes-ca-file", path);
        Some(Accounts {
            url: url?,
            token: token?,
            ca: ca?,
        })
    }

    /// Returns the API server of the cluster that this is a pod of.
    fn own_cluster(&mut self, input: &Input<'_>) -> Option<String> {
        let variable = |name: &str| {
            let value = (input.variable)(name)?.into_string().ok();
            value.filter(|value| !value.is_empty())
        };
        let host = variable("KUBERNETES_SERVICE_HOST");
        let port = variable("KUBERNETES_SERVICE_PORT");
        let (Some(host), Some(port)) = (host, port) else {
            let told = "--read-service-accounts: this is no pod of a cluster, because KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give --kubernetes-url";
            self.problems.push(told.to_owned());
            return None;
        };
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host
        };
        url(&format!("https://{host}:{port}"))
            .map_err(|reason| {
                let told = format!("KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT: {reason}");
                self.problems.push(told);
            })
            .ok()
    }
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
        _ => Err(format!("`{text}` is no policy; choose Fail or Ignore")),
    }
}

/// Reads the address of an API server. The token is sent there, so that it must be encrypted.
fn url(text: &str) -> Result<String, String> {
    let how = "write it like https://10.0.0.1:6443";
    // It may hold a password, and is not repeated.
    let url = Url::parse(text).map_err(|error| format!("it is no address: {error}; {how}"))?;
    let is_plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if url.scheme() != "https" || !is_plain {
        return Err(format!(
            "it is more or less than https, a host and a port; {how}"
        ));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

const fn own(
    flag: &'static str,
    value: Option<&'static str>,
    default: Option<&'static str>,
    help: &'static str,
) -> Own {
    Own {
        flag,
        value,
        default,
        help,
    }
}

/// The settings of the webhook itself, in the order of the help.
#[rustfmt::skip]
pub const OWN: &[Own] = &[
    own("listen", Some("ADDRESS"), Some("0.0.0.0:8443"),
        "Where reviews and probes are answered, by https alone"),
    own("tls-cert", Some("PATH"), Some("/etc/ram-sidecar/tls/tls.crt"),
        "The PEM file of the certificate and its chain, read anew when it changes"),
    own("tls-key", Some("PATH"), Some("/etc/ram-sidecar/tls/tls.key"),
        "The PEM file of its key, read anew when it changes"),
    own("failure-policy", Some("POLICY"), Some("Fail"),
        "What becomes of a pod that asks for the sidecar and cannot have it: Fail (it is denied) or Ignore (it is created without, and its owner is warned)"),
    own("read-service-accounts", None, Some("false"),
        "Ask the API server for the annotations of each pod's service account; needs `get` on serviceaccounts"),
    own("kubernetes-url", Some("URL"), None,
        "The API server; by default the one of the cluster"),
    own("kubernetes-token-file", Some("PATH"), Some("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        "The token for the API server, read anew for each question"),
    own("kubernetes-ca-file", Some("PATH"), Some("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
        "The CA of the API server, read anew for each question"),
    own("drain", Some("DURATION"), Some("5s"),
        "How long it answers on when it is told to stop: until then the cluster may still send reviews"),
];
