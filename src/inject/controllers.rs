//! The controllers that make pods: where their pod templates stand, and by which rules of their own a sidecar is judged.
//!
//! A kind that is not listed gets the sidecar in every template with `spec.containers`, without a word about its controller.

mod rows;

use serde_json::Value;

use super::annotations::INJECT_LABEL;
use super::json::text_of;

pub use self::rows::CONTROLLERS;

/// The rules of a controller.
#[derive(Debug)]
pub struct Controller {
    /// The API group of its kinds, or the group and a version.
    pub api: &'static str,
    /// Its kinds.
    pub kinds: &'static [&'static str],
    /// Where the pod templates stand, for readers.
    pub templates: &'static str,
    /// What it refuses or drops in a template, for readers.
    pub refuses: &'static str,
    /// What it takes for a restart of the job, for readers.
    pub restart: &'static str,
    /// When it takes the job for finished, for readers.
    pub finished: &'static str,
    /// What an injection does.
    pub injection: Injection,
    /// Whether it counts the sidecar's restarts.
    pub restarts: Option<Restarts>,
    /// What a classic sidecar does at the end of its jobs.
    pub classic: Classic,
    /// What the owner should know.
    pub notes: &'static [Note],
}

/// What an injection does.
#[derive(Clone, Copy, Debug)]
pub enum Injection {
    /// Its templates get the sidecar.
    Templates,
    /// Its templates get the sidecar, except where a field around one has another value than these.
    Except {
        /// The field, and the values that it may have.
        field: (&'static str, &'static [&'static str]),
        /// Why it stays unchanged.
        why: &'static str,
        /// Where the label of its pods stands.
        label: &'static str,
    },
    /// Its only template gets the sidecar. Several are merged by position, unless a setting merges them by name.
    Layers {
        /// The name of a template's field.
        template: &'static str,
        /// The map of settings, and the setting.
        by_name: (&'static str, &'static str),
    },
    /// It stays unchanged, because there is no template that can have the sidecar; the webhook adds it to the pods.
    Label {
        /// Why.
        why: &'static str,
        /// Where the label of its pods stands.
        label: &'static str,
    },
    /// It stays unchanged, because it makes no pods: why, and what to do.
    Elsewhere(&'static str),
}

/// How a controller counts the restarts of all containers, of which the sidecar is one.
#[derive(Debug)]
pub struct Restarts {
    /// Where the limit stands, from an object around the template; empty if the first restart counts.
    pub limit: &'static [&'static str],
    /// The limit where none is set; `None` if then none applies.
    pub default: Option<u64>,
    /// The restart policies with which they count; an empty one is an absent one.
    pub policies: &'static [&'static str],
    /// A part of the paths of the templates that it applies to.
    pub part: &'static str,
    /// What happens, and the remedy; `{}` is the number of restarts.
    pub effect: &'static str,
}

/// What a classic sidecar does at the end of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classic {
    /// Nothing: the pods run for ever, or are deleted.
    Harmless,
    /// The job ends only after it was stopped.
    Stop,
    /// The job cannot stop it: why.
    Never(&'static str),
}

/// What the owner of some templates should know.
#[derive(Debug)]
pub struct Note {
    /// When it applies.
    pub when: When,
    /// A part of the paths of the templates that it applies to.
    pub part: &'static str,
    /// A sentence about the object, without a subject; `{}` is its name.
    pub text: &'static str,
}

/// When a note applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// For a native sidecar.
    Native,
    /// For a classic sidecar.
    Classic,
    /// For the identity `oidc`.
    Oidc,
}

/// Returns the controller of a kind.
pub(super) fn find(api_version: &str, kind: &str) -> Option<&'static Controller> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    CONTROLLERS.iter().find(|controller| {
        [group, api_version].contains(&controller.api) && controller.kinds.contains(&kind)
    })
}

/// Returns the controller of the innermost object around a template, which another kind may contain.
pub(super) fn nearest(object: &Value, pointer: &str) -> Option<&'static Controller> {
    let mut outer = around(object, pointer);
    outer.find_map(|outer| find(text_of(outer, "apiVersion"), text_of(outer, "kind")))
}

