//! The wildcards of policies.

/// Matches a text with a pattern: `*` is any number of characters, `?` is one, and every other character is literal.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // The pattern after the latest star, and the position in the text of its last attempt.
    let mut star = None;
    loop {
        let (mut pattern_after, mut text_after) = (pattern.clone(), text.clone());
        match (pattern_after.next(), text_after.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((pattern_after.clone(), text.clone()));
                pattern = pattern_after;
            }
            (Some(expected), Some(found)) if expected == '?' || expected == found => {
                pattern = pattern_after;
                text = text_after;
            }
            _ => {
                // The latest star matches one more character. Earlier stars need no retry: the pattern after each has matched at
                // the earliest position, which leaves the longest remaining text.
                let Some((after_star, start)) = &mut star else {
                    return false;
                };
                if start.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                text = start.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters_and_a_question_mark_is_one() {
        for (pattern, text, is_match) in [
            ("acs:oss:*:*:bucket/*", "acs:oss:r:1:bucket/a/b", true),
            ("acs:oss:*:*:bucket", "acs:oss:*:1:bucket", true),
            ("acs:oss:*:*:bucket", "acs:oss:*:1:bucket2", false),
            ("acs:oss:*:*:bucket", "acs:oss:*:1:bucket/a", false),
            ("*", "", true),
            ("**", "a", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*bc", "a-bb-bc", true),
            ("ab*ba", "aba", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "a中c", true),
            ("a?c", "ac", false),
            ("?*", "", false),
            ("*?", "ab", true),
            ("*a?c*", "xaabcx", true),
            ("A", "a", false),
        ] {
            assert_eq!(matches(pattern, text), is_match, "{pattern} {text}");
        }
    }
}
