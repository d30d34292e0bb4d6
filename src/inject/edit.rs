//! A pod that is being changed, with the JSON patch (RFC 6902) that makes the same changes.
//!
//! Every change adds a value. All paths consist of field names of the API, indexes, and names of annotations.

use serde_json::{Value, json};

use super::Error;

/// A pod, and the changes that were made to it.
#[derive(Debug)]
pub(super) struct Edit {
    /// The changed pod.
    pub(super) pod: Value,
    /// The operations of the patch, in order.
    pub(super) operations: Vec<Value>,
}

impl Edit {
    pub(super) fn new(pod: Value) -> Self {
        let operations = Vec::new();
        Self { pod, operations }
    }

    /// Returns the value at a path, or null if there is none.
    pub(super) fn at(&self, path: &str) -> &Value {
        self.pod.pointer(path).unwrap_or(&Value::Null)
    }

    /// Adds an item at the start of a list; creates the list and its object if they are absent.
    pub(super) fn prepend(&mut self, list: &str, item: &Value) -> Result<(), Error> {
        self.insert(list, "0", item)
    }

    /// Adds an item at the end of a list; creates the list and its object if they are absent.
    pub(super) fn append(&mut self, list: &str, item: &Value) -> Result<(), Error> {
        self.insert(list, "-", item)
    }

    /// Sets a field that is absent.
    pub(super) fn set(&mut self, path: &str, value: &Value) -> Result<(), Error> {
        self.add(path, value)
    }

    /// Sets an annotation that is absent; changes nothing if the annotations are not an object.
    pub(super) fn annotate(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let annotations = self.at("/metadata/annotations");
        if !annotations.is_object() && !annotations.is_null() {
            return Ok(());
        }
        let escaped = name.replace('/', "~1");
        self.add(&format!("/metadata/annotations/{escaped}"), &value.into())
    }

    fn insert(&mut self, list: &str, index: &str, item: &Value) -> Result<(), Error> {
        match self.at(list) {
            Value::Array(_) => self.add(&format!("{list}/{index}"), item),
            Value::Null => self.add(list, &json!([item])),
            _ => Err(Error::NotAList(name(list))),
        }
    }

    fn add(&mut self, path: &str, value: &Value) -> Result<(), Error> {
        let (outer, name) = path.rsplit_once('/').unwrap_or_default();
        let name = name.replace("~1", "/");
        match self.pod.pointer_mut(outer) {
            Some(Value::Array(items)) => {
                let index = name.parse().unwrap_or(items.len());
                items.insert(index.min(items.len()), value.clone());
            }
            Some(Value::Object(fields)) => {
                fields.insert(name, value.clone());
            }
            None | Some(Value::Null) if !outer.is_empty() => {
                return self.add(outer, &json!({ name: value }));
            }
            _ => {
                return Err(Error::NotAnObject(self::name(outer)));
            }
        }
        let operation = json!({ "op": "add", "path": path, "value": value });
        self.operations.push(operation);
        Ok(())
    }
}

/// Returns the last field of a path.
fn name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
