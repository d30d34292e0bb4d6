//! Validated names of role sessions, accounts and buckets.

use std::fmt;
use std::ops::RangeInclusive;

use super::RoleArn;

/// The name of a role session: 2 to 64 letters, digits or `.`, `@`, `-`, `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSessionName(String);

/// The id of an account: 1 to 32 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountId(String);

/// The name of an OSS bucket: 3 to 63 lower-case letters, digits or `-`, which neither begins nor ends with `-`.
///
/// Source: the naming rules of OSS buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketName(String);

impl RoleSessionName {
    /// Parses a name. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if is_made_of(text, 2..=64, SESSION_PUNCTUATION) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{text}` is not a session name; use 2 to 64 letters, digits or `.`, `@`, `-`, `_`"
            ))
        }
    }

    /// Derives a session name from the name of a pod or host. The result is the same for each refresh, because clients pin
    /// the identity.
    pub fn derive(name: &str) -> Self {
        let replace = |c: char| {
            let fits = c.is_ascii_alphanumeric() || SESSION_PUNCTUATION.contains(c);
            if fits { c } else { '-' }
        };
        let name: String = name.chars().map(replace).take(64).collect();
        Self(if name.len() < 2 {
            "ram-sidecar".to_owned()
        } else {
            name
        })
    }
}

impl AccountId {
    /// Parses an id. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not an account id; write its digits"))
        }
    }
}

impl BucketName {
    /// Parses a name. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (3..=63).contains(&text.len())
            && text.bytes().all(fits)
            && !text.starts_with('-')
            && !text.ends_with('-')
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{text}` is not a bucket; write its name alone: 3 to 63 lower-case letters, digits or `-`"
            ))
        }
    }
}

/// Implements access to the text of a validated type.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

as_text!(RoleArn, RoleSessionName, AccountId, BucketName);

/// Whether a text of a permitted length consists of ASCII letters, digits and `others`.
pub fn is_made_of(text: &str, lengths: RangeInclusive<usize>, others: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    lengths.contains(&text.len()) && text.chars().all(fits)
}

const SESSION_PUNCTUATION: &str = ".@-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_session_names_are_valid() {
        for (name, expected) in [
            ("trainer-0", "trainer-0"),
            ("host.example", "host.example"),
            ("a b/c", "a-b-c"),
            ("日本", "--"),
            ("x", "ram-sidecar"),
            ("", "ram-sidecar"),
        ] {
            let derived = RoleSessionName::derive(name);
            assert_eq!(derived.to_string(), expected);
            assert_eq!(RoleSessionName::parse(expected), Ok(derived));
        }
        let long = RoleSessionName::derive(&"n".repeat(90));
        assert_eq!(long.to_string().len(), 64);
    }
}
