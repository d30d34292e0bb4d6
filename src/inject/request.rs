//! What to inject as it was requested, before it is checked: flags, annotations, the variables of another webhook.

use std::collections::BTreeMap;

/// A field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The role: its ARN, or its name.
    Role,
    /// How the sidecar proves who it is.
    Identity,
    /// The image of the sidecar.
    Image,
    /// Whether the sidecar is an ordinary container.
    Classic,
    /// Whether the pod gets the address of the ECS metadata service.
    Metadata,
    /// The OIDC provider (RRSA).
    OidcProviderArn,
    /// The account of a role that is given by its name.
    AccountId,
    /// The Secret that holds an AccessKey.
    Secret,
    /// Another server of credentials.
    CredentialsUri,
    /// The region whose STS is used.
    Region,
    /// Whether STS is called inside the region's VPCs.
    Vpc,
    /// The lifetime of the credentials.
    Duration,
    /// The lifetime of the service account's token.
    TokenExpiration,
    /// The containers that are left as they are.
    SkipContainers,
    /// The only containers that get credentials.
    OnlyContainers,
}

/// The names of a field: its flag and its annotations.
#[derive(Clone, Copy, Debug)]
pub struct FieldNames {
    /// The field.
    pub field: Field,
    /// The long flag, without dashes.
    pub flag: Option<&'static str>,
    /// The placeholder of the value in the help; nothing if the flag has no value.
    pub value: Option<&'static str>,
    /// Our annotation of a pod.
    pub annotation: Option<&'static str>,
    /// The annotation of ACK's webhook for RRSA.
    pub ack: Option<&'static str>,
    /// The help of the flag.
    pub help: &'static str,
}

const fn names(
    field: Field,
    flag: &'static str,
    value: Option<&'static str>,
    annotation: Option<&'static str>,
    help: &'static str,
) -> FieldNames {
    FieldNames {
        field,
        flag: Some(flag),
        value,
        annotation,
        ack: None,
        help,
    }
}

const fn ack(names: FieldNames, ack: &'static str) -> FieldNames {
    FieldNames {
        ack: Some(ack),
        ..names
    }
}

/// Every field, in the order of the help.
#[rustfmt::skip]
pub const FIELDS: &[FieldNames] = &[
    ack(names(Field::Role, "role", Some("ROLE"), Some("ram-sidecar/role"),
        "The role: acs:ram::<account id>:role/<name>, or its name where the account is known by --oidc-provider-arn or --account-id"),
        "pod-identity.alibabacloud.com/role-name"),
    names(Field::Identity, "identity", Some("TYPE"), Some("ram-sidecar/identity"),
        "How the sidecar proves who it is: oidc, access_key, ecs_ram_role, credentials_uri or sandbox; by default the one whose flag is given"),
    names(Field::OidcProviderArn, "oidc-provider-arn", Some("ARN"), Some("ram-sidecar/oidc-provider-arn"),
        "oidc: the cluster's OIDC provider (RRSA), acs:ram::<account id>:oidc-provider/<name>"),
    names(Field::AccountId, "account-id", Some("ID"), None,
        "The account of a role that is given by its name"),
    names(Field::Secret, "secret", Some("NAME"), Some("ram-sidecar/secret"),
        "access_key: the Secret that holds access-key-id and access-key-secret"),
    names(Field::CredentialsUri, "credentials-uri", Some("URI"), None,
        "credentials_uri: another server of credentials, on the pod's loopback or by https"),
    names(Field::Image, "image", Some("IMAGE"), Some("ram-sidecar/image"),
        "The image of the sidecar; by default ram-sidecar and this version"),
    names(Field::Classic, "classic", None, Some("ram-sidecar/classic"),
        "An ordinary container instead of a native sidecar, for Kubernetes before 1.29"),
    names(Field::Metadata, "metadata", None, Some("ram-sidecar/metadata"),
        "Give the pod 100.100.100.200, the ECS metadata service's address, for tools that look nowhere else; the pod needs the privileged Pod Security level"),
    names(Field::Region, "region", Some("REGION"), None,
        "The region whose STS endpoint to use, such as cn-hangzhou"),
    names(Field::Vpc, "vpc", None, None,
        "Use the endpoint inside the region's VPCs"),
    names(Field::Duration, "duration", Some("DURATION"), Some("ram-sidecar/duration"),
        "The lifetime of the credentials, 15m to 12h; by default 1h"),
    ack(FieldNames { field: Field::TokenExpiration, flag: None, value: Some("SECONDS"), annotation: None, ack: None,
        help: "The lifetime of the service account's token" },
        "pod-identity.alibabacloud.com/service-account-token-expiration"),
    ack(names(Field::SkipContainers, "skip-containers", Some("NAME,…"), Some("ram-sidecar/skip-containers"),
        "Containers that are left as they are"),
        "pod-identity.alibabacloud.com/skip-containers"),
    ack(names(Field::OnlyContainers, "only-containers", Some("NAME,…"), Some("ram-sidecar/only-containers"),
        "The only containers that get credentials"),
        "pod-identity.alibabacloud.com/only-containers"),
];

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
    /// What is wrong with annotations that are not fields.
    pub(super) mistakes: Vec<String>,
}

impl Request {
    /// Sets a field, in the place of an earlier value.
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

    /// Returns a field; an empty text counts as absent.
    pub fn get(&self, field: Field) -> Option<&Given> {
        self.fields
            .get(&field)
            .filter(|given| !given.text.is_empty())
    }

    /// Adds the fields of another request that are absent from this one.
    ///
    /// If this one has settings of an identity, it is the identity, even if the other one names another.
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
        self.mistakes.extend(weaker.mistakes.iter().cloned());
        self
    }

    /// Returns the name of the identity: the one that is given, or the only one whose settings are.
    pub(super) fn identity(&self) -> Option<&str> {
        match (self.get(Field::Identity), &self.implied()[..]) {
            (Some(given), _) => Some(&given.text),
            (None, [(name, _)]) => Some(name),
            (None, _) => None,
        }
    }

    /// Returns the identities whose settings are given, each with the field that implies it.
    pub(super) fn implied(&self) -> Vec<(&'static str, Field)> {
        [
            ("oidc", Field::OidcProviderArn),
            ("access_key", Field::Secret),
            ("credentials_uri", Field::CredentialsUri),
        ]
        .into_iter()
        .filter(|(_, field)| self.get(*field).is_some())
        .collect()
    }
}
