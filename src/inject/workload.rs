//! Finds the pods in any document, and adds the sidecar to each.
//!
//! The kinds of Kubeflow, Volcano or Ray need not be known: every template that has `spec.containers` is one of pods.

use serde_json::Value;

use super::annotations::{OptIn, opt_in};
use super::json::{LONGEST, line, text_of};
use super::request::{Field, Request};
use super::{inject, is_injected, notes};

/// What was done in documents, a line each, which begins with the kind and the name of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was done, and what the owner should know: a line for each pod.
    pub notes: Vec<String>,
    /// Why pods cannot have the sidecar.
    pub mistakes: Vec<String>,
    /// The number of pods and of templates of pods.
    pub pods: usize,
}

/// Adds the sidecar to every pod and every template of pods in a document.
pub fn inject_into(document: &mut Value, request: &Request, report: &mut Report) {
    let kind = text_of(document, "kind").to_owned();
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = document.get_mut("items")
    {
        for item in items {
            // The API omits the kind of the items of a list.
            if kind == "PodList" && item.get("kind").is_none() {
                inject_all(item, "Pod", request, report);
            } else {
                inject_into(item, request, report);
            }
        }
        return;
    }
    inject_all(document, &kind, request, report);
}

fn inject_all(document: &mut Value, kind: &str, request: &Request, report: &mut Report) {
    let object = title(document);
    let mut found = Vec::new();
    if kind == "Pod" {
        found.push((String::new(), document));
    } else {
        templates(document, "", &mut found);
    }
    let is_single = found.len() == 1;
    if found.is_empty()
        && let Some((_, advice)) = ELSEWHERE.iter().find(|(other, _)| *other == kind)
    {
        let note = line(&format!("{object}: {advice}"), LONGEST);
        report.notes.push(note);
    }
    report.pods += found.len();
    for (path, pod) in found {
        let title = if is_single {
            object.clone()
        } else {
            format!("{object}: {path}")
        };
        let line = |text: &str| line(&format!("{title}: {text}"), LONGEST);
        match inject_one(pod, request) {
            Ok(notes) => report.notes.push(line(&notes.join("; "))),
            Err(mistakes) => {
                let mistakes = mistakes.iter().map(|mistake| line(mistake));
                report.mistakes.extend(mistakes);
            }
        }
    }
}

fn inject_one(pod: &mut Value, request: &Request) -> Result<Vec<String>, Vec<String>> {
    let labels = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("labels"));
    if opt_in(labels) == OptIn::No {
        return Ok(vec![
            "declines the sidecar by a label, and is left as it is".to_owned(),
        ]);
    }
    // It needs no role to be left alone.
    if is_injected(pod) {
        return Ok(vec![notes::already_injected()]);
    }
    let for_pod = request.for_pod(pod);
    let injected = inject(pod, &for_pod.check()?);
    let injected = injected.map_err(|refusal| vec![refusal.to_string()])?;
    *pod = injected.pod;
    let mut notes = injected.notes;
    for field in [Field::Role, Field::Identity, Field::OidcProviderArn] {
        if let (Some(ours), Some(theirs)) = (request.get(field), for_pod.get(field))
            && ours.text != theirs.text
        {
            notes.push(format!(
                "{} takes precedence over {}",
                theirs.place, ours.place
            ));
        }
    }
    Ok(notes)
}

/// Finds templates of pods at any depth, with their paths.
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

/// Kinds whose pods are defined elsewhere, and what to do about it.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "TrainJob",
        "is left as it is, because its pods are defined by its runtime: add the sidecar to that TrainingRuntime or ClusterTrainingRuntime",
    ),
    ("InferenceService", BY_WEBHOOK),
    ("SparkApplication", BY_WEBHOOK),
    ("TaskRun", BY_WEBHOOK),
    ("Workflow", BY_WEBHOOK),
];

const BY_WEBHOOK: &str = "is left as it is, because it has no template of pods: label its pods ram-sidecar/inject: \"true\", and `ram-sidecar webhook` adds the sidecar when they are created";
