//! What the job's containers get: the variables that lead SDKs to the sidecar, and the credentials file.

use serde_json::{Value, json};

use super::Refusal;
use super::edit::Edit;
use super::json::{has_named, objects, text_of};
use super::volumes::{CREDENTIALS, CREDENTIALS_PATH};

/// Leads the container at a path to the sidecar, and returns notes. What the container sets itself stays as it is.
///
/// With `is_metadata` the SDKs may ask the ECS metadata service, which the sidecar is then. `read_only` names the volumes
/// in which no directory can be created.
pub(super) fn lead(
    edit: &mut Edit,
    path: &str,
    is_metadata: bool,
    read_only: &[String],
) -> Result<Vec<String>, Refusal> {
    let mut notes = Vec::new();
    let variables = variables(edit.at(path), is_metadata, &mut notes);
    let mount = mount(edit.at(path), read_only, &mut notes);
    for variable in variables {
        edit.append(&format!("{path}/env"), &variable)?;
    }
    if let Some(mount) = mount {
        edit.append(&format!("{path}/volumeMounts"), &mount)?;
    }
    let name = text_of(edit.at(path), "name");
    let notes = notes.iter().map(|note| format!("container {name} {note}"));
    Ok(notes.collect())
}

/// Returns the names of the volumes in which no directory can be created.
pub(super) fn read_only(pod: &Value) -> Vec<String> {
    let is_read_only = |volume: &&Value| {
        let sources = volume.as_object().into_iter().flatten();
        sources.into_iter().any(|(kind, source)| {
            READ_ONLY.contains(&kind.as_str()) || source["readOnly"] == Value::Bool(true)
        })
    };
    let volumes = objects(&pod["spec"], "volumes").filter(is_read_only);
    volumes
        .map(|volume| text_of(volume, "name").to_owned())
        .collect()
}

/// Returns the variables to add to a container.
fn variables(container: &Value, is_metadata: bool, notes: &mut Vec<String>) -> Vec<Value> {
    if objects(container, "envFrom").next().is_some() {
        notes.push("has envFrom: the sidecar's variables override those, but SDKs prefer an AccessKey among them to the sidecar's credentials".to_owned());
    }
    let has = |name: &str| has_named(container, "env", name);
    let preferred: Vec<&str> = PREFERRED.iter().copied().filter(|name| has(name)).collect();
    if !preferred.is_empty() {
        notes.push(format!(
            "sets {}, which SDKs prefer to the sidecar's credentials: remove what is not intended",
            preferred.join(", ")
        ));
    }
    // Kubernetes expands $(…) only with variables that are defined before.
    let mut ours = vec![
        json!({ "name": POD_UID, "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } }),
        json!({ "name": "ALIBABA_CLOUD_CREDENTIALS_URI", "value": format!("http://127.0.0.1:7002/api/v1/credentials/$({POD_UID})") }),
    ];
    if !is_metadata {
        // Otherwise the SDKs' default chains ask for the node's role first.
        ours.push(json!({ "name": NO_METADATA, "value": "true" }));
    } else if has(NO_METADATA) {
        // The SDKs' ecs_ram_role cannot be created with it.
        notes.push(format!(
            "sets {NO_METADATA}, which keeps SDKs from asking the metadata service: remove it"
        ));
    }
    let (own, added): (Vec<Value>, Vec<Value>) = ours
        .into_iter()
        .partition(|ours| has(text_of(ours, "name")));
    if !own.is_empty() {
        let names: Vec<&str> = own.iter().map(|own| text_of(own, "name")).collect();
        notes.push(format!("keeps its own {}", names.join(" and ")));
    }
    added
}

/// Returns the mount of the credentials file, if it can be added to a container.
fn mount(container: &Value, read_only: &[String], notes: &mut Vec<String>) -> Option<Value> {
    let is_within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut outer = None;
    for mount in objects(container, "volumeMounts") {
        let path = text_of(mount, "mountPath").trim_end_matches('/');
        if is_within(path, CREDENTIALS_PATH) {
            notes.push(format!("keeps its own mount at {path}"));
            return None;
        }
        if !is_within(CREDENTIALS_PATH, path) {
            continue;
        }
        // A mount needs a directory, which cannot be created in a volume that is read-only.
        let volume = text_of(mount, "name");
        if mount["readOnly"] == Value::Bool(true) || read_only.iter().any(|name| name == volume) {
            notes.push(format!("gets no credentials file, because it mounts {path} read-only, and {CREDENTIALS_PATH} would be inside"));
            return None;
        }
        outer = Some(path);
    }
    if let Some(path) = outer {
        notes.push(format!(
            "mounts {path}, in which an empty directory is created for {CREDENTIALS_PATH}"
        ));
    }
    Some(json!({ "name": CREDENTIALS, "mountPath": CREDENTIALS_PATH, "readOnly": true }))
}

/// Volumes that are mounted read-only whatever the mount says.
const READ_ONLY: &[&str] = &["configMap", "downwardAPI", "image", "projected", "secret"];

/// The variable with the pod's UID, which is the sidecar's key.
const POD_UID: &str = "RAM_SIDECAR_POD_UID";

const NO_METADATA: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

/// What the SDKs' default chains try before a credentials URI.
const PREFERRED: &[&str] = &[
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
];
