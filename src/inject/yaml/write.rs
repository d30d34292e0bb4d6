//! Writes YAML that every parser reads alike: block style, with quotes wherever parsers may disagree.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use super::is_allowed;
use super::scalar::is_ambiguous;

/// Writes a document in the layout of `kubectl`, without a separator.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => block(&mut out, value, 0, false),
        Value::Array(items) if !items.is_empty() => block(&mut out, value, 0, false),
        _ => {
            inline(&mut out, value, 0);
        }
    }
    out
}

/// Writes the lines of a collection that is not empty. After a dash, the first one is indented already.
fn block(out: &mut String, value: &Value, depth: usize, is_after_dash: bool) {
    let mut is_indented = is_after_dash;
    let mut indent = |out: &mut String| {
        if !std::mem::take(&mut is_indented) {
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                indent(out);
                key(out, name);
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        block(out, value, depth + 1, false);
                    }
                    // The dashes serve as the indent.
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push('\n');
                        block(out, value, depth, false);
                    }
                    _ => {
                        out.push(' ');
                        inline(out, value, depth + 1);
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                indent(out);
                out.push_str("- ");
                match item {
                    Value::Object(inner) if !inner.is_empty() => block(out, item, depth + 1, true),
                    Value::Array(inner) if !inner.is_empty() => block(out, item, depth + 1, true),
                    _ => inline(out, item, depth + 1),
                }
            }
        }
        _ => inline(out, value, depth),
    }
}

fn key(out: &mut String, name: &str) {
    let start = out.len();
    if is_plain(name) {
        out.push_str(name);
    } else {
        quoted(out, name);
    }
    // Parsers do not search for the colon beyond that limit.
    if out.len() - start > MAX_PLAIN_KEY {
        out.insert_str(start, "? ");
        let indent = start
            - out
                .get(..start)
                .and_then(|text| text.rfind('\n'))
                .map_or(0, |at| at + 1);
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
    }
    out.push(':');
}

/// Writes a value that begins on the line of its key, or has a line of its own, and ends the line.
fn inline(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => number(out, value),
        Value::String(text) if is_plain(text) => out.push_str(text),
        Value::String(text) if depth > 0 && is_literal(text) => {
            literal(out, text, depth);
            return;
        }
        Value::String(text) => quoted(out, text),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
    out.push('\n');
}

fn number(out: &mut String, value: &Number) {
    let text = value.to_string();
    let Some((mantissa, exponent)) = text.split_once('e') else {
        out.push_str(&text);
        return;
    };
    // YAML 1.1 allows an exponent only after a point, and with a sign.
    out.push_str(mantissa);
    if !mantissa.contains('.') {
        out.push_str(".0");
    }
    out.push('e');
    if !exponent.starts_with(['+', '-']) {
        out.push('+');
    }
    out.push_str(exponent);
}

/// Whether a text needs no quotes; stricter than any grammar of YAML.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let may_start = |b: u8| b.is_ascii_alphabetic() || b == b'/' || b == b'_';
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b" ./_-:,()$@+=~%;".contains(&b);
    bytes.first().copied().is_some_and(may_start)
        && bytes.last().is_some_and(|b| !matches!(b, b' ' | b':'))
        && bytes.iter().copied().all(is_allowed)
        && !text.contains(": ")
        && !is_ambiguous(text)
}

/// Whether a text of several lines can be a literal block: every parser must find the same indent, and the same end.
fn is_literal(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let last = text.trim_end_matches('\n').rsplit('\n').next();
    text.contains('\n')
        && !first.is_empty()
        && !first.starts_with([' ', '\t'])
        && last.is_some_and(|last| !last.trim().is_empty())
        && text.chars().all(|c| c != '\r' && is_allowed(c))
}

fn literal(out: &mut String, text: &str, depth: usize) {
    let content = text.trim_end_matches('\n');
    out.push_str(match text.len() - content.len() {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n("  ", depth));
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        // Writing to a string cannot fail.
        let _ = match c {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if is_allowed(c) && c != '\u{A0}' => out.write_char(c),
            c => match u32::from(c) {
                code @ 0..=0xFF => write!(out, "\\x{code:02X}"),
                code @ 0x100..=0xFFFF => write!(out, "\\u{code:04X}"),
                code => write!(out, "\\U{code:08X}"),
            },
        };
    }
    out.push('"');
}

/// Source: YAML 1.2.2, 7.4.2: at most 1024 characters; here in bytes, which are never fewer.
const MAX_PLAIN_KEY: usize = 1000;
