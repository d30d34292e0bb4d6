//! Finds the pods and pod templates in a document, and adds the sidecar to each.
//!
//! A kind need not be known: every template with `spec.containers` is a pod template. What is known of kinds is in
//! [`controllers`].

use serde_json::Value;

use crate::chains::Client;

use super::annotations::{OptIn, invalid_label, opt_in};
use super::controllers::{self, Classic, Controller, When};
use super::explanation::{self, Container};
use super::field::Field;
use super::json::{MAX_LINE_SIZE, single_line, text_of};
use super::request::Request;
use super::spec::{Identity, Mode};
use super::{complete, completion, inject, is_injected, messages, mpi};

/// The result for several documents. Each line begins with the kind and the name of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The summary and the warnings of each pod, a line each.
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

/// Explains what clients will use in every container of every pod and pod template in a document.
pub fn explain_all(document: &Value, clients: &[&'static Client]) -> Vec<Container> {
    let kind = text_of(document, "kind");
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = document.get("items")
    {
        let is_pod = |item: &Value| kind == "PodList" && item.get("kind").is_none();
        let found = items.iter().map(|item| {
            if is_pod(item) {
                explanation::of_pod(&title(item), item, clients)
            } else {
                explain_all(item, clients)
            }
        });
        return found.flatten().collect();
    }
    let object = title(document);
    if kind == "Pod" {
        return explanation::of_pod(&object, document, clients);
    }
    let mut found = Vec::new();
    templates(document, "", "", &mut found);
    let is_single = found.len() == 1;
    let explained = found.iter().filter_map(|(path, pointer)| {
        let title = if is_single {
            object.clone()
        } else {
            format!("{object}: {path}")
        };
        let pod = document.pointer(pointer)?;
        Some(explanation::of_pod(&title, pod, clients))
    });
    explained.flatten().collect()
}

fn inject_all(document: &mut Value, kind: &str, request: &Request, report: &mut Report) {
    let object = title(document);
    let controller = controllers::find(text_of(document, "apiVersion"), kind);
    let mut found = Vec::new();
    let mut say = |title: &str, text: &str| {
        let message = single_line(&format!("{title}: {text}"), MAX_LINE_SIZE);
        report.messages.push(message);
    };
    if let Some(why) = controller.and_then(Controller::unchanged) {
        return say(&object, &why);
    }
    if kind == "Pod" {
        found.push((String::new(), String::new()));
    } else {
        templates(document, "", "", &mut found);
    }
    if found.is_empty() {
        if runs_containers(document) {
            say(
                &object,
                &controllers::by_label("it has no pod template", "the labels of its pods"),
            );
        }
        return;
    }
    if let Some(note) = mpi::note(document) {
        say(&object, &note);
    }
    let is_mpi = mpi::is_job(document);
    let is_single = found.len() == 1;
    report.pods += found.len();
    let mut has_default_key = false;
    for (path, pointer) in found {
        let title = if is_single {
            object.clone()
        } else {
            format!("{object}: {path}")
        };
        let line = |text: &str| single_line(&format!("{title}: {text}"), MAX_LINE_SIZE);
        let controller = controllers::nearest(document, &pointer).or(controller);
        let refusal = controller.and_then(|controller| controller.refusal(document, &pointer));
        if let Some(why) = refusal {
            report.messages.push(line(&why));
            continue;
        }
        let notes = controller.map(|controller| controller.notes(document, &pointer));
        let rules = Rules {
            is_mpi,
            needs_stop: controller
                .is_some_and(|controller| controller.classic != Classic::Harmless),
            notes: notes.unwrap_or_default(),
        };
        let Some(pod) = document.pointer_mut(&pointer) else {
            continue;
        };
        match inject_one(pod, request, rules) {
            Ok(messages) => {
                for text in messages {
                    has_default_key |= text == mpi::WARNING;
                    if text != mpi::WARNING {
                        report.messages.push(line(&text));
                    }
                }
            }
            Err(errors) => report.errors.extend(errors.iter().map(|error| line(error))),
        }
    }
    if has_default_key {
        let message = single_line(&format!("{object}: {}", mpi::WARNING), MAX_LINE_SIZE);
        report.messages.push(message);
    }
}

/// What the object around a template says about it.
struct Rules {
    is_mpi: bool,
    /// Whether its job ends only after a classic sidecar was stopped.
    needs_stop: bool,
    notes: Vec<(When, String)>,
}

fn inject_one(
    pod: &mut Value,
    request: &Request,
    rules: Rules,
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
        let for_pod = request.for_pod(pod);
        let unheeded = completion::unheeded(pod, &for_pod);
        let completed = complete(pod, &for_pod).map_err(|error| vec![error.to_string()])?;
        *pod = completed.pod;
        return Ok([vec![completed.summary], unheeded, completed.warnings].concat());
    }
    let mut for_pod = request.for_pod(pod);
    if rules.is_mpi {
        for_pod = for_pod.or(&mpi::defaults(pod));
    }
    let spec = for_pod.check()?;
    let injected = inject(pod, &spec).map_err(|error| vec![error.to_string()])?;
    *pod = injected.pod;
    let mut messages = [vec![injected.summary], injected.warnings].concat();
    if mpi::has_default(&for_pod) {
        messages.push(mpi::WARNING.to_owned());
    } else if rules.is_mpi {
        messages.extend(mpi::without_default(pod, &for_pod));
    }
    let stop = messages::stop(&spec);
    if rules.needs_stop && spec.mode == Mode::Classic && !messages.contains(&stop) {
        messages.push(stop);
    }
    let notes = rules.notes.into_iter().filter(|(when, _)| match when {
        When::Always => true,
        When::Native => spec.mode == Mode::Native,
        When::Classic => spec.mode == Mode::Classic,
        When::Oidc => matches!(spec.identity, Identity::Oidc { .. }),
    });
    messages.extend(notes.map(|(_, text)| text));
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

/// Finds pod templates at any depth; returns the path of each, and its JSON pointer.
fn templates(value: &Value, path: &str, pointer: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let pointer = format!("{pointer}/{escaped}");
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let is_template = name == "template" || name.ends_with("Template");
                if is_template && is_pod_template(value) {
                    found.push((path, pointer));
                } else {
                    templates(value, &path, &pointer, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let (path, pointer) = (format!("{path}[{index}]"), format!("{pointer}/{index}"));
                templates(item, &path, &pointer, found);
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

/// Fields that hold containers, or steps that run in one.
const CONTAINER_FIELDS: &[&str] = &[
    "container",
    "containers",
    "initContainers",
    "script",
    "steps",
];
