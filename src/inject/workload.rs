//! Finds pods in whatever document holds them, and adds the sidecar to each.
//!
//! Nothing is known of the kinds of Kubeflow, Volcano or Ray: whatever has a template with `spec.containers` makes pods.

use serde_json::Value;

use super::annotations::{Opted, opted};
use super::json::{LONGEST, line, text_of};
use super::request::{Wanted, Word};
use super::{Injected, already, inject, is_injected};

/// What there is to say about documents, a line each, beginning with the kind and the name of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What was done, and what its owner should know: one for each pod.
    pub notes: Vec<String>,
    /// Why a pod cannot have the sidecar.
    pub mistakes: Vec<String>,
    /// How many pods and templates of pods there are.
    pub pods: usize,
}

/// Adds the sidecar to every pod and every template of pods in a document.
pub fn inject_into(document: &mut Value, wanted: &Wanted, told: &mut Told) {
    let kind = text_of(document, "kind").to_owned();
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = document.get_mut("items")
    {
        for item in items {
            // The API does not say what the items of a list are.
            if kind == "PodList" && item.get("kind").is_none() {
                inject_all(item, "Pod", wanted, told);
            } else {
                inject_into(item, wanted, told);
            }
        }
        return;
    }
    inject_all(document, &kind, wanted, told);
}

fn inject_all(document: &mut Value, kind: &str, wanted: &Wanted, told: &mut Told) {
    let object = title(document);
    let mut found = Vec::new();
    if kind == "Pod" {
        found.push((String::new(), document));
    } else {
        templates(document, "", &mut found);
    }
    let is_alone = found.len() == 1;
    if found.is_empty()
        && let Some((_, advice)) = ELSEWHERE.iter().find(|(other, _)| *other == kind)
    {
        told.notes
            .push(line(&format!("{object}: {advice}"), LONGEST));
    }
    told.pods += found.len();
    for (path, pod) in found {
        let title = if is_alone {
            object.clone()
        } else {
            format!("{object}: {path}")
        };
        match one(pod, wanted) {
            Ok(notes) => told
                .notes
                .push(line(&format!("{title}: {}", notes.join("; ")), LONGEST)),
            Err(mistakes) => {
                let lines = mistakes
                    .iter()
                    .map(|told| line(&format!("{title}: {told}"), LONGEST));
                told.mistakes.extend(lines);
            }
        }
    }
}

fn one(pod: &mut Value, wanted: &Wanted) -> Result<Vec<String>, Vec<String>> {
    let labels = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("labels"));
    if opted(labels) == Opted::Out {
        return Ok(vec![
            "asks for no sidecar by a label, and is left as it is".to_owned(),
        ]);
    }
    // It needs no role to be left alone.
    if is_injected(pod) {
        return Ok(vec![already()]);
    }
    let of_pod = wanted.of_pod(pod);
    let injected = inject(pod, &of_pod.checked()?);
    let Injected {
        pod: injected,
        mut notes,
    } = injected.map_err(|refusal| vec![refusal.to_string()])?;
    *pod = injected;
    for word in [Word::Role, Word::Identity, Word::OidcProviderArn] {
        if let (Some(ours), Some(theirs)) = (wanted.said(word), of_pod.said(word))
            && ours.text != theirs.text
        {
            notes.push(format!("{} counts, not {}", theirs.place, ours.place));
        }
    }
    Ok(notes)
}

/// Finds templates of pods at any depth, and where they are.
fn templates<'a>(value: &'a mut Value, path: &str, found: &mut Vec<(String, &'a mut Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let is_template = name == "template" || name.ends_with("Template");
                if is_template && is_of_pods(value) {
                    found.push((path, value));
                } else {
                    templates(value, &path, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                templates(item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn is_of_pods(template: &Value) -> bool {
    let spec = template.get("spec");
    let containers = spec.and_then(|spec| spec.get("containers"));
    containers.is_some_and(Value::is_array)
}

/// Returns the kind and the name of an object.
fn title(object: &Value) -> String {
    let or_unknown = |text: &str| if text.is_empty() { "?" } else { text }.to_owned();
    let kind = or_unknown(text_of(object, "kind"));
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    let name = match (text_of(metadata, "name"), text_of(metadata, "generateName")) {
        ("", generated) => or_unknown(generated),
        (name, _) => name.to_owned(),
    };
    format!("{kind}/{name}")
}

/// Kinds whose pods are described elsewhere, and what to do about it.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "TrainJob",
        "is left as it is, because its pods are those of the runtime that it names: add the sidecar to that TrainingRuntime or ClusterTrainingRuntime",
    ),
    ("InferenceService", BY_WEBHOOK),
    ("SparkApplication", BY_WEBHOOK),
    ("TaskRun", BY_WEBHOOK),
    ("Workflow", BY_WEBHOOK),
];

const BY_WEBHOOK: &str = "is left as it is, because it holds no template of pods: let its pods carry the label ram-sidecar/inject, and `ram-sidecar webhook` add the sidecar when they are made";
