//! `check`: obtains credentials once and explains every step. It prints no secret and changes nothing.

mod report;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};
use tokio::time::Instant;

use super::command_environment::assumed;
use super::definition::with_daemon;
use super::output::print_until_closed;
use super::runtime::block_on;
use super::{Command, Error, explain, exposure, hint, terminal};
use crate::chains::default_chains;
use crate::config::{Checked, Config, Errors, Upstream};
use crate::credentials::{Lease, timestamp};
use crate::daemon::source;
use crate::failure::caller::Caller;
use crate::failure::{Failure, FailureClass, Stage};
use crate::identity::{self, Proof};
use crate::refresh::source::{Chain, Source as _};
use crate::system::{log, process};
use crate::time::clock::Clock;

use self::report::{Call, Credentials, Found, Report, Role, Style, Token};

pub(super) const COMMAND: Command = Command {
    name: "check",
    about: "Obtains credentials once with the settings of serve, and explains what it found or what to change",
    examples: &[
        ("against an embedded STS", "ram-sidecar check --sandbox"),
        (
            "whether this role can be assumed",
            "ram-sidecar check --role-arn acs:ram::1234567890123456:role/job",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print the report as JSON"),
        )
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .action(ArgAction::SetTrue)
                .help("List the settings that have their defaults too"),
        );
    with_daemon(command)
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let (hint, checked) = hint::checked(given, Vec::new());
    let config = checked.outcome.as_ref().ok();
    process::protect(config.is_some_and(|config| config.upstream.runs_programs()));
    let report = block_on(Some(0), with_progress(report(given, hint, checked)))?;
    let text = if given.get_flag("json") {
        report.json()
    } else {
        report.text(Style {
            has_colour: terminal::has_colour(&std::io::stdout()),
            is_verbose: given.get_flag("verbose"),
        })
    };
    print_until_closed(format!("{}\n", text.trim_end()).as_bytes(), "the report")?;
    if report.good {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Error::Reported)
    }
}

/// Shows on a terminal that the attempt is under way, and for how long.
async fn with_progress<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let can_show = terminal::has_cursor(&std::io::stderr());
    let start = Instant::now();
    let mut seconds = 0;
    loop {
        let Ok(done) = tokio::time::timeout(PROGRESS_INTERVAL, &mut work).await else {
            seconds = start.elapsed().as_secs();
            if can_show {
                log::print_over(&format!("Obtaining credentials ({seconds} s) …"));
            }
            continue;
        };
        if can_show && seconds > 0 {
            log::print_over("");
        }
        return done;
    }
}

/// Makes the report. The settings are in it whatever happens.
async fn report(given: &ArgMatches, hint: Option<String>, checked: Checked) -> Report {
    let Checked {
        settings,
        candidates,
        outcome,
    } = checked;
    let mut report = Report::new(settings, candidates);
    match outcome {
        Ok(config) => {
            report.warnings = exposure::warnings(given, &config);
            report.warnings.extend(strays(given));
            report.unused_because = match &config.upstream {
                Upstream::Cloud(_) => None,
                Upstream::NoRole => Some("this job has no role"),
                #[cfg(feature = "sandbox")]
                Upstream::Sandbox { .. } => Some("--sandbox has its own"),
            };
            attempt(config, &mut report).await;
            report.judge_clock();
        }
        Err(Errors(errors)) if errors.is_empty() => {
            report.misconfigured(hint.into_iter().collect());
        }
        Err(Errors(errors)) => {
            report.warnings.extend(hint);
            report.misconfigured(errors);
        }
    }
    report
}

/// Says which clients of a command of `exec` would not use its credentials.
fn strays(given: &ArgMatches) -> Vec<String> {
    let Ok(assumed) = assumed(given) else {
        return Vec::new();
    };
    let strays = explain::strays(&assumed.command, &assumed.server, None).into_iter();
    let sentences = strays.map(|stray| {
        let (what, fix) = (&stray.what, &stray.fix);
        let chains = default_chains(&stray.clients);
        format!("A command of exec would not get these credentials by {chains}: {what}; {fix}")
    });
    sentences.collect()
}

