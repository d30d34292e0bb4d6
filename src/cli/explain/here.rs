//! The surroundings of this process, or of a command that `exec` would run.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::chains::{
    CLIENTS, Explained, FileState, Metadata, Served, Surroundings, Value, explain,
};
use crate::cli::exec;
use crate::credentials::timestamp;
use crate::identity::{CredentialsUri, Proof};
use crate::system::display::one_line;
use crate::system::file::{self, Error};
use crate::time::clock::Clock;

/// What surrounds the clients of this process.
pub(super) struct Here {
    variables: BTreeMap<String, String>,
    account_home: Option<String>,
    metadata: Metadata,
    served: Option<Served>,
    container: Option<Served>,
}

impl Here {
    /// Looks around: for the clients of this process, or of a command that `exec` would run.
    pub(super) async fn look(is_for_command: bool, asks: bool) -> Self {
        let mut here = Self {
            variables: variables(),
            account_home: account_home(),
            metadata: Metadata::Unknown,
            served: None,
            container: None,
        };
        if is_for_command {
            here.overlay(&exec::assumed_environment());
        } else if let Some(uri) = here.variables.get("ALIBABA_CLOUD_CREDENTIALS_URI") {
            here.served = ask(uri).await;
        }
        if !is_for_command
            && let Some(uri) = here.variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        {
            here.container = try_container(uri, here.served.as_ref()).await;
        }
        here.metadata = metadata(asks).await;
        here
    }

    /// Changes variables as a command sets and removes them.
    fn overlay(&mut self, command: &std::process::Command) {
        for (name, value) in command.get_envs() {
            let name = name.to_string_lossy().into_owned();
            match value {
                Some(value) => drop(
                    self.variables
                        .insert(name, value.to_string_lossy().into_owned()),
                ),
                None => drop(self.variables.remove(&name)),
            }
        }
    }

    /// Calls `judge` with the surroundings.
    pub(super) fn with_surroundings<T>(&self, judge: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let variable = |name: &str| self.variables.get(name).map(Value::known);
        judge(&Surroundings {
            variable: &variable,
            file: &read,
            account_home: self.account_home.clone(),
            metadata: self.metadata,
            served: self.served.clone(),
            container: self.container.clone(),
        })
    }
}

/// Explains every client of a command that `exec` runs, in the environment that it has prepared. Blocks.
pub(in crate::cli) fn of_command(
    command: &std::process::Command,
    metadata: Metadata,
) -> Vec<Explained> {
    let mut here = Here {
        variables: variables(),
        account_home: account_home(),
        metadata,
        served: None,
        container: None,
    };
    here.overlay(command);
    here.with_surroundings(|at| CLIENTS.iter().map(|client| explain(client, at)).collect())
}

fn variables() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.into_string().ok()?;
        Some((name, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Returns the home directory of the account of this user, as `/etc/passwd` has it.
fn account_home() -> Option<String> {
    let user = geteuid().as_raw().to_string();
    let accounts = file::read_text(Path::new("/etc/passwd"), MAX_FILE_SIZE).ok()?;
    accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let home = fields.get(5).filter(|_| fields.get(2) == Some(&&*user))?;
        Some((*home).to_owned())
    })
}

/// Reads a file for a client. A device, such as /dev/null, is an empty file.
fn read(path: &str) -> FileState {
    let path = Path::new(path);
    match file::read_text(path, MAX_FILE_SIZE) {
        Ok(text) => FileState::Text(text.as_str().into()),
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => FileState::Missing,
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::NotADirectory => {
            FileState::Missing
        }
        Err(_) if path == Path::new("/dev/null") => FileState::Missing,
        Err(error) => FileState::Unreadable(one_line(&error.to_string()).collect()),
    }
}

/// Asks the server of the credentials URI, if it is on loopback.
async fn ask(uri: &str) -> Option<Served> {
    let mut server = CredentialsUri::parse(uri).ok()?;
    server.loopback_port()?;
    Some(match server.proof(&Clock::machine()).await {
        Ok(Proof::Lease(lease)) => Served::Credentials {
            access_key_id: lease.credentials.access_key_id,
            expires_at: timestamp(lease.credentials.expires_at),
        },
        Ok(_) => Served::Nothing("they are not temporary".to_owned()),
        Err(failure) => Served::Nothing(failure.message),
    })
}

/// Tries the credential service of a container, if it is on loopback. It has what the credentials URI serves.
async fn try_container(uri: &str, served: Option<&Served>) -> Option<Served> {
    let port = CredentialsUri::parse(uri).ok()?.loopback_port()?;
    let mut reason = String::new();
    for host in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        match timeout(TRIAL, TcpStream::connect(SocketAddr::new(host, port))).await {
            Ok(Ok(_)) => {
                let is_served = |served: &&Served| matches!(served, Served::Credentials { .. });
                return served.filter(is_served).cloned();
            }
            Ok(Err(error)) if reason.is_empty() => reason = error.to_string(),
            _ => {}
        }
    }
    Some(Served::Nothing(reason))
}

/// Tells whether the address of the metadata service is this machine, and tries it if that is asked for.
async fn metadata(asks: bool) -> Metadata {
    let address = IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200));
    // Only an address of this machine can be bound; then a connection does not leave it.
    let is_here = UdpSocket::bind(SocketAddr::new(address, 0)).is_ok();
    if !is_here && !asks {
        return Metadata::Unknown;
    }
    match timeout(TRIAL, TcpStream::connect(SocketAddr::new(address, 80))).await {
        Ok(Ok(_)) if is_here => Metadata::Ours,
        Ok(Ok(_)) => Metadata::Reachable,
        _ => Metadata::Unreachable,
    }
}

/// As long as the SDKs wait.
const TRIAL: Duration = Duration::from_secs(1);

/// The largest file that is read, in bytes.
const MAX_FILE_SIZE: usize = 1 << 20;
