//! Adds the sidecar to pods.
//!
//! An injection only adds fields, and items of lists: it changes or removes no value of the pod. In a pod that already has
//! the sidecar it configures only containers that were added later.

pub mod admission;
mod annotations;
mod app_container;
mod check;
mod clients;
pub mod command;
mod completion;
pub mod controllers;
mod edit;
mod error;
mod explanation;
mod field;
mod injection;
mod json;
mod messages;
mod mpi;
pub mod policy;
mod reached;
mod request;
mod resources;
mod scraping;
mod sidecar;
mod spec;
mod values;
mod volumes;
pub mod webhook;
pub mod workload;
pub mod yaml;

use serde_json::Value;

use self::edit::Edit;
use self::json::has_container;
use self::sidecar::NAME;

pub use self::annotations::{Annotations, OptIn, opt_in};
pub use self::error::Error;
pub use self::explanation::Container;
pub use self::field::{AcceptedFrom, FIELDS, Field, FieldNames};
pub use self::request::{Given, Request};
pub use self::spec::{Amount, Endpoints, Identity, Key, Metadata, Mode, Resources};
pub use self::spec::{Selection, Spec};
pub(crate) use self::values::is_object_name;

/// A pod with the sidecar, and messages to its owner.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// The pod, or the pod template.
    pub pod: Value,
    /// The operations of an RFC 6902 patch that adds the sidecar to the original pod.
    pub operations: Vec<Value>,
    /// What was done: a sentence without a subject and a final stop.
    pub summary: String,
    /// What the owner of the pod should know or do: sentences of the same form.
    pub warnings: Vec<String>,
}

/// Adds the sidecar to a pod, or to a pod template: an object with `metadata` and `spec`.
pub fn inject(pod: &Value, spec: &Spec) -> Result<Injected, Error> {
    let mut edit = Edit::new(pod.clone());
    let messages = if is_injected(pod) {
        completion::run(&mut edit, Some(&spec.selection))
    } else {
        injection::run(&mut edit, spec)
    };
    messages.map(|messages| Injected::new(edit, messages))
}

/// Configures the containers that were added to a pod after the sidecar, and that a request for the pod selects.
pub fn complete(pod: &Value, request: &Request) -> Result<Injected, Error> {
    let mut edit = Edit::new(pod.clone());
    let messages = completion::run(&mut edit, completion::selection(request).as_ref())?;
    Ok(Injected::new(edit, messages))
}

impl Injected {
    fn new(edit: Edit, (summary, warnings): (String, Vec<String>)) -> Self {
        Self {
            pod: edit.pod,
            operations: edit.operations,
            summary,
            warnings,
        }
    }
}

/// Whether a pod already has the sidecar.
pub fn is_injected(pod: &Value) -> bool {
    has_container(pod, NAME)
}

#[cfg(test)]
mod tests;
