//! Reads the source of credentials: the role, the STS and the identity.

use crate::http::client::Outbound;
use crate::http::proxy::Proxy;
use crate::sts::endpoint::Endpoint;

use super::checker::{Checker, Reported};
use super::parse::Kind;
use super::role::{self, Choice};
use super::{Cloud, Input, Upstream, identity, settings};

pub(super) fn read(checker: &mut Checker, input: &Input<'_>) -> Result<Upstream, Reported> {
    #[cfg(feature = "sandbox")]
    if let Some(sandbox) = &input.sandbox {
        return super::sandbox::upstream(checker, sandbox);
    }
    let choice = role::choice(checker);
    if matches!(choice, Ok(Choice::NoRole)) {
        return Ok(Upstream::NoRole);
    }
    let given = identity::selected_kind(checker);
    let is_absent = identity::candidates(checker).is_empty();
    let passes_credentials = !matches!(given, Err(_) | Ok(Kind::AccessKey | Kind::Oidc));
    if matches!(choice, Ok(Choice::PassThrough)) && !passes_credentials {
        checker.report_missing("role.arn: no role is given; set ALIBABA_CLOUD_ROLE_ARN, or RAM_SIDECAR_ROLE_PRESET=none for a job without a role".to_owned());
    }
    let kind = given.map_err(|problem| {
        if is_absent {
            checker.report_missing(problem)
        } else {
            checker.report(problem)
        }
    });
    let via = checker.optional(&settings::ROLE_VIA);
    let roots = checker.optional(&settings::STS_CA_FILE);
    let endpoints = endpoints(checker);
    let proxy = proxy(
        checker,
        input,
        kind.as_ref().ok(),
        endpoints.as_deref().unwrap_or_default(),
    );
    let outbound = Outbound {
        roots: roots.as_ref().ok().cloned().flatten(),
        proxy: proxy.as_ref().ok().cloned().flatten(),
    };
    let identity = kind.and_then(|kind| identity::read(checker, kind, input, &outbound));
    let signature = checker.value(&settings::STS_SIGNATURE);
    Ok(Upstream::Cloud(Box::new(Cloud {
        role: match choice? {
            Choice::Role(role) => Some(role),
            Choice::NoRole | Choice::PassThrough => None,
        },
        via: via?.unwrap_or_default(),
        identity: identity?,
        endpoints: endpoints?,
        signature: signature?,
        outbound: Outbound {
            roots: roots?,
            proxy: proxy?,
        },
    })))
}

/// Reads the proxy of the environment.
fn proxy(
    checker: &mut Checker,
    input: &Input<'_>,
    kind: Option<&Kind>,
    endpoints: &[Endpoint],
) -> Result<Option<Proxy>, Reported> {
    // Such an identity may call any server.
    let is_known = !matches!(kind, None | Some(Kind::Profile | Kind::CredentialsUri));
    let distant = endpoints.iter().filter(|one| !one.is_loopback());
    let urls: Vec<&str> = distant.map(Endpoint::url).collect();
    let proxy = Proxy::of_environment(input.variable, is_known.then_some(&urls));
    proxy.map_err(|problem| checker.report(problem))
}

fn endpoints(checker: &mut Checker) -> Result<Vec<Endpoint>, Reported> {
    let region = checker.optional(&settings::STS_REGION);
    let vpc = checker.value(&settings::STS_VPC);
    if let Some(endpoints) = checker.optional(&settings::STS_ENDPOINT)? {
        return Ok(endpoints);
    }
    let (region, vpc) = (region?, vpc?);
    if vpc && region.is_none() {
        let place = checker.place(&settings::STS_VPC);
        return Err(checker.report_missing(format!("{place}: a VPC endpoint belongs to a region; set sts.region (ALIBABA_CLOUD_STS_REGION) too")));
    }
    Ok(vec![Endpoint::of(region.as_deref(), vpc)])
}
