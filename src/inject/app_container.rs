//! Configures the application's containers: the variables by which SDKs find the sidecar, and the credentials file.

use serde_json::{Value, json};

use crate::chains::INJECT_ROLE;

use super::clients::{self, URI};
use super::edit::Edit;
use super::json::{has_named, objects, text_of};
use super::volumes::{CONTAINER_TOKEN, CONTAINER_TOKEN_PATH, CREDENTIALS, CREDENTIALS_PATH};
use super::{Endpoints, Error, Key, Metadata};

/// Configures the container at a path to use the sidecar, and returns warnings about the container of that title. Existing
/// values stay unchanged.
///
/// `read_only` names the volumes in which no directory can be created.
pub(super) fn configure(
    edit: &mut Edit,
    (path, title): (&str, &str),
    endpoints: &Endpoints,
    read_only: &[String],
) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    let container = edit.at(path);
    warn_of_others(container, endpoints, &mut warnings);
    warn_of_addresses(container, endpoints, &mut warnings);
    let token = endpoints.container.then(|| {
        let volume = (CONTAINER_TOKEN, CONTAINER_TOKEN_PATH);
        mount(container, volume, "token", read_only, &mut warnings)
    });
    let token = token.flatten();
    let variables = variables(container, endpoints, token.is_some(), &mut warnings);
    let volume = (CREDENTIALS, CREDENTIALS_PATH);
    let file = mount(
        container,
        volume,
        "credentials file",
        read_only,
        &mut warnings,
    );
    for variable in variables {
        edit.append(&format!("{path}/env"), &variable)?;
    }
    for mount in file.iter().chain(&token) {
        edit.append(&format!("{path}/volumeMounts"), mount)?;
    }
    let warnings = warnings
        .iter()
        .map(|text| format!("container {title} {text}"));
    Ok(warnings.collect())
}

/// Returns the names of the volumes in which no directory can be created.
pub(super) fn read_only(pod: &Value) -> Vec<String> {
    let is_read_only = |volume: &&Value| {
        let sources = volume.as_object().into_iter().flatten();
        sources.into_iter().any(|(kind, source)| {
            READ_ONLY_KINDS.contains(&kind.as_str()) || source["readOnly"] == Value::Bool(true)
        })
    };
    let volumes = objects(&pod["spec"], "volumes").filter(is_read_only);
    volumes
        .map(|volume| text_of(volume, "name").to_owned())
        .collect()
}

/// Warns of what a container sets that leads its clients elsewhere.
fn warn_of_others(container: &Value, endpoints: &Endpoints, warnings: &mut Vec<String>) {
    if objects(container, "envFrom").next().is_some() {
        warnings.push("has envFrom: the sidecar's variables override it, but SDKs prefer an AccessKey from it to the sidecar's credentials".to_owned());
    }
    let set = |names: &[&str]| {
        let set = names.iter().copied();
        let set: Vec<&str> = set
            .filter(|name| has_named(container, "env", name))
            .collect();
        (!set.is_empty()).then(|| set.join(", "))
    };
    warnings.extend(clients::preferred(container, endpoints));
    if let Some(set) = set(&["HTTP_PROXY", "http_proxy"]) {
        warnings.push(format!("sets {set}: clients send their requests for credentials to that proxy, Python's SDKs whatever NO_PROXY says; they fail, or the proxy sees the credentials: remove it, HTTPS_PROXY may stay"));
    }
    if let Some(set) = set(&["ALL_PROXY", "all_proxy"]).filter(|_| !bypasses_proxies(container)) {
        warnings.push(format!("sets {set}: clients send their requests for credentials to that proxy; they fail, or the proxy sees the credentials: add 127.0.0.1,localhost to NO_PROXY and no_proxy"));
    }
}

/// Whether `NO_PROXY` keeps requests for credentials away from a proxy; which of the two counts depends on the client.
fn bypasses_proxies(container: &Value) -> bool {
    let variables = objects(container, "env");
    let mut lists = variables
        .filter(|entry| ["NO_PROXY", "no_proxy"].contains(&text_of(entry, "name")))
        .map(|entry| text_of(entry, "value"))
        .peekable();
    let has_loopback = |list: &str| {
        let mut hosts = list.split([',', ' ']);
        hosts.any(|host| ["127.0.0.1", "127.0.0.0/8", "*"].contains(&host))
    };
    lists.peek().is_some() && lists.all(has_loopback)
}

