//! Takes out of a program's complaint whatever looks like a secret: nobody knows which those are.

use crate::failure::scrub;

/// Makes the text fit to be shown: one line, bounded, without long random words and without what stands beside the name
/// of a secret.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut after_name = false;
    for part in text.split_inclusive(|c: char| !is_word(c)) {
        let word = part.trim_end_matches(|c: char| !is_word(c));
        let rest = &part[word.len()..];
        if word.is_empty() {
            shown.push_str(rest);
            continue;
        }
        if after_name || is_random(word) {
            shown.push('…');
        } else {
            shown.push_str(word);
        }
        shown.push_str(rest);
        // `"secret": "…"`, `SECRET=…`, `token …`
        after_name = names_a_secret(word);
    }
    scrub(&shown, &[])
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/_-".contains(c)
}

fn names_a_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["secret", "token", "password", "passwd", "signature"]
        .iter()
        .any(|name| word.ends_with(name))
}

/// Keys and tokens mix capitals, small letters and digits over some length; paths and names rarely do.
fn is_random(word: &str) -> bool {
    let has = |is: fn(&u8) -> bool| word.bytes().any(|byte| is(&byte));
    word.starts_with("CAIS")
        || word.len() >= 16
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_left_out_and_the_rest_stays_readable() {
        for (text, expected) in [
            ("vault: permission denied\n", "vault: permission denied"),
            (
                "cannot open /var/run/secrets/kubernetes.io/token",
                "cannot open /var/run/secrets/kubernetes.io/token",
            ),
            ("key 4f6Gh0Plx92mQaZ81bTyWc3R", "key …"),
            ("bad token: plantedword, sorry", "bad token: …, sorry"),
            (
                "{\"access_key_secret\": \"plantedword\", \"mode\": \"AK\"}",
                "{\"access_key_secret\": \"…\", \"mode\": \"AK\"}",
            ),
            ("AccessKeySecret=plantedword", "AccessKeySecret=…"),
            ("got CAISplanted+word/x==", "got …=="),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
