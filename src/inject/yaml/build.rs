//! Builds values from a parser's events: resolves scalars, and copies the values that aliases refer to.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag, options};
use serde_json::Value;

use super::error::{Error, Reason};
use super::input::Text;
use super::object::Object;
use super::{Document, MAX_DEPTH, MAX_WEIGHT, scalar, weight_of};

/// Reads all documents but the empty ones.
pub(super) fn read(text: &str) -> Result<Vec<Document>, Error> {
    let mut builder = Builder::default();
    let options = options! { block_scalar_eof_without_line_feed: true };
    let mut parser = Parser::with_options(Text::new(text), options);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|scan| unreadable(text, &scan))?;
        if matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..))
            && is_before_bare_colon(text, span)
        {
            return Err(error(text, span.start, Reason::Colon));
        }
        builder
            .take(event, span.start)
            .map_err(|reason| error(text, span.start, reason))?;
    }
    Ok(builder.documents)
}

/// Whether a colon follows that some parsers take for the end of a key, and others for a part of the text. A value that is left
/// out has no text.
fn is_before_bare_colon(text: &str, span: Span) -> bool {
    let rest = span.end.byte_offset().and_then(|at| text.get(at..));
    let after = rest.and_then(|rest| rest.strip_prefix(':'));
    span.start != span.end && after.is_some_and(|after| after.starts_with([',', ']', '}']))
}

/// Explains what the parser refuses.
fn unreadable(text: &str, scan: &ScanError) -> Error {
    let at = *scan.marker();
    let reason = match scan.kind() {
        ErrorKind::UnknownAnchor => Reason::UnknownAlias,
        ErrorKind::MissingAnchorOrAliasName => Reason::UnnamedAlias,
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::InvalidBlockEntryWhitespace => Reason::Tab,
        // The parser gives the beginning of the value, which may be lines above.
        ErrorKind::TabInPlainScalar | ErrorKind::TabAtBlockScalarStart => {
            return indented_by_tab(text, at.line())
                .unwrap_or_else(|| error(text, at, Reason::Tab));
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::InvalidIndentation => Reason::Indentation,
        ErrorKind::MappingValueNotAllowed => Reason::Value,
        _ => Reason::Syntax(scan.info()),
    };
    error(text, at, reason)
}

/// Returns the error of the first line, from one on, that a tab indents.
fn indented_by_tab(text: &str, line: usize) -> Option<Error> {
    let mut lines = text.lines().zip(1..).skip(line - 1);
    lines.find_map(|(written, line)| {
        let rest = written.trim_start_matches(' ');
        rest.starts_with('\t').then(|| Error {
            line,
            column: written.len() - rest.len() + 1,
            reason: Reason::Tab,
        })
    })
}

fn error(text: &str, at: Marker, reason: Reason) -> Error {
    let line = at.line().max(1);
    let written = text.lines().nth(line - 1).unwrap_or_default();
    let (column, reason) = match (reason, written.split_once("{{")) {
        // To YAML, `{{` is an object as the key of an object.
        (
            Reason::Key | Reason::Syntax(_) | Reason::Indentation | Reason::Value,
            Some((before, _)),
        ) => (before.chars().count(), Reason::Template),
        (reason, _) => (at.col(), reason),
    };
    Error {
        line,
        column: column + 1,
        reason,
    }
}

#[derive(Default)]
struct Builder {
    documents: Vec<Document>,
    /// The collections that are still open, the outermost first.
    open: Vec<Open>,
    /// The values that aliases may refer to, with their weights.
    anchors: HashMap<usize, (Value, usize)>,
    weight: usize,
    /// The first line of the document; 0 before it begins.
    line: usize,
}

/// A collection that is still open.
struct Open {
    anchor: usize,
    /// The total weight before it.
    weight: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Value>),
    Object(Object),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Marker) -> Result<(), Reason> {
        if self.line == 0 && !matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
            self.line = at.line();
        }
        match event {
            Event::DocumentStart(..) => {
                // The separator and the comments after it are not part of the document.
                self.line = 0;
                Ok(())
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => {
                let (value, weight) = self.anchors.get(&anchor).ok_or(Reason::Alias)?;
                self.weight += weight;
                // The copy must not be made if it weighs too much.
                if self.weight > MAX_WEIGHT {
                    return Err(Reason::TooMuch);
                }
                let value = value.clone();
                self.put(value)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.weigh(weight_of(&text))?;
                let tag = tag.as_deref();
                if is_merge(&text, style, tag)
                    && let Some(object) = self.awaiting_key()
                {
                    return object.merge_key();
                }
                let value = resolve(&text, style, tag).map_err(Reason::Scalar)?;
                self.anchor(anchor, &value, weight_of(&text))?;
                self.put(value).map_err(|reason| match reason {
                    Reason::DuplicateKey(name) if *name != *text => Reason::SameKey {
                        written: text.into_owned(),
                        name,
                    },
                    reason => reason,
                })
            }
            Event::SequenceStart(_, anchor, _) => self.open(anchor, Kind::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.open(anchor, Kind::Object(Object::default())),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            // The start and the end of the text, and comments.
            _ => Ok(()),
        }
    }

    fn weigh(&mut self, weight: usize) -> Result<(), Reason> {
        self.weight += weight;
        if self.weight > MAX_WEIGHT {
            return Err(Reason::TooMuch);
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, kind: Kind) -> Result<(), Reason> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        if self.awaiting_key().is_some() {
            return Err(Reason::Key);
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

    fn close(&mut self) -> Result<(), Reason> {
        // The parser closes only collections that it has opened.
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.kind {
            Kind::List(items) => Value::Array(items),
            Kind::Object(object) => Value::Object(object.fields),
        };
        self.anchor(open.anchor, &value, self.weight - open.weight)?;
        self.put(value)
    }

    /// Stores a value that aliases may refer to.
    fn anchor(&mut self, anchor: usize, value: &Value, weight: usize) -> Result<(), Reason> {
        if anchor > 0 {
            self.weigh(weight)?;
            self.anchors.insert(anchor, (value.clone(), weight));
        }
        Ok(())
    }

    /// Returns the innermost collection if it is an object whose next value is a key.
    fn awaiting_key(&mut self) -> Option<&mut Object> {
        match &mut self.open.last_mut()?.kind {
            Kind::Object(object) if object.awaits_key() => Some(object),
            _ => None,
        }
    }

    /// Adds a value to the innermost collection, or as a document.
    fn put(&mut self, value: Value) -> Result<(), Reason> {
        match self.open.last_mut().map(|open| &mut open.kind) {
            None if value.is_null() => {}
            None => self.documents.push(Document {
                value,
                line: self.line,
            }),
            Some(Kind::List(items)) => items.push(value),
            Some(Kind::Object(object)) => object.put(value)?,
        }
        Ok(())
    }
}

fn is_merge(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> bool {
    text == "<<" && style == ScalarStyle::Plain && tag.is_none()
}

fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag.map(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:")) {
        Some(Some(name)) => scalar::tagged(&name, text),
        None if style == ScalarStyle::Plain => scalar::plain(text),
        // Kubernetes ignores other tags.
        Some(_) | None => Ok(text.into()),
    }
}
