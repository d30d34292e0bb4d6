//! Ini files, as the clients read them.

/// Sections, with their keys and values, in order.
pub(super) type Sections = Vec<(String, Vec<(String, String)>)>;

/// What a client takes for an ini file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// That of Python's `ConfigParser`, where the SDK removes comments from values.
    Python,
    /// That of Python's `RawConfigParser`, as boto3 uses it: a comment belongs to a value.
    Botocore,
    /// That of Go's gopkg.in/ini.v1.
    Go,
    /// That of npm's ini, which refuses nothing.
    Node,
    /// That of the SDK for Java.
    Java,
    /// That of ossutil, which refuses nothing and knows no comments.
    Ossutil,
    /// That of PHP, as far as the others agree about it.
    Php,
}

/// Parses a file; `None` if the client refuses it.
pub(super) fn parse(text: &str, syntax: Syntax) -> Option<Sections> {
    match syntax {
        Syntax::Python | Syntax::Botocore => of_python(text, syntax),
        _ => of_lines(text, syntax),
    }
}

fn of_python(text: &str, syntax: Syntax) -> Option<Sections> {
    let mut sections = Sections::new();
    // The indentation of the last key, as long as lines may continue its value.
    let mut key_indent = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if key_indent.is_some_and(|of_key| indent > of_key) {
            let (_, pairs) = sections.last_mut()?;
            let (_, value) = pairs.last_mut()?;
            value.push('\n');
            value.push_str(&without_comment(line, syntax)?);
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let (name, _) = rest.rsplit_once(']')?;
            if sections.iter().any(|(other, _)| other == name) {
                return None;
            }
            sections.push((name.to_owned(), Vec::new()));
            key_indent = None;
            continue;
        }
        let (key, value) = line.split_once(['=', ':'])?;
        let (_, pairs) = sections.last_mut()?;
        let key = key.trim().to_lowercase();
        if key.is_empty() || pairs.iter().any(|(other, _)| *other == key) {
            return None;
        }
        pairs.push((key, without_comment(value, syntax)?));
        key_indent = Some(indent);
    }
    inherit(&mut sections);
    Some(sections)
}

/// Returns a value as Python's SDKs do; `None` if the client refuses it.
fn without_comment(value: &str, syntax: Syntax) -> Option<String> {
    let end = match syntax {
        // A percent sign begins a reference.
        Syntax::Python if value.replace("%%", "").contains('%') => return None,
        Syntax::Python => value.find('#'),
        _ => None,
    };
    let value = value.get(..end.unwrap_or(value.len()))?;
    Some(value.trim().to_owned())
}

/// Parses a file of lines that do not depend on each other.
fn of_lines(text: &str, syntax: Syntax) -> Option<Sections> {
    let text = match syntax {
        Syntax::Go => text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text),
        _ => text,
    };
    // What precedes the first section.
    let start = if syntax == Syntax::Go { DEFAULT } else { "" };
    let mut sections: Sections = vec![(start.to_owned(), Vec::new())];
    let mut current = 0;
    for line in text.split(['\n', '\r']) {
        let is_comment = match syntax {
            Syntax::Ossutil => false,
            Syntax::Java => line.starts_with(['#', ';']),
            _ => line.trim().starts_with(['#', ';']),
        };
        if is_comment || line.trim().is_empty() {
            continue;
        }
        if let Some(name) = header(line, syntax)? {
            let found = sections.iter().position(|(other, _)| other == name);
            current = match found {
                // Of several with the same name, ossutil uses the first.
                Some(place) if syntax != Syntax::Ossutil => place,
                _ => {
                    sections.push((name.to_owned(), Vec::new()));
                    sections.len() - 1
                }
            };
            continue;
        }
        let (_, pairs) = sections.get_mut(current)?;
        if syntax == Syntax::Java && line.starts_with('\t') {
            if let Some((_, value)) = pairs.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
            continue;
        }
        pairs.push(pair(line, syntax)?);
    }
    Some(sections)
}

