//! An unchecked request for an injection: from flags, annotations, and the variables that ACK's webhook sets.

use std::collections::BTreeMap;

use super::field::Field;
use super::policy::{AnnotationPolicy, Holder};

/// The text of a field, and where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The text.
    pub text: String,
    /// The flag, the variable or the annotation.
    pub place: String,
}

/// A request for an injection, unchecked: see [`Self::check`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    fields: BTreeMap<Field, Given>,
    /// Settings of the sidecar: `NAME=VALUE`.
    pub(super) env: Vec<String>,
    /// The errors in annotations that are not fields, or not accepted.
    pub(super) errors: Vec<String>,
    /// Which annotations are accepted.
    pub annotations: AnnotationPolicy,
}

impl Request {
    /// Sets a field; replaces an earlier value.
    pub fn set(&mut self, field: Field, text: impl Into<String>, place: impl Into<String>) {
        let given = Given {
            text: text.into(),
            place: place.into(),
        };
        self.fields.insert(field, given);
    }

    /// Adds a setting of the sidecar: `NAME=VALUE`.
    pub fn add_setting(&mut self, setting: impl Into<String>) {
        self.env.push(setting.into());
    }

    /// Adds an error in what was given, which every check reports.
    pub fn reject(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    /// Returns a field; an empty text counts as unset.
    pub fn get(&self, field: Field) -> Option<&Given> {
        self.fields
            .get(&field)
            .filter(|given| !given.text.is_empty())
    }

    /// Whether an annotation of the service account has set a field.
    pub(super) fn is_of_account(&self, field: Field) -> bool {
        self.get(field)
            .is_some_and(|given| given.place.starts_with(Holder::Account.place()))
    }

    /// Adds the fields of another request that are unset in this one.
    ///
    /// If this request has the settings of one identity, it uses that identity, whatever identity the other one names.
    #[must_use]
    pub fn or(mut self, weaker: &Self) -> Self {
        if self.get(Field::Identity).is_none()
            && let [(identity, field)] = self.implied()[..]
            && let Some(place) = self.get(field).map(|given| given.place.clone())
        {
            self.set(Field::Identity, identity, place);
        }
        for (field, given) in &weaker.fields {
            if self.get(*field).is_none() {
                self.fields.insert(*field, given.clone());
            }
        }
        self.env.splice(0..0, weaker.env.iter().cloned());
        self.errors.extend(weaker.errors.iter().cloned());
        self
    }

    /// Returns the name of the identity: the one that is set, or the only one that is implied.
    pub(super) fn identity(&self) -> Option<&str> {
        match (self.get(Field::Identity), &self.implied()[..]) {
            (Some(given), _) => Some(&given.text),
            (None, [(name, _)]) => Some(name),
            (None, _) => None,
        }
    }

    /// Whether the identity has no credentials of its own.
    pub(super) fn requires_role(&self) -> bool {
        let needs_none = ["ecs_ram_role", "credentials_uri", "sandbox"];
        !self
            .identity()
            .is_some_and(|name| needs_none.contains(&name))
    }

    /// Returns the identities whose settings are set, each with the field that implies it.
    pub(super) fn implied(&self) -> Vec<(&'static str, Field)> {
        let implied = IDENTITIES.iter().filter_map(|(name, field)| {
            let field = field.filter(|field| self.get(*field).is_some())?;
            Some((*name, field))
        });
        implied.collect()
    }
}

/// The identities of a pod, each with the field that implies it.
pub(super) const IDENTITIES: [(&str, Option<Field>); 5] = [
    ("oidc", Some(Field::OidcProviderArn)),
    ("access_key", Some(Field::Secret)),
    ("ecs_ram_role", None),
    ("credentials_uri", Some(Field::CredentialsUri)),
    ("sandbox", None),
];
