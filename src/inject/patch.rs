//! What changes one document into another, as RFC 6902 writes it.
//!
//! Lists whose items only gained others get these by themselves, so that the patch of a large pod stays small and says
//! what was done. Whatever else has changed is replaced as a whole.

use serde_json::{Map, Value, json};

/// Returns the operations that make `after` of `before`; none if they are the same.
pub fn patch(before: &Value, after: &Value) -> Vec<Value> {
    let mut patch = Patch::default();
    patch.value(before, after);
    patch.operations
}

#[derive(Default)]
struct Patch {
    /// Where the differences are that are looked for, as a pointer of RFC 6901.
    path: String,
    operations: Vec<Value>,
}

impl Patch {
    fn value(&mut self, before: &Value, after: &Value) {
        match (before, after) {
            _ if before == after => {}
            (Value::Object(before), Value::Object(after)) => self.object(before, after),
            (Value::Array(before), Value::Array(after)) => self.list(before, after),
            _ => self.put("replace", after),
        }
    }

    fn object(&mut self, before: &Map<String, Value>, after: &Map<String, Value>) {
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            self.at(name, |patch| {
                let operation = json!({ "op": "remove", "path": patch.path });
                patch.operations.push(operation);
            });
        }
        for (name, value) in after {
            let before = before.get(name);
            if before == Some(value) {
                continue;
            }
            self.at(name, |patch| match before {
                // Some readers take a member that is null for one that is not there, which cannot be replaced.
                None | Some(Value::Null) => patch.put("add", value),
                Some(before) => patch.value(before, value),
            });
        }
    }

    /// From the first item to the last, so that those before an index are what they will be.
    fn list(&mut self, before: &[Value], after: &[Value]) {
        let same = places(before, after, |a, b| a == b);
        let Some(places) = same.or_else(|| places(before, after, is_namesake)) else {
            return self.put("replace", &Value::Array(after.to_vec()));
        };
        let mut kept = places.into_iter().zip(before).peekable();
        for (index, value) in after.iter().enumerate() {
            let before = kept.next_if(|(place, _)| *place == index);
            self.at(&index.to_string(), |patch| match before {
                Some((_, before)) => patch.value(before, value),
                None => patch.put("add", value),
            });
        }
    }

    fn put(&mut self, op: &str, value: &Value) {
        let operation = json!({ "op": op, "path": self.path, "value": value });
        self.operations.push(operation);
    }

    /// Looks at what is below.
    fn at(&mut self, name: &str, look: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path
            .push_str(&name.replace('~', "~0").replace('/', "~1"));
        look(self);
        self.path.truncate(length);
    }
}

/// Finds where the items went, in their order; nothing if one of them is gone.
fn places(
    before: &[Value],
    after: &[Value],
    is_same: fn(&Value, &Value) -> bool,
) -> Option<Vec<usize>> {
    let mut rest = after.iter().enumerate();
    let mut place = |item: &Value| Some(rest.find(|(_, other)| is_same(item, other))?.0);
    before.iter().map(&mut place).collect()
}

