//! Reads the source of credentials: the role, the STS and the identity.

use crate::http::client::Outbound;
use crate::http::proxy::Proxy;
use crate::identity::CredentialsUri;
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
    // Without a role, only `check` calls STS, to explain.
    let needs_sts = !matches!(choice, Ok(Choice::PassThrough));
    let distant = endpoints.iter().flatten().filter(|one| !one.is_loopback());
    let sts: Vec<&str> = distant.map(Endpoint::url).collect();
    let proxy = proxy(checker, input, kind.as_ref().ok(), &sts, needs_sts);
    let outbound = Outbound {
        roots: roots.as_ref().ok().cloned().flatten(),
        proxy: proxy.as_ref().ok().and_then(|(proxy, _)| proxy.clone()),
    };
    let identity = kind.and_then(|kind| identity::read(checker, kind, input, &outbound));
    let signature = checker.value(&settings::STS_SIGNATURE);
    let (proxy, unused_proxy) = match proxy {
        Ok((proxy, unused)) => (Ok(proxy), unused),
        Err(reported) => (Err(reported), None),
    };
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
        unused_proxy,
    })))
}

/// Reads the proxy of the environment. If it cannot be read, that is an error where credentials may need it; else the problem
/// is returned.
fn proxy(
    checker: &mut Checker,
    input: &Input<'_>,
    kind: Option<&Kind>,
    sts: &[&str],
    needs_sts: bool,
) -> Result<(Option<Proxy>, Option<String>), Reported> {
    let uri = match kind {
        Some(Kind::CredentialsUri) => checker.optional(&settings::CREDENTIALS_URI)?,
        _ => None,
    };
    let server = uri.iter().filter(|uri| uri.loopback_port().is_none());
    let server = server.map(CredentialsUri::url);
    let needed: Vec<&str> = sts
        .iter()
        .copied()
        .filter(|_| needs_sts)
        .chain(server)
        .collect();
    let called = [&needed, sts].concat();
    // A profile may name any server.
    let is_known = !matches!(kind, None | Some(Kind::Profile));
    let read = |urls: &[&str]| Proxy::of_environment(input.variable, is_known.then_some(urls));
    match (read(&called), read(&needed)) {
        (Ok(proxy), _) => Ok((proxy, None)),
        (Err(problem), Ok(_)) => Ok((None, Some(problem))),
        (Err(problem), Err(_)) => Err(checker.report(problem)),
    }
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
