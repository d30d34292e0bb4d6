//! Makes text from outside safe to show on a terminal, in a log viewer and on a page.
//!
//! Names, paths, headers and answers of services may contain characters that are obeyed instead of shown: control characters
//! (Unicode's Cc), directions and invisible characters (Cf), private and unassigned ones (Co, Cn) and separators of lines (Zl,
//! Zp). All text passes one of these functions where it leaves the process, so no caller has to remember it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether the character is shown as itself by every terminal and viewer. Spaces are, line breaks are not.
pub fn is_shown(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The standard library's table decides, which escapes all of those categories. After another character, it keeps those
    // that combine with it.
    let mut text = *b"a\0\0\0\0";
    let end = 1 + c.encode_utf8(&mut text[1..]).len();
    let is_kept = std::str::from_utf8(&text[..end]).is_ok_and(|it| it.escape_debug().count() == 2);
    is_kept || (c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Returns the characters of a text as one line: with spaces for control characters and separators of lines, and `U+FFFD` for
/// others that are not shown.
pub fn one_line(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| match c {
        _ if is_shown(c) => c,
        _ if c.is_control() || c.is_whitespace() => ' ',
        _ => char::REPLACEMENT_CHARACTER,
    })
}

/// Returns lines with an escape for each character that is not shown.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(
        text,
        |c| c == '\n',
        |c, shown| write!(shown, "{}", c.escape_unicode()),
    )
}

/// Returns JSON text whose strings contain only characters that are shown; it has the same meaning.
pub fn json(text: &str) -> Cow<'_, str> {
    escape(
        text,
        |c| c.is_ascii_control() && c != '\u{7f}',
        |c, shown| {
            let mut units = [0; 2];
            let mut units = c.encode_utf16(&mut units).iter();
            units.try_for_each(|unit| write!(shown, "\\u{unit:04x}"))
        },
    )
}

/// Returns lines of a terminal, which may be coloured: escapes what is not shown, except ASCII's control characters.
pub(super) fn terminal(text: &str) -> Cow<'_, str> {
    escape(
        text,
        |c| c.is_ascii_control() && c != '\u{7f}',
        |c, shown| write!(shown, "{}", c.escape_unicode()),
    )
}

fn escape(
    text: &str,
    is_kept: impl Fn(char) -> bool,
    escaped: impl Fn(char, &mut String) -> std::fmt::Result,
) -> Cow<'_, str> {
    let must_escape = |c: char| !is_shown(c) && !is_kept(c);
    if !text.contains(must_escape) {
        return text.into();
    }
    let mut shown = String::with_capacity(2 * text.len());
    for c in text.chars() {
        if must_escape(c) {
            // A String takes any text.
            let _ = escaped(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One or two characters of each category that is obeyed, invisible or unknown.
    const HIDDEN: [char; 20] = [
        '\0',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}', // Cc
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200d}',
        '\u{200f}',
        '\u{202e}',
        '\u{2066}',
        '\u{feff}',
        '\u{fff9}',
        '\u{e0041}', // Cf, the last one a tag
        '\u{e000}',
        '\u{10fffd}', // Co
        '\u{378}',    // Cn
        '\u{2028}',
        '\u{2029}', // Zl, Zp
    ];

    const SHOWN: &str = "a ~ é e\u{301} ß 日本語 角色\u{3000}不存在 \u{a0} ✓ 😀 … ﷽ नमस्ते";

    #[test]
    fn hidden_characters_are_told_from_shown_ones() {
        for c in HIDDEN {
            assert!(!is_shown(c), "{c:?}");
        }
        for c in SHOWN.chars() {
            assert!(is_shown(c), "{c:?}");
        }
    }

    #[test]
    fn every_way_out_keeps_what_is_shown_and_nothing_else() {
        let hostile: String = HIDDEN.iter().flat_map(|c| ['x', *c]).collect();
        assert!(one_line(&hostile).all(is_shown));
        assert_eq!(
            one_line("a\u{202e}b\nc").collect::<String>(),
            "a\u{fffd}b c"
        );
        assert!(lines(&hostile).chars().all(is_shown));
        assert_eq!(lines("a\u{1b}[2J\nb"), "a\\u{1b}[2J\nb");
        assert!(
            terminal(&hostile)
                .chars()
                .all(|c| is_shown(c) || c.is_ascii_control())
        );

        let document = serde_json::to_string(&hostile).unwrap();
        let safe = json(&document);
        assert!(safe.chars().all(is_shown), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), hostile);
        for text in [lines(SHOWN), json(SHOWN), terminal(SHOWN)] {
            assert!(matches!(text, Cow::Borrowed(_)));
        }
    }
}
