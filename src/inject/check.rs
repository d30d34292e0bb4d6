//! From a request to the spec of an injection: checks every field, and returns all mistakes at once.

use std::time::Duration;

use crate::config::parse;
use crate::credentials::{AccountId, RoleArn};
use crate::identity::CredentialsUri;

use super::json::{LONGEST, line};
use super::request::{Field, Given, Request};
use super::spec::{Identity, Mode, Spec};
use super::values::{identity, image, role_or_name, secret_name, setting, token_expiration};

impl Request {
    /// Checks all fields, each by itself and together.
    ///
    /// Fails with all that is wrong or missing, a sentence each.
    pub fn check(&self) -> Result<Spec, Vec<String>> {
        let mut checker = Checker::new(self);
        match checker.spec() {
            Some(spec) if checker.problems.is_empty() => Ok(spec),
            _ => Err(checker.mistakes()),
        }
    }

    /// Returns the mistakes in the fields that are given; others may be added later.
    pub fn mistakes(&self) -> Vec<String> {
        let mut checker = Checker::new(self);
        checker.fields();
        checker.mistakes()
    }
}

struct Checker<'a> {
    request: &'a Request,
    problems: Vec<String>,
}

/// The fields that are checked each by itself.
struct Fields {
    provider: Option<String>,
    account: Option<AccountId>,
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
    fn new(request: &'a Request) -> Self {
        Self {
            request,
            problems: request.mistakes.clone(),
        }
    }

    /// Returns each mistake as one line, whatever text it repeats.
    fn mistakes(self) -> Vec<String> {
        self.problems
            .iter()
            .map(|problem| line(problem, LONGEST))
            .collect()
    }

    fn spec(&mut self) -> Option<Spec> {
        let fields = self.fields();
        let identity = self.identity(&fields);
        let role = self.role(identity.as_ref(), &fields);
        if fields.vpc && self.request.get(Field::Region).is_none() {
            self.missing("a VPC endpoint belongs to a region: say which with --region");
        }
        if fields.metadata && identity == Some(Identity::EcsRamRole) {
            self.missing("the address of the ECS metadata service cannot be given to a pod whose identity is ecs_ram_role, because the sidecar would ask itself: drop --metadata, or choose another identity");
        }
        Some(Spec {
            role,
            identity: identity?,
            image: fields.image.unwrap_or_else(|| IMAGE.to_owned()),
            mode: if fields.classic {
                Mode::Classic
            } else {
                Mode::Native
            },
            metadata: fields.metadata,
            region: fields.region,
            vpc: fields.vpc,
            duration: fields.duration,
            token_expiration: fields.token_expiration.unwrap_or(TOKEN_EXPIRATION),
            env: fields.env,
            skip: fields.skip.unwrap_or_default(),
            only: fields.only,
        })
    }

    fn fields(&mut self) -> Fields {
        self.value(Field::Role, role_or_name);
        self.value(Field::Identity, identity);
        let mut env = Vec::new();
        for given in &self.request.env {
            match setting(given) {
                Ok(pair) => env.push(pair),
                Err(reason) => self.problems.push(format!("--env: {reason}")),
            }
        }
        Fields {
            provider: self.value(Field::OidcProviderArn, parse::provider_arn),
            account: self.value(Field::AccountId, AccountId::parse),
            secret: self.value(Field::Secret, secret_name),
            uri: self.value(Field::CredentialsUri, |text| {
                CredentialsUri::parse(text).map(|_| text.to_owned())
            }),
            image: self.value(Field::Image, image),
            classic: self.value(Field::Classic, parse::boolean).unwrap_or(false),
            metadata: self.value(Field::Metadata, parse::boolean).unwrap_or(false),
            region: self.value(Field::Region, parse::region),
            vpc: self.value(Field::Vpc, parse::boolean).unwrap_or(false),
            duration: self.value(Field::Duration, parse::role_duration),
            token_expiration: self.value(Field::TokenExpiration, token_expiration),
            env,
            skip: self.value(Field::SkipContainers, parse::list),
            only: self.value(Field::OnlyContainers, parse::list),
        }
    }