/// Warns of addresses in a container's variables and command that the sidecar does not serve.
fn warn_of_addresses(container: &Value, endpoints: &Endpoints, warnings: &mut Vec<String>) {
    let variables = objects(container, "env").map(|entry| {
        let name = text_of(entry, "name").to_owned();
        (name, text_of(entry, "value"))
    });
    let words = ["command", "args"].into_iter().flat_map(|field| {
        let words = container[field].as_array().into_iter().flatten();
        words.filter_map(move |word| Some((format!("its {field}"), word.as_str()?)))
    });
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    'search: for (place, text) in variables.chain(words) {
        for address in unserved(endpoints, text) {
            match found.iter_mut().find(|(other, _)| *other == address) {
                Some((_, places)) if places.contains(&place) || places.len() == MAX_PLACES => {}
                Some((_, places)) => places.push(place.clone()),
                None => {
                    found.push((address, vec![place.clone()]));
                    if found.len() == MAX_ADDRESSES {
                        break 'search;
                    }
                }
            }
        }
    }
    let key = match &endpoints.key {
        Key::PodUid => "the pod's UID",
        Key::Text(_) => "that of --key (ram-sidecar/key)",
    };
    let port = endpoints.port;
    for (address, places) in found {
        let places = places.join(" and ");
        warnings.push(format!("has http://{address} in {places}, which nothing serves, because the sidecar's port is {port} and its key is {key}: use $ALIBABA_CLOUD_CREDENTIALS_URI as inject sets it, or let --key (ram-sidecar/key) and --port (ram-sidecar/port) match the address"));
    }
}

/// Warns of ports of a container that the sidecar needs, whether or not the container gets credentials.
pub(super) fn port_conflicts(
    edit: &Edit,
    (path, title): (&str, &str),
    endpoints: &Endpoints,
) -> Vec<String> {
    let container = edit.at(path);
    let has = |port: &u16| objects(container, "ports").any(|entry| entry["containerPort"] == *port);
    let ports = endpoints.ports().into_iter().filter(has);
    ports
        .map(|port| format!("container {title} has the port {port}, which the sidecar uses: move the sidecar by --port (ram-sidecar/port)"))
        .collect()
}

/// Returns the credentials URIs on loopback in a text, from the host on.
fn local_uris(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("http://").skip(1);
    after.filter_map(|rest| {
        let host = LOOPBACK.iter().find(|host| rest.starts_with(**host))?;
        let path = rest.strip_prefix(host)?.find(PATH)? + host.len();
        let port = rest.get(host.len()..path)?;
        let is_port = port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok());
        let key = rest.get(path + PATH.len()..)?;
        let ends = |c: char| {
            c.is_whitespace()
                || ['"', '\'', ';', '|', '&', '<', '>', ',', '`', '?', '#'].contains(&c)
        };
        let end = key.find(ends).unwrap_or(key.len());
        let address = rest.get(..path + PATH.len() + end)?;
        is_port.then_some(address)
    })
}

/// Returns the credentials URIs on loopback in a text that the sidecar does not serve.
fn unserved<'a>(endpoints: &Endpoints, text: &'a str) -> impl Iterator<Item = &'a str> {
    local_uris(text).filter(|address| !serves(endpoints, address))
}

/// Whether the sidecar serves a credentials URI on loopback.
pub(super) fn is_served(endpoints: &Endpoints, uri: &str) -> bool {
    let address = uri.strip_prefix("http://");
    let mut found = local_uris(uri);
    address.is_some_and(|address| found.next() == Some(address) && serves(endpoints, address))
}

/// Whether the sidecar serves an address, as far as it is known: a shell or the kubelet may expand a variable in it.
fn serves(endpoints: &Endpoints, address: &str) -> bool {
    let Some((host, key)) = address.split_once(PATH) else {
        return true;
    };
    let has_key = match &endpoints.key {
        _ if key.contains('$') => true,
        Key::PodUid => false,
        Key::Text(text) => text == key,
    };
    has_key && host.ends_with(&format!(":{}", endpoints.port))
}

