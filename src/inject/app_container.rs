//! What the job's containers get: the variables that lead SDKs to the sidecar, and the file.

use serde_json::{Map, Value, json};

use super::Refusal;
use super::json::{list, name_of, text_of};
use super::sidecar::{CREDENTIALS, CREDENTIALS_PATH};

/// Leads one container to the sidecar. Whatever it has set itself stays, and is told.
///
/// With `is_metadata` the SDKs may ask the ECS metadata service, which is the sidecar. Nothing can be made in the volumes that
/// are `read_only`.
pub(super) fn lead(
    container: &mut Map<String, Value>,
    is_metadata: bool,
    read_only: &[String],
) -> Result<Vec<String>, Refusal> {
    let name = name_of(container).to_owned();
    let mut notes = Vec::new();
    variables(container, &name, is_metadata, &mut notes)?;
    mount(container, &name, read_only, &mut notes)?;
    Ok(notes)
}

/// Returns the names of the volumes in which nothing can be made.
pub(super) fn read_only(spec: &Map<String, Value>) -> Vec<String> {
    let is_read_only = |volume: &&Value| {
        let sources = volume.as_object().into_iter().flatten();
        sources.into_iter().any(|(kind, source)| {
            READ_ONLY.contains(&kind.as_str()) || source["readOnly"] == Value::Bool(true)
        })
    };
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let volumes = volumes.into_iter().flatten().filter(is_read_only);
    volumes
        .map(|volume| text_of(volume, "name").to_owned())
        .collect()
}

fn variables(
    container: &mut Map<String, Value>,
    name: &str,
    is_metadata: bool,
    notes: &mut Vec<String>,
) -> Result<(), Refusal> {
    let sources = container.get("envFrom").and_then(Value::as_array);
    if sources.is_some_and(|sources| !sources.is_empty()) {
        notes.push(format!(
            "container {name} takes variables by envFrom, which count less than the sidecar's; an AccessKey among them comes before its credentials"
        ));
    }
    let env = list(container, "env")?;
    let has = |env: &[Value], name: &str| env.iter().any(|entry| text_of(entry, "name") == name);
    let first: Vec<&str> = FIRST
        .iter()
        .copied()
        .filter(|variable| has(env, variable))
        .collect();
    if !first.is_empty() {
        notes.push(format!(
            "container {name} has {} in its environment, which SDKs take before the sidecar's credentials: remove what is not meant",
            first.join(", ")
        ));
    }
    // Kubernetes fills $(…) only with what stands before.
    let ours = [
        json!({ "name": POD_UID, "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } }),
        json!({ "name": "ALIBABA_CLOUD_CREDENTIALS_URI", "value": format!("http://127.0.0.1:7002/api/v1/credentials/$({POD_UID})") }),
        // Else the SDKs' default chains ask the node for its role first.
        json!({ "name": NO_METADATA, "value": "true" }),
    ];
    let mut kept = Vec::new();
    for variable in ours {
        let variable_name = text_of(&variable, "name").to_owned();
        if is_metadata && variable_name == NO_METADATA {
            // The SDKs' ecs_ram_role refuses to be made with it.
            if has(env, NO_METADATA) {
                notes.push(format!("container {name} sets {NO_METADATA}, with which no SDK asks the metadata service"));
            }
        } else if has(env, &variable_name) {
            kept.push(variable_name);
        } else {
            env.push(variable);
        }
    }
    if !kept.is_empty() {
        notes.push(format!(
            "container {name} keeps its own {}",
            kept.join(" and ")
        ));
    }
    Ok(())
}

fn mount(
    container: &mut Map<String, Value>,
    name: &str,
    read_only: &[String],
    notes: &mut Vec<String>,
) -> Result<(), Refusal> {
    let mounts = list(container, "volumeMounts")?;
    let is_within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut made_in = None;
    for mount in mounts.iter() {
        let path = text_of(mount, "mountPath").trim_end_matches('/');
        if is_within(path, CREDENTIALS_PATH) {
            notes.push(format!("container {name} keeps its own mount at {path}"));
            return Ok(());
        }
        if !is_within(CREDENTIALS_PATH, path) {
            continue;
        }
        // Nothing can be mounted in what cannot be written to, unless it is there.
        let volume = text_of(mount, "name");
        if mount["readOnly"] == Value::Bool(true) || read_only.iter().any(|name| name == volume) {
            notes.push(format!("container {name} gets no file of credentials, because it mounts {path} read-only, and {CREDENTIALS_PATH} would be in it"));
            return Ok(());
        }
        made_in = Some(path.to_owned());
    }
    if let Some(path) = made_in {
        notes.push(format!("container {name} mounts {path}, in which an empty directory is made for {CREDENTIALS_PATH}"));
    }
    mounts.push(json!({ "name": CREDENTIALS, "mountPath": CREDENTIALS_PATH, "readOnly": true }));
    Ok(())
}

/// Volumes that are mounted read-only whatever the mount says.
const READ_ONLY: &[&str] = &["configMap", "downwardAPI", "image", "projected", "secret"];

/// The sidecar's key.
const POD_UID: &str = "RAM_SIDECAR_POD_UID";

const NO_METADATA: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

/// What the SDKs' default chains take before anything of the sidecar.
const FIRST: &[&str] = &[
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
];
