//! `inject`: adds the sidecar to the pods of manifests.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::output::print;
use super::{Command, Error};
use crate::inject::command::{self, Options};
use crate::inject::{FIELDS, Request};
use crate::system::log;

pub(super) const COMMAND: Command = Command {
    name: "inject",
    about: "Adds the sidecar to the pods of manifests: YAML or JSON in, YAML out",
    examples: &[
        (
            "adds it to a job, and applies the result",
            "ram-sidecar inject -f job.yaml --role job --oidc-provider-arn acs:ram::1234567890123456:oidc-provider/ack-rrsa-c0123456789 | kubectl apply -f -",
        ),
        (
            "takes an AccessKey from a Secret, and shows what changes",
            "ram-sidecar inject -f job.yaml --role job --secret access-key | diff job.yaml -",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command
        .arg(
            Arg::new("filename")
                .short('f')
                .long("filename")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .action(ArgAction::Append)
                .help("A file of manifests, or - for standard input; repeat the flag for more; by default standard input"),
        );
    with_fields(command)
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let options = options(given).map_err(|errors| Error::Usage(command::list(&errors).into()))?;
    let output = command::run(&options).map_err(|error| match error {
        command::Error::Read(_) => Error::System(error.into()),
        command::Error::Manifest(_) => Error::Data(error.into()),
    })?;
    for message in &output.messages {
        log::print(message);
    }
    print(output.manifest.as_bytes(), "the manifests")?;
    Ok(ExitCode::SUCCESS)
}

/// Adds the flags that say what the sidecar is to do.
pub(super) fn with_fields(command: clap::Command) -> clap::Command {
    let words = FIELDS.iter().filter_map(|names| {
        let flag = names.flag?;
        let argument = Arg::new(flag).long(flag).help(names.help);
        Some(match names.value {
            Some(value) if value.ends_with('…') => {
                argument.value_name(value).action(ArgAction::Append)
            }
            Some(value) => argument.value_name(value),
            None => argument.action(ArgAction::SetTrue),
        })
    });
    command.args(words).arg(
        Arg::new("env")
            .long("env")
            .value_name("NAME=VALUE")
            .action(ArgAction::Append)
            .help("A further setting of the sidecar, by its variable; repeat the flag for more; never a secret"),
    )
}

/// Returns the request that the flags make.
pub(super) fn request(given: &ArgMatches) -> Request {
    let mut request = Request::default();
    for names in FIELDS {
        let Some(flag) = names.flag else { continue };
        let text = if names.value.is_some() {
            let Some(values) = given.get_many::<String>(flag) else {
                continue;
            };
            values.cloned().collect::<Vec<String>>().join(",")
        } else if given.get_flag(flag) {
            "true".to_owned()
        } else {
            continue;
        };
        if text.is_empty() {
            request.reject(format!(
                "--{flag}: it is empty; give it a value, or leave the flag out"
            ));
        } else {
            request.set(names.field, text, format!("--{flag}"));
        }
    }
    for setting in given.get_many::<String>("env").unwrap_or_default() {
        request.add_setting(setting);
    }
    request
}

/// Reads the flags.
///
/// Fails with all errors in them.
fn options(given: &ArgMatches) -> Result<Options, Vec<String>> {
    let request = request(given);
    let mut errors = request.errors();
    let files = given.get_many::<PathBuf>("filename").unwrap_or_default();
    let mut files: Vec<Option<PathBuf>> = files
        .map(|path| (path.as_os_str() != "-").then(|| path.clone()))
        .collect();
    if files.is_empty() {
        if std::io::stdin().is_terminal() {
            errors.push(
                "nothing says what to read: give -f FILE, or a manifest on standard input"
                    .to_owned(),
            );
        }
        files.push(None);
    }
    if files.iter().filter(|file| file.is_none()).count() > 1 {
        errors.push("-f -: standard input can be read once; drop all but one".to_owned());
    }
    if errors.is_empty() {
        Ok(Options { files, request })
    } else {
        Err(errors)
    }
}

const NOTES: &str = "\
A native sidecar is an init container with restartPolicy Always, for Kubernetes 1.29 or later. Pods are found in every kind
that has a template with spec.containers. What a manifest sets already stays unchanged. Standard error says
what was done to each pod, and warns, a line each; it names each object that runs containers and gets nothing. Nothing is
printed if there is any error. Comments are not retained.

Annotations of a pod override the flags: ram-sidecar/role, /identity, /oidc-provider-arn, /secret, /image, /classic, /key,
/port, /container, /metadata, /metadata-address, /metrics, /readiness, /ca-config-map, /duration, /request-cpu,
/request-memory, /limit-cpu, /limit-memory, /skip-containers, /only-containers; so do those of ACK
(pod-identity.alibabacloud.com/role-name, …), and what its webhook has added to the pod. A pod with the label
ram-sidecar/inject: \"false\" stays unchanged.

Exit codes: 0 printed, 64 usage, 65 a manifest that cannot be used, 71 cannot read or print.";