/// Returns the variables to add to a container; `has_token` says whether it mounts the token for AWS SDKs.
fn variables(
    container: &Value,
    endpoints: &Endpoints,
    has_token: bool,
    warnings: &mut Vec<String>,
) -> Vec<Value> {
    let has = |name: &str| has_named(container, "env", name);
    let mut variables = Vec::new();
    let mut set = |name: &str, value: String| {
        variables.push(json!({ "name": name, "value": value }));
    };
    let key = match &endpoints.key {
        Key::PodUid => format!("$({POD_UID})"),
        Key::Text(key) => key.clone(),
    };
    let uri = |dialect: &str| format!("http://127.0.0.1:{}/api/v1/{dialect}/{key}", endpoints.port);
    set(URI, uri("credentials"));
    if endpoints.container {
        set("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri("container"));
        if has_token {
            set(
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                format!("{CONTAINER_TOKEN_PATH}/token"),
            );
        }
        // Source: OSS rejects the checksums that AWS SDKs append to a body by default.
        for name in [
            "AWS_REQUEST_CHECKSUM_CALCULATION",
            "AWS_RESPONSE_CHECKSUM_VALIDATION",
        ] {
            set(name, "when_required".to_owned());
        }
    }
    match endpoints.metadata {
        // Otherwise the SDKs' default chains request the node's role first.
        None => set(NO_METADATA, "true".to_owned()),
        Some(metadata) => {
            if metadata == Metadata::Loopback {
                set(
                    "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT",
                    format!("http://{}", endpoints.metadata_address()),
                );
                set("ALIBABA_CLOUD_ECS_METADATA", INJECT_ROLE.to_owned());
            }
            if has(NO_METADATA) {
                // With this variable, SDKs refuse to use ecs_ram_role.
                warnings.push(format!(
                    "sets {NO_METADATA}, which stops SDKs from using the metadata service: remove it"
                ));
            }
        }
    }
    if endpoints.key == Key::PodUid {
        let uid = json!({ "fieldRef": { "fieldPath": "metadata.uid" } });
        // First, because Kubernetes expands $(…) only with variables that are defined earlier.
        variables.insert(0, json!({ "name": POD_UID, "valueFrom": uid }));
    }
    let (already_set, added): (Vec<Value>, Vec<Value>) = variables
        .into_iter()
        .partition(|variable| has(text_of(variable, "name")));
    let is_reported = |name: &&str| {
        let mut entries = objects(container, "env").filter(|entry| text_of(entry, "name") == *name);
        entries.any(|entry| {
            unserved(endpoints, text_of(entry, "value"))
                .next()
                .is_some()
        })
    };
    let names = already_set.iter().map(|variable| text_of(variable, "name"));
    let names: Vec<&str> = names.filter(|name| !is_reported(name)).collect();
    if !names.is_empty() {
        warnings.push(format!("already sets {}: unchanged", names.join(" and ")));
    }
    added
}

/// Returns the mount of a volume, which has `what`, at its path, if it can be added to a container.
fn mount(
    container: &Value,
    (volume, at): (&str, &str),
    what: &str,
    read_only: &[String],
    warnings: &mut Vec<String>,
) -> Option<Value> {
    let is_within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut outer = None;
    for mount in objects(container, "volumeMounts") {
        let path = text_of(mount, "mountPath").trim_end_matches('/');
        if is_within(path, at) {
            warnings.push(format!("already has a mount at {path}: unchanged"));
            return None;
        }
        if !is_within(at, path) {
            continue;
        }
        // A mount point is a directory, which cannot be created in a read-only volume.
        let mounted = text_of(mount, "name");
        if mount["readOnly"] == Value::Bool(true) || read_only.iter().any(|name| name == mounted) {
            warnings.push(format!(
                "gets no {what}, because {at} is inside its read-only mount {path}"
            ));
            return None;
        }
        outer = Some(path);
    }
    if let Some(path) = outer {
        warnings.push(format!(
            "mounts {path}: an empty directory is created in that volume for {at}"
        ));
    }
    Some(json!({ "name": volume, "mountPath": at, "readOnly": true }))
}

/// Where clients of the same pod find the sidecar.
pub(super) const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The path of the credentials, without the key.
const PATH: &str = "/api/v1/credentials/";

/// How many addresses are reported of a container. It also bounds the search, because every client that can reach the webhook
/// can send a large container.
const MAX_ADDRESSES: usize = 10;

/// How many places of an address are reported.
const MAX_PLACES: usize = 10;

/// Kinds of volumes that are always mounted read-only.
const READ_ONLY_KINDS: &[&str] = &["configMap", "downwardAPI", "image", "projected", "secret"];

/// The variable with the pod's UID, which is the key that the sidecar requires.
const POD_UID: &str = "RAM_SIDECAR_POD_UID";

const NO_METADATA: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
