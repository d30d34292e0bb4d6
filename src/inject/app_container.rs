//! Configures the application's containers: the variables by which SDKs find the sidecar, and the credentials file.

use serde_json::{Value, json};

use super::edit::Edit;
use super::json::{has_named, objects, text_of};
use super::sidecar::METADATA;
use super::volumes::{CONTAINER_TOKEN, CONTAINER_TOKEN_PATH, CREDENTIALS, CREDENTIALS_PATH};
use super::{Error, Metadata, Spec};

/// Configures the container at a path to use the sidecar, and returns warnings. Existing values stay unchanged.
///
/// `read_only` names the volumes in which no directory can be created.
pub(super) fn configure(
    edit: &mut Edit,
    path: &str,
    spec: &Spec,
    read_only: &[String],
) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    let container = edit.at(path);
    warn_of_others(container, spec, &mut warnings);
    let token = spec.container.then(|| {
        let volume = (CONTAINER_TOKEN, CONTAINER_TOKEN_PATH);
        mount(container, volume, "token", read_only, &mut warnings)
    });
    let token = token.flatten();
    let variables = variables(container, spec, token.is_some(), &mut warnings);
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

/// Warns of what a container sets that leads its clients elsewhere.
fn warn_of_others(container: &Value, spec: &Spec, warnings: &mut Vec<String>) {
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
    let by_aws: &[&str] = if spec.container {
        PREFERRED_BY_AWS
    } else {
        &[]
    };
    for names in [PREFERRED_BY_SDKS, by_aws] {
        if let Some(set) = set(names) {
            warnings.push(format!("sets {set}, which SDKs prefer to the sidecar's credentials: remove unintended variables"));
        }
    }
    if let Some(set) = set(&["HTTP_PROXY", "http_proxy"]) {
        warnings.push(format!("sets {set}: Python's SDKs send their requests for credentials to that proxy, whatever NO_PROXY says, and it sees the credentials: remove it, HTTPS_PROXY may stay"));
    }
}

/// Returns the variables to add to a container; `has_token` says whether it mounts the token for AWS SDKs.
fn variables(
    container: &Value,
    spec: &Spec,
    has_token: bool,
    warnings: &mut Vec<String>,
) -> Vec<Value> {
    let has = |name: &str| has_named(container, "env", name);
    let mut variables = Vec::new();
    let mut set = |name: &str, value: String| {
        variables.push(json!({ "name": name, "value": value }));
    };
    let uri = |dialect: &str| format!("http://127.0.0.1:7002/api/v1/{dialect}/$({POD_UID})");
    set("ALIBABA_CLOUD_CREDENTIALS_URI", uri("credentials"));
    if spec.container {
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
    match spec.metadata {
        // Otherwise the SDKs' default chains request the node's role first.
        None => set(NO_METADATA, "true".to_owned()),
        Some(metadata) => {
            if metadata == Metadata::Loopback {
                set(
                    "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT",
                    format!("http://{METADATA}"),
                );
            }
            if has(NO_METADATA) {
                // With this variable, SDKs refuse to use ecs_ram_role.
                warnings.push(format!(
                    "sets {NO_METADATA}, which stops SDKs from using the metadata service: remove it"
                ));
            }
        }
    }
    // Kubernetes expands $(…) only with variables that are defined earlier.
    let uid =
        json!({ "name": POD_UID, "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } });
    variables.insert(0, uid);
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

/// Variables that AWS SDKs prefer to container credentials.
const PREFERRED_BY_AWS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];
