//! One socket, asked for by its addresses: `sock_diag(7)`, as `ss` does. It costs the same however many connections there are.

use std::io;
use std::net::IpAddr;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use super::{Addresses, Owner};

/// Asks for the owner of the client's socket.
///
/// Fails where the kernel has no such interface, or forbids it.
pub(super) fn owner(addresses: &Addresses) -> io::Result<Option<Owner>> {
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(SOCK_DIAG),
    )?;
    let request = request(addresses);
    sendto(
        &kernel,
        &request,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut answer = [0_u8; 1024];
    // The kernel has answered by the time it has taken the request.
    let (length, _) = recv(&kernel, &mut answer, RecvFlags::empty())?;
    read(answer.get(..length).unwrap_or_default())
}

/// Writes `struct nlmsghdr` and `struct inet_diag_req_v2` (`linux/inet_diag.h`).
fn request(addresses: &Addresses) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port: there is one request and one answer.
    message.extend([0; 8]);
    let family = match addresses.peer.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    message.extend([u8::try_from(family.as_raw()).unwrap_or_default(), TCP, 0, 0]);
    // In whatever state.
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(addresses.peer.port().to_be_bytes());
    message.extend(addresses.local.port().to_be_bytes());
    for ip in [addresses.peer.ip(), addresses.local.ip()] {
        let mut sixteen = [0; 16];
        match ip {
            IpAddr::V4(ip) => sixteen[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => sixteen = ip.octets(),
        }
        message.extend(sixteen);
    }
    message.extend(0_u32.to_ne_bytes());
    message.extend(NO_COOKIE);
    message
}

/// Reads `struct nlmsghdr` and `struct inet_diag_msg`, or `struct nlmsgerr`.
pub fn read(answer: &[u8]) -> io::Result<Option<Owner>> {
    let garbled = || io::Error::other("the kernel answers strangely");
    let number = |at: usize| {
        let bytes = answer.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    let kind = answer.get(4..6).ok_or_else(garbled)?;
    if kind == NLMSG_ERROR.to_ne_bytes() {
        let errno = number(16).ok_or_else(garbled)?.cast_signed();
        return match io::Error::from_raw_os_error(-errno) {
            error if error.kind() == io::ErrorKind::NotFound => Ok(None),
            error => Err(error),
        };
    }
    if kind != SOCK_DIAG_BY_FAMILY.to_ne_bytes() {
        return Err(garbled());
    }
    let state = *answer.get(17).ok_or_else(garbled)?;
    let uid = number(80).ok_or_else(garbled)?;
    let inode = number(84).ok_or_else(garbled)?;
    // A socket that its process has closed has no inode, and is reported as root's. A listener is nobody's client.
    let is_open = inode != 0 && state != LISTEN;
    Ok(is_open.then(|| Owner {
        uid,
        inode: inode.into(),
    }))
}

/// 16 bytes of header, 8 of selection, 48 of addresses.
const LENGTH: u32 = 72;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const TCP: u8 = 6;
const LISTEN: u8 = 10;
const NO_COOKIE: [u8; 8] = [0xff; 8];
