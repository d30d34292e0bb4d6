//! Reads YAML like Kubernetes' own parser, and writes YAML that every parser reads alike.
//!
//! `kubectl` reads YAML 1.1: `0644` is 420, `on` is true. Where parsers disagree, the writer adds quotes, and the reader
//! rejects the input. Time and memory are bounded for any input.

mod build;
mod error;
mod input;
mod json;
mod object;
mod scalar;
mod write;

use serde_json::Value;

pub use self::error::{Error, Reason};
pub use self::write::write;

/// A document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The value of the document.
    pub value: Value,
    /// The first line of the document, from 1.
    pub line: usize,
}

/// Reads all documents but the empty ones: YAML, or JSON values one after the other.
pub fn read(bytes: &[u8]) -> Result<Vec<Document>, Error> {
    if bytes.len() > MAX_FILE_SIZE {
        return Err(at_end_of("", Reason::TooLarge));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        at_end_of(&String::from_utf8_lossy(good), Reason::NotUtf8)
    })?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    // Not all JSON is YAML: YAML has no surrogate pairs.
    if text.trim_start().starts_with('{')
        && let Some(documents) = json::read(text)?
    {
        return Ok(documents);
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        let good = text.get(..at).unwrap_or_default();
        let reason = match c {
            BYTE_ORDER_MARK => Reason::ByteOrderMark,
            c => Reason::Character(c),
        };
        return Err(at_end_of(good, reason));
    }
    build::read(text)
}

fn at_end_of(text: &str, reason: Reason) -> Error {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Error {
        line: text.matches('\n').count() + 1,
        column: last.chars().count() + 1,
        reason,
    }
}

/// Whether a character has the same meaning in YAML 1.1 and 1.2: some end a line only in 1.1.
fn is_allowed(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}' => false,
        _ => !c.is_control(),
    }
}

const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// Bytes of a file: twice the largest bundles of custom resource definitions. An object has at most 1.5 MiB.
pub const MAX_FILE_SIZE: usize = 16 << 20;

/// Levels of nesting: more than any schema has, and few enough for other parsers.
const MAX_DEPTH: usize = 100;

/// Limits the weight of a file, aliases expanded. A value weighs one, and one more for each [`BYTES_PER_WEIGHT`] of its text.
const MAX_WEIGHT: usize = 1_000_000;

/// Bytes of text that weigh as much as a value.
const BYTES_PER_WEIGHT: usize = 64;

fn weight_of(text: &str) -> usize {
    1 + text.len() / BYTES_PER_WEIGHT
}

#[cfg(test)]
mod tests;
