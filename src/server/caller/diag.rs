//! Finds the owner of one socket by its addresses, with `sock_diag(7)`. The cost is independent of the number of connections.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::AddressFamily;
use rustix::net::netlink::SOCK_DIAG;

use crate::system::netlink::{self, Kernel};

use super::{Addresses, Owner};

/// Queries the kernel for the owner of the client's socket.
///
/// Fails if the kernel has no such interface, or forbids its use.
pub(super) fn owner(addresses: &Addresses) -> io::Result<Option<Owner>> {
    // Whoever asks meanwhile opens a socket of his own, and so does who comes after an error.
    let taken = kept().take();
    let mut kernel = match taken {
        Some(kernel) => kernel,
        None => Kernel::open(Some(SOCK_DIAG))?,
    };
    let response = kernel.call(SOCK_DIAG_BY_FAMILY, 0, &request(addresses))?;
    *kept() = Some(kernel);
    read(&response)
}

/// Closes the socket that is kept, because descriptors are lacking.
pub fn release() {
    *kept() = None;
}

fn kept() -> MutexGuard<'static, Option<Kernel>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The socket of the last query: to open one costs the kernel more than to answer.
static KEPT: Mutex<Option<Kernel>> = Mutex::new(None);

/// Writes `struct inet_diag_req_v2` (`linux/inet_diag.h`).
fn request(addresses: &Addresses) -> Vec<u8> {
    let mut message = Vec::with_capacity(REQUEST);
    let family = match addresses.peer.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    message.extend([u8::try_from(family.as_raw()).unwrap_or_default(), TCP, 0, 0]);
    // In any state.
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(addresses.peer.port().to_be_bytes());
    message.extend(addresses.local.port().to_be_bytes());
    for ip in [addresses.peer.ip(), addresses.local.ip()] {
        let mut octets = [0; 16];
        match ip {
            IpAddr::V4(ip) => octets[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => octets = ip.octets(),
        }
        message.extend(octets);
    }
    message.extend(0_u32.to_ne_bytes());
    message.extend(NO_COOKIE);
    message
}

/// Reads a response: `struct inet_diag_msg`, or an error.
pub fn read(response: &[u8]) -> io::Result<Option<Owner>> {
    let payload = match netlink::read(response, SOCK_DIAG_BY_FAMILY) {
        Ok(payload) => payload.unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let state = *payload.get(1).ok_or_else(netlink::malformed)?;
    let number = |at| netlink::number(payload, at).ok_or_else(netlink::malformed);
    let (uid, inode) = (number(64)?, number(68)?);
    // A socket that its process has closed has no inode, and root as its owner. A listening socket is not a client.
    let is_open = inode != 0 && state != LISTEN;
    Ok(is_open.then(|| Owner {
        uid,
        inode: inode.into(),
    }))
}

/// The length of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCP: u8 = 6;
const LISTEN: u8 = 10;
const NO_COOKIE: [u8; 8] = [0xff; 8];
