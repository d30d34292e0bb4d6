//! Checks every field of a request, and returns all errors at once or the spec of an injection.

use std::time::Duration;

use crate::config::parse;
use crate::credentials::{AccountId, RoleArn};
use crate::identity::CredentialsUri;

use super::field::Field;
use super::json::{MAX_LINE_SIZE, single_line};
use super::request::{Given, Request};
use super::spec::{Amount, Endpoints, Identity, Key, Metadata, Mode, Resources};
use super::spec::{Selection, Spec};
use super::values::{amount, config_map_name, key, memory_limit, port, quantity};
use super::values::{identity, image, role_or_name, secret_name, setting, token_expiration};

impl Request {
    /// Checks all fields, each by itself and together; fails with all errors, a sentence each.
    pub fn check(&self) -> Result<Spec, Vec<String>> {
        let mut checker = Checker::new(self);
        let spec = checker.spec();
        match (spec, checker.errors()) {
            (Some(spec), errors) if errors.is_empty() => Ok(spec),
            (_, errors) => Err(errors),
        }
    }

    /// Returns the errors in the fields that are set; others may be set later.
    pub fn errors(&self) -> Vec<String> {
        let mut checker = Checker::new(self);
        checker.spec();
        checker.conflicts.clear();
        checker.errors()
    }
}

struct Checker<'a> {
    request: &'a Request,
    /// The fields that are invalid by themselves.
    invalid: Vec<String>,
    /// The fields that are missing, or that contradict others.
    conflicts: Vec<String>,
}

impl<'a> Checker<'a> {
    fn new(request: &'a Request) -> Self {
        Self {
            request,
            invalid: request.errors.clone(),
            conflicts: Vec::new(),
        }
    }

    /// Returns each error as one line, whatever text it repeats.
    fn errors(self) -> Vec<String> {
        let errors = self.invalid.iter().chain(&self.conflicts);
        errors
            .map(|error| single_line(error, MAX_LINE_SIZE))
            .collect()
    }

    /// Checks everything; returns `None` if the identity is unknown or incomplete.
    fn spec(&mut self) -> Option<Spec> {
        self.value(Field::Role, role_or_name);
        self.value(Field::Identity, identity);
        let env = self.env();
        let provider = self.value(Field::OidcProviderArn, parse::provider_arn);
        let account = self.value(Field::AccountId, AccountId::parse);
        let secret = self.value(Field::Secret, secret_name);
        let uri = self.value(Field::CredentialsUri, |text| {
            CredentialsUri::parse(text).map(|_| text.to_owned())
        });
        let image = self.value(Field::Image, image);
        let classic = self.flag(Field::Classic);
        let endpoints = self.endpoints();
        let metrics = self.flag(Field::Metrics);
        let readiness = self.flag(Field::Readiness);
        let ca_config_map = self.value(Field::CaConfigMap, config_map_name);
        let region = self.value(Field::Region, parse::region);
        let vpc = self.flag(Field::Vpc);
        let duration = self.value(Field::Duration, parse::role_duration);
        let token_expiration = self.value(Field::TokenExpiration, token_expiration);
        let resources = self.resources();
        let skip = self.value(Field::SkipContainers, parse::list);
        let only = self.value(Field::OnlyContainers, parse::list);

        let identity = self.identity(provider.clone(), secret, uri);
        let role = self.role(provider.as_deref(), account.as_ref());
        if vpc && self.request.get(Field::Region).is_none() {
            self.conflict("a VPC endpoint belongs to a region: set --region");
        }
        let names_role = env
            .iter()
            .any(|(name, _)| name == "RAM_SIDECAR_METADATA_ROLE_NAME");
        if endpoints.metadata == Some(Metadata::Loopback) && names_role {
            self.conflict("--env: RAM_SIDECAR_METADATA_ROLE_NAME is set by --metadata, so that SDKs do not take the role of the node; remove it, or use --metadata-address");
        }
        if endpoints.metadata == Some(Metadata::Address) && identity == Some(Identity::EcsRamRole) {
            self.conflict("a pod whose identity is ecs_ram_role cannot get the address of the ECS metadata service, because the sidecar would send its own requests to itself: remove --metadata-address, or choose another identity");
        }
        Some(Spec {
            role,
            identity: identity?,
            image: image.unwrap_or_else(|| IMAGE.to_owned()),
            mode: if classic { Mode::Classic } else { Mode::Native },
            endpoints,
            metrics,
            readiness,
            ca_config_map,
            region,
            vpc,
            duration,
            token_expiration: token_expiration.unwrap_or(TOKEN_EXPIRATION),
            resources,
            env,
            selection: Selection {
                skip: skip.unwrap_or_default(),
                is_skip_of_account: self.request.is_of_account(Field::SkipContainers),
                only,
            },
        })
    }

    fn env(&mut self) -> Vec<(String, String)> {
        let mut env = Vec::new();
        for text in &self.request.env {
            match setting(text) {
                Ok(pair) => env.push(pair),
                Err(reason) => self.invalid.push(format!("--env: {reason}")),
            }
        }
        env
    }

