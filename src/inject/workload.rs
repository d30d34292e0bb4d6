//! Finds the pods and pod templates in a document, and adds the sidecar to each.
//!
//! The kinds of Kubeflow, Volcano or Ray need not be known: every template with `spec.containers` is a pod template.

use serde_json::Value;

use super::annotations::{OptIn, invalid_label, opt_in};
use super::field::Field;
use super::json::{MAX_LINE_SIZE, single_line, text_of};
use super::request::Request;
use super::{complete, inject, is_injected, messages, mpi};

/// The result for several documents. Each line begins with the kind and the name of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The summary and the warnings of each pod, in one line.
    pub messages: Vec<String>,
    /// Why pods cannot have the sidecar.
    pub errors: Vec<String>,
    /// The number of pods and pod templates.
    pub pods: usize,
}

/// Adds the sidecar to every pod and every pod template in a document.
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
    let is_mpi = mpi::is_job(document);
    let note = mpi::note(document);
    let known = DEFINED_ELSEWHERE.iter().find(|(other, _)| *other == kind);
    let advice = known.map(|(_, advice)| *advice);
    let advice = advice.or_else(|| runs_containers(document).then_some(BY_WEBHOOK));
    let advice = advice.map(str::to_owned);
    let mut found = Vec::new();
    if kind == "Pod" {
        found.push((String::new(), document));
    } else {
        templates(document, "", &mut found);
    }
    let is_single = found.len() == 1;
    if let Some(note) = if found.is_empty() { advice } else { note } {
        let message = single_line(&format!("{object}: {note}"), MAX_LINE_SIZE);
        report.messages.push(message);
    }
    report.pods += found.len();
    for (path, pod) in found {
        let title = if is_single {
            object.clone()
        } else {
            format!("{object}: {path}")
        };
        let line = |text: &str| single_line(&format!("{title}: {text}"), MAX_LINE_SIZE);
        match inject_one(pod, request, is_mpi) {
            Ok(messages) => report.messages.push(line(&messages.join("; "))),
            Err(errors) => report.errors.extend(errors.iter().map(|error| line(error))),
        }
    }
}

fn inject_one(
    pod: &mut Value,
    request: &Request,
    is_mpi: bool,
) -> Result<Vec<String>, Vec<String>> {
    let labels = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("labels"));
    if opt_in(labels) == OptIn::No {
        return Ok(vec![match invalid_label(labels) {
            Some(_) if is_injected(pod) => messages::already_injected(),
            Some(value) => messages::invalid_label(value),
            None => "opts out by a label and is unchanged".to_owned(),
        }]);
    }
    // Even if the request is incomplete: such a pod needs no role.
    if is_injected(pod) {
        let completed = complete(pod, &request.for_pod(pod));
        let completed = completed.map_err(|error| vec![error.to_string()])?;
        *pod = completed.pod;
        return Ok([vec![completed.summary], completed.warnings].concat());
    }
    let mut for_pod = request.for_pod(pod);
    if is_mpi {
        for_pod = for_pod.or(&mpi::defaults());
    }
    let injected = inject(pod, &for_pod.check()?);
    let injected = injected.map_err(|error| vec![error.to_string()])?;
    *pod = injected.pod;
    let mut messages = [vec![injected.summary], injected.warnings].concat();
    messages.extend(mpi::warning(&for_pod));
    for field in [Field::Role, Field::Identity, Field::OidcProviderArn] {
        if let (Some(overridden), Some(used)) = (request.get(field), for_pod.get(field))
            && overridden.text != used.text
        {
            messages.push(format!(
                "{} takes precedence over {}",
                used.place, overridden.place
            ));
        }
    }
    Ok(messages)
}

/// Finds pod templates at any depth, with their paths.
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
                if is_template && is_pod_template(value) {
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

fn is_pod_template(template: &Value) -> bool {
    let spec = template.get("spec");
    let containers = spec.and_then(|spec| spec.get("containers"));
    containers.is_some_and(Value::is_array)
}

/// Whether an object has containers with images, at any depth.
fn runs_containers(value: &Value) -> bool {
    let has_image = |value: &Value| !text_of(value, "image").is_empty();
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let is_run = match value {
                Value::Array(items) => {
                    CONTAINER_FIELDS.contains(&name.as_str()) && items.iter().any(has_image)
                }
                value => CONTAINER_FIELDS.contains(&name.as_str()) && has_image(value),
            };
            is_run || runs_containers(value)
        }),
        Value::Array(items) => items.iter().any(runs_containers),
        _ => false,
    }
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

/// Kinds whose pods are defined elsewhere, each with the remedy.
const DEFINED_ELSEWHERE: &[(&str, &str)] = &[
    (
        "TrainJob",
        "is unchanged, because its runtime defines its pods: add the sidecar to that TrainingRuntime or ClusterTrainingRuntime",
    ),
    ("CronWorkflow", BY_WEBHOOK),
    ("InferenceService", BY_WEBHOOK),
    ("LLMInferenceService", BY_WEBHOOK),
    ("Pipeline", BY_WEBHOOK),
    ("PipelineRun", BY_WEBHOOK),
    ("ScheduledSparkApplication", BY_WEBHOOK),
    ("SparkApplication", BY_WEBHOOK),
    ("SparkConnect", BY_WEBHOOK),
    ("TaskRun", BY_WEBHOOK),
    ("Workflow", BY_WEBHOOK),
    ("WorkflowTemplate", BY_WEBHOOK),
    ("ClusterWorkflowTemplate", BY_WEBHOOK),
];

/// Fields that hold containers, or steps that run in one.
const CONTAINER_FIELDS: &[&str] = &[
    "container",
    "containers",
    "initContainers",
    "script",
    "steps",
];

const BY_WEBHOOK: &str = "is unchanged, because it has no pod template: label its pods ram-sidecar/inject: \"true\", and `ram-sidecar webhook` adds the sidecar when they are created";