async fn attempt(config: Config, report: &mut Report) {
    let clock = Clock::machine();
    let sandbox = !matches!(config.upstream, Upstream::Cloud(_) | Upstream::NoRole);
    let asks_sts =
        !matches!(&config.upstream, Upstream::Cloud(cloud) if cloud.unused_proxy.is_some());
    let built = source::source(config.upstream, config.session, &clock, None).await;
    // Dropping the embedded STS would stop it.
    let (chain, _embedded_sts) = match built {
        Ok(built) => built,
        Err(error) => return report.misconfigured(vec![error.to_string()]),
    };
    let Some(mut chain) = chain else {
        return report.good("This job has no role, as role.preset says: the URI answers 404, and no file is written.");
    };
    report.identity = Some(chain.identity.kind());
    report.roles = chain.roles.iter().map(Role::of).collect();
    let limit = chain.timeout() + CALLER_TIMEOUT;
    let outcome = tokio::time::timeout(limit, obtain(&mut chain, &clock, asks_sts, report)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(Failure::timed_out(limit)));
    let session = match &outcome {
        Ok(lease) if asks_sts => session(lease, &mut chain, report).await,
        _ => None,
    };
    report.call = chain.sts.last_call().map(|(host, took)| Call {
        host: host.to_owned(),
        milliseconds: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    });
    report.clock_ahead_seconds = chain.sts.skew().map(|skew| skew.num_seconds());
    match outcome {
        Ok(lease) => obtained(lease, session, report, sandbox),
        Err(failure) => report.failed(&failure),
    }
}

async fn obtain(
    chain: &mut Chain,
    clock: &Clock,
    asks_sts: bool,
    report: &mut Report,
) -> Result<Lease, Failure> {
    let resolved = chain.identity.resolve(clock).await?;
    let own = resolved.roles.iter().map(Role::of);
    report.roles.splice(0..0, own);
    if asks_sts {
        // The report shows what is found in time.
        let identified = identify(chain, &resolved.proof, report);
        let _ = tokio::time::timeout(CALLER_TIMEOUT, identified).await;
    }
    chain.mint_from(resolved).await
}

/// Adds the caller or the token to the report. A failure here occurs again, and is explained, when the role is assumed.
async fn identify(chain: &mut Chain, proof: &Proof, report: &mut Report) {
    match proof {
        Proof::Token {
            provider_arn,
            token,
        } => {
            report.token = Some(Token::of(provider_arn, identity::claims(token)));
        }
        proof => {
            if let Some(keys) = proof.keys() {
                report.caller = chain.sts.caller(&keys).await.ok().map(Found::of);
            }
        }
    }
}

/// Asks STS whose the credentials are: it has not seen those that are passed through.
async fn session(
    lease: &Lease,
    chain: &mut Chain,
    report: &mut Report,
) -> Option<Result<Caller, Failure>> {
    report.failovers = chain.failovers().iter().map(ToString::to_string).collect();
    let keys = lease.credentials.keys();
    let session = tokio::time::timeout(CALLER_TIMEOUT, chain.sts.caller(&keys)).await;
    session.ok()
}

fn obtained(
    lease: Lease,
    session: Option<Result<Caller, Failure>>,
    report: &mut Report,
    sandbox: bool,
) {
    let Lease {
        credentials,
        lifetime,
        served_by,
        renewal,
        ..
    } = lease;
    let expires_at = timestamp(credentials.expires_at);
    report.credentials = Some(Credentials {
        access_key_id: credentials.access_key_id,
        expires_at: expires_at.clone(),
        lifetime_seconds: lifetime.as_secs(),
        served_by,
        arn: session
            .as_ref()
            .and_then(|session| Some(session.as_ref().ok()?.arn.clone())),
    });
    if let Some(Err(failure)) = session
        && failure.stage == Stage::Sts
        && failure.class == FailureClass::Persistent
    {
        return report.failed(&failure);
    }
    report.good(&match renewal {
        _ if sandbox => {
            "Credentials of the sandbox were obtained; they are valid nowhere else.".to_owned()
        }
        Some(renewal) => format!(
            "Credentials were obtained: with these settings `serve` will have them until {expires_at}, and nothing renews them by itself; {renewal}."
        ),
        None => "Credentials were obtained: with these settings `serve` will have them too.".to_owned(),
    });
}

/// Bounds each GetCallerIdentity, which only adds to the report.
const CALLER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

const NOTES: &str = "\
It prints no secret and changes nothing: it tries neither listeners nor files, and neither reads nor writes a state.
Exit codes: 0 credentials were obtained, 64 usage, 69 they were not, the configuration has errors, or the clock is off by
15 minutes or more, 71 the report cannot be printed.";
