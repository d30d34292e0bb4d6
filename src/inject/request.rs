//! An unchecked request for an injection: from flags, annotations, and the variables that ACK's webhook sets.

use std::collections::BTreeMap;

/// A field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The role: its ARN, or its name.
    Role,
    /// How the sidecar authenticates.
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
    /// The address of another credentials server.
    CredentialsUri,
    /// The region whose STS is used.
    Region,
    /// Whether STS is called inside the region's VPCs.
    Vpc,
    /// The lifetime of the credentials.
    Duration,
    /// The lifetime of the service account's token.
    TokenExpiration,
    /// The containers that get no credentials.
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
    /// The placeholder of the value in the help; `None` if the flag has no value.
    pub value: Option<&'static str>,
    /// The `ram-sidecar/` annotation.
    pub annotation: Option<&'static str>,
    /// The annotation of ACK's webhook for RRSA.
    pub ack_annotation: Option<&'static str>,
    /// The help of the flag.
    pub help: &'static str,
}

const fn names(
    field: Field,
    flag: Option<&'static str>,
    value: Option<&'static str>,
    annotation: Option<&'static str>,
    ack_annotation: Option<&'static str>,
    help: &'static str,
) -> FieldNames {
    FieldNames {
        field,
        flag,
        value,
        annotation,
        ack_annotation,
        help,
    }
}

/// Every field, in the order of the help.
#[rustfmt::skip]
pub const FIELDS: &[FieldNames] = &[
    names(Field::Role, Some("role"), Some("ROLE"), Some("ram-sidecar/role"), Some("pod-identity.alibabacloud.com/role-name"),
        "The role: acs:ram::<account id>:role/<name>, or its name if --oidc-provider-arn or --account-id gives the account"),
    names(Field::Identity, Some("identity"), Some("TYPE"), Some("ram-sidecar/identity"), None,
        "How the sidecar authenticates: oidc, access_key, ecs_ram_role, credentials_uri or sandbox; by default the one whose flag is set"),
    names(Field::OidcProviderArn, Some("oidc-provider-arn"), Some("ARN"), Some("ram-sidecar/oidc-provider-arn"), None,
        "oidc: the cluster's OIDC provider (RRSA), acs:ram::<account id>:oidc-provider/<name>"),
    names(Field::AccountId, Some("account-id"), Some("ID"), None, None,
        "The account of a role that is given by its name"),
    names(Field::Secret, Some("secret"), Some("NAME"), Some("ram-sidecar/secret"), None,
        "access_key: the Secret that holds access-key-id and access-key-secret"),
    names(Field::CredentialsUri, Some("credentials-uri"), Some("URI"), None, None,
        "credentials_uri: another credentials server, on the pod's loopback address or by https"),
    names(Field::Image, Some("image"), Some("IMAGE"), Some("ram-sidecar/image"), None,
        "The image of the sidecar; by default ram-sidecar and this version"),
    names(Field::Classic, Some("classic"), None, Some("ram-sidecar/classic"), None,
        "An ordinary container instead of a native sidecar, for Kubernetes before 1.29"),
    names(Field::Metadata, Some("metadata"), None, Some("ram-sidecar/metadata"), None,
        "Give the pod 100.100.100.200, the ECS metadata service's address, for tools that use no other source; the pod needs the privileged Pod Security level"),
    names(Field::Region, Some("region"), Some("REGION"), None, None,
        "The region whose STS endpoint to use, such as cn-hangzhou"),
    names(Field::Vpc, Some("vpc"), None, None, None,
        "Use the endpoint inside the region's VPCs"),
    names(Field::Duration, Some("duration"), Some("DURATION"), Some("ram-sidecar/duration"), None,
        "The lifetime of the credentials, 15m to 12h; by default 1h"),
    names(Field::TokenExpiration, None, Some("SECONDS"), None, Some("pod-identity.alibabacloud.com/service-account-token-expiration"),
        "The lifetime of the service account's token"),
    names(Field::SkipContainers, Some("skip-containers"), Some("NAME,…"), Some("ram-sidecar/skip-containers"), Some("pod-identity.alibabacloud.com/skip-containers"),
        "Containers that get no credentials"),
    names(Field::OnlyContainers, Some("only-containers"), Some("NAME,…"), Some("ram-sidecar/only-containers"), Some("pod-identity.alibabacloud.com/only-containers"),
        "The only containers that get credentials"),
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
    /// The errors in annotations that are not fields.
    pub(super) errors: Vec<String>,
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

    /// Returns a field; an empty text counts as unset.
    pub fn get(&self, field: Field) -> Option<&Given> {
        self.fields
            .get(&field)
            .filter(|given| !given.text.is_empty())
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

    /// Returns the identities whose settings are set, each with the field that implies it.
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
