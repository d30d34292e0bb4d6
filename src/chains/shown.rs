//! What of a client's settings may be shown: a secret may stand in the place of anything.

use chrono::DateTime;

use crate::credentials::RoleArn;

/// The form that a text must have to be shown.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// An AccessKey ID.
    Id,
    /// The ARN of a role, of RAM or of AWS.
    RoleArn,
    /// A time, as RFC 3339 has it.
    Time,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// Returns a text if it has the form, or else `…`.
pub(super) fn shown(text: &str, form: Form) -> &str {
    let has_form = match form {
        Form::Id => is_id(text),
        Form::RoleArn => is_role_arn(text),
        Form::Time => DateTime::parse_from_rfc3339(text).is_ok(),
        Form::OneOf(words) => words.contains(&text),
    };
    if has_form { text } else { HIDDEN }
}

/// Whether a text has the form of an AccessKey ID. A secret has no such beginning.
pub(super) fn is_id(text: &str) -> bool {
    let is_character = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        && text.len() <= LONGEST_ID
        && text.bytes().all(is_character)
}

fn is_role_arn(text: &str) -> bool {
    let of_aws = text.strip_prefix("arn:aws:iam::");
    let of_aws = of_aws.map(|rest| format!("acs:ram::{rest}"));
    RoleArn::parse(of_aws.as_deref().unwrap_or(text)).is_ok()
}

const HIDDEN: &str = "…";

const PREFIXES: [&str; 5] = ["LTAI", "STS.", "TMP.", "AKIA", "ASIA"];

/// Bytes of an AccessKey ID, with some to spare.
const LONGEST_ID: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_form_is_shown() {
        let long = format!("STS.{}", "x".repeat(45));
        for (text, form, is_shown) in [
            ("LTAI5tx", Form::Id, true),
            ("STS.NUgYrLnoC37mZZCNnAbez", Form::Id, true),
            ("AKIAIOSFODNN7EXAMPLE", Form::Id, true),
            ("short", Form::Id, false),
            ("", Form::Id, false),
            ("LTAI+planted/", Form::Id, false),
            ("LTAIx # comment", Form::Id, false),
            (&long, Form::Id, false),
            ("acs:ram::1:role/a", Form::RoleArn, true),
            ("arn:aws:iam::1:role/a", Form::RoleArn, true),
            ("planted", Form::RoleArn, false),
            ("acs:ram::planted:role/a", Form::RoleArn, false),
            ("2026-01-02T03:04:05Z", Form::Time, true),
            ("planted", Form::Time, false),
            ("AK", Form::OneOf(&["AK"]), true),
            ("planted", Form::OneOf(&["AK"]), false),
        ] {
            let expected = if is_shown { text } else { HIDDEN };
            assert_eq!(shown(text, form), expected, "{text}");
        }
    }
}
