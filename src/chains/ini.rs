//! Ini files, as far as the clients agree about them.

/// Sections, with their keys and values, in order.
pub(super) type Sections = Vec<(String, Vec<(String, String)>)>;

/// Parses a file; `None` if a line is neither a section nor a pair, which every client refuses.
pub(super) fn parse(text: &str) -> Option<Sections> {
    let mut sections = Sections::new();
    for line in text.lines() {
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let (name, _) = name.split_once(']')?;
            sections.push((name.trim().to_owned(), Vec::new()));
            continue;
        }
        let (_, pairs) = sections.last_mut()?;
        match line.split_once('=') {
            Some((key, value)) => pairs.push((key.trim().to_lowercase(), plain(value))),
            // The rest of a value.
            None if is_nested => {}
            None => return None,
        }
    }
    Some(sections)
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

/// Removes a comment and blanks.
fn plain(value: &str) -> String {
    let end = value.find(" #").or_else(|| value.find(" ;"));
    let value = value.get(..end.unwrap_or(value.len()));
    value.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_their_pairs_without_comments() {
        let text = "# c\n[default]\ntype = access_key # here\nID=a=b\n ; c\n[other]\nx =\n";
        let sections = parse(text).unwrap();
        let default = section(&sections, "default").unwrap();
        assert_eq!(get(default, "type"), Some("access_key"));
        assert_eq!(get(default, "id"), Some("a=b"));
        assert_eq!(get(section(&sections, "other").unwrap(), "x"), None);
        assert_eq!(parse("{}"), None);
        assert_eq!(parse("[a]\nword\n"), None);
    }
}
