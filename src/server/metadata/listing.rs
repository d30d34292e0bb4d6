//! The ECS metadata dialect: which key a path names, and the plain ones among the answers.
//!
//! Values are bare: most SDKs use them as they come, and a line break would end up in their next request.

use bytes::Bytes;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// A token of hardened mode.
    Token,
    /// The name of the role.
    RoleName,
    /// The credentials of a role.
    Role(&'a str),
    /// A plain key.
    Key(Key),
}

/// A plain key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The values of the plain keys, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// `region-id`.
    pub region: Option<String>,
    /// `zone-id`.
    pub zone: Option<String>,
    /// `instance-id`.
    pub instance: Option<String>,
    /// `owner-account-id`.
    pub owner: Option<String>,
}

impl Plain {
    /// Renders the value of a key; nothing if it is not known.
    pub fn render(&self, key: Key) -> Option<Bytes> {
        let value = match key {
            Key::Region => &self.region,
            Key::Zone => &self.zone,
            Key::Instance => &self.instance,
            Key::Owner => &self.owner,
        };
        value.clone().map(Bytes::from)
    }
}

/// Reads a path, without regard to case: ossutil asks for `Ram/security-credentials/`.
pub fn asked(path: &str) -> Option<Asked<'_>> {
    let rest = after(path, "/latest/")?;
    if rest.eq_ignore_ascii_case("api/token") {
        return Some(Asked::Token);
    }
    let key = after(rest, "meta-data/")?;
    if let Some(role) = after(key, "ram/security-credentials/") {
        return match role {
            "" => Some(Asked::RoleName),
            role if role.contains('/') => None,
            role => Some(Asked::Role(role)),
        };
    }
    let known = KEYS
        .iter()
        .find(|(name, _)| key.eq_ignore_ascii_case(name))?;
    Some(known.1)
}

/// Returns what follows `start`, which is ASCII.
fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let head = text.get(..start.len())?;
    head.eq_ignore_ascii_case(start)
        .then(|| text.get(start.len()..).unwrap_or_default())
}

const KEYS: [(&str, Asked<'static>); 5] = [
    ("ram/security-credentials", Asked::RoleName),
    ("region-id", Asked::Key(Key::Region)),
    ("zone-id", Asked::Key(Key::Zone)),
    ("instance-id", Asked::Key(Key::Instance)),
    ("owner-account-id", Asked::Key(Key::Owner)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_own_value_and_one_that_is_not_known_none() {
        let known = Plain {
            region: Some("cn-hangzhou".into()),
            zone: Some("cn-hangzhou-b".into()),
            instance: Some("i-1".into()),
            owner: Some("7".into()),
        };
        for (key, value) in [
            (Key::Region, "cn-hangzhou"),
            (Key::Zone, "cn-hangzhou-b"),
            (Key::Instance, "i-1"),
            (Key::Owner, "7"),
        ] {
            assert_eq!(known.render(key), Some(Bytes::from(value)));
            assert_eq!(Plain::default().render(key), None);
        }
    }

    #[test]
    fn paths_are_read_without_regard_to_case_and_nothing_else_is_known() {
        for (path, expected) in [
            ("/latest/api/token", Some(Asked::Token)),
            ("/LATEST/API/TOKEN", Some(Asked::Token)),
            (
                "/latest/meta-data/ram/security-credentials/",
                Some(Asked::RoleName),
            ),
            (
                "/latest/meta-data/ram/security-credentials",
                Some(Asked::RoleName),
            ),
            (
                "/latest/meta-data/Ram/security-credentials/",
                Some(Asked::RoleName),
            ),
            (
                "/latest/meta-data/Ram/Security-Credentials/Job",
                Some(Asked::Role("Job")),
            ),
            ("/latest/meta-data/region-id", Some(Asked::Key(Key::Region))),
            ("/latest/meta-data/zone-id", Some(Asked::Key(Key::Zone))),
            (
                "/latest/meta-data/instance-id",
                Some(Asked::Key(Key::Instance)),
            ),
            (
                "/latest/meta-data/Owner-Account-Id",
                Some(Asked::Key(Key::Owner)),
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
            assert_eq!(asked(path), expected, "{path}");
        }
    }
}
