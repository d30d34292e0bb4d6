//! Injection removes and reorders nothing. A fuzz target checks this too.

use serde_json::Value;

/// Whether everything in `before` is in `after`, in the same order. A null may be replaced by another value.
pub(crate) fn is_preserved(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Null, _) => true,
        (Value::Object(before), Value::Object(after)) => {
            let mut after = after.iter();
            before.iter().all(|(name, value)| {
                after.any(|(other, found)| other == name && is_preserved(value, found))
            })
        }
        (Value::Array(before), Value::Array(after)) => {
            let mut after = after.iter();
            before
                .iter()
                .all(|item| after.any(|found| is_preserved(item, found)))
        }
        _ => before == after,
    }
}
