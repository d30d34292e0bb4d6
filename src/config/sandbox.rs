//! The settings of the embedded STS, and which settings of a real role it replaces.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checker::{Checker, Reported};
use super::layers::Origin;
use super::{Errors, Input, Upstream, log, parse, settings};
use crate::sandbox::{self, Plan};
use crate::server;
use crate::system;

/// The flags of the embedded STS, unchecked.
#[derive(Debug)]
pub struct Sandbox {
    /// The prefix of its flags: `sandbox-` among the flags of a daemon.
    pub prefix: &'static str,
    /// The address to listen on.
    pub listen: Option<String>,
    /// The plan of its faults.
    pub faults: Option<String>,
    /// The issuer of the tokens that it accepts.
    pub oidc_issuer: Option<String>,
    /// The file of the issuer's keys.
    pub oidc_keys: Option<PathBuf>,
}

/// The settings of the command `sandbox`.
#[derive(Debug)]
pub struct Standalone {
    /// The options of the embedded STS.
    pub sandbox: sandbox::Options,
    /// `log.*`.
    pub log: system::log::Options,
}

/// Checks the settings of `sandbox`: its flags, and `log.*`.
pub fn standalone(input: &Input<'_>) -> Result<Standalone, Errors> {
    let mut checker = Checker::new(input, &[]);
    let sandbox = match &input.sandbox {
        Some(given) => options(&mut checker, given),
        None => Ok(sandbox::Options::default()),
    };
    let log = log(&mut checker);
    if checker.layers.is_file_unreadable {
        // It may set `log.*`.
        checker.report_layer_problems();
    }
    let alone = log.and_then(|log| {
        Ok(Standalone {
            sandbox: sandbox?,
            log,
        })
    });
    checker.finish(alone)
}

/// Reads the embedded STS that replaces a real one.
///
/// The environment and the file may hold a real job's settings: its role is ignored, and this is reported; its credentials
/// files are not written. Flags of a real role are errors.
pub(super) fn upstream(checker: &mut Checker, given: &Sandbox) -> Result<Upstream, Reported> {
    let replaced = [
        "role.arn",
        "role.preset",
        "role.account_id",
        "role.oss_bucket",
        "role.via",
        "identity.",
        "sts.",
        "state.",
    ];
    let settings = checker.layers.given();
    let (flags, ignored): (Vec<Origin>, Vec<Origin>) = settings
        .filter(|(key, _)| replaced.iter().any(|start| key.starts_with(start)))
        .map(|(_, given)| given.origin.clone())
        // Those are also set for clients, and then do not configure a role.
        .filter(|origin| {
            *origin != Origin::Variable(&settings::CREDENTIALS_URI)
                && *origin != Origin::Variable(&settings::METADATA_DISABLED)
        })
        .partition(|origin| matches!(origin, Origin::Flag(_)));
    let ignored = ignored.iter().map(ToString::to_string).collect();
    for origin in flags {
        let reason = if origin == Origin::Flag(&settings::STATE_FILE) {
            "the credentials of --sandbox are invalid after it stops, so that no state is saved"
        } else {
            "--sandbox has its own role, identity and STS"
        };
        checker.report(format!("{origin}: {reason}; remove it or --sandbox"));
    }
    for (origin, _) in checker.layers.files.clone() {
        if !matches!(origin, Origin::Flag(_)) {
            checker.report(format!("{origin}: --sandbox would replace real credentials with ones that only it accepts; unset it, or name another file with --file"));
        }
    }
    let options = Box::new(options(checker, given)?);
    Ok(Upstream::Sandbox { options, ignored })
}

/// Reads the options of the embedded STS.
fn options(checker: &mut Checker, given: &Sandbox) -> Result<sandbox::Options, Reported> {
    let (prefix, defaults) = (given.prefix, sandbox::Options::default());
    let listen = given.listen.as_deref().map(loopback).transpose();
    let listen = listen.map_err(|reason| checker.report(format!("--{prefix}listen: {reason}")));
    let faults = given.faults.as_deref().map(Plan::parse).transpose();
    let faults = faults.map_err(|reasons| checker.report_all("--fault", &reasons));
    let oidc_keys = given.oidc_keys.as_deref().map(key_set).transpose();
    let oidc_keys =
        oidc_keys.map_err(|reason| checker.report(format!("--{prefix}oidc-keys: {reason}")));
    let oidc_issuer = given.oidc_issuer.clone();
    Ok(sandbox::Options {
        listen: listen?.unwrap_or_else(|| SocketAddr::new(server::loopback(), 0)),
        faults: faults?.unwrap_or_default(),
        // The longest that a role may allow, so that any duration can be tried.
        max_session: Duration::from_secs(43_200),
        oidc_issuer: oidc_issuer.unwrap_or(defaults.oidc_issuer),
        oidc_keys: oidc_keys?,
        ..defaults
    })
}

fn key_set(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    sandbox::check_key_set(&text).map_err(|reason| {
        format!(
            "{}: {reason}; save what the issuer publishes",
            path.display()
        )
    })?;
    Ok(text)
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = parse::address(text)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(format!(
        "{address} can be reached from other machines; listen on 127.0.0.1 or [::1]"
    ))
}
