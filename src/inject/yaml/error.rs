//! Errors in a file, with their positions.

use std::fmt;

use serde_json::Number;

use super::super::json::{MAX_LINE_SIZE, single_line};
use super::{MAX_DEPTH, MAX_FILE_SIZE};

/// An error in a file, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The error, and the remedy.
    pub reason: Reason,
}

impl fmt::Display for Error {
    /// Writes one line, whatever text of the file it repeats.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = single_line(&self.reason.to_string(), MAX_LINE_SIZE);
        write!(f, "line {}, column {}: {reason}", self.line, self.column)
    }
}

impl std::error::Error for Error {}

/// An error in a file, and the remedy. It repeats keys, but no value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Reason {
    #[error("the file has more than {} MiB; split it", MAX_FILE_SIZE >> 20)]
    TooLarge,
    #[error("the text is not UTF-8 from here on; save it as UTF-8")]
    NotUtf8,
    #[error("a byte order mark, which another file begins with, is inside the text; remove it")]
    ByteOrderMark,
    #[error("`{{{{` belongs to a template; render it first, such as with `helm template`")]
    Template,
    #[error(
        "parsers disagree on a text with a `:` but no blank after it; add one, or put the text in quotes"
    )]
    Colon,
    #[error("the character U+{:04X} is not allowed in YAML; write it as an escape in double quotes", u32::from(*.0))]
    Character(char),
    #[error("it expands to more than a million values, or 64 MiB of text; split it")]
    TooMuch,
    #[error("it is nested more than {MAX_DEPTH} levels deep; no Kubernetes object is")]
    TooDeep,
    #[error("{0}")]
    Syntax(String),
    #[error("{0}")]
    Scalar(String),
    #[error("a tab indents the line; replace it with blanks")]
    Tab,
    #[error(
        "the line belongs to nothing above it; indent it like the other keys of its object, or like the other `-` of its list"
    )]
    Indentation,
    #[error(
        "a `:` comes after a value; indent the line like the other keys of its object, or put a text that contains `: ` in quotes"
    )]
    Value,
    #[error("the alias is inside the value that it refers to; write the value out")]
    Alias,
    #[error(
        "a text that begins with `*` means an alias, which has no anchor above it in the same document; put a text in quotes, or write the value of the anchor out"
    )]
    UnknownAlias,
    #[error("a text that begins with `*` or `&` means an alias or an anchor; put it in quotes")]
    UnnamedAlias,
    #[error("a key is not a string; write a string, which Kubernetes requires")]
    Key,
    #[error("the key {0} is a number; put it in quotes")]
    NumericKey(Number),
    #[error("the key `{0}` occurs twice; remove one of them")]
    DuplicateKey(String),
    #[error(
        "the key `{written}` means `{name}`, which another key of this object means; put both in quotes"
    )]
    SameKey { written: String, name: String },
    #[error("`<<` occurs twice; write one, with a list")]
    DuplicateMerge,
    #[error("`<<` requires an object or a list of objects; correct it")]
    MergeType,
    #[error(
        "`<<` comes after the key `{0}` of the same object, and parsers disagree on the precedence; put `<<` first"
    )]
    LateMerge(String),
}
