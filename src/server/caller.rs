//! Finds the user and the program at the other end of a local connection: the kernel knows the owner of each socket.

pub mod diag;
pub mod table;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::process::geteuid;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::info;

/// Both addresses of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
}

/// The owner of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user who opened it.
    pub uid: u32,
    /// The inode of the socket, by which its process is found.
    inode: u64,
}

/// A process that has a socket open, as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its id, as this process sees it.
    pub pid: u32,
    /// Its executable, or its name if only that is readable. The caller may have chosen the name.
    pub executable: PathBuf,
}

impl Addresses {
    /// Creates the addresses of a connection; IPv4-mapped addresses of a dual-stack socket become IPv4 addresses.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self {
            peer: canonical(peer),
            local: canonical(local),
        }
    }

    /// Whether the client is on this machine, more precisely in this network namespace.
    pub fn is_local(&self) -> bool {
        let ip = self.peer.ip();
        ip.is_loopback() || ip == self.local.ip() || is_own_address(ip)
    }

    /// Queries the kernel for the owner of the client's socket. Returns `None` if the socket is not on this machine, has been
    /// closed, or belongs to a user who is not mapped in this user namespace.
    ///
    /// Fails if neither interface of the kernel works, for instance for lack of file descriptors.
    ///
    /// Without `sock_diag` another thread reads the table of connections, which takes up to a fraction of a second. One reads at a
    /// time, even after this future was dropped, so that others have threads left.
    pub async fn owner(&self) -> io::Result<Option<Owner>> {
        if let Ok(found) = self.owner_at_once() {
            return Ok(found);
        }
        let permit = READING.lock().await;
        let addresses = *self;
        let reading = spawn_blocking(move || {
            let _permit = permit;
            table::owner(&addresses)
        });
        let found = reading.await.map_err(io::Error::other)??;
        Ok(found.filter(Owner::is_mapped))
    }

    /// Returns what [`Self::owner`] would, in some microseconds. If it fails, the table of connections must be read instead.
    pub(super) fn owner_at_once(&self) -> io::Result<Option<Owner>> {
        if !is_cheap() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let found = diag::owner(self);
        if let Err(error) = &found
            && is_refusal(error)
            && !IS_DIAG_REFUSED.swap(true, Ordering::Relaxed)
        {
            info!(
                %error,
                advice = "let the seccomp profile allow sockets of AF_NETLINK",
                "The kernel's sock_diag is unavailable, so that each look-up of a caller reads the table of all connections"
            );
        }
        Ok(found?.filter(Owner::is_mapped))
    }
}

/// Whether a look-up takes microseconds, as far as is known.
pub(super) fn is_cheap() -> bool {
    !IS_DIAG_REFUSED.load(Ordering::Relaxed)
}

/// Whether an error means that `sock_diag` will not be available later either.
fn is_refusal(error: &io::Error) -> bool {
    let passing = [
        Errno::AGAIN,
        Errno::INTR,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
    ];
    let code = error.raw_os_error();
    code.is_some_and(|code| !passing.iter().any(|errno| errno.raw_os_error() == code))
}

/// Whether the owners of local connections are found here: that of a connection of this process's own is looked up. Blocks.
///
/// Fails like [`Addresses::owner`], or if there is no loopback.
pub fn finds_owners() -> io::Result<bool> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let local = listener.local_addr()?;
    let client = TcpStream::connect(local)?;
    let addresses = Addresses::new(client.local_addr()?, local);
    let owner = diag::owner(&addresses).or_else(|_| table::owner(&addresses))?;
    Ok(owner.is_some_and(|owner| owner.is_mapped() && owner.uid == geteuid().as_raw()))
}

impl Owner {
    /// Whether the user is known in this user namespace.
    fn is_mapped(&self) -> bool {
        self.uid != OVERFLOW_UID || maps_all_users()
    }

    /// Finds the process. Returns `None` if it is not visible, for instance in another container. Blocks for milliseconds.
    pub fn program(&self) -> Option<Program> {
        let link = format!("socket:[{}]", self.inode);
        let processes = fs::read_dir("/proc").ok()?;
        let pids = processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let has_socket = |pid: &u32| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"));
            open.is_ok_and(|mut files| {
                files.any(|file| {
                    let target = file.and_then(|file| fs::read_link(file.path()));
                    target.is_ok_and(|target| target == Path::new(&link))
                })
            })
        };
        let pid = pids.into_iter().find(has_socket)?;
        let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        let executable = executable.or_else(|| Some(PathBuf::from(name()?.trim_end())));
        Some(Program {
            pid,
            executable: executable?,
        })
    }
}

