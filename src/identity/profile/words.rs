//! Splits a `process_command` into words as aliyun-cli does: with the quoting rules of a shell, but without a shell.

/// Splits a command into the program and its arguments; the result is not empty.
pub(super) fn split(command: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = command.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                // Even empty quotes make a word.
                word.get_or_insert_default();
            }
            (Some(open), c) if open == c => quote = None,
            (None, '\\') => {
                let escaped = rest.next().ok_or("ends in a backslash")?;
                word.get_or_insert_default().push(escaped);
            }
            (Some('"'), '\\') => {
                let escaped = rest.next_if(|next| "\"\\$`\n".contains(*next));
                word.get_or_insert_default().push(escaped.unwrap_or(c));
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("has a quote that is not closed");
    }
    words.extend(word);
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err("names no program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_keep_words_together() {
        for (command, expected) in [
            ("helper --json", Ok(&["helper", "--json"][..])),
            ("  helper\t--json ", Ok(&["helper", "--json"])),
            (
                r#""/opt/my tools/helper" 'a "b"' """#,
                Ok(&["/opt/my tools/helper", "a \"b\"", ""]),
            ),
            (r"/opt/my\ tools/helper", Ok(&["/opt/my tools/helper"])),
            (r#"x "a\"b\n" 'a\'"#, Ok(&["x", "a\"b\\n", "a\\"])),
            ("x a'b c'd", Ok(&["x", "ab cd"])),
            ("x 'a", Err("has a quote that is not closed")),
            ("x \\", Err("ends in a backslash")),
            ("  ", Err("names no program")),
            ("'' x", Err("names no program")),
        ] {
            let words = split(command);
            let expected = expected.map(|words| words.iter().map(ToString::to_string).collect());
            assert_eq!(words, expected, "{command}");
        }
    }
}
