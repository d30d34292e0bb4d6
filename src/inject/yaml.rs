//! YAML as Kubernetes' own parser reads it: in come bytes, out come the values that the API would get, and the other way.
//!
//! `kubectl` reads YAML 1.1: `0644` is 420, `on` is true. Where readers disagree, writing quotes, and reading refuses what
//! cannot be told. Whatever comes in, time and memory are bounded.

mod build;
mod json;
mod scalar;
mod write;

use std::fmt;

use serde_json::Value;

pub use self::write::write;

/// A document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it holds.
    pub value: Value,
    /// The line in which it begins.
    pub line: usize,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// No final stop.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            reason,
        } = self;
        write!(f, "line {line}, column {column}: {reason}")
    }
}

impl std::error::Error for Mistake {}

/// Reads all documents but the empty ones: YAML, or JSON values one after the other.
pub fn read(bytes: &[u8]) -> Result<Vec<Document>, Mistake> {
    if bytes.len() > LARGEST {
        return Err(Mistake {
            line: 1,
            column: 1,
            reason: format!(
                "it has more than {} MiB; split it, no cluster takes so much at once",
                LARGEST >> 20
            ),
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let told = "it is no UTF-8 from here on; save it as UTF-8";
        at_end_of(&String::from_utf8_lossy(good), told)
    })?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    // Most JSON is YAML, but not all: YAML knows no surrogates.
    if text.trim_start().starts_with('{')
        && let Some(documents) = json::read(text)?
    {
        return Ok(documents);
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        let good = text.get(..at).unwrap_or_default();
        let told = format!(
            "the character U+{:04X} must not stand in YAML; write it as an escape in double quotes",
            u32::from(c)
        );
        return Err(at_end_of(good, &told));
    }
    build::read(text)
}

fn at_end_of(text: &str, reason: &str) -> Mistake {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Mistake {
        line: text.matches('\n').count() + 1,
        column: last.chars().count() + 1,
        reason: reason.to_owned(),
    }
}

/// Whether YAML 1.1 and 1.2 both take a character for itself: some are the end of a line only in the older one.
fn is_allowed(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}' => false,
        _ => !c.is_control(),
    }
}

const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// Twice the largest bundles of resource definitions; an object has at most 1.5 MiB.
pub const LARGEST: usize = 16 << 20;

/// Deeper than any schema, and shallow enough for whoever reads what is written.
const DEEPEST: usize = 100;

/// How much may come out of a file, whatever aliases repeat: a value counts as one, its text as one for each [`PIECE`].
const MOST: usize = 1_000_000;

/// Bytes of a text that count as a value.
const PIECE: usize = 64;

fn too_much() -> String {
    "it stands for more than a million values, or 64 MiB of text; no cluster takes so much at once"
        .to_owned()
}

fn weight_of(text: &str) -> usize {
    1 + text.len() / PIECE
}

#[cfg(test)]
mod tests;
