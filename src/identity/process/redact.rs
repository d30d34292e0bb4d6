//! Takes out of a program's complaint whatever looks like a secret: nobody knows which those are.

use crate::failure::redact;

/// Makes the text fit to be shown: one line, bounded, without long random words and without what stands beside the name
/// of a secret.
pub(super) fn shown(text: &str) -> String {
    let text = &without_passwords(text);
    let mut shown = String::with_capacity(text.len());
    let mut secret = Secret::Nowhere;
    let mut after = text.as_str();
    for part in text.split_inclusive(|c: char| !is_word(c)) {
        let word = part.trim_end_matches(|c: char| !is_word(c));
        let rest = &part[word.len()..];
        after = after.strip_prefix(part).unwrap_or_default();
        // `{\"secret\":\"…\"}`, as it stands in a log that is JSON itself.
        let bare = word.trim_matches('\\');
        if bare.is_empty() {
            shown.push_str(part);
            if secret == Secret::Here && ends_a_value(rest) {
                secret = Secret::Nowhere;
            }
            continue;
        }
        // `secret is …`, `token expired`: such words are none, and say what is wrong.
        let is_filler = secret == Secret::Next && rest.starts_with(' ') && FILLERS.contains(&bare);
        if is_filler {
            shown.push_str(part);
            continue;
        }
        if secret != Secret::Nowhere || is_random(bare) {
            shown.push('…');
        } else {
            shown.push_str(word);
        }
        shown.push_str(rest);
        // Also `SECRET_KEY = …`.
        let sign = if rest == " " { after } else { rest };
        secret = if names_a_secret(bare, sign) {
            Secret::Next
        } else if secret == Secret::Nowhere || ends_a_value(rest) {
            Secret::Nowhere
        } else {
            Secret::Here
        };
    }
    redact(&shown, &[])
}

/// Takes the users out of addresses: `https://user:password@host`.
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

/// Where a secret is that was named.
#[derive(Clone, Copy, PartialEq)]
enum Secret {
    Nowhere,
    /// What comes next is its value, after quotes and signs: `"secret": "…"`, `SECRET=…`, `token …`.
    Next,
    /// This is within its value, which has other characters than words have.
    Here,
}

/// What may stand between the name of a secret and its value, or in the place of the value.
const FILLERS: [&str; 12] = [
    "is", "was", "are", "has", "been", "not", "expired", "invalid", "missing", "denied", "refused",
    "wrong",
];

/// Words are as long as tokens that are encoded: `%2B`, `\/`, `\u003d`.
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
        // `no such key` is no name of a secret, `SECRET_KEY=` is.
        || (is_assigned && ["key", "authorization"].iter().any(|name| word.ends_with(name)))
}

/// Keys and tokens mix capitals, small letters and digits over some length; paths and names rarely do.
fn is_random(word: &str) -> bool {
    let count = |is: fn(&u8) -> bool| word.bytes().filter(is).count();
    let capitals = count(u8::is_ascii_uppercase);
    let small = count(u8::is_ascii_lowercase);
    let digits = count(u8::is_ascii_digit);
    let length = word.len();
    let is_mixed = capitals > 0 && small > 0;
    word.contains("CAIS")
        || (length >= 16 && is_mixed && digits > 0)
        // Small letters and digits, mixed up: a word has few of the latter, a version or a date few of the former.
        || (length >= 16 && digits > 2 && small > 2)
        // One key in two hundred has no digit, but about as many capitals as small letters, unlike NamesOfErrors.
        || (length >= 24 && is_mixed && 3 * capitals > capitals + small)
        // Hexadecimal.
        || (length >= 32 && digits > 0 && capitals + small + digits == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_like_a_secret_is_redacted_and_the_rest_stays_readable() {
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
            assert_eq!(shown(text), expected);
        }
    }
}
