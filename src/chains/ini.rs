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
    /// That of Go, where a colon separates too.
    Go,
    /// What the others agree about.
    Other,
}

/// Parses a file; `None` if the client refuses it.
pub(super) fn parse(text: &str, syntax: Syntax) -> Option<Sections> {
    let is_python = matches!(syntax, Syntax::Python | Syntax::Botocore);
    let delimiters: &[char] = if syntax == Syntax::Other {
        &['=']
    } else {
        &['=', ':']
    };
    let mut sections = Sections::new();
    let mut current = None;
    // The indentation of the last key, as long as lines may continue its value.
    let mut key_indent = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(key_indent) = key_indent
            && is_python
            && indent > key_indent
        {
            let (_, pairs): &mut (String, Vec<(String, String)>) = sections.get_mut(current?)?;
            let (_, value) = pairs.last_mut()?;
            value.push('\n');
            value.push_str(&plain(line, syntax)?);
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let (name, _) = name.split_once(']')?;
            let name = if is_python { name } else { name.trim() };
            let found = sections.iter().position(|(other, _)| other == name);
            if found.is_some() && is_python && name != DEFAULT {
                return None;
            }
            if found.is_none() {
                sections.push((name.to_owned(), Vec::new()));
            }
            current = Some(found.unwrap_or(sections.len() - 1));
            key_indent = None;
            continue;
        }
        let Some((key, value)) = line.split_once(delimiters) else {
            // The rest of a value.
            if !is_python && indent > 0 && current.is_some() {
                continue;
            }
            return None;
        };
        let (_, pairs) = sections.get_mut(current?)?;
        let key = key.trim().to_lowercase();
        if is_python && (key.is_empty() || pairs.iter().any(|(other, _)| *other == key)) {
            return None;
        }
        pairs.push((key, plain(value, syntax)?));
        key_indent = Some(indent);
    }
    if is_python {
        inherit(&mut sections);
    }
    Some(sections)
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

/// Returns a value without blanks, and without a comment if the client removes it; `None` if the client refuses it.
fn plain(value: &str, syntax: Syntax) -> Option<String> {
    let end = match syntax {
        Syntax::Botocore => None,
        // A percent sign begins a reference.
        Syntax::Python if value.replace("%%", "").contains('%') => return None,
        Syntax::Python => value.find('#'),
        Syntax::Go => value.find(['#', ';']),
        Syntax::Other => value.find(" #").or_else(|| value.find(" ;")),
    };
    let value = value.get(..end.unwrap_or(value.len()))?;
    Some(value.trim().to_owned())
}

const DEFAULT: &str = "DEFAULT";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Syntax; 4] = [Syntax::Python, Syntax::Botocore, Syntax::Go, Syntax::Other];

    #[test]
    fn sections_have_their_pairs_and_what_is_not_a_pair_is_refused() {
        let text = "# c\n[default]\ntype = access_key\nID=a=b\n ; c\n[other]\nx =\n";
        for syntax in ALL {
            let sections = parse(text, syntax).unwrap();
            let default = section(&sections, "default").unwrap();
            assert_eq!(get(default, "type"), Some("access_key"));
            assert_eq!(get(default, "id"), Some("a=b"));
            assert_eq!(get(section(&sections, "other").unwrap(), "x"), None);
            for bad in ["{}", "a = b\n", "[a]\nword\n", "[a\n"] {
                assert_eq!(parse(bad, syntax), None, "{bad} {syntax:?}");
            }
        }
    }

    #[test]
    fn clients_differ_about_colons_defaults_duplicates_and_comments() {
        // What each client takes for the key `k` of the section `s`, in the order of `ALL`; `!` if it refuses the file.
        for (text, expected) in [
            ("[s]\nk: v\n", ["v", "v", "v", "!"]),
            ("[DEFAULT]\nk = v\n[s]\n", ["v", "v", "", ""]),
            ("[DEFAULT]\nk = d\n[s]\nk = v\n", ["v", "v", "v", "v"]),
            ("[s]\nk = 1\n[s]\nk = 2\n", ["!", "!", "2", "2"]),
            ("[s]\nk = 1\nK = 2\n", ["!", "!", "2", "2"]),
            ("[s]\nk = v # c\n", ["v", "v # c", "v", "v"]),
            ("[s]\nk = v ; c\n", ["v ; c", "v ; c", "v", "v"]),
            ("[s]\nk = v%w\n", ["!", "v%w", "v%w", "v%w"]),
            ("[s]\nk = v\n  x = w\n", ["v\nx = w", "v\nx = w", "v", "v"]),
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