/// Returns the name of the section that a line begins, if it begins one; `None` if the client refuses the line.
#[expect(
    clippy::option_option,
    reason = "a client refuses a line, or takes it for another"
)]
fn header(line: &str, syntax: Syntax) -> Option<Option<&str>> {
    if syntax == Syntax::Node {
        let name = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let name = name.filter(|name| !name.contains(']'));
        // A point in the name makes it a part of another section.
        return Some(name.map(|name| if name.contains('.') { "" } else { name.trim() }));
    }
    let line = if syntax == Syntax::Ossutil {
        line
    } else {
        line.trim()
    };
    let Some(rest) = line.strip_prefix('[') else {
        return Some(None);
    };
    let name = match syntax {
        Syntax::Java => {
            let (rest, _) = rest.split_once(['#', ';']).unwrap_or((rest, ""));
            rest.trim_end().strip_suffix(']')?.trim()
        }
        Syntax::Go => Some(rest.rsplit_once(']')?.0).filter(|name| !name.is_empty())?,
        Syntax::Ossutil => rest.trim_matches([' ', '[', ']']),
        _ => rest.split_once(']')?.0.trim(),
    };
    Some(Some(name))
}

/// Returns the key and the value of a line; `None` if the client refuses the line.
fn pair(line: &str, syntax: Syntax) -> Option<(String, String)> {
    let (key, value) = match syntax {
        Syntax::Go => {
            let (key, value) = line.split_once(['=', ':'])?;
            (key.trim().to_owned(), of_go(value))
        }
        Syntax::Node => {
            let (key, value) = line.split_once('=').unwrap_or((line, "true"));
            let key = of_node(key);
            let key = key.strip_suffix("[]").unwrap_or(&key);
            return Some((key.to_owned(), of_node(value)));
        }
        Syntax::Java => {
            let line = until(line, &[" #", " ;", "\t#", "\t;"]);
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            (key.trim().to_owned(), value.trim().to_owned())
        }
        Syntax::Ossutil => {
            let parts = line.split_once('=').or_else(|| line.split_once(':'));
            let (key, value) = parts.unwrap_or((line, ""));
            return Some((key.trim().to_lowercase(), value.trim().to_owned()));
        }
        _ => {
            let (key, value) = line.split_once('=')?;
            let value = until(value, &[" ;"]).trim();
            let value = unquoted(value, &['"', '\'']).unwrap_or(value);
            (key.trim().to_lowercase(), value.to_owned())
        }
    };
    Some((key, value)).filter(|(key, _)| !key.is_empty())
}

fn of_go(value: &str) -> String {
    let value = value.trim();
    let whole = value
        .strip_prefix("\"\"\"")
        .and_then(|rest| rest.split_once("\"\"\""));
    let whole = whole.or_else(|| {
        value
            .strip_prefix('`')
            .and_then(|rest| rest.split_once('`'))
    });
    if let Some((inner, _)) = whole {
        return inner.to_owned();
    }
    let value = until(value, &["#", ";"]).trim();
    unquoted(value, &['"', '\'']).unwrap_or(value).to_owned()
}

fn of_node(value: &str) -> String {
    let value = value.trim();
    if unquoted(value, &['"']).is_some() {
        return serde_json::from_str(value).unwrap_or_else(|_| value.to_owned());
    }
    if let Some(inner) = unquoted(value, &['\'']) {
        return inner.to_owned();
    }
    let mut plain = String::new();
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '#' | ';' => break,
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ';' | '#')) => plain.push(escaped),
                other => plain.extend([Some('\\'), other].into_iter().flatten()),
            },
            _ => plain.push(character),
        }
    }
    match plain.trim() {
        "false" | "null" => String::new(),
        plain => plain.to_owned(),
    }
}

/// Returns a text before the first of some marks.
fn until<'a>(text: &'a str, marks: &[&str]) -> &'a str {
    let found = marks.iter().filter_map(|mark| text.find(mark)).min();
    found.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Returns what one of some quotation marks surrounds.
fn unquoted<'a>(text: &'a str, marks: &[char]) -> Option<&'a str> {
    let mut marks = marks.iter();
    marks.find_map(|mark| text.strip_prefix(*mark)?.strip_suffix(*mark))
}

/// Gives the keys of `DEFAULT` to every section that lacks them.
fn inherit(sections: &mut Sections) {
    let Some(place) = sections.iter().position(|(name, _)| name == DEFAULT) else {
        return;
    };
    let (_, defaults) = sections.remove(place);
    for (_, pairs) in sections {
        for (key, value) in &defaults {
            if !pairs.iter().any(|(other, _)| other == key) {
                pairs.push((key.clone(), value.clone()));
            }
        }
    }
}

/// Returns the value of a key in a section; the last one counts.
pub(super) fn get<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let mut pairs = pairs.iter().rev();
    let (_, value) = pairs.find(|(name, _)| name == key)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

