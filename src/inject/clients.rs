//! What the clients in a container will use, by its manifest.

use serde_json::Value as Json;

use crate::chains::{
    CLIENTS, Client, Explained, FileState, INJECT_ROLE, Metadata as Service, Outlook, Remedy,
    Served, Surroundings, Value, default_chains, explain,
};

use super::app_container::{LOOPBACK, is_served};
use super::completion;
use super::json::{CONTAINER_LISTS, has_container, objects, text_of, title_of, uses_host_network};
use super::sidecar::{ADDRESS, NAME};
use super::volumes::CREDENTIALS_PATH;
use super::{Endpoints, Key, Metadata};

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
            let mut explained: Vec<Explained> =
                with_surroundings(container, &variable, service, server.nothing(), |at| {
                    clients.iter().map(|client| explain(client, at)).collect()
                });
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
    match completion::reached(pod) {
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

/// Warns of what a container sets or mounts that its clients prefer to the sidecar.
pub(super) fn preferred(container: &Json, endpoints: &Endpoints) -> Vec<String> {
    const SIDECAR: &str = "http://127.0.0.1/";
    const CONTAINER: &str = "http://127.0.0.1/api/v1/container/";
    let service = match endpoints.metadata {
        Some(Metadata::Address) => Service::Ours,
        _ => Service::Unknown,
    };
    // As the injection adds them.
    let added = |name: &str| match (name, endpoints.metadata) {
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", _) => {
            Some(CONTAINER).filter(|_| endpoints.container)
        }
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", None) => Some("true"),
        ("ALIBABA_CLOUD_ECS_METADATA", Some(Metadata::Loopback)) => Some(INJECT_ROLE),
        _ => None,
    };
    let variable = |name: &str| {
        // Another address than the sidecar's has a warning of its own.
        let own = variable(container, name).filter(|own| name != URI || own.text().is_none());
        let uri = Some(SIDECAR).filter(|_| name == URI);
        own.or_else(|| uri.or_else(|| added(name)).map(Value::known))
    };
    let explained: Vec<Explained> = with_surroundings(container, &variable, service, None, |at| {
        let led = CLIENTS.iter().filter(|client| {
            client.reads_uri() || (endpoints.container && client.reads_container())
        });
        led.map(|client| explain(client, at)).collect()
    });
    // What several clients prefer is reported once.
    let mut groups: Vec<(&str, &Remedy, Vec<&str>)> = Vec::new();
    for one in &explained {
        for (what, remedy) in &one.obstacles {
            match groups.iter_mut().find(|(_, other, _)| *other == remedy) {
                Some((_, _, names)) if names.contains(&one.client.name) => {}
                Some((_, _, names)) => names.push(one.client.name),
                None => groups.push((what, remedy, vec![one.client.name])),
            }
        }
    }
    let warnings = groups.into_iter().map(|(what, remedy, names)| {
        let verb = if names.len() == 1 {
            "prefers"
        } else {
            "prefer"
        };
        let chains = default_chains(&names);
        let prefer = format!("which {chains} {verb} to the sidecar's credentials");
        match remedy {
            Remedy::Unset(variables) => {
                let variables = variables.join(", ");
                format!("sets {variables}, {prefer}: remove unintended variables")
            }
            Remedy::Set(variable, value) => {
                format!("may have {what}, {prefer}: set {variable} to {value}")
            }
            Remedy::Do(text) | Remedy::Serve(text) => format!("may have {what}, {prefer}: {text}"),
        }
    });
    let failing = explained
        .iter()
        .filter(|one| one.outlook == Outlook::Fails)
        .map(|one| {
            let (name, reason) = (one.client.name, one.instead());
            format!("keeps {name} from the sidecar's credentials: {reason}")
        });
    warnings.chain(failing).collect()
}

/// Returns a variable of a container. One whose beginning refers to another variable is not known.
fn variable(container: &Json, name: &str) -> Option<Value> {
    let entries = objects(container, "env");
    // Of several with the same name, the last one counts.
    let entry = entries
        .filter(|entry| text_of(entry, "name") == name)
        .last()?;
    let text = text_of(entry, "value");
    Some(match entry.get("valueFrom") {
        Some(source) if !source.is_null() => Value::Unseen,
        // The path of an address may refer to the UID of the pod.
        _ if text.split('/').take(3).any(|part| part.contains("$(")) => Value::Unseen,
        _ => Value::known(text),
    })
}

/// Calls `judge` with the surroundings of a container: hidden files of its image are taken for missing, other
/// files are out of sight.
fn with_surroundings<T>(
    container: &Json,
    variable: &dyn Fn(&str) -> Option<Value>,
    metadata: Service,
    served: Option<Served>,
    judge: impl FnOnce(&Surroundings<'_>) -> T,
) -> T {
    let mounts = objects(container, "volumeMounts").map(|mount| text_of(mount, "mountPath"));
    let mounts: Vec<&str> = mounts
        .map(|path| path.trim_end_matches('/'))
        .filter(|path| !path.starts_with(CREDENTIALS_PATH) && !path.is_empty())
        .collect();
    let file = |path: &str| {
        // The home directory is not known.
        let (directory, tail) = match path.strip_prefix("~/") {
            Some(tail) => (tail.rsplit_once('/').map_or("", |(first, _)| first), tail),
            None => ("", ""),
        };
        let is_mounted = mounts.iter().any(|mount| {
            let inside = path.strip_prefix(mount);
            let is_inside = inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let ends = |end: &str| {
                let before = mount.strip_suffix(end);
                !end.is_empty() && before.is_some_and(|before| before.ends_with('/'))
            };
            is_inside || ends(directory) || ends(tail) || (!tail.is_empty() && is_home(mount))
        });
        // A variable that names a file has a reason to.
        let is_named = !path.contains("/.") && !OF_IMAGE.contains(&path);
        if is_mounted || is_named {
            FileState::Unseen
        } else {
            FileState::Missing
        }
    };
    judge(&Surroundings {
        variable,
        file: &file,
        account_home: None,
        metadata,
        served,
        container_failure: None,
    })
}

/// Whether a path is that of a home directory, or holds them.
fn is_home(path: &str) -> bool {
    let user = path.strip_prefix("/home/");
    ["/root", "/home"].contains(&path) || user.is_some_and(|user| !user.contains('/'))
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

const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// Files at places that clients know by themselves.
const OF_IMAGE: [&str; 2] = ["/dev/null", "/etc/boto.cfg"];

const ACK_LABEL: &str = "pod-identity.alibabacloud.com/injection";

const ROLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