    fn identity(&mut self, fields: &Fields) -> Option<Identity> {
        let Some(name) = self.request.identity() else {
            self.no_identity();
            return None;
        };
        let needed = |checker: &mut Self, value: &Option<String>, field, what: &str| {
            if checker.request.get(field).is_none() {
                checker.missing(what);
            }
            value.clone()
        };
        match name {
            "oidc" => needed(
                self,
                &fields.provider,
                Field::OidcProviderArn,
                "the identity oidc needs the cluster's OIDC provider: give --oidc-provider-arn, or the annotation ram-sidecar/oidc-provider-arn",
            )
            .map(|provider| Identity::Oidc { provider }),
            "access_key" => needed(
                self,
                &fields.secret,
                Field::Secret,
                "the identity access_key needs a Secret: give --secret, or the annotation ram-sidecar/secret",
            )
            .map(|secret| Identity::AccessKey { secret }),
            "credentials_uri" => needed(
                self,
                &fields.uri,
                Field::CredentialsUri,
                "the identity credentials_uri needs the address of a server: give --credentials-uri",
            )
            .map(|uri| Identity::CredentialsUri { uri }),
            "ecs_ram_role" => Some(Identity::EcsRamRole),
            "sandbox" => Some(Identity::Sandbox),
            // It has been reported already.
            _ => None,
        }
    }

    fn role(&mut self, identity: Option<&Identity>, fields: &Fields) -> Option<RoleArn> {
        let Some(given) = self.request.get(Field::Role) else {
            let passed_through = ["ecs_ram_role", "credentials_uri", "sandbox"];
            let is_passed_through = self
                .request
                .identity()
                .is_some_and(|name| passed_through.contains(&name));
            if !is_passed_through {
                self.missing(
                    "nothing says which role: give --role, or the annotation ram-sidecar/role",
                );
            }
            return None;
        };
        // The embedded STS has a role of its own.
        if identity == Some(&Identity::Sandbox) {
            return None;
        }
        if let Ok(arn) = RoleArn::parse(&given.text) {
            return Some(arn);
        }
        if role_or_name(&given.text).is_err() {
            return None;
        }
        let of_provider = fields.provider.as_deref().and_then(account_of);
        let Some(account) = fields
            .account
            .as_ref()
            .map(AccountId::as_str)
            .or(of_provider)
        else {
            self.problems.push(format!(
                "{}: the role `{}` has no account: write its ARN, or give --account-id",
                given.place, given.text
            ));
            return None;
        };
        RoleArn::parse(&format!("acs:ram::{account}:role/{}", given.text)).ok()
    }

    /// Reports why the identity is not known.
    fn no_identity(&mut self) {
        let implied = self.request.implied();
        let places = implied
            .iter()
            .filter_map(|(_, field)| self.request.get(*field));
        let places: Vec<&str> = places.map(|given| given.place.as_str()).collect();
        if places.is_empty() {
            self.missing("nothing says how the sidecar proves who it is: give --oidc-provider-arn (RRSA), --secret (an AccessKey) or --identity");
        } else {
            let places = places.join(" and ");
            self.missing(&format!(
                "{places} are settings of different identities: say which with --identity"
            ));
        }
    }

    fn value<T>(
        &mut self,
        field: Field,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Given { text, place } = self.request.get(field)?;
        read(text)
            .map_err(|reason| self.problems.push(format!("{place}: {reason}")))
            .ok()
    }

    fn missing(&mut self, problem: &str) {
        self.problems.push(problem.to_owned());
    }
}

fn account_of(provider: &str) -> Option<&str> {
    provider.strip_prefix("acs:ram::")?.split(':').next()
}

/// The image that our manifests name; clusters put their own registry before it.
const IMAGE: &str = concat!("ram-sidecar:", env!("CARGO_PKG_VERSION"));

/// The default of ACK's webhook.
const TOKEN_EXPIRATION: Duration = Duration::from_secs(3600);
