//! Configures the application's containers: the variables by which SDKs find the sidecar, and the credentials file.

use serde_json::{Value, json};

use super::Error;
use super::edit::Edit;
use super::json::{has_named, objects, text_of};
use super::volumes::{CREDENTIALS, CREDENTIALS_PATH};

/// Configures the container at a path to use the sidecar, and returns warnings. Existing values stay unchanged.
///
/// With `has_metadata` the sidecar has the address of the ECS metadata service, so SDKs may use that service. `read_only`
/// names the volumes in which no directory can be created.
pub(super) fn configure(
    edit: &mut Edit,
    path: &str,
    has_metadata: bool,
    read_only: &[String],
) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    let variables = variables(edit.at(path), has_metadata, &mut warnings);
    let mount = mount(edit.at(path), read_only, &mut warnings);
    for variable in variables {
        edit.append(&format!("{path}/env"), &variable)?;
    }
    if let Some(mount) = mount {
        edit.append(&format!("{path}/volumeMounts"), &mount)?;
    }
    let name = text_of(edit.at(path), "name");
    let warnings = warnings
        .iter()
        .map(|text| format!("container {name} {text}"));
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

/// Returns the variables to add to a container.
fn variables(container: &Value, has_metadata: bool, warnings: &mut Vec<String>) -> Vec<Value> {
    if objects(container, "envFrom").next().is_some() {
        warnings.push("has envFrom: the sidecar's variables override it, but SDKs prefer an AccessKey from it to the sidecar's credentials".to_owned());
    }
    let has = |name: &str| has_named(container, "env", name);
    let preferred: Vec<&str> = PREFERRED_BY_SDKS
        .iter()
        .copied()
        .filter(|name| has(name))
        .collect();
    if !preferred.is_empty() {
        warnings.push(format!(
            "sets {}, which SDKs prefer to the sidecar's credentials: remove unintended variables",
            preferred.join(", ")
        ));
    }
    // Kubernetes expands $(…) only with variables that are defined earlier.
    let mut variables = vec![
        json!({ "name": POD_UID, "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } }),
        json!({ "name": "ALIBABA_CLOUD_CREDENTIALS_URI", "value": format!("http://127.0.0.1:7002/api/v1/credentials/$({POD_UID})") }),
    ];
    if !has_metadata {
        // Otherwise the SDKs' default chains request the node's role first.
        variables.push(json!({ "name": NO_METADATA, "value": "true" }));
    } else if has(NO_METADATA) {
        // With this variable, SDKs refuse to use ecs_ram_role.
        warnings.push(format!(
            "sets {NO_METADATA}, which stops SDKs from using the metadata service: remove it"
        ));
    }
    let (already_set, added): (Vec<Value>, Vec<Value>) = variables
        .into_iter()
        .partition(|variable| has(text_of(variable, "name")));
    if !already_set.is_empty() {
        let names = already_set.iter().map(|variable| text_of(variable, "name"));
        let names: Vec<&str> = names.collect();
        warnings.push(format!("already sets {}: unchanged", names.join(" and ")));
    }
    added
}

/// Returns the mount of the credentials file, if it can be added to a container.
fn mount(container: &Value, read_only: &[String], warnings: &mut Vec<String>) -> Option<Value> {
    let is_within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut outer = None;
    for mount in objects(container, "volumeMounts") {
        let path = text_of(mount, "mountPath").trim_end_matches('/');
        if is_within(path, CREDENTIALS_PATH) {
            warnings.push(format!("already has a mount at {path}: unchanged"));
            return None;
        }
        if !is_within(CREDENTIALS_PATH, path) {
            continue;
        }
        // A mount point is a directory, which cannot be created in a read-only volume.
        let volume = text_of(mount, "name");
        if mount["readOnly"] == Value::Bool(true) || read_only.iter().any(|name| name == volume) {
            warnings.push(format!("gets no credentials file, because {CREDENTIALS_PATH} is inside its read-only mount {path}"));
            return None;
        }
        outer = Some(path);
    }
    if let Some(path) = outer {
        warnings.push(format!(
            "mounts {path}: an empty directory is created in that volume for {CREDENTIALS_PATH}"
        ));
    }
    Some(json!({ "name": CREDENTIALS, "mountPath": CREDENTIALS_PATH, "readOnly": true }))
}

/// Kinds of volumes that are always mounted read-only.
const READ_ONLY_KINDS: &[&str] = &["configMap", "downwardAPI", "image", "projected", "secret"];

/// The variable with the pod's UID, which is the key that the sidecar requires.
const POD_UID: &str = "RAM_SIDECAR_POD_UID";

const NO_METADATA: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

/// Variables that the SDKs' default chains prefer to a credentials URI.
const PREFERRED_BY_SDKS: &[&str] = &[
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
];
