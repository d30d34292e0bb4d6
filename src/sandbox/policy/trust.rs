//! Trust policies: who may assume a role.
//!
//! A policy with an element that is not modelled is refused when it is set, so that none is silently ignored.

use std::collections::BTreeMap;
use std::slice;

use serde::Deserialize;

use crate::sandbox::policy::wildcard;

/// The error of a trust policy that is not valid or not modelled.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox cannot read the trust policy")]
pub struct InvalidPolicy(#[from] serde_json::Error);

/// Who may assume a role, and when.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct TrustPolicy {
    #[serde(rename = "Version")]
    _version: String,
    statement: Vec<Statement>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    effect: Effect,
    action: OneOrMany,
    principal: BTreeMap<PrincipalType, OneOrMany>,
    #[serde(default)]
    condition: BTreeMap<Operator, BTreeMap<String, OneOrMany>>,
}

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// The type of a principal. Services never call the sandbox.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PrincipalType {
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
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The condition keys of a request and their values.
pub(crate) type ConditionValues<'a> = BTreeMap<&'static str, Vec<&'a str>>;

impl TrustPolicy {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        Ok(serde_json::from_str(text)?)
    }

    /// Whether a caller of this type, with any of these names, may assume the role.
    ///
    /// A statement that denies overrides all statements that allow.
    pub(crate) fn trusts(
        &self,
        kind: PrincipalType,
        names: &[&str],
        context: &ConditionValues<'_>,
    ) -> bool {
        let applies = |effect| {
            let mut statements = self.statement.iter().filter(|s| s.effect == effect);
            statements.any(|statement| statement.applies(kind, names, context))
        };
        applies(Effect::Allow) && !applies(Effect::Deny)
    }
}

impl Statement {
    fn applies(&self, kind: PrincipalType, names: &[&str], context: &ConditionValues<'_>) -> bool {
        let action = self
            .action
            .any(|action| matches!(action, "sts:AssumeRole" | "sts:*" | "*"));
        let principals = self.principal.get(&kind);
        action
            && principals.is_some_and(|listed| listed.any(|name| names.contains(&name)))
            && self.condition.iter().all(|(operator, listed)| {
                listed
                    .iter()
                    .all(|(key, values)| operator.is_satisfied(values, context.get(key.as_str())))
            })
    }
}

impl Operator {
    /// Whether the request has one of the values that the policy lists; an absent key satisfies no condition.
    fn is_satisfied(self, listed: &OneOrMany, requested: Option<&Vec<&str>>) -> bool {
        listed.any(|listed| {
            requested.into_iter().flatten().any(|value| match self {
                Self::StringEquals => listed == *value,
                Self::StringLike => wildcard::matches(listed, value),
            })
        })
    }
}

impl OneOrMany {
    pub(crate) fn values(&self) -> &[String] {
        match self {
            Self::One(value) => slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    pub(crate) fn any(&self, is_match: impl Fn(&str) -> bool) -> bool {
        self.values().iter().any(|value| is_match(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deny_statement_overrides_allow_and_a_missing_condition_key_satisfies_nothing() {
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
            policy.trusts(PrincipalType::Ram, &[name], &context)
        };
        assert!(trusts("a", None) && !trusts("b", None) && !trusts("d", None));
        assert!(trusts("c", Some("y")) && !trusts("c", Some("z")) && !trusts("c", None));
        assert!(!policy.trusts(PrincipalType::Federated, &["a"], &ConditionValues::new()));
    }

    #[test]
    fn policies_that_are_not_modelled_are_refused() {
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