/// Returns the controller that owns a pod.
pub(super) fn owner(pod: &Value) -> Option<&'static Controller> {
    let owners = super::json::objects(&pod["metadata"], "ownerReferences");
    let mut owners = owners.filter(|owner| owner["controller"] == true);
    owners.find_map(|owner| find(text_of(owner, "apiVersion"), text_of(owner, "kind")))
}

impl Controller {
    /// Returns why an object stays unchanged, whatever it holds.
    pub(super) fn unchanged(&self) -> Option<String> {
        match self.injection {
            Injection::Label { why, label } => Some(by_label(why, label)),
            Injection::Elsewhere(why) => Some(format!("is unchanged, because {why}")),
            _ => None,
        }
    }

    /// Returns why the template at a pointer stays unchanged.
    pub(super) fn refusal(&self, object: &Value, pointer: &str) -> Option<String> {
        match self.injection {
            Injection::Except {
                field: (name, allowed),
                why,
                label,
            } => {
                let set = around(object, pointer).map(|outer| text_of(outer, name));
                let is_refused = set
                    .into_iter()
                    .any(|text| !text.is_empty() && !allowed.contains(&text));
                is_refused.then(|| by_label(why, label))
            }
            Injection::Layers {
                template,
                by_name: (map, setting),
            } => {
                let is_merged = around(object, pointer).any(|outer| {
                    let value = &outer[map][setting];
                    *value == "true" || *value == true
                });
                (!is_merged && count(object, template) > 1).then(|| format!(
                    "is unchanged, because it has several fields {template}, whose lists are merged by position: keep one, or set {setting}: \"true\" in {map}"
                ))
            }
            _ => self.unchanged(),
        }
    }

    /// Returns what the owner of the template at a pointer should know, and when.
    pub(super) fn notes(&self, object: &Value, pointer: &str) -> Vec<(When, String)> {
        let name = text_of(&object["metadata"], "name");
        let notes = self.notes.iter().filter(|note| pointer.contains(note.part));
        let notes = notes.map(|note| (note.when, note.text.replace("{}", name)));
        let restarts = self.restarts.as_ref();
        let counted = restarts.and_then(|restarts| restarts.counted(object, pointer));
        notes
            .chain(counted.map(|text| (When::Always, text)))
            .collect()
    }
}

impl Restarts {
    /// Warns of restarts that count for the template at a pointer.
    fn counted(&self, object: &Value, pointer: &str) -> Option<String> {
        let template = object.pointer(pointer)?;
        let outer = around(object, pointer).map(|outer| text_of(outer, "restartPolicy"));
        let policy = outer.into_iter().find(|policy| !policy.is_empty());
        let policy = policy.unwrap_or_else(|| text_of(&template["spec"], "restartPolicy"));
        let limits = around(object, pointer).filter_map(|outer| {
            let limit = self.limit.iter().fold(outer, |value, name| &value[*name]);
            limit.as_u64()
        });
        let limit = limits.into_iter().next().or(self.default)?;
        let counts = pointer.contains(self.part) && self.policies.contains(&policy);
        // The first one is too many for a limit of 0.
        let times = limit.max(1).to_string();
        counts.then(|| {
            format!(
                "counts the sidecar's restarts as its own, and {}",
                self.effect.replace("{}", &times)
            )
        })
    }
}

/// Returns the objects around the value at a pointer, the innermost first.
fn around<'a>(object: &'a Value, pointer: &'a str) -> impl Iterator<Item = &'a Value> {
    let ends = pointer.rmatch_indices('/').map(|(end, _)| end);
    let outer = ends.filter_map(|end| object.pointer(pointer.get(..end)?));
    outer.filter(|outer| outer.is_object())
}

/// Returns how many fields of a name there are, at any depth.
fn count(value: &Value, field: &str) -> usize {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| usize::from(name == field) + count(value, field))
            .sum(),
        Value::Array(items) => items.iter().map(|item| count(item, field)).sum(),
        _ => 0,
    }
}

/// Explains that only the webhook can add the sidecar, and by which label.
pub(super) fn by_label(why: &str, label: &str) -> String {
    format!(
        "is unchanged, because {why}: set {INJECT_LABEL}: \"true\" in {label}, and `ram-sidecar webhook` adds the sidecar to its pods as they are created"
    )
}
