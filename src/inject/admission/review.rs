//! What the API server asks: the request of an admission review, read with bounded memory.

use serde_json::{Map, Value};

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

impl Review {
    /// Reads a review.
    ///
    /// The memory it takes is bounded: whoever can reach the webhook can send one.
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        if values(text) > MOST_VALUES {
            return Err(Malformed {
                code: "TooManyValues",
                message: format!("the body has more than {MOST_VALUES} values, which no pod has"),
            });
        }
        let mut review: Value = serde_json::from_slice(text).map_err(|error| Malformed {
            code: "NotJson",
            message: format!(
                "the body is not JSON: line {}, column {}; send an AdmissionReview",
                error.line(),
                error.column()
            ),
        })?;
        if review["kind"] != "AdmissionReview" {
            let message = "the body is no AdmissionReview; send one of admission.k8s.io/v1";
            return Err(malformed("NoReview", message));
        }
        if review["apiVersion"] != VERSION {
            let message =
                "only admission.k8s.io/v1 is spoken here; name v1 alone in admissionReviewVersions";
            return Err(malformed("WrongVersion", message));
        }
        let Some(Value::Object(request)) = review.get_mut("request") else {
            return Err(malformed(
                "NoRequest",
                "the review has no request; send one",
            ));
        };
        let uid = text_of(request.get("uid"));
        if uid.is_empty() || uid.len() > LONGEST_UID {
            let message = "the request has no uid, which the answer repeats; send one";
            return Err(malformed("NoUid", message));
        }
        let uid = uid.to_owned();
        let object = match request.get_mut("object").map(Value::take) {
            _ if !creates_a_pod(request) => None,
            Some(pod @ Value::Object(_)) => Some(pod),
            _ => {
                let message = "the request has no object, which is the pod to create; send it";
                return Err(malformed("NoObject", message));
            }
        };
        let metadata = object.as_ref().map_or(&Value::Null, |pod| &pod["metadata"]);
        let first = |texts: &[&str]| {
            let said = texts.iter().find(|text| !text.is_empty());
            said.copied().unwrap_or_default().to_owned()
        };
        let namespaces = [request.get("namespace"), metadata.get("namespace")].map(text_of);
        let names = [
            metadata.get("name"),
            request.get("name"),
            metadata.get("generateName"),
        ];
        Ok(Self {
            namespace: first(&namespaces),
            name: first(&names.map(text_of)),
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
        let names = ["serviceAccountName", "serviceAccount"].map(|name| text_of(spec.get(name)));
        let said = names.into_iter().find(|name| !name.is_empty());
        Some(said.unwrap_or("default"))
    }

    /// Returns the pod if it is to have the sidecar.
    ///
    /// The selectors of the webhook's configuration have decided that; a pod's own label still counts where they are wider. One
    /// that has it already is left as it is.
    pub(super) fn wanting(&self) -> Option<&Value> {
        let pod = self.pod.as_ref()?;
        let labels = pod["metadata"].get("labels");
        (opted(labels) != Opted::Out && !is_injected(pod)).then_some(pod)
    }

    /// Returns what the answer repeats.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }
}

/// Whether a request is for a new pod, and for the pod itself.
fn creates_a_pod(request: &Map<String, Value>) -> bool {
    let kind = &request.get("kind").unwrap_or(&Value::Null);
    let is_pod = text_of(kind.get("group")).is_empty()
        && text_of(kind.get("version")) == "v1"
        && text_of(kind.get("kind")) == "Pod";
    is_pod
        && text_of(request.get("operation")) == "CREATE"
        && text_of(request.get("subResource")).is_empty()
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

fn text_of(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn malformed(code: &'static str, message: &str) -> Malformed {
    Malformed {
        code,
        message: message.to_owned(),
    }
}

/// Each takes some hundred bytes when it is read. Of what Kubernetes can store, 1.5 MB, a pod with so many would hold little
/// but brackets.
pub(super) const MOST_VALUES: usize = 65_536;

/// A UUID has 36 characters.
const LONGEST_UID: usize = 128;