/// Returns a section.
pub(super) fn section<'a>(sections: &'a Sections, name: &str) -> Option<&'a [(String, String)]> {
    let mut sections = sections.iter();
    let (_, pairs) = sections.find(|(other, _)| other == name)?;
    Some(pairs)
}

const DEFAULT: &str = "DEFAULT";
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Syntax; 7] = [
        Syntax::Python,
        Syntax::Botocore,
        Syntax::Go,
        Syntax::Node,
        Syntax::Java,
        Syntax::Ossutil,
        Syntax::Php,
    ];

    #[test]
    fn sections_have_their_pairs() {
        let text = "# c\n[default]\ntype = access_key\nid=a=b\n[other]\nx =\n";
        for syntax in ALL {
            let sections = parse(text, syntax).unwrap();
            let default = section(&sections, "default").unwrap();
            assert_eq!(get(default, "type"), Some("access_key"));
            assert_eq!(get(default, "id"), Some("a=b"));
            assert_eq!(get(section(&sections, "other").unwrap(), "x"), None);
        }
    }

    #[test]
    fn clients_differ_about_what_is_not_plain() {
        // What each client takes for the key `k` of the section `s`, in the order of `ALL`; `!` if it refuses the file.
        for (text, expected) in [
            ("[s]\nk: v\n", ["v", "v", "v", "", "", "v", "!"]),
            ("[DEFAULT]\nk = v\n[s]\n", ["v", "v", "", "", "", "", ""]),
            ("[DEFAULT]\nk = d\n[s]\nk = v\n", ["v"; 7]),
            (
                "[s]\nk = 1\n[s]\nk = 2\n",
                ["!", "!", "2", "2", "2", "1", "2"],
            ),
            ("[s]\nk = 1\nk = 2\n", ["!", "!", "2", "2", "2", "2", "2"]),
            ("[s]\nK = v\n", ["v", "v", "", "", "", "v", "v"]),
            (
                "[s]\nk = v # c\n",
                ["v", "v # c", "v", "v", "v", "v # c", "v # c"],
            ),
            (
                "[s]\nk = v;c\n",
                ["v;c", "v;c", "v", "v", "v;c", "v;c", "v;c"],
            ),
            ("[s] # c\nk = v\n", ["v", "v", "v", "", "v", "", "v"]),
            (" [s]\n k = v\n", ["v", "v", "v", "", "v", "", "v"]),
            ("[ s ]\nk = v\n", ["", "", "", "v", "v", "v", "v"]),
            ("[s]\n\tk = v\n", ["v", "v", "v", "v", "", "v", "v"]),
            ("[s]\nj = 1\n k = v\n", ["", "", "v", "v", "v", "v", "v"]),
            ("[s]\n # c\nk = v\n", ["v", "v", "v", "v", "!", "v", "v"]),
            (
                "[s]\nk = v%w\n",
                ["!", "v%w", "v%w", "v%w", "v%w", "v%w", "v%w"],
            ),
            (
                "[s]\nk = \"v\"\n",
                ["\"v\"", "\"v\"", "v", "v", "\"v\"", "\"v\"", "v"],
            ),
            (
                "[s]\nk = 'v'\n",
                ["'v'", "'v'", "v", "v", "'v'", "'v'", "v"],
            ),
            ("[s]\nk = v\nword\n", ["!", "!", "!", "v", "v", "v", "!"]),
            ("word\n[s]\nk = v\n", ["!", "!", "!", "v", "v", "v", "!"]),
            ("a = b\n[s]\nk = v\n", ["!", "!", "v", "v", "v", "v", "v"]),
            ("[s]\r\nk = v\r\n", ["v"; 7]),
            ("\u{feff}[s]\nk = v\n", ["!", "!", "v", "", "", "", "!"]),
            ("[s\nk = v\n", ["!", "!", "!", "", "!", "v", "!"]),
            ("{}", ["!", "!", "!", "", "", "", "!"]),
        ] {
            for (syntax, expected) in ALL.into_iter().zip(expected) {
                let sections = parse(text, syntax);
                let value = sections.as_ref().map_or("!", |sections| {
                    section(sections, "s")
                        .and_then(|pairs| get(pairs, "k"))
                        .unwrap_or_default()
                });
                assert_eq!(value, expected, "{text} {syntax:?}");
            }
        }
    }
}