/// Whether two items are the same to Kubernetes, which knows containers, volumes and variables by their names.
fn is_namesake(one: &Value, other: &Value) -> bool {
    let name = |item: &Value| item.get("name")?.as_str().map(str::to_owned);
    one == other || name(one).is_some_and(|name| other.get("name") == Some(&name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies a patch with an implementation that is not ours.
    fn applied(before: &Value, operations: &[Value]) -> Value {
        let mut document = before.clone();
        let operations: json_patch::Patch =
            serde_json::from_value(Value::Array(operations.to_vec())).unwrap();
        json_patch::patch(&mut document, &operations).unwrap();
        document
    }

    #[test]
    fn a_change_is_as_small_as_it_can_be() {
        for (before, after, expected) in [
            (json!({"a": 1}), json!({"a": 1}), json!([])),
            (
                json!(1),
                json!(2),
                json!([{"op": "replace", "path": "", "value": 2}]),
            ),
            (
                json!({"a": 1, "b": null}),
                json!({"b": null, "c": {"d": []}}),
                json!([
                    {"op": "remove", "path": "/a"},
                    {"op": "add", "path": "/c", "value": {"d": []}},
                ]),
            ),
            // What is null may be taken for absent.
            (
                json!({"a": null}),
                json!({"a": []}),
                json!([{"op": "add", "path": "/a", "value": []}]),
            ),
            (
                json!({"a": {"x/y~z": 1}}),
                json!({"a": {"x/y~z": 2}}),
                json!([{"op": "replace", "path": "/a/x~1y~0z", "value": 2}]),
            ),
            // Items that are the same stay where they are.
            (
                json!([1, 2]),
                json!([0, 1, 3, 2, 4]),
                json!([
                    {"op": "add", "path": "/0", "value": 0},
                    {"op": "add", "path": "/2", "value": 3},
                    {"op": "add", "path": "/4", "value": 4},
                ]),
            ),
            // Items of a name are changed inside.
            (
                json!([{"name": "job", "env": [{"name": "A"}]}]),
                json!([{"name": "new"}, {"name": "job", "env": [{"name": "A"}, {"name": "B"}]}]),
                json!([
                    {"op": "add", "path": "/0", "value": {"name": "new"}},
                    {"op": "add", "path": "/1/env/1", "value": {"name": "B"}},
                ]),
            ),
            // What is not there any more makes another list of it, and so does another order.
            (
                json!({"a": [1, 2]}),
                json!({"a": [2, 1]}),
                json!([{"op": "replace", "path": "/a", "value": [2, 1]}]),
            ),
            (
                json!([{"name": "a"}, {"name": "b"}]),
                json!([{"name": "b"}]),
                json!([{"op": "replace", "path": "", "value": [{"name": "b"}]}]),
            ),
        ] {
            let operations = patch(&before, &after);
            assert_eq!(Value::Array(operations.clone()), expected);
            assert_eq!(applied(&before, &operations), after);
        }
    }

    #[test]
    fn any_two_documents_are_led_from_one_to_the_other() {
        let mut dice = Dice(1);
        for _ in 0..20_000 {
            let before = dice.value(3);
            let after = if dice.throw(2) == 0 {
                dice.changed(&before)
            } else {
                dice.value(3)
            };
            let operations = patch(&before, &after);
            assert_eq!(
                applied(&before, &operations),
                after,
                "{before} {operations:?}"
            );
            assert_eq!(before == after, operations.is_empty());
        }
    }

    struct Dice(u64);

    impl Dice {
        fn throw(&mut self, sides: u64) -> u64 {
            // Knuth's MMIX; the high bits are the random ones.
            let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
            self.0 = next.wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }

        fn text(&mut self) -> &'static str {
            let texts = ["name", "a", "b/c", "d~e", "~1", "", "0", "-", "é"];
            texts[usize::try_from(self.throw(9)).unwrap()]
        }

        fn value(&mut self, depth: u32) -> Value {
            match self.throw(if depth == 0 { 4 } else { 8 }) {
                0 => Value::Null,
                1 => self.throw(3).into(),
                2 | 3 => self.text().into(),
                4 | 5 => (0..self.throw(4)).map(|_| self.value(depth - 1)).collect(),
                6 => json!({"name": self.text(), "v": self.value(depth - 1)}),
                _ => {
                    let members = (0..self.throw(4)).map(|_| {
                        let value = self.value(depth - 1);
                        (self.text().to_owned(), value)
                    });
                    Value::Object(members.collect())
                }
            }
        }

        /// Changes something here and there, mostly by an addition.
        fn changed(&mut self, value: &Value) -> Value {
            let mut value = value.clone();
            match &mut value {
                Value::Array(items) => {
                    for item in items.iter_mut() {
                        *item = self.changed(item);
                    }
                    let index = usize::try_from(self.throw(5)).unwrap().min(items.len());
                    items.insert(index, self.value(1));
                    if self.throw(8) == 0 {
                        items.reverse();
                    }
                }
                Value::Object(members) => {
                    for (_, member) in members.iter_mut() {
                        *member = self.changed(member);
                    }
                    let added = self.value(1);
                    members.insert(self.text().to_owned(), added);
                    if self.throw(8) == 0 {
                        members.remove(self.text());
                    }
                }
                _ if self.throw(8) == 0 => value = self.value(1),
                _ => {}
            }
            value
        }
    }
}
