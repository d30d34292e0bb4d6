//! Findings under headings, aligned, as `check` and `status` print them.

use std::fmt::{self, Formatter};

use crate::system::display::one_line;

/// A finding.
pub(super) struct Line {
    mark: Mark,
    label: String,
    text: String,
}

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It belongs to the line above, or could not be judged.
    None,
    Good,
    Warning,
    Failure,
}

impl Line {
    pub(super) fn new(mark: Mark, label: &str, text: String) -> Self {
        let label = printable(label).chars().take(LABEL_LIMIT).collect();
        Self { mark, label, text }
    }
}

/// Writes sections that have lines, each with its heading.
pub(super) fn write(
    f: &mut Formatter<'_>,
    sections: &[(&str, Vec<Line>)],
    has_colour: bool,
) -> fmt::Result {
    let lines = sections.iter().flat_map(|(_, lines)| lines);
    let width = lines
        .map(|line| line.label.chars().count())
        .max()
        .unwrap_or(0);
    for (heading, lines) in sections {
        if lines.is_empty() {
            continue;
        }
        writeln!(f, "{}", self::heading(heading, has_colour))?;
        for line in lines {
            let (mark, label) = (mark(line.mark, has_colour), &line.label);
            writeln!(f, "  {mark} {label:width$}  {}", printable(&line.text))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// Returns a heading.
pub(super) fn heading(text: &str, has_colour: bool) -> String {
    painted(&printable(text), BOLD, has_colour)
}

/// Returns the sign of a mark.
pub(super) fn mark(mark: Mark, has_colour: bool) -> String {
    let (sign, colour) = match mark {
        Mark::None => return " ".to_owned(),
        Mark::Good => ("✓", GREEN),
        Mark::Warning => ("!", YELLOW),
        Mark::Failure => ("✗", RED),
    };
    painted(sign, colour, has_colour)
}

/// Breaks a text into lines that are at most `width` wide with an indent before them, two columns deeper after the first.
pub(super) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let mut lines = " ".repeat(indent);
    let mut column = indent;
    for (index, word) in printable(text).split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > width {
            let deeper = indent + 2;
            lines.push('\n');
            lines.push_str(&" ".repeat(deeper));
            column = deeper;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

/// Replaces what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    one_line(text).collect()
}

fn painted(text: &str, colour: &str, has_colour: bool) -> String {
    if has_colour {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A label of ours is shorter; one of another program would push the texts out of sight.
const LABEL_LIMIT: usize = 40;

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use super::*;

    struct Shown(Vec<Line>);

    impl Display for Shown {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let lines = self
                .0
                .iter()
                .map(|line| Line::new(line.mark, &line.label, line.text.clone()));
            write(f, &[("Heading", lines.collect())], false)
        }
    }

    #[test]
    fn text_is_broken_between_words_only() {
        for (text, expected) in [
            ("aa bb cc", "  aa bb\n    cc"),
            ("aaaaaaaaaaaa bb\x1b", "  aaaaaaaaaaaa\n    bb"),
            ("ää öö", "  ää öö"),
            ("", "  "),
        ] {
            assert_eq!(wrapped(text, 2, 8), expected);
        }
    }

    #[test]
    fn neither_a_label_nor_a_text_drives_the_terminal_or_fills_it() {
        let hostile = format!("\x1b]0;title\x07\u{202e}{}\n", "x".repeat(70_000));
        let shown = Shown(vec![Line::new(Mark::None, &hostile, hostile.clone())]).to_string();
        assert!(!shown.contains(['\x1b', '\x07', '\u{202e}']), "{shown}");
        assert_eq!(shown.lines().count(), 3);
        let line = shown.lines().nth(1).unwrap();
        assert_eq!(
            line.chars()
                .take(4 + 40)
                .collect::<String>()
                .trim_end()
                .chars()
                .count(),
            44
        );
    }
}
