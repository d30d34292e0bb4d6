//! Reads fields of manifests whose types are unknown, and limits texts to one line.

use serde_json::Value;

use crate::system::display::one_line;

/// Returns the items of a list that are objects; nothing if it is not a list.
pub(super) fn objects<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    let items = value.get(field).and_then(Value::as_array);
    items.into_iter().flatten().filter(|item| item.is_object())
}

/// Returns a string field of an object; an empty text if it has no such string.
pub(super) fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Returns what messages call a container: its name, or its index where it has none, as in a Service of Knative.
pub(super) fn title_of(name: &str, index: usize) -> String {
    if name.is_empty() {
        index.to_string()
    } else {
        name.to_owned()
    }
}

/// Whether a list has an object of that name.
pub(super) fn has_named(value: &Value, field: &str, name: &str) -> bool {
    objects(value, field).any(|item| text_of(item, "name") == name)
}

/// Whether a pod has a container of that name.
pub(super) fn has_container(pod: &Value, name: &str) -> bool {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    CONTAINER_LISTS
        .iter()
        .any(|list| has_named(spec, list, name))
}

/// Makes one line of at most `limit` bytes from a text that may be untrusted.
pub(super) fn single_line(text: &str, limit: usize) -> String {
    let mut line: String = one_line(text).collect();
    if line.len() > limit {
        let mut end = limit.saturating_sub(ELLIPSIS.len());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str(ELLIPSIS);
    }
    line
}

/// Bytes: longer than any message that does not repeat a long text of the input.
pub(super) const MAX_LINE_SIZE: usize = 4000;

/// The init containers of a pod.
pub(super) const INIT_CONTAINERS: &str = "initContainers";

/// The ordinary containers of a pod.
pub(super) const CONTAINERS: &str = "containers";

/// All lists of containers.
pub(super) const CONTAINER_LISTS: [&str; 2] = [INIT_CONTAINERS, CONTAINERS];

/// Marks where a text was cut off.
const ELLIPSIS: &str = "…";
