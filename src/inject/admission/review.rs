//! Reads admission reviews with bounded memory.

use serde_json::Value;

use crate::inject::annotations::invalid_label;
use crate::inject::json::text_of;
use crate::inject::{OptIn, completion, is_injected, opt_in};

use super::VERSION;

/// The request of an admission review.
#[derive(Debug)]
pub struct Review {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod, or the prefix of its generated name.
    pub name: String,
    /// The identifier that the response repeats.
    pub(super) uid: String,
    /// The pod to create; `None` if the request does not create a pod.
    pod: Option<Value>,
    pub(super) called_for: CalledFor,
}

/// The pods for which the API server is configured to call, which the path of the request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledFor {
    /// Those with our label, on the pod or its namespace.
    OwnLabel,
    /// Those with ACK's label. Its own webhook leaves pods without a role alone.
    Ack,
    /// Those whose namespace does not ask for the sidecar, and whose own label has a value that means nothing.
    Label,
}

/// Why a request is malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// A stable name for scripts.
    pub code: &'static str,
    /// The error, and what to send instead.
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
    /// Memory is bounded, because every client that can reach the webhook can send a review.
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        if count_values(text) > MAX_VALUES {
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
            called_for: CalledFor::OwnLabel,
        })
    }

    /// Sets for which pods the API server is configured to call.
    #[must_use]
    pub fn called_for(mut self, called_for: CalledFor) -> Self {
        self.called_for = called_for;
        self
    }

    /// Returns the name of the pod's service account if it has a say: about a sidecar, or about later containers.
    pub fn service_account(&self) -> Option<&str> {
        let has_a_say = |pod: &&Value| !is_injected(pod) || completion::is_due(pod);
        let pod = self.pod_to_inject().filter(has_a_say)?;
        let spec = pod.get("spec")?;
        let names = ["serviceAccountName", "serviceAccount"].map(|name| text_of(spec, name));
        let name = names.into_iter().find(|name| !name.is_empty());
        Some(name.unwrap_or("default"))
    }

    /// Returns the pod if it is to have the sidecar, or has it already.
    ///
    /// The selectors of the webhook's configuration have selected the pod, but its own label may opt out. A mirror pod
    /// stays unchanged, because the kubelet ignores changes to it.
    pub(super) fn pod_to_inject(&self) -> Option<&Value> {
        let pod = self.pod.as_ref().filter(|pod| !is_mirror(pod))?;
        (opt_in(pod["metadata"].get("labels")) != OptIn::No).then_some(pod)
    }

    /// Returns the value of the label `ram-sidecar/inject` if it is neither true nor false, and prevents an injection.
    pub(super) fn invalid_label(&self) -> Option<&str> {
        let pod = self.pod.as_ref();
        let pod = pod.filter(|pod| !is_mirror(pod) && !is_injected(pod))?;
        invalid_label(pod["metadata"].get("labels"))
    }
}

fn is_mirror(pod: &Value) -> bool {
    let annotations = &pod["metadata"]["annotations"];
    annotations.get(MIRROR_ANNOTATION).is_some()
}

/// The annotation of mirror pods, which represent the static pods of a kubelet in the API.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Whether a request creates a pod, and not a subresource of one.
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
pub(super) fn count_values(text: &[u8]) -> usize {
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

/// Each value takes some hundred bytes of memory. Kubernetes stores at most 1.5 MB of a pod; one with more values would
/// consist mostly of brackets.
pub(super) const MAX_VALUES: usize = 65_536;

/// Bytes; a UUID has 36.
const MAX_UID: usize = 128;
