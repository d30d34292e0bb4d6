//! The requests of a pod and of its service account: annotations, labels, and what ACK's webhook for RRSA has added.

use serde_json::{Map, Value};

use super::json::{has_named, objects, text_of};
use super::request::{FIELDS, Field, Request};
use super::volumes::TOKEN;

/// Annotations by their names.
pub type Annotations = Map<String, Value>;

/// Whether a pod, or its namespace, asks for the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptIn {
    /// It asks for it.
    Yes,
    /// It declines it.
    No,
    /// It has no label.
    Unset,
}

/// Reads the labels of an object: ours takes precedence over ACK's.
pub fn opt_in(labels: Option<&Value>) -> OptIn {
    let label = |name: &str| labels?.get(name)?.as_str();
    match (label(INJECTION), label(ACK_INJECTION)) {
        (Some("true"), _) | (None, Some("on")) => OptIn::Yes,
        (Some(_), _) | (None, Some(_)) => OptIn::No,
        (None, None) => OptIn::Unset,
    }
}

impl Request {
    /// Returns the request for a pod, in order of precedence: its annotations, what ACK's webhook has added, and this.
    #[must_use]
    pub fn for_pod(&self, pod: &Value) -> Self {
        self.for_pod_and_account(pod, &Annotations::new())
    }

    /// Returns the request for a pod whose service account has annotations too: they come right after its own.
    #[must_use]
    pub fn for_pod_and_account(&self, pod: &Value, account: &Annotations) -> Self {
        let annotations = pod
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations"))
            .and_then(Value::as_object);
        let own = annotations.map(|annotations| annotated(annotations, "the annotation"));
        own.unwrap_or_default()
            .or(&annotated(account, "the service account's annotation"))
            .or(&added_by_ack(pod))
            .or(self)
    }
}

/// Reads annotations: ours take precedence over ACK's.
fn annotated(annotations: &Annotations, place: &str) -> Request {
    let mut request = Request::default();
    for names in FIELDS {
        let text = |name: Option<&'static str>| {
            let name = name?;
            let text = annotations.get(name)?.as_str()?;
            (!text.is_empty()).then_some((name, text))
        };
        if let Some((name, text)) = text(names.annotation).or_else(|| text(names.ack)) {
            request.set(names.field, text, format!("{place} {name}"));
        }
    }
    let unknown = unknown(annotations).take(MAX_UNKNOWN);
    request.mistakes = unknown
        .map(|(name, reason)| format!("{place} {name}: {reason}"))
        .collect();
    request
}

/// Returns the annotations that have our prefix and are unknown, with what to do about each.
///
/// A misspelt annotation is a mistake, because a weaker request would take its place otherwise.
fn unknown(annotations: &Annotations) -> impl Iterator<Item = (&str, String)> {
    let ours = || FIELDS.iter().filter_map(|names| names.annotation);
    let names = annotations.keys().map(String::as_str);
    let unknown = names.filter(move |name| {
        name.starts_with(PREFIX) && !ours().any(|annotation| annotation == *name)
    });
    unknown.map(move |name| {
        let reason = if name == INJECTION {
            "it is a label of pods and namespaces; write it under metadata.labels".to_owned()
        } else {
            let ours: Vec<&str> = ours().collect();
            format!(
                "there is no such annotation; choose one of {}",
                ours.join(", ")
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

/// The prefix of our annotations.
const PREFIX: &str = "ram-sidecar/";

/// How many unknown annotations are reported: small ones must not make a large response.
const MAX_UNKNOWN: usize = 10;

/// Our label of pods and namespaces.
pub(super) const INJECTION: &str = "ram-sidecar/inject";

const ACK_INJECTION: &str = "pod-identity.alibabacloud.com/injection";
