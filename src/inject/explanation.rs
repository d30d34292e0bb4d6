//! What the clients in the containers of a pod will use, by its manifest.

use serde_json::Value as Json;

use crate::chains::{
    Client, Explained, Metadata as Service, Outlook, Remedy, Served, Value, explain,
};

use super::app_container::{LOOPBACK, is_served};
use super::clients::{URI, variable, with_surroundings};
use super::json::{
    CONTAINER_LISTS, CONTAINERS, INIT_CONTAINERS, has_container, objects, text_of, title_of,
    uses_host_network,
};
use super::reached::reached;
use super::sidecar::{ADDRESS, NAME};
use super::{Endpoints, Key};

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
    let mut found = Vec::new();
    for list in CONTAINER_LISTS {
        for (index, container) in objects(&pod["spec"], list).enumerate() {
            let name = text_of(container, "name");
            if [NAME, ADDRESS].contains(&name) {
                continue;
            }
            let title = format!("{title}: container {}", title_of(name, index));
            let sidecar = sidecar(pod, (list, index));
            let service = match sidecar {
                _ if !has_container(pod, ADDRESS) => Service::Unknown,
                // The pod has the address, at which nothing listens yet.
                Sidecar::Late => Service::Unreachable,
                Sidecar::Absent | Sidecar::Ready => Service::Ours,
            };
            let clients = clients.iter();
            let explained = clients.map(|client| {
                let uri = uri(container, client);
                let address = uri.as_ref().and_then(Value::text).unwrap_or_default();
                let server = server(pod, sidecar, address);
                let variable = |name: &str| match name {
                    URI => uri.clone(),
                    name => variable(container, name),
                };
                let service = service.clone();
                let nothing = server.nothing();
                let mut one = with_surroundings(container, &variable, service, nothing, |at| {
                    explain(client, at)
                });
                doubt_all(&mut one, container, &server);
                lead(&mut one, pod, sidecar);
                one
            });
            found.push(Container {
                explained: explained.collect(),
                notes: notes(&title, pod, container),
                title,
            });
        }
    }
    found
}

/// Returns the credentials URI of a container. To an SDK of AWS that is the address of its own variable, with the path that
/// the same server has for others.
fn uri(container: &Json, client: &Client) -> Option<Value> {
    let own = variable(container, CONTAINER_URI).filter(|_| client.reads_container());
    let own = own.as_ref().and_then(Value::text);
    match own {
        Some(text) => Some(Value::known(text.replacen(
            "/container/",
            "/credentials/",
            1,
        ))),
        None => variable(container, URI),
    }
}

/// Marks a client as uncertain for each doubt about its container.
fn doubt_all(one: &mut Explained, container: &Json, server: &Server) {
    if objects(container, "envFrom").next().is_some() {
        let what = "what envFrom adds, if it has credentials";
        doubt(one, what, "see that envFrom adds no credentials");
    }
    if !has_valid_env(container) {
        let what = "what an env means that the API server refuses";
        doubt(one, what, "correct env");
    }
    if *server == Server::Unknown {
        let what = "whether anything serves that address cannot be seen here";
        doubt(
            one,
            what,
            "see that a server of ours has that port and that key",
        );
    }
}

/// Says what leads a client to the sidecar that the pod has, because another injection would change nothing.
fn lead(one: &mut Explained, pod: &Json, sidecar: Sidecar) {
    let is_added = one.client.reads_uri() || one.client.reads_container();
    if !is_added || !matches!(one.lead, Some(Remedy::Do(_))) {
        return;
    }
    let text = match sidecar {
        Sidecar::Absent => return,
        Sidecar::Late => EARLIER.to_owned(),
        Sidecar::Ready if one.client.reads_uri() => format!(
            "{}, or inject the manifest that has no sidecar yet, with this container among --only-containers",
            address(reached(pod).as_ref())
        ),
        Sidecar::Ready => {
            "run `ram-sidecar inject --container` on the manifest that has no sidecar yet"
                .to_owned()
        }
    };
    one.lead = Some(Remedy::Serve(text));
}

/// Whether a container finds the sidecar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sidecar {
    /// The pod has none.
    Absent,
    /// It starts when the init container has ended.
    Late,
    /// It starts before the container, or with it.
    Ready,
}

fn sidecar(pod: &Json, (list, index): (&str, usize)) -> Sidecar {
    let is_sidecar = |container: &Json| match text_of(container, "name") {
        NAME => true,
        ADDRESS => false,
        _ => text_of(container, "image").contains(NAME),
    };
    let mut found = Sidecar::Absent;
    for place in CONTAINER_LISTS {
        let containers = objects(&pod["spec"], place).enumerate();
        for (at, _) in containers.filter(|(_, container)| is_sidecar(container)) {
            if list == CONTAINERS || (place == INIT_CONTAINERS && at < index) {
                return Sidecar::Ready;
            }
            found = Sidecar::Late;
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

/// Compares a credentials URI with the sidecar.
fn server(pod: &Json, sidecar: Sidecar, uri: &str) -> Server {
    let host = uri.strip_prefix("http://").unwrap_or_default();
    if !LOOPBACK.iter().any(|local| host.starts_with(local)) {
        return Server::Fine;
    }
    let none = |reason: &str, remedy: String| Server::None(reason.to_owned(), remedy);
    let is_of_node = uses_host_network(pod);
    match (sidecar, reached(pod)) {
        (Sidecar::Absent, _) if !is_of_node => none(
            "no container of the pod serves that address",
            "add the sidecar by `ram-sidecar inject`".to_owned(),
        ),
        (Sidecar::Late, _) if !is_of_node => none(
            "the sidecar starts after this init container has ended",
            EARLIER.to_owned(),
        ),
        (Sidecar::Absent | Sidecar::Late, _) | (_, None) => Server::Unknown,
        (Sidecar::Ready, Some(endpoints)) if is_served(&endpoints, uri) => {
            // Another pod of the node may have that port, and a key that is not of the pod.
            if is_of_node && endpoints.key != Key::PodUid {
                Server::Unknown
            } else {
                Server::Fine
            }
        }
        (Sidecar::Ready, endpoints) => none(
            "the sidecar has another port, path or key",
            address(endpoints.as_ref()),
        ),
    }
}

/// Says how the credentials URI is set to the sidecar.
fn address(endpoints: Option<&Endpoints>) -> String {
    let to = endpoints.map_or_else(
        || "the address of the sidecar".to_owned(),
        |endpoints| {
            let key = match endpoints.key {
                Key::PodUid => "the UID of the pod",
                Key::Text(_) => "the RAM_SIDECAR_KEY of the sidecar",
            };
            let port = endpoints.port;
            format!("http://127.0.0.1:{port}/api/v1/credentials/ and {key}")
        },
    );
    format!("set {URI} to {to}, as `ram-sidecar inject` does where it is not set")
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

/// Marks a client as uncertain if it would use ours.
fn doubt(one: &mut Explained, what: &str, remedy: &str) {
    if [Outlook::Ours, Outlook::OursUnless].contains(&one.outlook) {
        one.outlook = Outlook::OursUnless;
        one.obstacles
            .push((what.to_owned(), Remedy::Do(remedy.to_owned())));
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

/// What makes the sidecar serve init containers.
const EARLIER: &str =
    "put the sidecar before it in initContainers, as `ram-sidecar inject` without --classic does";

/// The address that SDKs of AWS read.
const CONTAINER_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

const ACK_LABEL: &str = "pod-identity.alibabacloud.com/injection";

const ROLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
