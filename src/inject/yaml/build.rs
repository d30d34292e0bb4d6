//! From the events of a parser to values: scalars resolved, aliases copied, merges done.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Value};

use super::super::json::{LONGEST, line};
use super::{DEEPEST, Document, MOST, Mistake, scalar, too_much, weight_of};

/// Reads all documents but the empty ones.
pub(super) fn read(text: &str) -> Result<Vec<Document>, Mistake> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| scanned(&error))?;
        builder
            .take(event, span.start)
            .map_err(|reason| mistake(span.start, &reason))?;
    }
    Ok(builder.documents)
}

fn scanned(error: &ScanError) -> Mistake {
    mistake(*error.marker(), error.info())
}

fn mistake(at: Marker, reason: &str) -> Mistake {
    Mistake {
        line: at.line().max(1),
        column: at.col() + 1,
        reason: line(reason, LONGEST),
    }
}

#[derive(Default)]
struct Builder {
    documents: Vec<Document>,
    /// What is not closed yet, the outermost first.
    open: Vec<Open>,
    /// What aliases name, and what it weighs.
    anchors: HashMap<usize, (Value, usize)>,
    weight: usize,
    /// Where the document begins.
    line: usize,
}

/// A collection that is not closed yet.
struct Open {
    anchor: usize,
    /// The weight of the whole before it.
    weight: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Value>),
    Object {
        fields: Map<String, Value>,
        /// The key whose value comes next.
        key: Option<Key>,
        /// The fields that others may still take the place of.
        merged: HashSet<String>,
        has_merge: bool,
    },
}

enum Key {
    Named(String),
    Merge,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Marker) -> Result<(), String> {
        if self.line == 0 && !matches!(event, Event::StreamStart | Event::DocumentStart(_)) {
            self.line = at.line();
        }
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(_) => {
                // Comments and the line that divides documents are none of it.
                self.line = 0;
                Ok(())
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => {
                let Some((value, weight)) = self.anchors.get(&anchor) else {
                    return Err(
                        "an alias stands inside of what it names, or names something of another document; write it out".to_owned(),
                    );
                };
                // Before it is copied.
                let (weight, value) = (*weight, value);
                self.weight += weight;
                if self.weight > MOST {
                    return Err(too_much());
                }
                let value = value.clone();
                self.put(value)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.weigh(weight_of(&text))?;
                let tag = tag.as_deref();
                if self.awaits_key() && is_merge(&text, style, tag) {
                    return self.merge_key();
                }
                let value = resolve(&text, style, tag)?;
                self.name(anchor, &value, weight_of(&text))?;
                self.put(value)
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, Kind::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(
                anchor,
                Kind::Object {
                    fields: Map::new(),
                    key: None,
                    merged: HashSet::new(),
                    has_merge: false,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn weigh(&mut self, weight: usize) -> Result<(), String> {
        self.weight += weight;
        if self.weight > MOST {
            return Err(too_much());
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, kind: Kind) -> Result<(), String> {
        if self.open.len() >= DEEPEST {
            return Err(format!(
                "it is nested more than {DEEPEST} deep; no object of Kubernetes is"
            ));
        }
        if self.awaits_key() {
            return Err("a key is no text; Kubernetes takes no others".to_owned());
        }
        let weight = self.weight;
        self.weigh(1)?;
        self.open.push(Open {
            anchor,
            weight,
            kind,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        // The parser closes nothing that is not open.
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.kind {
            Kind::List(items) => Value::Array(items),
            Kind::Object { fields, .. } => Value::Object(fields),
        };
        self.name(open.anchor, &value, self.weight - open.weight)?;
        self.put(value)
    }

    /// Keeps what an alias may name.
    fn name(&mut self, anchor: usize, value: &Value, weight: usize) -> Result<(), String> {
        if anchor > 0 {
            self.weigh(weight)?;
            self.anchors.insert(anchor, (value.clone(), weight));
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        let last = self.open.last().map(|open| &open.kind);
        matches!(last, Some(Kind::Object { key: None, .. }))
    }

    fn merge_key(&mut self) -> Result<(), String> {
        if let Some(Kind::Object { key, has_merge, .. }) =
            self.open.last_mut().map(|open| &mut open.kind)
        {
            if *has_merge {
                return Err("`<<` stands twice; write one, with a list".to_owned());
            }
            *has_merge = true;
            *key = Some(Key::Merge);
        }
        Ok(())
    }

    /// Puts a value where it belongs.
    fn put(&mut self, value: Value) -> Result<(), String> {
        let line = self.line;
        match self.open.last_mut().map(|open| &mut open.kind) {
            None if value.is_null() => Ok(()),
            None => {
                self.documents.push(Document { value, line });
                Ok(())
            }
            Some(Kind::List(items)) => {
                items.push(value);
                Ok(())
            }
            Some(Kind::Object {
                fields,
                key,
                merged,
                ..
            }) => match key.take() {
                None => {
                    let name = name_of(value)?;
                    if fields.contains_key(&name) && !merged.contains(&name) {
                        return Err(format!("the key `{name}` stands twice; remove one of them"));
                    }
                    *key = Some(Key::Named(name));
                    Ok(())
                }
                Some(Key::Named(name)) => {
                    merged.remove(&name);
                    fields.insert(name, value);
                    Ok(())
                }
                Some(Key::Merge) => merge(value, fields, merged),
            },
        }
    }
}

/// Adds the fields of an object, or of the first of several objects that has each.
fn merge(
    value: Value,
    fields: &mut Map<String, Value>,
    merged: &mut HashSet<String>,
) -> Result<(), String> {
    let sources = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    for source in sources {
        let Value::Object(source) = source else {
            return Err("`<<` takes an object or a list of objects; correct it".to_owned());
        };
        for (name, value) in source {
            match fields.get(&name) {
                None => {
                    merged.insert(name.clone());
                    fields.insert(name, value);
                }
                // Kubernetes' parser lets the later one count, the specification the key that stands there.
                Some(theirs) if !merged.contains(&name) && *theirs != value => {
                    return Err(format!(
                        "`<<` stands after the key `{name}` that it has too, and readers disagree which one counts; put `<<` first"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

fn is_merge(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> bool {
    text == "<<" && style == ScalarStyle::Plain && tag.is_none()
}

fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() => scalar::tagged(&tag.suffix, text),
        None if style == ScalarStyle::Plain => scalar::plain(text),
        // What another tag means is somebody else's business.
        Some(_) | None => Ok(text.into()),
    }
}

/// Returns the text that Kubernetes makes of a key.
fn name_of(key: Value) -> Result<String, String> {
    match key {
        Value::String(name) => Ok(name),
        Value::Bool(name) => Ok(name.to_string()),
        Value::Number(name) if name.is_i64() => Ok(name.to_string()),
        Value::Number(name) => Err(format!("the key {name} is a number; put it in quotes")),
        _ => Err("a key is no text; Kubernetes takes no others".to_owned()),
    }
}
