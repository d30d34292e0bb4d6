//! Reads admission reviews with bounded memory.

use serde_json::Value;

use crate::inject::annotations::INJECTION;
use crate::inject::json::text_of;
use crate::inject::{OptIn, is_injected, opt_in};

use super::VERSION;

/// The request of an admission review.
#[derive(Debug)]
pub struct Review {
    uid: String,
    /// The pod to create; nothing if the request is about something else.
    pod: Option<Value>,
    namespace: String,
    name: String,
}

/// Why a request is malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// A stable name for scripts.
    pub code: &'static str,
    /// What is wrong with it, and what to send instead.
    pub message: String,
}

impl Malformed {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

impl Review {
    /// Reads a review.
    ///
    /// Its memory is bounded, because everybody who can reach the webhook can send one.
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        if values(text) > MAX_VALUES {
            let message = format!("the body has more than {MAX_VALUES} values, which no pod has");
            return Err(Malformed::new("TooManyValues", message));
        }
        let mut review: Value = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = format!(
                "the body is not JSON: line {line}, column {column}; send an AdmissionReview"
            );
            Malformed::new("NotJson", message)
        })?;
        if review["kind"] != "AdmissionReview" {
            let message = "the body is not an AdmissionReview; send one of admission.k8s.io/v1";
            return Err(Malformed::new("NoReview", message));
        }
        if review["apiVersion"] != VERSION {
            let message =
                "the version is not admission.k8s.io/v1; list only v1 in admissionReviewVersions";
            return Err(Malformed::new("WrongVersion", message));
        }
        let request = review.get_mut("request");
        let Some(request) = request.filter(|request| request.is_object()) else {
            return Err(Malformed::new(
                "NoRequest",
                "the review has no request; send one",
            ));
        };
        let uid = text_of(request, "uid");
        if uid.is_empty() || uid.len() > MAX_UID {
            let message = "the request has no uid of at most 128 bytes; send one";
            return Err(Malformed::new("NoUid", message));
        }
        let uid = uid.to_owned();
        let object = match request.get_mut("object").map(Value::take) {
            _ if !creates_a_pod(request) => None,
            Some(pod @ Value::Object(_)) => Some(pod),
            _ => {
                let message = "the request has no object, which is the pod to create; send it";
                return Err(Malformed::new("NoObject", message));
            }
        };
        let metadata = object.as_ref().map_or(&Value::Null, |pod| &pod["metadata"]);
        let first = |texts: &[&str]| {
            let first = texts.iter().find(|text| !text.is_empty());
            first.copied().unwrap_or_default().to_owned()
        };
        let namespaces = [request, metadata].map(|object| text_of(object, "namespace"));
        let names = [
            text_of(metadata, "name"),
            text_of(request, "name"),
            text_of(metadata, "generateName"),
        ];
        Ok(Self {
            namespace: first(&namespaces),
            name: first(&names),
            uid,
            pod: object,
        })
    }

    /// Returns the namespace of the pod.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the name of the pod, or the prefix of its generated name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name of the pod's service account, if the pod is to have the sidecar.
    pub fn account(&self) -> Option<&str> {
        let spec = self.candidate()?.get("spec")?;
        let names = ["serviceAccountName", "serviceAccount"].map(|name| text_of(spec, name));
        let name = names.into_iter().find(|name| !name.is_empty());
        Some(name.unwrap_or("default"))
    }

    /// Returns the pod if it is to have the sidecar.
    ///
    /// The selectors of the webhook's configuration have chosen the pod, but a pod may still decline by its own label. One that
    /// has the sidecar already is left as it is. So is a mirror pod, because the kubelet ignores changes of it.
    pub(super) fn candidate(&self) -> Option<&Value> {
        let pod = self.pod.as_ref()?;
        let metadata = &pod["metadata"];
        let is_mirror = metadata["annotations"].get(MIRROR).is_some();
        let declines = opt_in(metadata.get("labels")) == OptIn::No;
        (!declines && !is_mirror && !is_injected(pod)).then_some(pod)
    }

    /// Returns the value of our label if it is neither true nor false.
    pub(super) fn unclear(&self) -> Option<&str> {
        let label = self.pod.as_ref()?["metadata"]["labels"].get(INJECTION)?;
        label
            .as_str()
            .filter(|value| !["true", "false"].contains(value))
    }

    /// Returns the identifier that the response repeats.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }
}

/// The annotation of mirror pods, by which the API shows the static pods of a kubelet.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether a request is about the creation of a pod, and not about a subresource.
fn creates_a_pod(request: &Value) -> bool {
    let kind = request.get("kind").unwrap_or(&Value::Null);
    let is_pod = text_of(kind, "group").is_empty()
        && text_of(kind, "version") == "v1"
        && text_of(kind, "kind") == "Pod";
    is_pod
        && text_of(request, "operation") == "CREATE"
        && text_of(request, "subResource").is_empty()
}

/// Returns an upper bound on the values in a JSON text: each but the first follows one of three characters.
pub(super) fn values(text: &[u8]) -> usize {
    let (mut count, mut is_in_string, mut is_escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_in_string,
            b'"' => is_in_string = !is_in_string,
            b',' | b'[' | b'{' if !is_in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Each value takes some hundred bytes of memory. Kubernetes stores at most 1.5 MB of a pod; one with so many values would
/// consist of little but brackets.
pub(super) const MAX_VALUES: usize = 65_536;

/// Bytes; a UUID has 36.
const MAX_UID: usize = 128;
