//! What the clients in a container will use, by its manifest.

use serde_json::Value as Json;

use crate::chains::{
    CLIENTS, Client, Explained, FileState, INJECT_ROLE, Metadata as Service, Outlook, Remedy,
    Served, Surroundings, Value, default_chains, explain,
};

use super::app_container::unserved;
use super::completion;
use super::json::{CONTAINER_LISTS, has_container, objects, text_of, title_of};
use super::sidecar::{ADDRESS, NAME};
use super::volumes::CREDENTIALS_PATH;
use super::{Endpoints, Metadata};

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
    let endpoints = completion::reached(pod)?;
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
            Remedy::Do(text) => format!("may have {what}, {prefer}: {text}"),
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
        let is_named = !path.contains("/.") && !["/dev/null", "/etc/boto.cfg"].contains(&path);
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
    let labels = &pod["metadata"]["labels"];
    if text_of(labels, ACK_LABEL) == "on" && variable(container, ROLE).is_none() {
        notes.push(format!(
            "{title}: with the label {ACK_LABEL}, ACK's webhook adds {ROLE} and the like, which the default chains of SDKs prefer"
        ));
    }
    notes
}

const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

const ACK_LABEL: &str = "pod-identity.alibabacloud.com/injection";

const ROLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
