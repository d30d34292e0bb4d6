//! Adds the sidecar to pods: returns the pod with it, and notes about what was done.
//!
//! Nothing of the pod is changed or lost: fields are added, and items are added to lists. A pod that has the sidecar
//! already is left as it is.

pub mod admission;
mod annotations;
mod app_container;
mod check;
pub mod command;
mod edit;
mod injection;
mod json;
mod notes;
mod request;
mod resources;
mod sidecar;
mod spec;
mod values;
mod volumes;
pub mod webhook;
pub mod workload;
pub mod yaml;

use serde_json::Value;

use self::edit::Edit;
use self::injection::Injection;
use self::json::has_container;
use self::sidecar::NAME;

pub use self::annotations::{Annotations, OptIn, opt_in};
pub use self::request::{FIELDS, Field, FieldNames, Given, Request};
pub use self::spec::{Identity, Mode, Spec};
pub(crate) use self::values::is_object_name;

/// A pod with the sidecar, and what its owner should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// The pod, or the pod template.
    pub pod: Value,
    /// The operations of an RFC 6902 patch that makes this pod of the one that was given.
    pub operations: Vec<Value>,
    /// Sentences without a final stop: first what was done, then what else its owner should know.
    pub notes: Vec<String>,
}

/// Why a pod cannot have the sidecar, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Adds the sidecar to a pod, or to a pod template: an object with `metadata` and `spec`.
pub fn inject(pod: &Value, spec: &Spec) -> Result<Injected, Refusal> {
    let mut edit = Edit::new(pod.clone());
    let notes = if is_injected(pod) {
        vec![notes::already_injected()]
    } else {
        Injection::new(&mut edit, spec)?.run()?
    };
    Ok(Injected {
        pod: edit.pod,
        operations: edit.operations,
        notes,
    })
}

/// Whether a pod has the sidecar already.
pub fn is_injected(pod: &Value) -> bool {
    has_container(pod, NAME)
}

#[cfg(test)]
mod tests;
