//! Reads requests from a pod and its service account: annotations, labels, and variables that ACK's webhook for RRSA adds.

use serde_json::{Map, Value};

use super::field::{FIELDS, Field};
use super::json::{has_named, objects, text_of};
use super::mpi;
use super::policy::{AnnotationPolicy, Holder};
use super::request::Request;
use super::sidecar::MARKER;
use super::volumes::TOKEN;

/// Annotations by their names.
pub type Annotations = Map<String, Value>;

/// Whether the labels of a pod or a namespace request the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptIn {
    /// They request it.
    Yes,
    /// They opt out.
    No,
    /// There is no such label.
    Unset,
}

/// Reads the labels of an object; `ram-sidecar/inject` takes precedence over ACK's label.
pub fn opt_in(labels: Option<&Value>) -> OptIn {
    let label = |name: &str| labels?.get(name)?.as_str();
    match (label(INJECT_LABEL), label(ACK_LABEL)) {
        (Some("true"), _) | (None, Some("on")) => OptIn::Yes,
        (Some(_), _) | (None, Some(_)) => OptIn::No,
        (None, None) => OptIn::Unset,
    }
}

impl Request {
    /// Returns the request for a pod. In order of precedence: its annotations, the variables of ACK's webhook, this request.
    #[must_use]
    pub fn for_pod(&self, pod: &Value) -> Self {
        self.for_pod_and_account(pod, &Annotations::new())
    }

    /// Returns the request for a pod whose service account has annotations too, which come second in precedence.
    #[must_use]
    pub fn for_pod_and_account(&self, pod: &Value, account: &Annotations) -> Self {
        let annotations = pod
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations"))
            .and_then(Value::as_object);
        let policy = &self.annotations;
        let request = annotations.map(|annotations| annotated(annotations, Holder::Pod, policy));
        let request = request
            .unwrap_or_default()
            .or(&annotated(account, Holder::Account, policy))
            .or(&added_by_ack(pod))
            .or(self);
        if mpi::is_rank(pod) {
            request.or(&mpi::defaults(pod))
        } else {
            request
        }
    }
}

/// Reads annotations; those of `ram-sidecar/` take precedence over ACK's.
fn annotated(annotations: &Annotations, holder: Holder, policy: &AnnotationPolicy) -> Request {
    let place = holder.place();
    let mut request = Request::default();
    for names in FIELDS {
        let text = |name: Option<&'static str>| {
            let name = name?;
            let text = annotations.get(name)?.as_str()?;
            (!text.is_empty()).then_some((name, text))
        };
        if let Some((name, text)) = text(names.annotation).or_else(|| text(names.ack_annotation)) {
            match policy.refusal(holder, names.field, text) {
                Some(reason) => request.errors.push(format!("{place} {name}: {reason}")),
                None => request.set(names.field, text, format!("{place} {name}")),
            }
        }
    }
    let unknown = unknown(annotations).take(MAX_UNKNOWN);
    let unknown = unknown.map(|(name, reason)| format!("{place} {name}: {reason}"));
    request.errors.extend(unknown);
    request
}

/// Returns the unknown annotations with the prefix `ram-sidecar/`, each with the error.
///
/// A misspelt annotation is an error: if it were ignored, a request of lower precedence would be used instead.
fn unknown(annotations: &Annotations) -> impl Iterator<Item = (&str, String)> {
    let known = || FIELDS.iter().filter_map(|names| names.annotation);
    let names = annotations.keys().map(String::as_str);
    let unknown = names.filter(move |name| {
        let is_known = *name == MARKER || known().any(|annotation| annotation == *name);
        name.starts_with(PREFIX) && !is_known
    });
    unknown.map(move |name| {
        let reason = if name == INJECT_LABEL {
            "it is a label of pods and namespaces; write it under metadata.labels".to_owned()
        } else {
            let known: Vec<&str> = known().collect();
            format!(
                "there is no such annotation; choose one of {}",
                known.join(", ")
            )
        };
        (name, reason)
    })
}

/// Reads the variables that ACK's webhook for RRSA has added to the containers of a pod.
fn added_by_ack(pod: &Value) -> Request {
    let mut request = Request::default();
    let Some(spec) = pod
        .get("spec")
        .filter(|spec| has_named(spec, "volumes", TOKEN))
    else {
        return request;
    };
    let containers = objects(spec, "containers").chain(objects(spec, "initContainers"));
    for container in containers {
        let value = |name: &str| {
            let variable =
                objects(container, "env").find(|entry| text_of(entry, "name") == name)?;
            Some(text_of(variable, "value")).filter(|value| !value.is_empty())
        };
        if value("ALIBABA_CLOUD_ROLE_ARN").is_none()
            || value("ALIBABA_CLOUD_OIDC_PROVIDER_ARN").is_none()
        {
            continue;
        }
        for (field, variable) in ACK_VARIABLES {
            if let Some(value) = value(variable) {
                let name = text_of(container, "name");
                request.set(field, value, format!("{variable} of the container {name}"));
            }
        }
        break;
    }
    request
}

const ACK_VARIABLES: [(Field, &str); 4] = [
    (Field::Role, "ALIBABA_CLOUD_ROLE_ARN"),
    (Field::OidcProviderArn, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN"),
    (Field::Region, "ALIBABA_CLOUD_STS_REGION"),
    (Field::Vpc, "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"),
];

const PREFIX: &str = "ram-sidecar/";

/// How many unknown annotations are reported, because a small request must not cause a large response.
const MAX_UNKNOWN: usize = 10;

/// Returns the value of the label `ram-sidecar/inject` if it is neither true nor false.
pub(super) fn invalid_label(labels: Option<&Value>) -> Option<&str> {
    let label = labels?.get(INJECT_LABEL)?.as_str()?;
    (!["true", "false"].contains(&label)).then_some(label)
}

/// The label by which pods and namespaces opt in or out.
pub(super) const INJECT_LABEL: &str = "ram-sidecar/inject";

const ACK_LABEL: &str = "pod-identity.alibabacloud.com/injection";
