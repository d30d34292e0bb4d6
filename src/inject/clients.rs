//! What the clients in a container find, by its manifest.

use serde_json::Value as Json;

use crate::chains::{
    CLIENTS, Explained, FileState, INJECT_ROLE, Metadata as Service, Outlook, Remedy, Served,
    Surroundings, Value, default_chains, explain,
};

use super::json::{objects, text_of};
use super::volumes::CREDENTIALS_PATH;
use super::{Endpoints, Metadata};

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
pub(super) fn variable(container: &Json, name: &str) -> Option<Value> {
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
pub(super) fn with_surroundings<T>(
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
    let container_failure = match &served {
        Some(Served::Nothing { reason, .. }) => Some(reason.clone()),
        _ => None,
    };
    judge(&Surroundings {
        variable,
        file: &file,
        account_home: None,
        metadata,
        served,
        container_failure,
    })
}

/// Whether a path is that of a home directory, or holds them.
fn is_home(path: &str) -> bool {
    let user = path.strip_prefix("/home/");
    ["/root", "/home"].contains(&path) || user.is_some_and(|user| !user.contains('/'))
}

/// Files at places that clients know by themselves.
const OF_IMAGE: [&str; 2] = ["/dev/null", "/etc/boto.cfg"];

/// The variable of the credentials URI.
pub(super) const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";
