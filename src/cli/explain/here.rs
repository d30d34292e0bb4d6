//! The surroundings of this process, or of a command that `exec` would run.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::chains::{FileState, Metadata, Served, Surroundings, Value};
use crate::cli::command_environment::{Assumed, Server};
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
    /// Looks around for the clients of this process.
    pub(super) async fn look(asks: bool) -> Self {
        let mut here = Self::new();
        if let Some(uri) = here.variables.get("ALIBABA_CLOUD_CREDENTIALS_URI") {
            here.served = ask(uri).await;
        }
        if let Some(uri) = here.variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            here.container_failure = try_container(uri).await;
        }
        here.metadata = metadata(asks, here.served.as_ref()).await;
        here
    }

    /// Looks around for the clients of a command that `exec` would run.
    pub(super) async fn below(assumed: &Assumed, asks: bool) -> Self {
        let served = assumed.access_key_id.map(|id| Served::Later {
            access_key_id: id.to_owned(),
        });
        let mut here = Self::of_command(&assumed.command, &assumed.server, served);
        if here.metadata != Metadata::Ours {
            here.metadata = metadata(asks, None).await;
        }
        here
    }

    /// Returns what is known without looking of a command that `exec` runs. Blocks.
    pub(super) fn of_command(
        command: &std::process::Command,
        server: &Server,
        answer: Option<Served>,
    ) -> Self {
        let mut here = Self::new();
        here.overlay(command);
        here.served = answer;
        if server.is_instance() {
            here.metadata = Metadata::Ours;
        }
        here
    }

    fn new() -> Self {
        Self {
            variables: variables(),
            account_home: account_home(),
            metadata: Metadata::Unknown,
            served: None,
            container_failure: None,
        }
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
            metadata: self.metadata.clone(),
            served: self.served.clone(),
            container_failure: self.container_failure.clone(),
        })
    }
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

/// Reads a file for a client. To clients, /dev/null is an empty file.
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
        Err(Error::NotRegular) if path.is_dir() => {
            FileState::Unreadable("it is a directory".to_owned())
        }
        // A client may read it nevertheless, such as a pipe once.
        Err(Error::TooLarge(_) | Error::NotRegular) => FileState::Unseen,
        Err(error) => FileState::Unreadable(one_line(&error.to_string()).collect()),
    }
}

/// Asks the server of the credentials URI, if it is on loopback.
async fn ask(uri: &str) -> Option<Served> {
    let mut server = CredentialsUri::parse(uri).ok()?;
    server.loopback_port()?;
    let proof = server.proof(&Clock::machine()).await;
    let nothing = |reason: String, remedy: &str| Served::Nothing {
        reason,
        remedy: remedy.to_owned(),
    };
    Some(match (proof, server.answer()) {
        (Ok(Proof::Lease(lease)), _) => Served::Credentials {
            access_key_id: lease.credentials.access_key_id,
            expires_at: timestamp(lease.credentials.expires_at),
        },
        (Ok(_), _) => nothing(
            "they are not temporary".to_owned(),
            "set ALIBABA_CLOUD_CREDENTIALS_URI to the address that `serve` prints",
        ),
        (Err(failure), None) => nothing(
            failure.message,
            "start the server of ALIBABA_CLOUD_CREDENTIALS_URI, or correct the host and the port",
        ),
        // The text of a server may be anything.
        (Err(_), Some((status, code))) => {
            let code = code.filter(|code| is_code(code));
            let code = code.map(|code| format!(" with the code {code}"));
            let reason = match status {
                200 => "its answer has expired, or is not of the form of credentials".to_owned(),
                _ => format!("it answers HTTP {status}{}", code.unwrap_or_default()),
            };
            nothing(
                reason,
                match status {
                    200 => "set ALIBABA_CLOUD_CREDENTIALS_URI to the address that `serve` prints",
                    403 => {
                        "write the host as 127.0.0.1, and see in the server's log whom it refuses"
                    }
                    404 => {
                        "correct the path of ALIBABA_CLOUD_CREDENTIALS_URI, which ends with the key of the server: `serve` prints the address"
                    }
                    _ => "see in the server's log, or by `ram-sidecar status`, why it has none",
                },
            )
        }
    })
}

/// Whether a text has the form of an error code. A secret may stand anywhere else.
fn is_code(text: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic())
    };
    text.len() <= LONGEST_CODE && text.split('.').all(is_word)
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

/// Tells whether the address of the metadata service is this machine, or tries it if that is asked for; whose its credentials are.
async fn metadata(asks: bool, served: Option<&Served>) -> Metadata {
    let is_here = is_own(METADATA);
    if !is_here && !asks {
        return Metadata::Unknown;
    }
    if !matches!(
        timeout(TRIAL, TcpStream::connect(METADATA)).await,
        Ok(Ok(_))
    ) {
        return Metadata::Unreachable;
    }
    let service = Service {
        url: format!("http://{}", METADATA.ip()),
        allow_v1: true,
        disabled: false,
    };
    let mut role = EcsRamRole::new(service, None);
    let proof = timeout(TRIAL, role.proof(&Clock::machine())).await;
    match (proof, served) {
        (Ok(Ok(Proof::Lease(lease))), Some(Served::Credentials { access_key_id, .. }))
            if is_here && lease.credentials.access_key_id == *access_key_id =>
        {
            Metadata::Ours
        }
        (Ok(Ok(Proof::Lease(lease))), _) => Metadata::Others {
            access_key_id: lease.credentials.access_key_id,
        },
        _ => Metadata::Reachable,
    }
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

/// Bytes of an error code, with some to spare.
const LONGEST_CODE: usize = 64;

/// The largest file that is read, in bytes.
const MAX_FILE_SIZE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_only_a_client_can_read_is_unseen() {
        let directory = crate::testing::directory("explain-files");
        let write = |name: &str, content: &[u8]| {
            fs::write(directory.join(name), content).unwrap();
        };
        write("text", b"a");
        write("bytes", b"\xff");
        write("large", &vec![b' '; MAX_FILE_SIZE + 1]);
        mknodat(CWD, directory.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        for (name, expected) in [
            ("text", "Text"),
            ("bytes", "Garbled"),
            ("large", "Unseen"),
            ("pipe", "Unseen"),
            ("/dev/zero", "Unseen"),
            ("/dev/null", "Missing"),
            ("none", "Missing"),
            ("text/none", "Missing"),
            (".", "Unreadable"),
        ] {
            let state = format!("{:?}", read(directory.join(name).to_str().unwrap()));
            assert!(state.starts_with(expected), "{name}: {state}");
        }
    }
}
