//! Durations as people write them: `30s`, `5m`, `1h30m`.

use std::fmt;
use std::time::Duration;

/// Parses whole seconds: `30s`, `5m`, `1h`, or a sum such as `1h30m`.
pub fn parse(text: &str) -> Result<Duration, String> {
    read(text, &["h", "m", "s"], "write it like 30s, 5m or 1h")
}

/// Parses like [`parse`], but milliseconds too: `200ms`, `1s500ms`.
pub fn parse_fine(text: &str) -> Result<Duration, String> {
    read(
        text,
        &["h", "m", "s", "ms"],
        "write it like 200ms, 2s or 5m",
    )
}

/// Formats whole seconds in a form that [`parse`] accepts.
pub fn format(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds % 3600, seconds % 60) {
        (0, _) if seconds > 0 => format!("{}h", seconds / 3600),
        (_, 0) if seconds > 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn read(text: &str, units: &[&str], how: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err(format!("it is empty; {how}"));
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit; {how}"));
    }
    let invalid = || format!("`{text}` is not a duration; {how}");
    let mut sum = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = split(rest, u8::is_ascii_digit);
        let (unit, tail) = split(tail, u8::is_ascii_lowercase);
        let milliseconds = match unit {
            _ if !units.contains(&unit) => return Err(invalid()),
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            _ => 1,
        };
        let number: u64 = number.parse().map_err(|_| invalid())?;
        sum = number
            .checked_mul(milliseconds)
            .and_then(|more| sum.checked_add(more))
            .ok_or_else(|| format!("`{text}` is too long; {how}"))?;
        rest = tail;
    }
    Ok(Duration::from_millis(sum))
}

/// Splits a text after its leading ASCII bytes of one class.
fn split(text: &str, is_in_class: fn(&u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().take_while(is_in_class).count())
}

/// A number of seconds, in words of its two largest units.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, hours, days) = (self.0 / 60, self.0 / 3600, self.0 / 86400);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{} s", self.0),
            (0, 0, _) => write!(f, "{minutes} min {} s", self.0 % 60),
            (0, _, _) => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_a_sum_of_numbers_with_units() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1m1m", 120_000),
        ] {
            let span = Ok(Duration::from_millis(milliseconds));
            assert_eq!((parse(text), parse_fine(text)), (span.clone(), span));
        }
        assert_eq!(parse_fine("1s500ms"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn formatted_duration_parses_to_the_same() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (900, "15m"),
            (3600, "1h"),
            (5400, "90m"),
            (5401, "5401s"),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!(format(span), text);
            assert_eq!(parse(text), Ok(span));
        }
    }

    #[test]
    fn malformed_duration_is_refused_with_an_example() {
        for (text, reason) in [
            ("", "it is empty; write it like 30s, 5m or 1h"),
            ("30", "`30` has no unit; write it like 30s, 5m or 1h"),
            ("200ms", "`200ms` is not a duration; "),
            ("1d", "`1d` is not a duration; "),
            ("s", "`s` is not a duration; "),
            ("-5s", "`-5s` is not a duration; "),
            ("1.5s", "`1.5s` is not a duration; "),
            ("5 s", "`5 s` is not a duration; "),
            ("1h ", "`1h ` is not a duration; "),
            ("1中", "`1中` is not a duration; "),
            ("99999999999999999999s", "is not a duration; "),
            ("9999999999999999h", "is too long; "),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let error = parse_fine("1d").unwrap_err();
        assert_eq!(
            error,
            "`1d` is not a duration; write it like 200ms, 2s or 5m"
        );
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3600, "1 h 0 min"),
            (90_061, "1 d 1 h"),
        ] {
            assert_eq!(Span(seconds).to_string(), expected);
        }
    }
}
