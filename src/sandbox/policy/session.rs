//! Session policies, which limit a session to a part of the permissions of its role.
//!
//! Conditions are not evaluated: a conditional Allow never applies, and a conditional Deny always applies.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::sandbox::policy::trust::{Effect, OneOrMany};
use crate::sandbox::policy::wildcard;

/// A session policy.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct SessionPolicy {
    version: String,
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    effect: Effect,
    action: Option<OneOrMany>,
    not_action: Option<OneOrMany>,
    resource: Option<OneOrMany>,
    not_resource: Option<OneOrMany>,
    #[serde(default)]
    condition: Map<String, Value>,
}

impl SessionPolicy {
    /// Reads a policy of the documented grammar; `None` if it is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let policy: Self = serde_json::from_str(text).ok()?;
        let is_policy = policy.version == "1"
            && !policy.statement.is_empty()
            && policy.statement.iter().all(Statement::is_complete);
        is_policy.then_some(policy)
    }

    /// Whether a statement allows the action on the resource and none denies it.
    pub(crate) fn permits(&self, action: &str, resource: &str) -> bool {
        let applies = |effect| {
            let mut statements = self.statement.iter().filter(|s| s.effect == effect);
            statements.any(|statement| statement.applies(action, resource))
        };
        applies(Effect::Allow) && !applies(Effect::Deny)
    }
}

impl Statement {
    /// Whether the statement has exactly one of `Action` and `NotAction`, and exactly one of `Resource` and `NotResource`.
    fn is_complete(&self) -> bool {
        self.action.is_some() != self.not_action.is_some()
            && self.resource.is_some() != self.not_resource.is_some()
    }

    fn applies(&self, action: &str, resource: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let is_action = |pattern: &str| wildcard::matches(&pattern.to_ascii_lowercase(), &action);
        let is_resource = |pattern: &str| wildcard::matches(pattern, resource);
        (self.condition.is_empty() || self.effect == Effect::Deny)
            && is_selected(self.action.as_ref(), self.not_action.as_ref(), is_action)
            && is_selected(
                self.resource.as_ref(),
                self.not_resource.as_ref(),
                is_resource,
            )
    }
}

/// Whether the `included` list has a match, or the `excluded` list has none; a statement has one of the two lists.
fn is_selected(
    included: Option<&OneOrMany>,
    excluded: Option<&OneOrMany>,
    is_match: impl Fn(&str) -> bool,
) -> bool {
    included.is_some_and(|list| list.any(&is_match))
        || excluded.is_some_and(|list| !list.any(&is_match))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(statements: &Value) -> Option<SessionPolicy> {
        SessionPolicy::parse(&json!({"Version": "1", "Statement": statements}).to_string())
    }

    fn permits(statements: &Value, action: &str, resource: &str) -> bool {
        policy(statements).unwrap().permits(action, resource)
    }

    #[test]
    fn actions_and_resources_are_permitted_only_if_allowed() {
        let one_bucket = json!([
            {"Effect": "Allow", "Action": "odps:*", "Resource": "*"},
            {"Effect": "Allow", "Action": "oss:*", "Resource": "acs:oss:*:*:bucket/*"},
            {"Effect": "Allow", "Action": ["oss:ListObjects", "oss:GetBucket????"],
             "Resource": ["acs:oss:*:*:bucket", "acs:oss:*:*:bucket-?"]},
        ]);
        for (action, resource, permitted) in [
            ("odps:Describe", "acs:odps:r:1:projects/p", true),
            ("oss:GetObject", "acs:oss:*:1:bucket/key", true),
            ("oss:GetObject", "acs:oss:*:1:other/key", false),
            ("oss:ListObjects", "acs:oss:*:1:bucket", true),
            ("OSS:LISTOBJECTS", "acs:oss:*:1:bucket-2", true),
            ("oss:ListObjects", "acs:oss:*:1:Bucket", false),
            ("oss:GetBucketInfo", "acs:oss:*:1:bucket", true),
            ("oss:GetBucketAcl", "acs:oss:*:1:bucket", false),
            ("oss:DeleteBucket", "acs:oss:*:1:bucket", false),
            ("ecs:StopInstance", "*", false),
        ] {
            let permits = permits(&one_bucket, action, resource);
            assert_eq!(permits, permitted, "{action} {resource}");
        }
    }

    #[test]
    fn a_deny_statement_overrides_allow_in_any_order() {
        let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let deny = json!({"Effect": "Deny", "Action": "oss:Put*", "Resource": "*:bucket/*"});
        for statements in [json!([allow, deny]), json!([deny, allow])] {
            assert!(permits(&statements, "oss:GetObject", "acs:oss:::bucket/a"));
            assert!(!permits(&statements, "oss:PutObject", "acs:oss:::bucket/a"));
            assert!(permits(&statements, "oss:PutObject", "acs:oss:::other/a"));
        }
        assert!(!permits(
            &json!([deny]),
            "oss:GetObject",
            "acs:oss:::bucket/a"
        ));
    }

    #[test]
    fn statements_do_not_apply_to_excluded_actions_and_resources() {
        let statements = json!([
            {"Effect": "Allow", "NotAction": ["oss:Delete*", "ram:*"], "NotResource": "b"},
        ]);
        assert!(permits(&statements, "oss:GetObject", "a"));
        assert!(!permits(&statements, "oss:GetObject", "b"));
        assert!(!permits(&statements, "oss:DeleteObject", "a"));
        assert!(!permits(&statements, "RAM:CreateUser", "a"));
    }

    #[test]
    fn a_condition_never_allows_and_always_denies() {
        let condition = json!({"IpAddress": {"acs:SourceIp": "192.0.2.0/24"}});
        let on_condition = |effect| json!({"Effect": effect, "Action": "a:*", "Resource": "*", "Condition": condition});
        let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {}});
        assert!(!permits(&json!([on_condition("Allow")]), "a:b", "c"));
        assert!(!permits(&json!([allow, on_condition("Deny")]), "a:b", "c"));
        assert!(permits(&json!([allow, on_condition("Deny")]), "d:b", "c"));
    }

    #[test]
    fn policies_outside_of_the_grammar_are_refused() {
        let whole = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        assert!(policy(&json!([whole])).is_some());
        let changed = |name: &str, value: Value| {
            let mut statement = whole.clone();
            statement[name] = value;
            statement
        };
        let without = |name: &str| {
            let mut statement = whole.clone();
            statement.as_object_mut().unwrap().remove(name);
            statement
        };
        for statement in [
            changed("Effect", "Perhaps".into()),
            changed("Action", 1.into()),
            changed("Action", Value::Null),
            changed("NotAction", "*".into()),
            changed("NotResource", "*".into()),
            changed("Principal", "*".into()),
            changed("Condition", "*".into()),
            without("Effect"),
            without("Action"),
            without("Resource"),
        ] {
            assert!(policy(&json!([statement])).is_none(), "{statement}");
        }
        assert!(policy(&json!([])).is_none());
        assert!(policy(&whole).is_none());
        let other = json!({"Version": "2012-10-17", "Statement": [whole]}).to_string();
        assert!(SessionPolicy::parse(&other).is_none());
    }
}