/// Whether an address belongs to this machine: only such addresses can be bound.
///
/// If `ip_nonlocal_bind` allows others too, the address must be the source address of a connection to itself.
fn is_own_address(ip: IpAddr) -> bool {
    let (family, any) = match ip {
        IpAddr::V4(_) => ("ipv4", IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        IpAddr::V6(_) => ("ipv6", IpAddr::from(Ipv6Addr::UNSPECIFIED)),
    };
    let switch = format!("/proc/sys/net/{family}/ip_nonlocal_bind");
    if fs::read_to_string(switch).is_ok_and(|value| value.trim() == "0") {
        return UdpSocket::bind((ip, 0)).is_ok();
    }
    let reached_from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, DISCARD_PORT))?;
        socket.local_addr()
    });
    reached_from.is_ok_and(|from| from.ip() == ip)
}

/// Whether every user id is mapped to itself in this user namespace.
fn maps_all_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether `sock_diag` was found to be unavailable.
static IS_DIAG_REFUSED: AtomicBool = AtomicBool::new(false);

/// Held while the table of connections is read.
static READING: Mutex<()> = Mutex::const_new(());

/// The uid that stands for all users who are not mapped in a user namespace; outside of one, it is the user `nobody`.
const OVERFLOW_UID: u32 = 65_534;

/// Nothing is sent to this port: connecting a UDP socket only selects a route.
const DISCARD_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns both sockets of a connection, and its addresses; `None` if the address is unavailable.
    fn connected(address: &str) -> Option<(TcpStream, TcpStream, Addresses)> {
        let listener = TcpListener::bind(address).ok()?;
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let addresses = Addresses::new(peer, server.local_addr().unwrap());
        Some((client, server, addresses))
    }

    #[test]
    fn both_kernel_interfaces_find_this_user_and_this_process() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Some((_client, _server, addresses)) = connected(address) else {
                crate::testing::skipped("an IPv6 loopback address");
                continue;
            };
            assert!(addresses.is_local());
            let uid = geteuid().as_raw();
            let by_table = table::owner(&addresses)
                .unwrap()
                .expect("it is in the table");
            assert_eq!(by_table.uid, uid);
            match diag::owner(&addresses) {
                Ok(owner) => assert_eq!(owner, Some(by_table)),
                Err(error) => crate::testing::skipped(&format!("NETLINK_SOCK_DIAG ({error})")),
            }
            let program = by_table
                .program()
                .expect("the process is visible to itself");
            assert_eq!(program.pid, std::process::id());
            assert_eq!(program.executable, std::env::current_exe().unwrap());
        }
    }

    #[test]
    fn every_thread_gets_the_owner_of_its_own_connection() {
        let ask = || {
            for _ in 0..200 {
                let (client, _server, addresses) = connected("127.0.0.1:0").unwrap();
                match diag::owner(&addresses) {
                    Ok(owner) => {
                        let inode = rustix::fs::fstat(&client).unwrap().st_ino;
                        assert_eq!(owner.map(|owner| owner.inode), Some(inode));
                    }
                    Err(error) => {
                        return crate::testing::skipped(&format!("NETLINK_SOCK_DIAG ({error})"));
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(ask);
            }
        });
    }

    #[test]
    fn a_lack_of_descriptors_is_no_reason_to_give_sock_diag_up() {
        for (errno, expected) in [
            (Errno::PROTONOSUPPORT, true),
            (Errno::PERM, true),
            (Errno::ACCESS, true),
            (Errno::NOENT, true),
            (Errno::MFILE, false),
            (Errno::NOBUFS, false),
        ] {
            assert_eq!(is_refusal(&errno.into()), expected, "{errno}");
        }
    }

    #[test]
    fn a_closed_client_socket_has_no_owner() {
        let (client, _server, addresses) = connected("127.0.0.1:0").unwrap();
        drop(client);
        assert_eq!(table::owner(&addresses).unwrap(), None);
        if let Ok(owner) = diag::owner(&addresses) {
            assert_eq!(owner, None);
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_local() {
        let local = "10.0.0.1:7002".parse().unwrap();
        assert!(!Addresses::new("203.0.113.7:4000".parse().unwrap(), local).is_local());
        assert!(Addresses::new("[::ffff:127.0.0.1]:4000".parse().unwrap(), local).is_local());
        assert!(Addresses::new("10.0.0.1:4000".parse().unwrap(), local).is_local());
    }
}
