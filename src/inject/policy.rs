//! Decides which annotations are accepted from a pod, and which from its service account.
//!
//! A pod's author could write the sidecar's container too. Who may only annotate a service account decides about the pods of
//! others, so that an account's annotations choose no code, no capability, no Secret and no other identity by default.

use std::collections::BTreeSet;

use super::field::{AcceptedFrom, FIELDS, Field, FieldNames};

/// The annotations that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationPolicy {
    /// The fields that a pod may set.
    pub pod: BTreeSet<Field>,
    /// The fields that a service account may set for its pods.
    pub account: BTreeSet<Field>,
    /// What the image of an annotation must begin with; anything if there are none.
    pub image_prefixes: Vec<String>,
}

/// The object that has an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The pod.
    Pod,
    /// Its service account.
    Account,
}

impl Holder {
    /// Begins each message about an annotation.
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::Pod => "the annotation",
            Self::Account => "the service account's annotation",
        }
    }
}

impl Default for AnnotationPolicy {
    fn default() -> Self {
        let of = |accepts: fn(AcceptedFrom) -> bool| {
            let rows = FIELDS.iter().filter(|names| accepts(names.accepted_from));
            rows.map(|names| names.field).collect()
        };
        Self {
            pod: of(|from| from != AcceptedFrom::Neither),
            account: of(|from| from == AcceptedFrom::PodAndAccount),
            image_prefixes: Vec::new(),
        }
    }
}

impl AnnotationPolicy {
    /// Returns why the annotation of a field is not accepted, and what to do instead.
    pub(super) fn refusal(&self, holder: Holder, field: Field, text: &str) -> Option<String> {
        let reason = match holder {
            Holder::Pod if !self.pod.contains(&field) => {
                "the webhook does not accept it from pods; remove it, or let the webhook's --pod-annotations name it"
            }
            Holder::Account if !self.account.contains(&field) => {
                "the webhook does not accept it from service accounts; set it on the pod, or let the webhook's --account-annotations name it"
            }
            _ if field == Field::Image && !self.accepts_image(text) => {
                return Some(format!(
                    "the webhook accepts only images below {}; use one of these, or let the webhook's --image-prefix name another",
                    self.image_prefixes.join(", ")
                ));
            }
            _ => return None,
        };
        Some(reason.to_owned())
    }

    fn accepts_image(&self, image: &str) -> bool {
        let is_below = |prefix: &String| {
            // `registry/team` is not a prefix of `registry/teammate/image`, nor `registry` of `registry:80/image`.
            let rest = image.strip_prefix(prefix.as_str());
            let ends: &[char] = if prefix.contains('/') {
                &['/', ':', '@']
            } else {
                &['/']
            };
            rest.is_some_and(|rest| prefix.ends_with('/') || rest.starts_with(ends))
        };
        // No reference of an image has them, and a runtime might resolve them.
        let is_reference = !image.contains("..") && !image.contains("//");
        let is_reference = is_reference
            && image
                .split_once('@')
                .is_none_or(|(_, digest)| digest.starts_with("sha256:"));
        self.image_prefixes.is_empty() || is_reference && self.image_prefixes.iter().any(is_below)
    }
}

impl FieldNames {
    /// Returns the annotation without its prefix, by which flags name it.
    fn short(&self) -> Option<&'static str> {
        let name = self.annotation.or(self.ack_annotation)?;
        name.split_once('/').map(|(_, short)| short)
    }
}

/// Parses the names of annotations, or `none`.
pub fn annotations(text: &str) -> Result<BTreeSet<Field>, String> {
    if text.trim() == "none" {
        return Ok(BTreeSet::new());
    }
    let fields = text.split(',').map(|name| {
        let name = name.trim();
        let names = FIELDS.iter().find(|names| names.short() == Some(name));
        names.map(|names| names.field).ok_or_else(|| {
            let known: Vec<&str> = FIELDS.iter().filter_map(FieldNames::short).collect();
            let known = known.join(", ");
            format!("`{name}` is not the name of an annotation; choose none, or some of {known}")
        })
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_compared_by_whole_parts_of_their_names() {
        for (prefix, image, expected) in [
            ("registry", "registry/a:1", true),
            ("registry", "registry.evil.example/a:1", false),
            ("registry", "registry:5000/a:1", false),
            ("registry/", "registry/a@sha256:0", true),
            ("registry/team", "registry/team/a", true),
            ("registry/team", "registry/teammate/a", false),
            ("registry/a", "registry/a:2", true),
            ("registry/a", "registry/a@sha256:0", true),
            ("registry/a", "evil/registry/a", false),
        ] {
            let policy = AnnotationPolicy {
                image_prefixes: vec!["other/".to_owned(), prefix.to_owned()],
                ..AnnotationPolicy::default()
            };
            assert_eq!(
                policy.accepts_image(image),
                expected,
                "{image} below {prefix}"
            );
        }
    }

    #[test]
    fn flags_name_every_annotation_by_its_last_part() {
        for names in FIELDS {
            let has_annotation = names.annotation.or(names.ack_annotation).is_some();
            assert_eq!(
                has_annotation,
                names.accepted_from != AcceptedFrom::Neither,
                "{names:?}"
            );
            if let Some(short) = names.short() {
                assert_eq!(annotations(short), Ok(BTreeSet::from([names.field])));
            }
        }
        assert_eq!(annotations("none"), Ok(BTreeSet::new()));
        let both = BTreeSet::from([Field::Role, Field::Image]);
        assert_eq!(annotations("role, image"), Ok(both));
        assert!(
            annotations("rol")
                .unwrap_err()
                .contains("choose none, or some of role, identity,")
        );
    }
}
