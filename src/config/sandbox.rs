//! What was said of the embedded STS, and what is left of the settings of a real role beside it.

use std::net::SocketAddr;
use std::time::Duration;

use super::checker::Checker;
use super::layers::{FOR_CLIENTS, Layers, Origin};
use super::{Input, Mistakes, Upstream, parse};
use crate::sandbox::{self, Plan};
use crate::system::log;

/// What was said of the embedded STS, unchecked.
#[derive(Debug)]
pub struct Sandbox {
    /// What its own flags begin with: `sandbox-` where they stand among those of a daemon.
    pub prefix: &'static str,
    /// Where it listens.
    pub listen: Option<String>,
    /// What goes wrong.
    pub faults: Option<String>,
}

/// The embedded STS alone.
#[derive(Debug)]
pub struct Alone {
    /// What it is started with.
    pub sandbox: sandbox::Options,
    /// `log.*`.
    pub log: log::Options,
}

/// Checks what `sandbox` needs: its own flags, and `log.*`.
pub fn alone(input: &Input<'_>) -> Result<Alone, Mistakes> {
    let mut checker = Checker {
        layers: Layers::gather(input),
        problems: Vec::new(),
    };
    let sandbox = input
        .sandbox
        .as_ref()
        .and_then(|given| checker.embedded(given));
    let log = checker.log();
    if checker.layers.is_file_lost {
        // It may have said how to log.
        checker.problems.append(&mut checker.layers.problems);
    }
    match (sandbox, log) {
        (Some(sandbox), Some(log)) if checker.problems.is_empty() => Ok(Alone { sandbox, log }),
        _ => Err(Mistakes::of(&checker.problems)),
    }
}

impl Checker {
    /// The environment and the file may hold a real job's settings: its role is set aside and reported, its credentials
    /// files are not touched. A flag is a contradiction.
    pub(super) fn sandbox(&mut self, given: &Sandbox) -> Option<Upstream> {
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
        let settings = self.layers.given();
        let (flags, ignored): (Vec<&Origin>, Vec<&Origin>) = settings
            .filter(|(key, _)| replaced.iter().any(|start| key.starts_with(start)))
            // It tells clients where to ask, and is here no setting.
            .filter(|(_, given)| given.origin != Origin::Variable(FOR_CLIENTS))
            .map(|(_, given)| &given.origin)
            .partition(|origin| matches!(origin, Origin::Flag(_)));
        let ignored = ignored.iter().map(ToString::to_string).collect();
        for origin in flags {
            let reason = if matches!(origin, Origin::Flag("state")) {
                "what --sandbox issues is void after its end, so that no state is kept"
            } else {
                "--sandbox brings its own role, identity and STS"
            };
            self.problems
                .push(format!("{origin}: {reason}; drop one of the two flags"));
        }
        for (origin, _) in &self.layers.files {
            if !matches!(origin, Origin::Flag(_)) {
                self.problems.push(format!("{origin}: --sandbox would put credentials that are valid nowhere in the place of real ones; unset it, or name another file with --file"));
            }
        }
        let options = Box::new(self.embedded(given)?);
        Some(Upstream::Sandbox { options, ignored })
    }

    /// Reads what it is started with; `None` when something of it is wrong.
    fn embedded(&mut self, given: &Sandbox) -> Option<sandbox::Options> {
        let mistakes = self.problems.len();
        let prefix = given.prefix;
        let mut options = sandbox::Options {
            // As long as a role may allow: the sandbox is for trying out any duration.
            max_session: Duration::from_secs(43_200),
            ..sandbox::Options::default()
        };
        match given.listen.as_deref().map(loopback).transpose() {
            Ok(address) => options.listen = address.unwrap_or(options.listen),
            Err(reason) => self.problems.push(format!("--{prefix}listen: {reason}")),
        }
        match given.faults.as_deref().map(Plan::parse).transpose() {
            Ok(faults) => options.faults = faults.unwrap_or_default(),
            Err(reasons) => {
                let told = reasons.iter().map(|reason| format!("--fault: {reason}"));
                self.problems.extend(told);
            }
        }
        (self.problems.len() == mistakes).then_some(options)
    }
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