    fn identity(
        &mut self,
        provider: Option<String>,
        secret: Option<String>,
        uri: Option<String>,
    ) -> Option<Identity> {
        let Some(name) = self.request.identity() else {
            self.report_unknown_identity();
            return None;
        };
        let (field, error, identity) = match name {
            "oidc" => (
                Field::OidcProviderArn,
                "the identity oidc requires the cluster's OIDC provider: set --oidc-provider-arn or the annotation ram-sidecar/oidc-provider-arn",
                provider.map(|provider| Identity::Oidc { provider }),
            ),
            "access_key" => (
                Field::Secret,
                "the identity access_key requires a Secret: set --secret or the annotation ram-sidecar/secret",
                secret.map(|secret| Identity::AccessKey { secret }),
            ),
            "credentials_uri" => (
                Field::CredentialsUri,
                "the identity credentials_uri requires the address of a credentials server: set --credentials-uri",
                uri.map(|uri| Identity::CredentialsUri { uri }),
            ),
            "ecs_ram_role" => return Some(Identity::EcsRamRole),
            "sandbox" => return Some(Identity::Sandbox),
            // The check of the field itself has reported it.
            _ => return None,
        };
        if self.request.get(field).is_none() {
            self.conflict(error);
        }
        identity
    }

    fn role(&mut self, provider: Option<&str>, account: Option<&AccountId>) -> Option<RoleArn> {
        let Some(given) = self.request.get(Field::Role) else {
            if self.request.requires_role() {
                self.conflict("no role is set: set --role or the annotation ram-sidecar/role");
            }
            return None;
        };
        // The embedded STS always issues credentials of the same role.
        if self.request.identity() == Some("sandbox") {
            return None;
        }
        if let Ok(arn) = RoleArn::parse(&given.text) {
            return Some(arn);
        }
        if role_or_name(&given.text).is_err() {
            return None;
        }
        let account = account.map(AccountId::as_str);
        let Some(account) = account.or_else(|| account_of(provider?)) else {
            self.conflicts.push(format!(
                "{}: the account of the role `{}` is unknown: write its ARN, or set --account-id",
                given.place, given.text
            ));
            return None;
        };
        RoleArn::parse(&format!("acs:ram::{account}:role/{}", given.text)).ok()
    }

    fn report_unknown_identity(&mut self) {
        let implied = self.request.implied();
        let places = implied
            .iter()
            .filter_map(|(_, field)| self.request.get(*field));
        let places: Vec<&str> = places.map(|given| given.place.as_str()).collect();
        if places.is_empty() {
            self.conflict("no identity is set: set --oidc-provider-arn (RRSA), --secret (an AccessKey) or --identity");
        } else {
            let places = places.join(" and ");
            self.conflict(&format!(
                "{places} are settings of different identities: choose one with --identity"
            ));
        }
    }

    fn endpoints(&mut self) -> Endpoints {
        let loopback = self.flag(Field::Metadata);
        let address = self.flag(Field::MetadataAddress);
        Endpoints {
            key: self.value(Field::Key, key).unwrap_or(Key::PodUid),
            port: self.value(Field::Port, port).unwrap_or(PORT),
            container: self.flag(Field::Container),
            // The address takes precedence: tools that know the variable find the dialect there by default.
            metadata: address
                .then_some(Metadata::Address)
                .or_else(|| loopback.then_some(Metadata::Loopback)),
        }
    }

    fn resources(&mut self) -> Resources {
        let resources = Resources {
            request_cpu: self.value(Field::RequestCpu, amount),
            request_memory: self.value(Field::RequestMemory, amount),
            limit_cpu: self.value(Field::LimitCpu, amount),
            limit_memory: self.value(Field::LimitMemory, memory_limit),
        };
        for (request, limit, fields) in [
            (
                &resources.request_cpu,
                &resources.limit_cpu,
                [Field::RequestCpu, Field::LimitCpu],
            ),
            (
                &resources.request_memory,
                &resources.limit_memory,
                [Field::RequestMemory, Field::LimitMemory],
            ),
        ] {
            if let (Some(Amount::Quantity(request)), Some(Amount::Quantity(limit))) =
                (request, limit)
                && quantity(request) > quantity(limit)
            {
                let places = fields.map(|field| self.request.get(field));
                let [request_place, limit_place] =
                    places.map(|given| given.map_or("", |given| given.place.as_str()));
                self.conflict(&format!(
                    "{request_place}: `{request}` is more than `{limit}` of {limit_place}; a request is at most its limit"
                ));
            }
        }
        resources
    }

    fn flag(&mut self, field: Field) -> bool {
        self.value(field, parse::boolean).unwrap_or(false)
    }

    fn value<T>(
        &mut self,
        field: Field,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Given { text, place } = self.request.get(field)?;
        parse(text)
            .map_err(|reason| self.invalid.push(format!("{place}: {reason}")))
            .ok()
    }

    fn conflict(&mut self, error: &str) {
        self.conflicts.push(error.to_owned());
    }
}

/// Returns the account of an OIDC provider.
pub(super) fn account_of(provider: &str) -> Option<&str> {
    provider.strip_prefix("acs:ram::")?.split(':').next()
}

/// The image in `config/kubernetes`; clusters put their own registry before it.
const IMAGE: &str = concat!("ram-sidecar:", env!("CARGO_PKG_VERSION"));

/// The default of `serve.listen`.
pub(super) const PORT: u16 = 7002;

/// Source: the default of ACK's webhook for RRSA.
const TOKEN_EXPIRATION: Duration = Duration::from_secs(3600);
