//! Redaction: keeps secrets out of the messages of services.

use percent_encoding::percent_decode_str;

use crate::system::display::one_line;

/// Makes text from outside safe to show: one line of limited length, without any of `secrets` or a piece of one.
///
/// A text of fewer than 8 bytes is no secret: without it, ordinary words would lose their letters.
///
/// STS repeats the whole string to sign in its `SignatureDoesNotMatch`, security token included, percent-encoded twice.
pub fn redact(text: &str, secrets: &[&str]) -> String {
    let mut message = text;
    for quoted in ["server string to sign", "server StringToSign"] {
        message = message.split(quoted).next().unwrap_or_default();
    }
    let mut message: String = message.chars().take(2 * MESSAGE_LIMIT).collect();
    let secrets: Vec<&str> = secrets
        .iter()
        .copied()
        .filter(|secret| secret.len() >= SHORTEST_PIECE)
        .collect();
    for secret in &secrets {
        message = message.replace(secret, "…");
    }
    let mut shown = String::new();
    for run in message.split_inclusive(|c: char| !is_token_char(c)) {
        let word = run.trim_end_matches(|c: char| !is_token_char(c));
        if repeats(word, &secrets) {
            shown.push('…');
            shown.push_str(&run[word.len()..]);
        } else {
            shown.push_str(run);
        }
    }
    let line: String = one_line(&shown).take(MESSAGE_LIMIT).collect();
    line.trim().trim_end_matches(['.', ':', ' ']).to_owned()
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=_-.%".contains(c)
}

/// Whether `word` contains a secret or a long piece of one, percent-encoded or not.
fn repeats(word: &str, secrets: &[&str]) -> bool {
    let once = percent_decode_str(word).decode_utf8_lossy();
    let twice = percent_decode_str(&once).decode_utf8_lossy();
    [word, &*once, &*twice].iter().any(|form| {
        secrets
            .iter()
            .any(|secret| form.contains(secret) || overlap(form, secret))
    })
}

/// Whether both contain the same [`SHORTEST_PIECE`] bytes in a row; never if one of them is shorter.
fn overlap(form: &str, secret: &str) -> bool {
    form.as_bytes().windows(SHORTEST_PIECE).any(|piece| {
        secret
            .as_bytes()
            .windows(SHORTEST_PIECE)
            .any(|other| other == piece)
    })
}

/// The most characters of a message from outside that are shown.
const MESSAGE_LIMIT: usize = 1000;

/// Bytes of a secret in a row that must not be shown.
const SHORTEST_PIECE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redaction_removes_every_piece_of_a_secret() {
        let secret = "CAIS+planted/token==withmore";
        for message in [
            "bad token CAIS+planted/token==withmore here",
            "bad token CAIS+planted/tok",
            "bad token x%3DCAIS%2Bplanted%2Ftoken%3D%3Dwithmore%26",
            "bad token CAIS%252Bplanted%252Ftoken%253D",
            "bad token CAIS+planted/token==withmore, really",
            "Specified signature is not matched. server string to sign is:POST&%2F&SecurityToken%3DCAIS",
        ] {
            let shown = redact(message, &[secret]);
            assert!(
                !shown.contains("planted") && !shown.contains("CAIS"),
                "{shown}"
            );
            assert!(
                shown.starts_with("bad token") || shown.starts_with("Specified"),
                "{shown}"
            );
        }
    }

    #[test]
    fn redaction_keeps_the_rest_readable_on_one_line() {
        let shown = redact(
            "The role not exists: acs:ram::1:role/x.\nnext",
            &["planted-secret"],
        );
        assert_eq!(shown, "The role not exists: acs:ram::1:role/x. next");
        assert_eq!(
            redact("a\u{85}b\u{2028}c\u{2029}d\re\u{202e}f", &[]),
            "a b c d e\u{fffd}f"
        );
        assert_eq!(redact(&"ab ".repeat(1000), &[]).chars().count(), 1000);
        // Neither long words nor secrets that are too short to be one remove anything.
        let message = "AuthenticationFail.OIDCToken.Expired";
        for secret in ["planted-secret", "", "t", "Expired"] {
            assert_eq!(redact(message, &[secret]), message, "{secret}");
        }
    }

    #[test]
    fn redaction_removes_no_more_than_the_secret() {
        let message = "key=planted-secret, and more";
        assert_eq!(redact(message, &["planted-secret"]), "key=…, and more");
        // The text after them is shown up to the limit.
        let secret = "s".repeat(500);
        let message = format!("{secret} {secret} {}", "ab ".repeat(300));
        assert!(redact(&message, &[&secret]).chars().count() > 900);
    }

    #[test]
    fn redaction_accepts_any_text() {
        for text in ["%", "%%4", "日本%E6", "\u{0}\u{7f}", "a%zz", ""] {
            redact(text, &["秘密の値です", ""]);
        }
    }
}
