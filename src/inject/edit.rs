//! A pod while it is changed, with the operations (RFC 6902) that make the same changes elsewhere.
//!
//! Every change adds a value, and all paths are made of the API's own field names and of indexes: no character of them
//! needs an escape.

use serde_json::{Value, json};

use super::Refusal;

/// A pod, and the changes since it was given.
#[derive(Debug)]
pub(super) struct Edit {
    /// The pod as it is now.
    pub(super) pod: Value,
    /// What has been done to it, in order.
    pub(super) operations: Vec<Value>,
}

impl Edit {
    pub(super) fn new(pod: Value) -> Self {
        let operations = Vec::new();
        Self { pod, operations }
    }

    /// Returns the value at a path, which is null where there is none.
    pub(super) fn at(&self, path: &str) -> &Value {
        self.pod.pointer(path).unwrap_or(&Value::Null)
    }

    /// Adds an item at the start of a list; creates the list, and the object around it, where it is absent.
    pub(super) fn prepend(&mut self, list: &str, item: &Value) -> Result<(), Refusal> {
        self.insert(list, "0", item)
    }

    /// Adds an item at the end of a list; creates the list, and the object around it, where it is absent.
    pub(super) fn append(&mut self, list: &str, item: &Value) -> Result<(), Refusal> {
        self.insert(list, "-", item)
    }

    fn insert(&mut self, list: &str, index: &str, item: &Value) -> Result<(), Refusal> {
        match self.at(list) {
            Value::Array(_) => self.add(&format!("{list}/{index}"), item),
            Value::Null => self.add(list, &json!([item])),
            _ => Err(Refusal(format!("{} is not a list; {REMEDY}", name(list)))),
        }
    }

    fn add(&mut self, path: &str, value: &Value) -> Result<(), Refusal> {
        let (outer, name) = path.rsplit_once('/').unwrap_or_default();
        match self.pod.pointer_mut(outer) {
            Some(Value::Array(items)) => {
                let index = name.parse().unwrap_or(items.len());
                items.insert(index.min(items.len()), value.clone());
            }
            Some(Value::Object(fields)) => {
                fields.insert(name.to_owned(), value.clone());
            }
            None | Some(Value::Null) if !outer.is_empty() => {
                return self.add(outer, &json!({ name: value }));
            }
            _ => {
                let outer = self::name(outer);
                return Err(Refusal(format!("{outer} is not an object; {REMEDY}")));
            }
        }
        let operation = json!({ "op": "add", "path": path, "value": value });
        self.operations.push(operation);
        Ok(())
    }
}

/// Returns the last field of a path.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

const REMEDY: &str = "correct it as the API of Kubernetes defines it";
