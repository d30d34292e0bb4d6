//! The paths of the ECS metadata protocol, and the static values.
//!
//! Values end without a line break: most SDKs use them unchanged, and would put it into their next request.

use std::collections::BTreeMap;

/// What a path refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A token of hardened mode.
    Token,
    /// The name of the role.
    RoleName,
    /// The credentials of a role.
    Role(&'a str),
    /// A static value.
    Key(Key),
}

/// The key of a static value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `region-id`.
    Region,
    /// `zone-id`.
    Zone,
    /// `instance-id`.
    Instance,
    /// `owner-account-id`.
    Owner,
}

/// The static values that are configured.
pub type StaticValues = BTreeMap<Key, String>;

/// Parses a path, ignoring case: ossutil requests `Ram/security-credentials/`.
pub fn resource(path: &str) -> Option<Resource<'_>> {
    let rest = after(path, "/latest/")?;
    if rest.eq_ignore_ascii_case("api/token") {
        return Some(Resource::Token);
    }
    let key = after(rest, "meta-data/")?;
    if let Some(role) = after(key, "ram/security-credentials/") {
        return match role {
            "" => Some(Resource::RoleName),
            role if role.contains('/') => None,
            role => Some(Resource::Role(role)),
        };
    }
    let known = KEYS
        .iter()
        .find(|(name, _)| key.eq_ignore_ascii_case(name))?;
    Some(known.1)
}

/// Returns the text after `start`, which is ASCII, ignoring case.
fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let head = text.get(..start.len())?;
    head.eq_ignore_ascii_case(start)
        .then(|| text.get(start.len()..).unwrap_or_default())
}

const KEYS: [(&str, Resource<'static>); 5] = [
    ("ram/security-credentials", Resource::RoleName),
    ("region-id", Resource::Key(Key::Region)),
    ("zone-id", Resource::Key(Key::Zone)),
    ("instance-id", Resource::Key(Key::Instance)),
    ("owner-account-id", Resource::Key(Key::Owner)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_ignore_case_and_unknown_paths_have_no_resource() {
        for (path, expected) in [
            ("/latest/api/token", Some(Resource::Token)),
            ("/LATEST/API/TOKEN", Some(Resource::Token)),
            (
                "/latest/meta-data/ram/security-credentials/",
                Some(Resource::RoleName),
            ),
            (
                "/latest/meta-data/ram/security-credentials",
                Some(Resource::RoleName),
            ),
            (
                "/latest/meta-data/Ram/security-credentials/",
                Some(Resource::RoleName),
            ),
            (
                "/latest/meta-data/Ram/Security-Credentials/Job",
                Some(Resource::Role("Job")),
            ),
            (
                "/latest/meta-data/region-id",
                Some(Resource::Key(Key::Region)),
            ),
            ("/latest/meta-data/zone-id", Some(Resource::Key(Key::Zone))),
            (
                "/latest/meta-data/instance-id",
                Some(Resource::Key(Key::Instance)),
            ),
            (
                "/latest/meta-data/Owner-Account-Id",
                Some(Resource::Key(Key::Owner)),
            ),
            ("/latest/meta-data/ram/security-credentials/a/b", None),
            ("/latest/meta-data/ram/security-credentialsx", None),
            ("/latest/meta-data/", None),
            ("/latest/meta-data/region-id/", None),
            ("/latest/user-data", None),
            ("/latest/api/token/", None),
            ("//latest/api/token", None),
            ("/latest", None),
            ("", None),
            ("/lat\u{e9}st/api/token", None),
        ] {
            assert_eq!(resource(path), expected, "{path}");
        }
    }
}
