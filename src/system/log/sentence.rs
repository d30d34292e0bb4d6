//! The text form of an event: one sentence for people, then the values.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::system::display;

/// Writes `message: error; advice (RequestId request_id)`, as an error response says it, and then the other fields.
#[derive(Debug)]
pub(super) struct Sentence;

#[derive(Default)]
struct Parts {
    message: String,
    error: String,
    advice: String,
    request_id: String,
    others: Vec<(&'static str, String)>,
}

impl<'writer> FormatFields<'writer> for Sentence {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut parts = Parts::default();
        fields.record(&mut parts);
        let mut sentence = parts.message;
        for (separator, part) in [(": ", parts.error), ("; ", parts.advice)] {
            if !part.is_empty() {
                sentence.push_str(separator);
                sentence.push_str(&part);
            }
        }
        if !parts.request_id.is_empty() {
            write!(sentence, " (RequestId {})", parts.request_id)?;
        }
        writer.write_str(&display::plain(&sentence))?;
        let (italic, dimmed, reset) = if writer.has_ansi_escapes() {
            ("\x1b[3m", "\x1b[2m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        for (name, value) in parts.others {
            let value = display::plain(&value);
            write!(writer, " {italic}{name}{reset}{dimmed}={reset}{value}")?;
        }
        Ok(())
    }
}

impl Parts {
    fn part(&mut self, field: &Field) -> Option<&mut String> {
        match field.name() {
            "message" => Some(&mut self.message),
            "error" => Some(&mut self.error),
            "advice" => Some(&mut self.advice),
            "request_id" => Some(&mut self.request_id),
            _ => None,
        }
    }
}

/// Whether a value needs no quotes to be told from what stands around it.
fn is_word(value: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:/@+".contains(c);
    !value.is_empty() && value.chars().all(is_plain)
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        match self.part(field) {
            Some(part) => value.clone_into(part),
            None if is_word(value) => self.others.push((field.name(), value.to_owned())),
            None => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        match self.part(field) {
            Some(part) => *part = value,
            None => self.others.push((field.name(), value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::warn;

    use crate::testing::Log;

    #[test]
    fn the_sentence_comes_first_and_nothing_in_it_is_obeyed() {
        let log = Log::start();
        warn!(
            code = "NoPermission",
            advice = "grant \"it\"",
            request_id = "ABC",
            none = Option::<u32>::None,
            path = "a b",
            count = 3,
            error = "refused\u{1b}[31m\nERROR",
            "No credentials"
        );
        assert_eq!(
            log.take(),
            [
                r#"WARN No credentials: refused\u{1b}[31m\u{a}ERROR; grant "it" (RequestId ABC) code=NoPermission path="a b" count=3"#
            ]
        );
    }
}
