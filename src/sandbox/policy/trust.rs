//! Trust policies: who may assume a role.
//!
//! What is not modelled is refused when the policy is set, so that it can never silently allow or deny.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sandbox::policy::wildcard;

/// The reason why a trust policy was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox cannot read the trust policy")]
pub struct InvalidPolicy(#[from] serde_json::Error);

/// Who may assume a role, and when.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(in crate::sandbox) struct TrustPolicy {
    #[serde(rename = "Version")]
    _version: String,
    statement: Vec<Statement>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    effect: Effect,
    action: OneOrMany,
    principal: BTreeMap<Section, OneOrMany>,
    #[serde(default)]
    condition: BTreeMap<Operator, BTreeMap<String, OneOrMany>>,
}

/// What a statement does to what it applies to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(in crate::sandbox) enum Effect {
    Allow,
    Deny,
}

/// A kind of principal. Services never call the sandbox.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox) enum Section {
    #[serde(rename = "RAM")]
    Ram,
    Federated,
    Service,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    StringEquals,
    StringLike,
}

/// A value, or a list of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::sandbox) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What is known of the request: a key of the condition language and its values.
pub(in crate::sandbox) type Context<'a> = BTreeMap<&'static str, Vec<&'a str>>;

impl TrustPolicy {
    pub(in crate::sandbox) fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        Ok(serde_json::from_str(text)?)
    }

    /// Whether a caller of this kind, who answers to any of `names`, may assume the role.
    ///
    /// One statement that denies outweighs all that allow.
    pub(in crate::sandbox) fn trusts(
        &self,
        section: Section,
        names: &[&str],
        context: &Context<'_>,
    ) -> bool {
        let applies = |effect| {
            let mut statements = self.statement.iter().filter(|s| s.effect == effect);
            statements.any(|statement| statement.applies(section, names, context))
        };
        applies(Effect::Allow) && !applies(Effect::Deny)
    }
}

impl Statement {
    fn applies(&self, section: Section, names: &[&str], context: &Context<'_>) -> bool {
        let action = self
            .action
            .any(|action| matches!(action, "sts:AssumeRole" | "sts:*" | "*"));
        let listed = self.principal.get(&section);
        action
            && listed.is_some_and(|listed| listed.any(|name| names.contains(&name)))
            && self.condition.iter().all(|(operator, wanted)| {
                wanted
                    .iter()
                    .all(|(key, values)| operator.holds(values, context.get(key.as_str())))
            })
    }
}

impl Operator {
    /// Whether one of the wanted values is among those present; a key that is absent fulfils nothing.
    fn holds(self, wanted: &OneOrMany, present: Option<&Vec<&str>>) -> bool {
        let present = present.map(Vec::as_slice).unwrap_or_default();
        wanted.any(|wanted| {
            present.iter().any(|present| match self {
                Self::StringEquals => wanted == *present,
                Self::StringLike => wildcard::matches(wanted, present),
            })
        })
    }
}

impl OneOrMany {
    pub(in crate::sandbox) fn any(&self, holds: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(value) => holds(value),
            Self::Many(values) => values.iter().any(|value| holds(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_outweighs_and_a_missing_condition_key_fulfils_nothing() {
        let policy = TrustPolicy::parse(
            r#"{"Version": "1", "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": ["a", "b"]}},
                {"Effect": "Deny", "Action": ["sts:*"], "Principal": {"RAM": "b"}},
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": "c"},
                 "Condition": {"StringEquals": {"sts:ExternalId": ["x", "y"]}}},
                {"Effect": "Allow", "Action": "oss:*", "Principal": {"RAM": "d"}}]}"#,
        )
        .unwrap();
        let trusts = |name: &str, external_id: Option<&'static str>| {
            let context = external_id
                .map(|id| ("sts:ExternalId", vec![id]))
                .into_iter()
                .collect();
            policy.trusts(Section::Ram, &[name], &context)
        };
        assert!(trusts("a", None) && !trusts("b", None) && !trusts("d", None));
        assert!(trusts("c", Some("y")) && !trusts("c", Some("z")) && !trusts("c", None));
        assert!(!policy.trusts(Section::Federated, &["a"], &Context::new()));
    }

    #[test]
    fn what_is_not_modelled_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"Version": "1"}"#,
            r#"{"Version": "1", "Statement": [{"Effect": "Perhaps"}]}"#,
            r#"{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*",
                "Principal": {"RAM": "a"}, "Condition": {"IpAddress": {"acs:SourceIp": "::1"}}}]}"#,
        ] {
            assert!(TrustPolicy::parse(text).is_err(), "{text}");
        }
    }
}
