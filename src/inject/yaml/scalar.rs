//! Resolves scalars by the rules of `sigs.k8s.io/yaml`, which are those of Go's `yaml.v2`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

/// Resolves a plain scalar; rejects numbers that JSON cannot represent. Kubernetes reads a timestamp as a string.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    if let Some(value) = keyword(text) {
        return Ok(value);
    }
    if is_infinite_or_nan(text) {
        return Err(format!(
            "`{text}` is a number that JSON cannot represent; put it in quotes if it is a string"
        ));
    }
    let is_number = match text.bytes().next() {
        // Only after a leading point must underscores be between digits.
        Some(b'.') => underscores_are_between_digits(text),
        Some(b'+' | b'-' | b'0'..=b'9') => true,
        _ => false,
    };
    let number = is_number.then(|| number(&text.replace('_', ""))).flatten();
    Ok(number.unwrap_or_else(|| text.into()))
}

/// Resolves a scalar with a tag that YAML defines.
pub(super) fn tagged(tag: &str, text: &str) -> Result<Value, String> {
    if !matches!(tag, "null" | "bool" | "int" | "float" | "binary") {
        return Ok(text.into());
    }
    match (tag, plain(text)?) {
        ("null", Value::Null) => Ok(Value::Null),
        ("bool", value @ Value::Bool(_)) => Ok(value),
        ("int", Value::Number(number)) if !number.is_f64() => Ok(number.into()),
        ("float", Value::Number(number)) => Ok(number.as_f64().into()),
        ("binary", _) => {
            let encoded: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(encoded).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            text.map_or_else(
                || {
                    Err(
                        "the value is not UTF-8 text in base64, the only binary data that Kubernetes accepts here"
                            .to_owned(),
                    )
                },
                |text| Ok(text.into()),
            )
        }
        _ => Err(format!(
            "the value is not of type {tag}; write it without the tag"
        )),
    }
}

/// Whether a parser of any version of YAML may resolve an unquoted text to something other than a string.
pub(super) fn is_ambiguous(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "" | "~" | "=" | "<<" | "nan" | "inf" | "infinity"
    ) || keyword(&lower).is_some()
        || lower.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))
}

fn keyword(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true.into())
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false.into())
        }
        _ => None,
    }
}

fn is_infinite_or_nan(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

fn underscores_are_between_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| {
        let byte = at.and_then(|at| bytes.get(at));
        byte.is_some_and(u8::is_ascii_digit)
    };
    let mut underscores = bytes.iter().enumerate().filter(|(_, b)| **b == b'_');
    underscores.all(|(at, _)| is_digit(at.checked_sub(1)) && is_digit(at.checked_add(1)))
}

fn number(text: &str) -> Option<Value> {
    if let Some(integer) = integer(text) {
        return Some(integer.into());
    }
    // Rust also reads words such as `inf`.
    let is_float = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let float: f64 = is_float.then(|| text.parse().ok())??;
    // A number that is too large for a float is a string.
    Number::from_f64(float).map(Value::Number)
}

/// Parses an integer like Go's `strconv.ParseInt` and `ParseUint`, which take the base from the prefix.
fn integer(text: &str) -> Option<Number> {
    let (is_negative, digits) = match text.split_at_checked(1) {
        Some(("-", rest)) => (true, rest),
        Some(("+", rest)) => (false, rest),
        _ => (false, text),
    };
    let bytes = digits.as_bytes();
    let (base, digits) = match (bytes.first(), bytes.get(1)) {
        (Some(b'0'), Some(b'x' | b'X')) => (16, digits.get(2..)?),
        (Some(b'0'), Some(b'o' | b'O')) => (8, digits.get(2..)?),
        (Some(b'0'), Some(b'b' | b'B')) => (2, digits.get(2..)?),
        (Some(b'0'), Some(_)) => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // Go allows one sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if is_negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Number::from);
    }
    // Only a number without a sign may need all 64 bits.
    if text.starts_with('+') && i64::try_from(magnitude).is_err() {
        return None;
    }
    Some(magnitude.into())
}
