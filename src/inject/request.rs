//! What is wanted, word by word, wherever it was said: flags, annotations, the variables of another webhook.

use std::collections::BTreeMap;

/// One thing that can be said of an injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
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
    /// How long credentials live.
    Duration,
    /// How long the service account's token lives.
    TokenExpiration,
    /// Containers that get nothing.
    SkipContainers,
    /// The only containers that get something.
    OnlyContainers,
}

/// Where a word can be said.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The word.
    pub word: Word,
    /// The long flag, without dashes.
    pub flag: Option<&'static str>,
    /// What stands for the value in the help; nothing if the flag alone says it.
    pub value: Option<&'static str>,
    /// Our annotation of a pod.
    pub annotation: Option<&'static str>,
    /// The annotation by which ACK's webhook for RRSA knows it.
    pub ack: Option<&'static str>,
    /// What it does; shown in the help.
    pub help: &'static str,
}

const fn place(
    word: Word,
    flag: &'static str,
    value: Option<&'static str>,
    annotation: Option<&'static str>,
    help: &'static str,
) -> Place {
    Place {
        word,
        flag: Some(flag),
        value,
        annotation,
        ack: None,
        help,
    }
}

const fn ack(place: Place, ack: &'static str) -> Place {
    Place {
        ack: Some(ack),
        ..place
    }
}

/// Everything that can be said, in the order of the help.
#[rustfmt::skip]
pub const PLACES: &[Place] = &[
    ack(place(Word::Role, "role", Some("ROLE"), Some("ram-sidecar/role"),
        "The role: acs:ram::<account id>:role/<name>, or its name where the account is known by --oidc-provider-arn or --account-id"),
        "pod-identity.alibabacloud.com/role-name"),
    place(Word::Identity, "identity", Some("TYPE"), Some("ram-sidecar/identity"),
        "How the sidecar proves who it is: oidc, access_key, ecs_ram_role, credentials_uri or sandbox; by default the one whose flag is given"),
    place(Word::OidcProviderArn, "oidc-provider-arn", Some("ARN"), Some("ram-sidecar/oidc-provider-arn"),
        "oidc: the cluster's OIDC provider (RRSA), acs:ram::<account id>:oidc-provider/<name>"),
    place(Word::AccountId, "account-id", Some("ID"), None,
        "The account of a role that is given by its name"),
    place(Word::Secret, "secret", Some("NAME"), Some("ram-sidecar/secret"),
        "access_key: the Secret that holds access-key-id and access-key-secret"),
    place(Word::CredentialsUri, "credentials-uri", Some("URI"), None,
        "credentials_uri: another server of credentials, on the pod's loopback or by https"),
    place(Word::Image, "image", Some("IMAGE"), Some("ram-sidecar/image"),
        "The image of the sidecar; by default ram-sidecar and this version"),
    place(Word::Classic, "classic", None, Some("ram-sidecar/classic"),
        "An ordinary container instead of a native sidecar, for Kubernetes before 1.29"),
    place(Word::Metadata, "metadata", None, Some("ram-sidecar/metadata"),
        "Give the pod 100.100.100.200, the ECS metadata service's address, for tools that know nothing else; the pod needs the privileged Pod Security level"),
    place(Word::Region, "region", Some("REGION"), None,
        "The region whose STS endpoint to use, such as cn-hangzhou"),
    place(Word::Vpc, "vpc", None, None,
        "Use the endpoint inside the region's VPCs"),
    place(Word::Duration, "duration", Some("DURATION"), Some("ram-sidecar/duration"),
        "How long credentials live, 15m to 12h; by default 1h"),
    ack(Place { word: Word::TokenExpiration, flag: None, value: Some("SECONDS"), annotation: None, ack: None,
        help: "How long the service account's token lives" },
        "pod-identity.alibabacloud.com/service-account-token-expiration"),
    ack(place(Word::SkipContainers, "skip-containers", Some("NAME,…"), Some("ram-sidecar/skip-containers"),
        "Containers that get nothing"),
        "pod-identity.alibabacloud.com/skip-containers"),
    ack(place(Word::OnlyContainers, "only-containers", Some("NAME,…"), Some("ram-sidecar/only-containers"),
        "The only containers that get something"),
        "pod-identity.alibabacloud.com/only-containers"),
];

/// A text, and where it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub text: String,
    /// Where: a flag, an annotation.
    pub place: String,
}

/// All that was said, unchecked: see [`Self::checked`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    said: BTreeMap<Word, Said>,
    env: Vec<String>,
    unknown: Vec<String>,
}

impl Wanted {
    /// Says a word; what was said of it before is forgotten.
    pub fn say(&mut self, word: Word, text: impl Into<String>, place: impl Into<String>) {
        let said = Said {
            text: text.into(),
            place: place.into(),
        };
        self.said.insert(word, said);
    }

    /// Adds a setting of the sidecar: `NAME=VALUE`.
    pub fn add_env(&mut self, setting: impl Into<String>) {
        self.env.push(setting.into());
    }

    /// Adds a mistake: something was said that is no word.
    pub(super) fn say_unknown(&mut self, mistake: String) {
        self.unknown.push(mistake);
    }

    /// Returns what was said of a word. Nothing counts as nothing.
    pub fn said(&self, word: Word) -> Option<&Said> {
        self.said.get(&word).filter(|said| !said.text.is_empty())
    }

    /// Returns the settings of the sidecar as they were given.
    pub(super) fn env(&self) -> &[String] {
        &self.env
    }

    /// Returns the mistakes of what was said and is no word.
    pub(super) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Adds what is said elsewhere with less weight.
    ///
    /// Whose settings are given here is the identity, whatever identity is said there.
    #[must_use]
    pub fn or(mut self, weaker: &Self) -> Self {
        if self.said(Word::Identity).is_none()
            && let [(identity, word)] = self.implied()[..]
            && let Some(place) = self.said(word).map(|said| said.place.clone())
        {
            self.say(Word::Identity, identity, place);
        }
        for (word, said) in &weaker.said {
            if self.said(*word).is_none() {
                self.said.insert(*word, said.clone());
            }
        }
        self.env.splice(0..0, weaker.env.iter().cloned());
        self.unknown.extend(weaker.unknown.iter().cloned());
        self
    }

    /// Returns the name of the identity: the one that is said, or the only one whose settings are there.
    pub(super) fn identity(&self) -> Option<&str> {
        match (self.said(Word::Identity), &self.implied()[..]) {
            (Some(said), _) => Some(&said.text),
            (None, [(name, _)]) => Some(name),
            (None, _) => None,
        }
    }

    /// Returns the identities whose settings are there, and the word of each that says so.
    pub(super) fn implied(&self) -> Vec<(&'static str, Word)> {
        [
            ("oidc", Word::OidcProviderArn),
            ("access_key", Word::Secret),
            ("credentials_uri", Word::CredentialsUri),
        ]
        .into_iter()
        .filter(|(_, word)| self.said(*word).is_some())
        .collect()
    }
}
