//! What the clients in the containers of a pod will use.

use serde_json::Value as Json;

use crate::chains::{Client, Explained, Metadata, Outlook, Remedy, Served, explain};

use super::app_container::unserved;
use super::clients::{URI, variable, with_surroundings};
use super::json::{CONTAINER_LISTS, has_container, objects, text_of, title_of};
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
        Metadata::Ours
    } else {
        Metadata::Unknown
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
            let served = unserved_uri(pod, container).map(Served::Nothing);
            let mut explained: Vec<Explained> =
                with_surroundings(container, &variable, service, served, |at| {
                    clients.iter().map(|client| explain(client, at)).collect()
                });
            if objects(container, "envFrom").next().is_some() {
                explained.iter_mut().for_each(doubt);
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

/// Why nothing in the pod serves the credentials URI of a container, if it is that of the pod.
fn unserved_uri(pod: &Json, container: &Json) -> Option<String> {
    let uri = variable(container, URI)?;
    let uri = uri
        .text()
        .filter(|uri| uri.starts_with("http://127.0.0.1"))?;
    let is_sidecar = |container: &Json| {
        text_of(container, "name") == NAME || text_of(container, "image").contains(NAME)
    };
    let mut lists = CONTAINER_LISTS.into_iter();
    if !lists.any(|list| objects(&pod["spec"], list).any(is_sidecar)) {
        return Some(format!("the pod has no container {NAME}"));
    }
    let endpoints = reached(pod)?;
    let mut unserved = unserved(&endpoints, uri);
    unserved.next().map(|_| {
        let port = endpoints.port;
        format!("the sidecar serves another port or key (its port is {port})")
    })
}

/// Marks a client as uncertain, because variables that cannot be seen may come before ours.
fn doubt(one: &mut Explained) {
    if one.outlook == Outlook::Ours {
        one.outlook = Outlook::OursUnless;
        let what = "what envFrom adds, if it has credentials".to_owned();
        let remedy = Remedy::Do("see that envFrom adds no credentials".to_owned());
        one.obstacles.push((what, remedy));
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
