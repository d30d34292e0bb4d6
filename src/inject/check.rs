//! What is wanted, checked: every mistake is told at once.

use std::time::Duration;

use crate::config::parse;
use crate::credentials::RoleArn;
use crate::identity::CredentialsUri;

use super::json::{LONGEST, line};
use super::request::{Said, Wanted, Word};
use super::spec::{Identity, Mode, Wish};
use super::values::{identity, image, role_or_name, secret_name, setting, token_expiration};

impl Wanted {
    /// Checks all that was said, together.
    ///
    /// Fails with everything that is wrong or missing, a sentence each.
    pub fn checked(&self) -> Result<Wish, Vec<String>> {
        let mut checker = Checker::new(self);
        let wish = checker.wish();
        match wish {
            Some(wish) if checker.problems.is_empty() => Ok(wish),
            _ => Err(checker.told()),
        }
    }

    /// Returns what is wrong with what was said, whatever else will be said.
    pub fn mistakes(&self) -> Vec<String> {
        let mut checker = Checker::new(self);
        checker.words();
        checker.told()
    }
}

struct Checker<'a> {
    wanted: &'a Wanted,
    problems: Vec<String>,
}

/// The words whose values do not depend on each other.
struct Words {
    provider: Option<String>,
    account: Option<String>,
    secret: Option<String>,
    uri: Option<String>,
    image: Option<String>,
    classic: bool,
    metadata: bool,
    region: Option<String>,
    vpc: bool,
    duration: Option<Duration>,
    token_expiration: Option<Duration>,
    env: Vec<(String, String)>,
    skip: Option<Vec<String>>,
    only: Option<Vec<String>>,
}

impl<'a> Checker<'a> {
    fn new(wanted: &'a Wanted) -> Self {
        Self {
            wanted,
            problems: wanted.unknown().to_vec(),
        }
    }

    /// Makes each mistake one line, whatever text it repeats.
    fn told(self) -> Vec<String> {
        self.problems
            .iter()
            .map(|problem| line(problem, LONGEST))
            .collect()
    }

    fn wish(&mut self) -> Option<Wish> {
        let words = self.words();
        let identity = self.identity(&words);
        let role = self.role(identity.as_ref(), &words);
        if words.vpc && self.wanted.said(Word::Region).is_none() {
            self.missing("a VPC endpoint belongs to a region: say which with --region");
        }
        if words.metadata && identity == Some(Identity::EcsRamRole) {
            self.missing("the address of the ECS metadata service cannot be given to a pod whose identity is ecs_ram_role, because the sidecar would ask itself: drop --metadata, or choose another identity");
        }
        Some(Wish {
            role,
            identity: identity?,
            image: words.image.unwrap_or_else(|| IMAGE.to_owned()),
            mode: if words.classic {
                Mode::Classic
            } else {
                Mode::Native
            },
            metadata: words.metadata,
            region: words.region,
            vpc: words.vpc,
            duration: words.duration,
            token_expiration: words.token_expiration.unwrap_or(TOKEN_EXPIRATION),
            env: words.env,
            skip: words.skip.unwrap_or_default(),
            only: words.only,
        })
    }

    fn words(&mut self) -> Words {
        self.value(Word::Role, role_or_name);
        self.value(Word::Identity, identity);
        let mut env = Vec::new();
        for given in self.wanted.env() {
            match setting(given) {
                Ok(pair) => env.push(pair),
                Err(reason) => self.problems.push(format!("--env: {reason}")),
            }
        }
        Words {
            provider: self.value(Word::OidcProviderArn, parse::provider_arn),
            account: self.value(Word::AccountId, parse::account_id),
            secret: self.value(Word::Secret, secret_name),
            uri: self.value(Word::CredentialsUri, |text| {
                CredentialsUri::parse(text).map(|_| text.to_owned())
            }),
            image: self.value(Word::Image, image),
            classic: self.value(Word::Classic, parse::boolean).unwrap_or(false),
            metadata: self.value(Word::Metadata, parse::boolean).unwrap_or(false),
            region: self.value(Word::Region, parse::region),
            vpc: self.value(Word::Vpc, parse::boolean).unwrap_or(false),
            duration: self.value(Word::Duration, parse::role_duration),
            token_expiration: self.value(Word::TokenExpiration, token_expiration),
            env,
            skip: self.value(Word::SkipContainers, parse::list),
            only: self.value(Word::OnlyContainers, parse::list),
        }
    }

