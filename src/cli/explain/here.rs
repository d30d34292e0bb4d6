//! The surroundings of this process, or of a command that `exec` would run.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};
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
use crate::identity::{CredentialsUri, EcsRamRole, Metadata as Service, Proof};
use crate::system::display::one_line;
use crate::system::file::{self, Error};
use crate::time::clock::Clock;

/// What surrounds the clients of this process.
pub(super) struct Here {
    variables: BTreeMap<String, String>,
    account_home: Option<String>,
    metadata: Metadata,
    served: Option<Served>,
    container_failure: Option<String>,
}

impl Here {
    /// Looks around: for the clients of this process, or of a command that `exec` would run.
    pub(super) async fn look(is_for_command: bool, asks: bool) -> Self {
        let mut here = Self {
            variables: variables(),
            account_home: account_home(),
            metadata: Metadata::Unknown,
            served: None,
            container_failure: None,
        };
        if is_for_command {
            here.overlay(&exec::assumed_environment());
        } else if let Some(uri) = here.variables.get("ALIBABA_CLOUD_CREDENTIALS_URI") {
            here.served = ask(uri).await;
        }
        if !is_for_command
            && let Some(uri) = here.variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        {
            here.container_failure = try_container(uri).await;
        }
        here.metadata = metadata(asks, here.served.as_ref()).await;
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
            container_failure: self.container_failure.clone(),
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
        container_failure: None,
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
    match file::read_regular(path, MAX_FILE_SIZE) {
        Ok(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => FileState::Text(text.into()),
            Err(_) => FileState::Garbled(String::from_utf8_lossy(&bytes).into_owned().into()),
        },
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => FileState::Missing,
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::NotADirectory => {
            FileState::Missing
        }
        Err(_) if path == Path::new("/dev/null") => FileState::Missing,
        // A client may read it nevertheless.
        Err(Error::TooLarge(_)) => FileState::Unseen,
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
        // The text of a server may be anything.
        Err(failure) => Served::Nothing(match failure.code.as_str() {
            "CredentialsUriRefused" => "it refuses".to_owned(),
            "CredentialsUriUnusable" => "its answer cannot be used".to_owned(),
            _ => failure.message,
        }),
    })
}

/// Tries the credential service of a container, if it is on loopback: returns why it accepts no connection.
async fn try_container(uri: &str) -> Option<String> {
    let port = CredentialsUri::parse(uri).ok()?.loopback_port()?;
    let mut failure = None;
    for host in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let error = match timeout(TRIAL, TcpStream::connect(SocketAddr::new(host, port))).await {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it accepts no connection".to_owned(),
        };
        failure.get_or_insert(error);
    }
    failure
}

/// Tells whether the address of the metadata service is this machine, and tries it if that is asked for.
async fn metadata(asks: bool, served: Option<&Served>) -> Metadata {
    let is_here = is_own(METADATA);
    if !is_here && !asks {
        return Metadata::Unknown;
    }
    match timeout(TRIAL, TcpStream::connect(METADATA)).await {
        Ok(Ok(_)) if is_here && has_key_of(served).await => Metadata::Ours,
        Ok(Ok(_)) => Metadata::Reachable,
        _ => Metadata::Unreachable,
    }
}

/// Whether the metadata service has the credentials of the credentials URI.
async fn has_key_of(served: Option<&Served>) -> bool {
    let Some(Served::Credentials { access_key_id, .. }) = served else {
        return false;
    };
    let service = Service {
        url: format!("http://{}", METADATA.ip()),
        allow_v1: true,
        disabled: false,
    };
    let mut role = EcsRamRole::new(service, None);
    let proof = timeout(TRIAL, role.proof(&Clock::machine())).await;
    matches!(proof, Ok(Ok(Proof::Lease(lease))) if lease.credentials.access_key_id == *access_key_id)
}

/// Whether an address is of this machine: then the route to it begins there. Sends nothing.
fn is_own(address: SocketAddrV4) -> bool {
    let route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(address)?;
        socket.local_addr()
    };
    route().is_ok_and(|own| own.ip() == IpAddr::V4(*address.ip()))
}

const METADATA: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(100, 100, 100, 200), 80);

/// As long as the SDKs wait.
const TRIAL: Duration = Duration::from_secs(1);

/// The largest file that is read, in bytes.
const MAX_FILE_SIZE: usize = 1 << 20;
