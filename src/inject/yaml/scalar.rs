//! What a scalar stands for: the rules of `sigs.k8s.io/yaml`, which are those of Go's `yaml.v2`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

/// What a plain scalar stands for. A timestamp is a text to Kubernetes.
///
/// Refuses numbers that JSON has not.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    if let Some(word) = word(text) {
        return Ok(word);
    }
    if is_infinite_or_not_a_number(text) {
        return Err(format!(
            "`{text}` is a number that Kubernetes has not; put it in quotes if it is a text"
        ));
    }
    let is_number = match text.bytes().next() {
        // Only where it begins with a point, an underscore must divide digits.
        Some(b'.') => underscores_divide_digits(text),
        Some(b'+' | b'-' | b'0'..=b'9') => true,
        _ => false,
    };
    let number = is_number.then(|| number(&text.replace('_', ""))).flatten();
    Ok(number.unwrap_or_else(|| text.into()))
}

/// What a scalar with a tag of YAML's own stands for.
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
            let packed: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(packed).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            text.map_or_else(
                || Err("it is no text in base64; Kubernetes takes no other bytes here".to_owned()),
                |text| Ok(text.into()),
            )
        }
        _ => Err(format!("`{text}` is no {tag}; write it without the tag")),
    }
}

/// Whether any reader of YAML, of whatever version, may take a text for something else than a text by itself.
pub(super) fn is_ambiguous(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "" | "~" | "=" | "<<" | "nan" | "inf" | "infinity"
    ) || word(&lower).is_some()
        || lower.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))
}

fn word(text: &str) -> Option<Value> {
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

fn is_infinite_or_not_a_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

fn underscores_divide_digits(text: &str) -> bool {
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
    let float: f64 = is_float(text).then(|| text.parse().ok())??;
    // What is too large is a text.
    Number::from_f64(float).map(Value::Number)
}

/// Reads what Go's `strconv.ParseInt` and `ParseUint` take, with the base by its prefix.
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
    // A second sign is none of Go's.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if is_negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Number::from);
    }
    // Only without a sign is it read as one of 64 bits.
    if text.starts_with('+') && i64::try_from(magnitude).is_err() {
        return None;
    }
    Some(magnitude.into())
}

/// Whether it matches `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = digits(rest);
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits(fraction);
        if whole + length == 0 {
            return false;
        }
        rest = &fraction[length..];
    } else if whole == 0 {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else {
        return rest.is_empty();
    };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}
