//! The settings of the embedded STS, and which settings of a real role it replaces.

use std::net::SocketAddr;
use std::time::Duration;

use super::checker::{Checker, Reported};
use super::layers::Origin;
use super::{Errors, Input, Upstream, log, parse, settings};
use crate::sandbox::{self, Plan};
use crate::system;

/// The flags of the embedded STS, unchecked.
#[derive(Debug)]
pub struct Sandbox {
    /// The prefix of its own flags: `sandbox-` where they stand among those of a daemon.
    pub prefix: &'static str,
    /// Where it listens.
    pub listen: Option<String>,
    /// The plan of its faults.
    pub faults: Option<String>,
}

/// The settings of the command `sandbox`.
#[derive(Debug)]
pub struct Alone {
    /// The options of the embedded STS.
    pub sandbox: sandbox::Options,
    /// `log.*`.
    pub log: system::log::Options,
}

/// Checks what `sandbox` needs: its own flags, and `log.*`.
pub fn alone(input: &Input<'_>) -> Result<Alone, Errors> {
    let mut checker = Checker::new(input, &[]);
    let sandbox = match &input.sandbox {
        Some(given) => options(&mut checker, given),
        None => Ok(sandbox::Options::default()),
    };
    let log = log(&mut checker);
    if checker.layers.is_file_unreadable {
        // It may say how to log.
        checker.report_layer_problems();
    }
    let alone = log.and_then(|log| {
        Ok(Alone {
            sandbox: sandbox?,
            log,
        })
    });
    checker.finish(alone)
}

/// Reads the embedded STS that replaces a real one.
///
/// The environment and the file may hold a real job's settings: its role is ignored, and this is reported; its credentials
/// files are not touched. A flag is a contradiction.
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
        // It says where clients ask, and is not a setting here.
        .filter(|origin| *origin != Origin::Variable(&settings::CREDENTIALS_URI))
        .partition(|origin| matches!(origin, Origin::Flag(_)));
    let ignored = ignored.iter().map(ToString::to_string).collect();
    for origin in flags {
        let reason = if origin == Origin::Flag(&settings::STATE_FILE) {
            "what --sandbox issues is void after its end, so that no state is saved"
        } else {
            "--sandbox brings its own role, identity and STS"
        };
        checker.report(format!("{origin}: {reason}; drop one of the two flags"));
    }
    for (origin, _) in checker.layers.files.clone() {
        if !matches!(origin, Origin::Flag(_)) {
            checker.report(format!("{origin}: --sandbox would put credentials that are valid nowhere in the place of real ones; unset it, or name another file with --file"));
        }
    }
    let options = Box::new(options(checker, given)?);
    Ok(Upstream::Sandbox { options, ignored })
}

/// Reads the options that the embedded STS starts with.
fn options(checker: &mut Checker, given: &Sandbox) -> Result<sandbox::Options, Reported> {
    let (prefix, defaults) = (given.prefix, sandbox::Options::default());
    let listen = given.listen.as_deref().map(loopback).transpose();
    let listen = listen.map_err(|reason| checker.report(format!("--{prefix}listen: {reason}")));
    let faults = given.faults.as_deref().map(Plan::parse).transpose();
    let faults = faults.map_err(|reasons| checker.report_all("--fault", &reasons));
    Ok(sandbox::Options {
        listen: listen?.unwrap_or(defaults.listen),
        faults: faults?.unwrap_or_default(),
        // The longest that a role may allow, so that any duration can be tried.
        max_session: Duration::from_secs(43_200),
        ..defaults
    })
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
