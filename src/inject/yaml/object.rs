//! An object that is being read: its keys are unique, and merges are resolved.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::error::Reason;

/// An object that is still open.
#[derive(Default)]
pub(super) struct Object {
    pub(super) fields: Map<String, Value>,
    /// The key whose value comes next.
    key: Option<Key>,
    /// The fields from merges, which explicit fields may replace.
    merged: HashSet<String>,
    has_merge: bool,
}

enum Key {
    Named(String),
    Merge,
}

impl Object {
    /// Whether the next value is a key.
    pub(super) fn awaits_key(&self) -> bool {
        self.key.is_none()
    }

    /// Takes the key `<<`.
    pub(super) fn merge_key(&mut self) -> Result<(), Reason> {
        if self.has_merge {
            return Err(Reason::DuplicateMerge);
        }
        self.has_merge = true;
        self.key = Some(Key::Merge);
        Ok(())
    }

    /// Takes a key, or the value of the last key.
    pub(super) fn put(&mut self, value: Value) -> Result<(), Reason> {
        match self.key.take() {
            None => {
                let name = key_of(value)?;
                if self.fields.contains_key(&name) && !self.merged.contains(&name) {
                    return Err(Reason::DuplicateKey(name));
                }
                self.key = Some(Key::Named(name));
                Ok(())
            }
            Some(Key::Named(name)) => {
                self.merged.remove(&name);
                self.fields.insert(name, value);
                Ok(())
            }
            Some(Key::Merge) => self.merge(value),
        }
    }

    /// Adds the fields of an object, or of several objects, of which the first takes precedence.
    fn merge(&mut self, value: Value) -> Result<(), Reason> {
        let sources = match value {
            Value::Array(items) => items,
            one => vec![one],
        };
        for source in sources {
            let Value::Object(source) = source else {
                return Err(Reason::MergeType);
            };
            for (name, value) in source {
                match self.fields.get(&name) {
                    None => {
                        self.merged.insert(name.clone());
                        self.fields.insert(name, value);
                    }
                    // Kubernetes' parser prefers the later one, the specification the explicit key.
                    Some(existing) if !self.merged.contains(&name) && *existing != value => {
                        return Err(Reason::LateMerge(name));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// Converts a key to a string like Kubernetes' parser.
fn key_of(key: Value) -> Result<String, Reason> {
    match key {
        Value::String(name) => Ok(name),
        Value::Bool(name) => Ok(name.to_string()),
        Value::Number(name) if name.is_i64() => Ok(name.to_string()),
        Value::Number(name) => Err(Reason::NumericKey(name)),
        _ => Err(Reason::Key),
    }
}
