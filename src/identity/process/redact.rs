//! Removes from the error output of a program everything that looks like a secret; the actual secrets are unknown.

use crate::failure::redact;

/// Returns the text on one line and bounded, without long random words, and without the values that follow the name of a
/// secret.
pub(super) fn redacted(text: &str) -> String {
    let text = &without_passwords(text);
    let mut shown = String::with_capacity(text.len());
    let mut state = State::Text;
    let mut after = text.as_str();
    for part in text.split_inclusive(|c: char| !is_word(c)) {
        let word = part.trim_end_matches(|c: char| !is_word(c));
        let rest = &part[word.len()..];
        after = after.strip_prefix(part).unwrap_or_default();
        // Escaped JSON, as in a log in JSON: `{\"secret\":\"…\"}`.
        let bare = word.trim_matches('\\');
        if bare.is_empty() {
            shown.push_str(part);
            if state == State::Value && ends_a_value(rest) {
                state = State::Text;
            }
            continue;
        }
        // `secret is …`, `token expired`: such words are not secrets, and explain the error.
        let is_filler =
            state == State::BeforeValue && rest.starts_with(' ') && FILLERS.contains(&bare);
        if is_filler {
            shown.push_str(part);
            continue;
        }
        if state != State::Text || looks_random(bare) {
            shown.push('…');
        } else {
            shown.push_str(word);
        }
        shown.push_str(rest);
        // The sign may follow a space: `SECRET_KEY = …`.
        let sign = if rest == " " { after } else { rest };
        state = if names_a_secret(bare, sign) {
            State::BeforeValue
        } else if state == State::Text || ends_a_value(rest) {
            State::Text
        } else {
            State::Value
        };
    }
    redact(&shown, &[])
}

/// Removes user names and passwords from URLs: `https://user:password@host`.
fn without_passwords(text: &str) -> String {
    let chunks = text.split_inclusive(char::is_whitespace);
    let cleaned = chunks.map(|chunk| match (chunk.find("://"), chunk.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}://…{}", &chunk[..start], &chunk[end..])
        }
        _ => chunk.to_owned(),
    });
    cleaned.collect()
}

/// Where the next word is, relative to a named secret.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Outside the value of a secret.
    Text,
    /// After the name of a secret: the next word begins its value, as in `"secret": "…"`, `SECRET=…`, `token …`.
    BeforeValue,
    /// Within a value that contains other characters than those of a word.
    Value,
}

/// Words that are not secrets, although they follow the name of one.
const FILLERS: [&str; 12] = [
    "is", "was", "are", "has", "been", "not", "expired", "invalid", "missing", "denied", "refused",
    "wrong",
];

/// Whether a character belongs to a word. The characters of escapes do: `%2B`, `\/`, `\u003d`.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/_-%\\".contains(c)
}

fn ends_a_value(rest: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || "\"'`,;&)}]".contains(c);
    rest.is_empty() || rest.starts_with(ends)
}

fn names_a_secret(word: &str, rest: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let is_assigned = rest.starts_with(['=', ':', '"', '\'']);
    [
        "secret",
        "token",
        "password",
        "passwd",
        "passphrase",
        "credential",
        "signature",
        "bearer",
        "basic",
    ]
    .iter()
    .any(|name| word.ends_with(name))
        // `no such key` does not name a secret, `SECRET_KEY=` does.
        || (is_assigned && ["key", "authorization"].iter().any(|name| word.ends_with(name)))
}

/// Whether a word is long, and mixes capitals, small letters and digits, as keys and tokens do and paths and names rarely.
fn looks_random(word: &str) -> bool {
    let count = |is: fn(&u8) -> bool| word.bytes().filter(is).count();
    let capitals = count(u8::is_ascii_uppercase);
    let small = count(u8::is_ascii_lowercase);
    let digits = count(u8::is_ascii_digit);
    let length = word.len();
    let is_mixed = capitals > 0 && small > 0;
    word.contains("CAIS")
        || (length >= 16 && is_mixed && digits > 0)
        // Small letters and digits: a word has few digits, a version or a date has few letters.
        || (length >= 16 && digits > 2 && small > 2)
        // One key in two hundred has no digit. It has about as many capitals as small letters, unlike NamesOfErrors.
        || (length >= 24 && is_mixed && 3 * capitals > capitals + small)
        // Hexadecimal.
        || (length >= 32 && digits > 0 && capitals + small + digits == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_looks_like_a_secret_is_redacted_and_the_rest_is_unchanged() {
        for (text, expected) in [
            ("vault: permission denied\n", "vault: permission denied"),
            (
                "cannot open /var/run/secrets/kubernetes.io/token",
                "cannot open /var/run/secrets/kubernetes.io/token",
            ),
            (
                "no such key: InvalidAccessKeyIdNotFoundException",
                "no such key: …",
            ),
            (
                "InvalidAccessKeyIdNotFoundException at 100%",
                "InvalidAccessKeyIdNotFoundException at 100%",
            ),
            ("the token has expired ", "the token has expired"),
            ("AccessKeySecret is plantedword", "AccessKeySecret is …"),
            ("api_key=plantedword", "api_key=…"),
            ("https://user:plan.ted!word@host/x", "https://…@host/x"),
            ("SECRET_KEY = plantedword", "SECRET_KEY = …"),
            ("Authorization: Basic cGxhbnRlZA", "Authorization: … …"),
            ("seen 550e8400-e29b-41d4-a716-446655440000", "seen …"),
            ("key 4f6Gh0Plx92mQaZ81bTyWc3R", "key …"),
            ("key QwErTyUiOpAsDfGhJkLzXcVbNmPoIu", "key …"),
            ("key 0123456789abcdef0123456789abcdef", "key …"),
            ("bad token: plantedword, sorry", "bad token: …, sorry"),
            (
                "{\"access_key_secret\": \"plantedword\", \"mode\": \"AK\"}",
                "{\"access_key_secret\": \"…\", \"mode\": \"AK\"}",
            ),
            (
                r#"{\"AccessKeySecret\":\"plantedword\",\"Code\":\"No\"}"#,
                r#"{\"AccessKeySecret\":\"…",\"Code\":\"No\"}"#,
            ),
            ("AccessKeySecret=plantedword", "AccessKeySecret=…"),
            ("SECRET_KEY=plantedword", "SECRET_KEY=…"),
            ("Authorization: Bearer plantedword", "Authorization: … …"),
            ("password=pla!nted?word; denied", "password=…!…?…; denied"),
            ("got CAISplanted+word/x==", "got …=="),
            (r"got CAISplanted\/word\u003d", "got …"),
            ("got CAISplanted%2Fword%3D", "got …"),
            ("", ""),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }
}