    fn identity(&mut self, words: &Words) -> Option<Identity> {
        let Some(name) = self.wanted.identity() else {
            self.nobody();
            return None;
        };
        let needed = |checker: &mut Self, value: &Option<String>, word, what: &str| {
            if checker.wanted.said(word).is_none() {
                checker.missing(what);
            }
            value.clone()
        };
        match name {
            "oidc" => needed(
                self,
                &words.provider,
                Word::OidcProviderArn,
                "the identity oidc needs the cluster's OIDC provider: give --oidc-provider-arn, or the annotation ram-sidecar/oidc-provider-arn",
            )
            .map(|provider| Identity::Oidc { provider }),
            "access_key" => needed(
                self,
                &words.secret,
                Word::Secret,
                "the identity access_key needs a Secret: give --secret, or the annotation ram-sidecar/secret",
            )
            .map(|secret| Identity::AccessKey { secret }),
            "credentials_uri" => needed(
                self,
                &words.uri,
                Word::CredentialsUri,
                "the identity credentials_uri needs the address of a server: give --credentials-uri",
            )
            .map(|uri| Identity::CredentialsUri { uri }),
            "ecs_ram_role" => Some(Identity::EcsRamRole),
            "sandbox" => Some(Identity::Sandbox),
            // It has been told already.
            _ => None,
        }
    }

    fn role(&mut self, identity: Option<&Identity>, words: &Words) -> Option<RoleArn> {
        let Some(said) = self.wanted.said(Word::Role) else {
            let passed_through = ["ecs_ram_role", "credentials_uri", "sandbox"];
            let is_passed_through = self
                .wanted
                .identity()
                .is_some_and(|name| passed_through.contains(&name));
            if !is_passed_through {
                self.missing(
                    "nothing says which role: give --role, or the annotation ram-sidecar/role",
                );
            }
            return None;
        };
        // It brings a role of its own.
        if identity == Some(&Identity::Sandbox) {
            return None;
        }
        if let Ok(arn) = RoleArn::parse(&said.text) {
            return Some(arn);
        }
        if role_or_name(&said.text).is_err() {
            return None;
        }
        let of_provider = words.provider.as_deref().and_then(account_of);
        let Some(account) = words.account.as_deref().or(of_provider) else {
            let told = format!(
                "{}: the role `{}` has no account: write its ARN, or give --account-id",
                said.place, said.text
            );
            self.problems.push(told);
            return None;
        };
        RoleArn::parse(&format!("acs:ram::{account}:role/{}", said.text)).ok()
    }

    /// Tells why nothing says who the sidecar is.
    fn nobody(&mut self) {
        let implied = self.wanted.implied();
        let places = implied
            .iter()
            .filter_map(|(_, word)| self.wanted.said(*word));
        let places: Vec<&str> = places.map(|said| said.place.as_str()).collect();
        if places.is_empty() {
            self.missing("nothing says how the sidecar proves who it is: give --oidc-provider-arn (RRSA), --secret (an AccessKey) or --identity");
        } else {
            let places = places.join(" and ");
            self.missing(&format!(
                "{places} are settings of different identities: say which with --identity"
            ));
        }
    }

    fn value<T>(&mut self, word: Word, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let Said { text, place } = self.wanted.said(word)?;
        read(text)
            .map_err(|reason| self.problems.push(format!("{place}: {reason}")))
            .ok()
    }

    fn missing(&mut self, told: &str) {
        self.problems.push(told.to_owned());
    }
}

fn account_of(provider: &str) -> Option<&str> {
    provider.strip_prefix("acs:ram::")?.split(':').next()
}

/// The name of the image in all our manifests; a cluster's own registry stands before it.
const IMAGE: &str = concat!("ram-sidecar:", env!("CARGO_PKG_VERSION"));

/// That of ACK's webhook.
const TOKEN_EXPIRATION: Duration = Duration::from_secs(3600);
