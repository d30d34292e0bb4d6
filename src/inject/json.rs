//! Looks into manifests, which may have any shape.

use serde_json::{Map, Value};

use super::Refusal;
use crate::failure::breaks_a_line;

/// Returns the list of a field, which is made where there is none.
///
/// Refuses what is no list.
pub(super) fn list<'a>(
    object: &'a mut Map<String, Value>,
    field: &str,
) -> Result<&'a mut Vec<Value>, Refusal> {
    let value = object.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(Refusal(format!(
            "{field} is no list; correct it as the API of Kubernetes has it"
        ))),
    }
}

/// Returns the object of a field, which is made where there is none.
///
/// Refuses what is no object.
pub(super) fn object<'a>(
    outer: &'a mut Map<String, Value>,
    field: &str,
) -> Result<&'a mut Map<String, Value>, Refusal> {
    let value = outer.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(Refusal(format!(
            "{field} is no object; correct it as the API of Kubernetes has it"
        ))),
    }
}

/// Returns the items of a list that are objects; none if it is no list.
pub(super) fn objects<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    let items = value.get(field).and_then(Value::as_array);
    items.into_iter().flatten().filter(|item| item.is_object())
}

/// Returns a text of an object, empty if it is none.
pub(super) fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the name of an object, empty if it has none.
pub(super) fn name_of(object: &Map<String, Value>) -> &str {
    let name = object.get("name").and_then(Value::as_str);
    name.unwrap_or_default()
}

/// Whether a list of named objects has one of a name.
pub(super) fn has_named(value: &Value, field: &str, name: &str) -> bool {
    objects(value, field).any(|item| text_of(item, "name") == name)
}

/// Makes one line, of so many bytes at the most, of what repeats a text from outside.
pub(super) fn line(told: &str, most: usize) -> String {
    let one = |c: char| if breaks_a_line(c) { ' ' } else { c };
    let mut line: String = told.chars().map(one).collect();
    if line.len() > most {
        let mut end = most.saturating_sub(CUT.len());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str(CUT);
    }
    line
}

/// Longer than any line that does not repeat a text of that length.
pub(super) const LONGEST: usize = 4000;

/// Stands where a text was cut off.
const CUT: &str = "…";
