//! What the API server asks: the request of an admission review, read with bounded memory.

use serde_json::Value;

use crate::inject::annotations::INJECTION;
use crate::inject::json::text_of;
use crate::inject::{Opted, is_injected, opted};

use super::VERSION;

/// A request of the API server.
#[derive(Debug)]
pub struct Review {
    uid: String,
    /// The pod that is to be created; nothing if this is about something else.
    pod: Option<Value>,
    namespace: String,
    name: String,
}

/// Why a text is no review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// A stable name.
    pub code: &'static str,
    /// What is wrong, and what to send instead.
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
    /// The memory it takes is bounded: whoever can reach the webhook can send one.
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        if values(text) > MOST_VALUES {
            let message = format!("the body has more than {MOST_VALUES} values, which no pod has");
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
            let message = "the body is no AdmissionReview; send one of admission.k8s.io/v1";
            return Err(Malformed::new("NoReview", message));
        }
        if review["apiVersion"] != VERSION {
            let message =
                "only admission.k8s.io/v1 is spoken here; name v1 alone in admissionReviewVersions";
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
        if uid.is_empty() || uid.len() > LONGEST_UID {
            let message = "the request has no uid, which the answer repeats; send one";
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
            let said = texts.iter().find(|text| !text.is_empty());
            said.copied().unwrap_or_default().to_owned()
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

    /// Returns the name of the pod, or what its name will begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name of the pod's service account, if the pod is to have the sidecar.
    pub fn account(&self) -> Option<&str> {
        let spec = self.wanting()?.get("spec")?;
        let names = ["serviceAccountName", "serviceAccount"].map(|name| text_of(spec, name));
        let said = names.into_iter().find(|name| !name.is_empty());
        Some(said.unwrap_or("default"))
    }

    /// Returns the pod if it is to have the sidecar.
    ///
    /// The selectors of the webhook's configuration have decided that; a pod's own label still counts where they are wider. One
    /// that has it already is left as it is, and so is the image of what a kubelet runs by itself, who would not see a change.
    pub(super) fn wanting(&self) -> Option<&Value> {
        let pod = self.pod.as_ref()?;
        let metadata = &pod["metadata"];
        let is_mirror = metadata["annotations"].get(MIRROR).is_some();
        let is_out = opted(metadata.get("labels")) == Opted::Out;
        (!is_out && !is_mirror && !is_injected(pod)).then_some(pod)
    }

    /// Returns a value of our label that is neither yes nor no.
    pub(super) fn unclear(&self) -> Option<&str> {
        let label = self.pod.as_ref()?["metadata"]["labels"].get(INJECTION)?;
        label
            .as_str()
            .filter(|value| !["true", "false"].contains(value))
    }

    /// Returns what the answer repeats.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }
}

/// Stands on what the API shows of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether a request is for a new pod, and for the pod itself.
fn creates_a_pod(request: &Value) -> bool {
    let kind = request.get("kind").unwrap_or(&Value::Null);
    let is_pod = text_of(kind, "group").is_empty()
        && text_of(kind, "version") == "v1"
        && text_of(kind, "kind") == "Pod";
    is_pod
        && text_of(request, "operation") == "CREATE"
        && text_of(request, "subResource").is_empty()
}

/// Counts the values in a JSON text, or a few more: each but the first follows one of three characters.
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

/// Each takes some hundred bytes when it is read. Of what Kubernetes can store, 1.5 MB, a pod with so many would hold little
/// but brackets.
pub(super) const MOST_VALUES: usize = 65_536;

/// A UUID has 36 characters.
const LONGEST_UID: usize = 128;
