//! Asks STS whose keys are.

use std::ffi::OsString;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use crate::chains::Explained;
use crate::cli::input::variable;
use crate::config::{self, Input};
use crate::credentials::Keys;
use crate::daemon::source;
use crate::system::process;
use crate::time::clock::Clock;

/// Returns, for each client, the ARN of the keys that it uses first, or why it is not known; nothing without such keys.
/// Those of an SDK of AWS may be of AWS, which STS must not get.
pub(super) async fn callers(explained: &[Explained]) -> Vec<Option<String>> {
    let mut known: Vec<(String, String)> = Vec::new();
    let mut callers = Vec::new();
    for client in explained {
        let keys = client
            .first()
            .filter(|_| !client.client.reads_container())
            .and_then(|(_, finding, _)| finding.keys.as_deref());
        let Some(keys) = keys else {
            callers.push(None);
            continue;
        };
        let mut known_ids = known.iter();
        let found = known_ids.find(|(id, _)| *id == keys.access_key_id);
        let found = found.map(|(_, answer)| answer.clone());
        let answer = if let Some(answer) = found {
            answer
        } else {
            let answer = caller(keys).await;
            known.push((keys.access_key_id.clone(), answer.clone()));
            answer
        };
        callers.push(Some(answer));
    }
    callers
}

/// Asks with the settings of STS and the proxy of this environment.
async fn caller(keys: &Keys) -> String {
    let of_keys = |name: &str| match name {
        "RAM_SIDECAR_IDENTITY_TYPE" => Some("access_key".to_owned()),
        "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some(keys.access_key_id.clone()),
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => {
            Some(keys.access_key_secret.expose_secret().to_owned())
        }
        "ALIBABA_CLOUD_SECURITY_TOKEN" => {
            let token = keys.security_token.as_ref()?;
            Some(token.expose_secret().to_owned())
        }
        // It is not assumed.
        "ALIBABA_CLOUD_ROLE_ARN" => Some("acs:ram::1:role/none".to_owned()),
        _ => None,
    };
    let is_of_sts = |name: &str| {
        let starts = [
            "ALIBABA_CLOUD_STS_",
            "ALIBABA_CLOUD_VPC_",
            "RAM_SIDECAR_STS_",
        ];
        starts.iter().any(|start| name.starts_with(start))
            || name.to_ascii_uppercase().ends_with("_PROXY")
    };
    let lookup = |name: &str| {
        of_keys(name)
            .map(OsString::from)
            .or_else(|| variable(name).filter(|_| is_of_sts(name)))
    };
    let checked = config::check(&Input {
        flags: Vec::new(),
        variable: &lookup,
        file: None,
        host_name: process::host_name(),
        defaults: Vec::new(),
        #[cfg(feature = "sandbox")]
        sandbox: None,
    });
    let config = match checked.outcome {
        Ok(config) => config,
        Err(errors) => return format!("not asked: {errors}"),
    };
    let clock = Clock::machine();
    let built = source::source(config.upstream, config.session, &clock, None).await;
    let Ok((Some(mut chain), _)) = built else {
        return "not asked: the settings of STS cannot be used".to_owned();
    };
    match tokio::time::timeout(TIMEOUT, chain.sts.caller(keys)).await {
        Ok(Ok(caller)) => caller.arn,
        Ok(Err(failure)) => format!("no answer: {}", failure.message),
        Err(_) => "no answer within 10 s".to_owned(),
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
