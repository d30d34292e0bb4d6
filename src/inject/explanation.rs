//! What the clients in the containers of a pod will use, by its manifest.

use serde_json::Value as Json;

use crate::chains::{
    Client, Explained, Metadata as Service, Outlook, Remedy, Served, Value, explain,
};

use super::Key;
use super::app_container::{LOOPBACK, is_served};
use super::clients::{URI, variable, with_surroundings};
use super::json::{CONTAINER_LISTS, has_container, objects, text_of, title_of, uses_host_network};
use super::reached::reached;
use super::sidecar::{ADDRESS, NAME};

/// A container, and what its clients will use.
#[derive(Debug)]
pub struct Container {
    /// The object, the path of the template if there are several, and the container.
    pub title: String,
    /// Its clients.
    pub explained: Vec<Explained>,
    /// What cannot be seen in the manifest, a sentence each.
    pub notes: Vec<String>,
}

/// Explains the clients of every container of a pod or pod template, except the sidecar's own.
pub(super) fn of_pod(title: &str, pod: &Json, clients: &[&'static Client]) -> Vec<Container> {
    let service = if has_container(pod, ADDRESS) {
        Service::Ours
    } else {
        Service::Unknown
    };
    let mut found = Vec::new();
    for list in CONTAINER_LISTS {
        for (index, container) in objects(&pod["spec"], list).enumerate() {
            let name = text_of(container, "name");
            if [NAME, ADDRESS].contains(&name) {
                continue;
            }
            let title = format!("{title}: container {}", title_of(name, index));
            let variable = |name: &str| variable(container, name);
            let server = server(pod, container);
            let mut explained: Vec<Explained> = with_surroundings(
                container,
                &variable,
                service.clone(),
                server.nothing(),
                |at| clients.iter().map(|client| explain(client, at)).collect(),
            );
            if objects(container, "envFrom").next().is_some() {
                let remedy = "see that envFrom adds no credentials";
                doubt(
                    &mut explained,
                    "what envFrom adds, if it has credentials",
                    remedy,
                );
            }
            if !has_valid_env(container) {
                let what = "what an env means that the API server refuses";
                doubt(&mut explained, what, "correct env");
            }
            if server == Server::Unknown {
                let what = "whether anything serves that address cannot be seen here";
                doubt(
                    &mut explained,
                    what,
                    "see that a server of ours has that port and that key",
                );
            }
            found.push(Container {
                notes: notes(&title, pod, container),
                title,
                explained,
            });
        }
    }
    found
}

/// What a manifest shows of the server of a credentials URI.
#[derive(PartialEq, Eq)]
enum Server {
    /// It is the sidecar, or in another place than the pod.
    Fine,
    /// There is none: why, and what to do.
    None(String, String),
    /// It does not show.
    Unknown,
}

impl Server {
    /// Returns what the server answers, if that is certain.
    fn nothing(&self) -> Option<Served> {
        match self {
            Self::None(reason, remedy) => Some(Served::Nothing {
                reason: reason.clone(),
                remedy: remedy.clone(),
            }),
            Self::Fine | Self::Unknown => None,
        }
    }
}

/// Compares the credentials URI of a container with the sidecar.
fn server(pod: &Json, container: &Json) -> Server {
    let uri = variable(container, URI);
    let uri = uri.as_ref().and_then(Value::text).unwrap_or_default();
    let host = uri.strip_prefix("http://").unwrap_or_default();
    if !LOOPBACK.iter().any(|local| host.starts_with(local)) {
        return Server::Fine;
    }
    let is_sidecar = |container: &Json| {
        text_of(container, "name") == NAME || text_of(container, "image").contains(NAME)
    };
    let mut lists = CONTAINER_LISTS.into_iter();
    let has_sidecar = lists.any(|list| objects(&pod["spec"], list).any(is_sidecar));
    if !has_sidecar && !uses_host_network(pod) {
        let reason = "no container of the pod serves that address".to_owned();
        return Server::None(reason, "add the sidecar by `ram-sidecar inject`".to_owned());
    }
    match reached(pod) {
        None => Server::Unknown,
        Some(endpoints) if is_served(&endpoints, uri) => Server::Fine,
        Some(endpoints) => {
            let key = match endpoints.key {
                Key::PodUid => "the UID of the pod",
                Key::Text(_) => "the RAM_SIDECAR_KEY of the sidecar",
            };
            let port = endpoints.port;
            let reason = "the sidecar has another port, path or key".to_owned();
            let remedy = format!(
                "set {URI} to http://127.0.0.1:{port}/api/v1/credentials/ and {key}, as `ram-sidecar inject` does where it is not set"
            );
            Server::None(reason, remedy)
        }
    }
}

/// Whether the API server accepts the variables of a container.
fn has_valid_env(container: &Json) -> bool {
    let is_entry = |entry: &Json| {
        let value = &entry["value"];
        !text_of(entry, "name").is_empty() && (value.is_null() || value.is_string())
    };
    match &container["env"] {
        Json::Null => true,
        Json::Array(entries) => entries.iter().all(is_entry),
        _ => false,
    }
}

/// Marks clients as uncertain that would use ours.
fn doubt(explained: &mut [Explained], what: &str, remedy: &str) {
    for one in explained {
        if [Outlook::Ours, Outlook::OursUnless].contains(&one.outlook) {
            one.outlook = Outlook::OursUnless;
            one.obstacles
                .push((what.to_owned(), Remedy::Do(remedy.to_owned())));
        }
    }
}

/// Says what a manifest does not show of a container.
fn notes(title: &str, pod: &Json, container: &Json) -> Vec<String> {
    let mut notes = Vec::new();
    for source in objects(container, "envFrom") {
        let sources = source.as_object().into_iter().flatten();
        for (kind, reference) in sources.filter(|(_, reference)| reference.is_object()) {
            let name = text_of(reference, "name");
            notes.push(format!(
                "{title}: envFrom takes variables from the {kind} {name}, which cannot be seen here"
            ));
        }
    }
    if !has_valid_env(container) {
        notes.push(format!(
            "{title}: the API server refuses its env, which must be a list of objects with a name and a text: put numbers and booleans in quotation marks"
        ));
    }
    let labels = &pod["metadata"]["labels"];
    if text_of(labels, ACK_LABEL) == "on" && variable(container, ROLE).is_none() {
        notes.push(format!(
            "{title}: with the label {ACK_LABEL}, ACK's webhook adds {ROLE} and the like, which the default chains of SDKs prefer"
        ));
    }
    notes
}

const ACK_LABEL: &str = "pod-identity.alibabacloud.com/injection";

const ROLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
