//! The environment of the command of `exec`: what leads its clients to this process, and nothing that leads elsewhere.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process;

use secrecy::ExposeSecret as _;
use tokio::process::Command;
use tracing::warn;

use crate::chains::Metadata;
use crate::cli::explain;
use crate::cli::input::variable;
use crate::config::settings::{ECS_ROLE_NAME, SETTINGS};
use crate::credentials::timestamp;
use crate::daemon::Handle;
use crate::formats::env;
use crate::formats::format::Format;

use super::Options;

/// Sets up the environment of a command that `handle` serves. AWS SDKs send the token in `token_file`.
pub(super) fn prepare(
    command: &mut Command,
    handle: &Handle,
    options: &Options,
    token_file: Option<&Path>,
) -> io::Result<()> {
    lead(
        command.as_std_mut(),
        handle.uri.expose_secret(),
        options.keeps_http_proxy,
    );
    if handle.is_instance() {
        command.env_remove(METADATA_DISABLED);
    }
    if let (Some(role), Some(address)) = (&options.metadata_role, handle.metadata) {
        command.env_remove(METADATA_DISABLED);
        command.env(METADATA_ENDPOINT, format!("http://{address}"));
        command.env(ECS_ROLE_NAME.definition.variable(), role);
    }
    if let Some(uri) = &handle.container_uri {
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.expose_secret());
        command.envs(CONTAINER);
    }
    if let Some(file) = token_file {
        command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file);
    }
    for (format, name) in FILES {
        if let Some(file) = handle.file(format) {
            // The command may run in another directory.
            command.env(name, std::path::absolute(file)?);
        }
    }
    if options.exports_oss {
        export_oss(command, handle);
    }
    warn_of_strays(command.as_std(), handle);
    Ok(())
}

/// Warns once of what the command's clients would use instead of these credentials.
fn warn_of_strays(command: &process::Command, handle: &Handle) {
    let metadata = if handle.is_instance() {
        Metadata::Ours
    } else {
        Metadata::Unknown
    };
    let explained = explain::of_command(command, metadata);
    for stray in explain::strays(&explained, handle.container_uri.is_some()) {
        warn!(
            clients = stray.clients.join(", "),
            error = stray.what,
            advice = stray.fix,
            "Clients of the command will not use these credentials"
        );
    }
}

/// Leads the clients of a command to a server of credentials, and hides this process's own identity from it.
pub(super) fn lead(command: &mut process::Command, uri: &str, keeps_http_proxy: bool) {
    for name in hidden() {
        command.env_remove(name);
    }
    command.env("ALIBABA_CLOUD_CREDENTIALS_URI", uri);
    command.envs(CHOSEN);
    if !keeps_http_proxy {
        for name in HTTP_PROXY {
            command.env_remove(name);
        }
    }
    bypass_proxies(command);
}

/// Whether the environment sets a proxy for HTTP.
pub(super) fn has_http_proxy() -> bool {
    HTTP_PROXY.into_iter().any(is_set)
}

/// Returns the variables that configure this process and its identity, which are not the command's business.
fn hidden() -> impl Iterator<Item = OsString> {
    let is_ours = |name: &OsString| {
        let name = name.to_string_lossy();
        let is_setting = SETTINGS
            .iter()
            .any(|setting| setting.variable() == name && !setting.key.starts_with("sts."));
        is_setting || name.starts_with("RAM_SIDECAR_")
    };
    std::env::vars_os().map(|(name, _)| name).filter(is_ours)
}

/// Keeps requests to loopback away from every proxy of the environment, by those clients that obey `NO_PROXY`.
fn bypass_proxies(command: &mut process::Command) {
    if !HTTP_PROXY.into_iter().chain(ANY_PROXY).any(is_set) {
        return;
    }
    // Which of the two counts where both are set depends on the client.
    let [upper, lower] = NO_PROXY.map(|name| variable(name).filter(|value| !value.is_empty()));
    let either = upper.clone().or_else(|| lower.clone());
    let values = [either, lower.or(upper)];
    for (name, value) in NO_PROXY.into_iter().zip(values) {
        let mut value = value.unwrap_or_default();
        if value == "*" {
            continue;
        }
        if !value.is_empty() {
            value.push(",");
        }
        value.push(LOOPBACK);
        command.env(name, value);
    }
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty())
}

/// Adds the variables of OSS. No other: `ALIBABA_CLOUD_ACCESS_KEY_ID` would come before the URI in every SDK's chain.
fn export_oss(command: &mut Command, handle: &Handle) {
    let Some(current) = handle.current() else {
        // Inherited ones would be those of somebody else.
        for name in env::OSS_NAMES {
            command.env_remove(name);
        }
        warn!("--env oss sets nothing, because there are no credentials");
        return;
    };
    let credentials = &current.lease.credentials;
    command.envs(env::oss(credentials));
    let expires_at = timestamp(credentials.expires_at);
    warn!(
        expires_at,
        advice = "a program that runs longer needs a provider of ALIBABA_CLOUD_CREDENTIALS_URI",
        "The variables of --env oss expire and are not renewed"
    );
}

/// Switches off the SDKs' providers of the ECS metadata service; removed where this process serves that itself.
const METADATA_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

/// Names the address of that service for clients that know another than the fixed one, such as opendal.
const METADATA_ENDPOINT: &str = "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT";

/// Variables that lead the SDKs' default chains to the credentials URI, which they try last.
const CHOSEN: [(&str, &str); 3] = [
    (METADATA_DISABLED, "true"),
    ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true"),
    // Nothing else switches off the ini file in the home directory.
    ("ALIBABA_CLOUD_CREDENTIALS_FILE", "/dev/null"),
];

/// Variables that AWS SDKs need for OSS, which does not accept checksums at the end of a body.
const CONTAINER: [(&str, &str); 2] = [
    ("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
    ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required"),
];

/// Variables with the path of the first file of a format. aliyun-cli has none of its own.
const FILES: [(Format, &str); 2] = [
    (Format::JsonCamel, "ODPS_STS_ACCOUNT_FILE"),
    (Format::AliyunCli, "RAM_SIDECAR_ALIYUN_CONFIG"),
];

/// Python's SDK sends every request by HTTP there, also to loopback, and ignores `NO_PROXY`.
const HTTP_PROXY: [&str; 2] = ["HTTP_PROXY", "http_proxy"];

/// Proxies for HTTP too, of clients that obey `NO_PROXY`.
const ANY_PROXY: [&str; 2] = ["ALL_PROXY", "all_proxy"];

const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The hosts of the URI, as `NO_PROXY` lists them.
const LOOPBACK: &str = "127.0.0.1,localhost";
