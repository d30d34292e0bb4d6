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
    (is_kept && !is_ignorable(c))
        || (c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Whether viewers show nothing, or only space, though the character belongs to letters, marks or symbols: Unicode's
/// `Default_Ignorable_Code_Point` outside of Cf, and the empty pattern of Braille.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
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

/// Returns lines with an escape for each character that is not shown. Lines after the first are indented, so that none of
/// them looks like a new one of the log.
pub fn lines(text: &str) -> Cow<'_, str> {
    let shown = escape(text, |c| c == '\n', unicode);
    if shown.contains('\n') {
        // Those that are indented already stay as they are.
        let indented = shown.replace('\n', "\n  ");
        return indented.replace("\n    ", "\n  ").into();
    }
    shown
}

/// Returns a text with an escape for each character that is not shown.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    escape(text, |_| false, unicode)
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

/// Returns a line of the log for a terminal: escapes what is not shown, except the colours that a log has.
pub(super) fn terminal(line: &str) -> String {
    let (line, end) = match line.strip_suffix('\n') {
        Some(line) => (line, "\n"),
        None => (line, ""),
    };
    let mut parts = line.split('\u{1b}').map(plain);
    let mut shown = parts.next().unwrap_or_default().into_owned();
    for part in parts {
        let is_colour = COLOURS.iter().any(|colour| part.starts_with(colour));
        shown.push_str(if is_colour { "\u{1b}" } else { "\\u{1b}" });
        shown.push_str(&part);
    }
    shown.push_str(end);
    shown
}

fn unicode(c: char, shown: &mut String) -> std::fmt::Result {
    write!(shown, "{}", c.escape_unicode())
}

/// Reset, bold, dimmed, italic, and the colours of the levels.
const COLOURS: [&str; 9] = [
    "[0m", "[1m", "[2m", "[3m", "[31m", "[32m", "[33m", "[34m", "[35m",
];

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
    const HIDDEN: [char; 23] = [
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
        '\u{3164}',
        '\u{fe0f}',
        '\u{2800}', // shown as nothing
    ];

    const SHOWN: &str = "a ~ é e\u{301} ß 日本語 角色\u{3000}不存在 \u{a0} ✓ 😀 … नमस्ते";

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
        assert_eq!(lines("a\u{1b}[2J\nb\n  c"), "a\\u{1b}[2J\n  b\n  c");
        assert!(terminal(&hostile).chars().all(is_shown));
        let coloured = "\u{1b}[32m INFO\u{1b}[0m path=\u{1b}[2J\r\nERROR\u{1b}[8m\n";
        let shown = "\u{1b}[32m INFO\u{1b}[0m path=\\u{1b}[2J\\u{d}\\u{a}ERROR\\u{1b}[8m\n";
        assert_eq!(terminal(coloured), shown);

        let document = serde_json::to_string(&hostile).unwrap();
        let safe = json(&document);
        assert!(safe.chars().all(is_shown), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), hostile);
        for text in [lines(SHOWN), json(SHOWN)] {
            assert!(matches!(text, Cow::Borrowed(_)));
        }
    }
}
