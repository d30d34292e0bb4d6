//! The environment of a command of `exec`: what leads its clients to a daemon, and nothing that leads elsewhere.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use clap::{Arg, ArgAction, ArgMatches};

use super::input::{self, variable};
use crate::chains::EXEC_ROLE;
use crate::config::settings::{ECS_ROLE_NAME, METADATA_LISTEN, METADATA_ROLE_NAME, SETTINGS};
use crate::config::{self, Definition, Errors};
use crate::credentials::Credentials;
use crate::formats::env;
use crate::formats::format::Format;
use crate::server::metadata;

/// Adds the flags that change the environment, besides those of the settings.
pub(super) fn with_flags(command: clap::Command) -> clap::Command {
    command
        .arg(
            Arg::new("env")
                .long("env")
                .value_name("NAMES")
                .value_parser(["oss"])
                .help("Also set OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and OSS_SESSION_TOKEN, which are not renewed"),
        )
        .arg(
            Arg::new("metadata")
                .long("metadata")
                .action(ArgAction::SetTrue)
                .help("Also serve the ECS metadata dialect on a free port of loopback, to this user only, for clients that know no URI, such as opendal"),
        )
        .arg(
            Arg::new("keep-http-proxy")
                .long("keep-http-proxy")
                .action(ArgAction::SetTrue)
                .help("Pass HTTP_PROXY on to the command, although Python's SDK would send its requests for credentials there"),
        )
}

/// The flags of [`with_flags`]. Of a command that has not got them, none is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    /// Whether the command gets the variables of OSS.
    pub(super) exports_oss: bool,
    /// Whether it is served the metadata dialect.
    pub(super) has_metadata: bool,
    /// Whether it inherits the variables of an HTTP proxy.
    pub(super) keeps_http_proxy: bool,
}

impl Flags {
    pub(super) fn of(given: &ArgMatches) -> Self {
        let is_given = |name| given.try_get_one(name).ok().flatten() == Some(&true);
        Self {
            exports_oss: given.try_contains_id("env").unwrap_or_default(),
            has_metadata: is_given("metadata"),
            keeps_http_proxy: is_given("keep-http-proxy"),
        }
    }

    /// Returns the defaults of settings that the flags change.
    pub(super) fn defaults(self) -> Vec<(&'static Definition, String)> {
        if !self.has_metadata {
            return Vec::new();
        }
        vec![
            (&METADATA_LISTEN.definition, "127.0.0.1:0".to_owned()),
            (&METADATA_ROLE_NAME.definition, EXEC_ROLE.to_owned()),
        ]
    }
}

/// A daemon, as the clients of a command find it.
pub(super) struct Server {
    /// The credentials URI.
    pub(super) uri: String,
    /// The URI of AWS SDKs, if they are served.
    pub(super) container_uri: Option<String>,
    /// The file with the token that AWS SDKs send.
    pub(super) token_file: Option<PathBuf>,
    /// The address of the metadata dialect, if it is served.
    pub(super) metadata: Option<SocketAddr>,
    /// The role that the metadata dialect has.
    pub(super) metadata_role: Option<String>,
    /// The credentials files that have variables.
    pub(super) files: Vec<(Format, PathBuf)>,
}

impl Server {
    /// Whether the metadata dialect is where every client expects the service.
    pub(super) fn is_instance(&self) -> bool {
        self.metadata == Some((metadata::ADDRESS, 80).into())
    }

    /// Leads the clients of a command there, and hides this process's own identity from it.
    pub(super) fn lead(&self, command: &mut Command, flags: Flags) -> io::Result<()> {
        for name in hidden() {
            command.env_remove(name);
        }
        command.env("ALIBABA_CLOUD_CREDENTIALS_URI", &self.uri);
        command.envs(CHOSEN);
        if !flags.keeps_http_proxy {
            for name in HTTP_PROXY {
                command.env_remove(name);
            }
        }
        bypass_proxies(command);
        if self.is_instance() {
            command.env_remove(METADATA_DISABLED);
        }
        if flags.has_metadata
            && let (Some(role), Some(address)) = (&self.metadata_role, self.metadata)
        {
            command.env_remove(METADATA_DISABLED);
            command.env(METADATA_ENDPOINT, format!("http://{address}"));
            command.env(ECS_ROLE_NAME.definition.variable(), role);
        }
        if let Some(uri) = &self.container_uri {
            command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
            command.envs(CONTAINER);
        }
        if let Some(file) = &self.token_file {
            command.env(CONTAINER_TOKEN_FILE, file);
        }
        for (format, name) in FILES {
            if let Some((_, file)) = self.files.iter().find(|(other, _)| *other == format) {
                // The command may run in another directory.
                command.env(name, std::path::absolute(file)?);
            }
        }
        Ok(())
    }
}

/// What `exec` would give to a command.
pub(super) struct Assumed {
    /// A command with its environment.
    pub(super) command: Command,
    /// Its server, which is not there yet.
    pub(super) server: Server,
    /// The stand-in for the AccessKey ID in the variables of OSS.
    pub(super) access_key_id: Option<&'static str>,
}

/// Returns what `exec` would give to a command with these flags, and with the settings that all commands read.
pub(super) fn assumed(given: &ArgMatches) -> Result<Assumed, Errors> {
    let flags = Flags::of(given);
    let found = config::served(&input::input(given, flags.defaults()))?;
    let container = found.container.as_ref();
    let token_file = container.and_then(|container| container.token_file.as_ref());
    let server = Server {
        uri: "http://127.0.0.1/".to_owned(),
        container_uri: container.map(|_| "http://127.0.0.1/api/v1/container/".to_owned()),
        token_file: token_file.map(|file| file.path().to_owned()),
        metadata: found.metadata,
        metadata_role: found.metadata_role,
        files: found
            .files
            .into_iter()
            .map(|file| (file.format, file.path))
            .collect(),
    };
    let mut command = Command::new("");
    let led = server.lead(&mut command, flags);
    led.map_err(|error| Errors(vec![format!("the path of a file is unknown: {error}")]))?;
    if server.container_uri.is_some() && server.token_file.is_none() {
        // It gets one that is written for it.
        command.env_remove(CONTAINER_TOKEN_FILE);
    }
    if flags.exports_oss {
        command.envs(env::OSS_NAMES.map(|name| (name, STAND_IN)));
    }
    Ok(Assumed {
        command,
        server,
        access_key_id: flags.exports_oss.then_some(STAND_IN),
    })
}

/// Adds the variables of OSS. No other: `ALIBABA_CLOUD_ACCESS_KEY_ID` would come before the URI in every SDK's chain.
pub(super) fn export_oss(command: &mut Command, credentials: Option<&Credentials>) {
    match credentials {
        Some(credentials) => drop(command.envs(env::oss(credentials))),
        // Inherited ones would be those of somebody else.
        None => {
            for name in env::OSS_NAMES {
                command.env_remove(name);
            }
        }
    }
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
fn bypass_proxies(command: &mut Command) {
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

/// Switches off the SDKs' providers of the ECS metadata service; removed where this process serves that itself.
const METADATA_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

const CONTAINER_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Stands for an AccessKey ID that is not known yet.
const STAND_IN: &str = "…";

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
pub(super) const FILES: [(Format, &str); 2] = [
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
