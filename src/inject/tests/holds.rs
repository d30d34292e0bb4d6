//! What must hold of whatever is injected; the fuzzer asks it too.

use serde_json::Value;

/// Whether everything of `ours` is in `theirs`, in the same order. A null may have become something.
pub(crate) fn holds(theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (_, Value::Null) => true,
        (Value::Object(theirs), Value::Object(ours)) => {
            let mut theirs = theirs.iter();
            ours.iter().all(|(name, ours)| {
                theirs.any(|(other, theirs)| other == name && holds(theirs, ours))
            })
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            let mut theirs = theirs.iter();
            ours.iter()
                .all(|ours| theirs.any(|theirs| holds(theirs, ours)))
        }
        (theirs, ours) => theirs == ours,
    }
}
