//! `metadata-address`: gives this network namespace the address of the ECS metadata service, by `rtnetlink(7)`.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// Adds the address to the loopback interface. Nothing changes where it is there.
///
/// Fails with the reason, and what to change.
pub fn run() -> Result<(), String> {
    match add() {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(
            "cannot add 100.100.100.200 to the interface lo: the capability NET_ADMIN is missing; run this as root with it, in an init container of the pod".to_owned(),
        ),
        Err(error) => Err(format!(
            "cannot add 100.100.100.200 to the interface lo: {error}"
        )),
    }
}

fn add() -> io::Result<()> {
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        // NETLINK_ROUTE is the protocol 0.
        None,
    )?;
    let address = SocketAddrNetlink::new(0, 0);
    sendto(&kernel, &request(), SendFlags::empty(), &address)?;
    let mut answer = [0_u8; 1024];
    // The kernel has answered by the time it has taken the request.
    let (length, _) = recv(&kernel, &mut answer, RecvFlags::empty())?;
    read(answer.get(..length).unwrap_or_default())
}

/// Writes `struct nlmsghdr`, `struct ifaddrmsg` (`linux/if_addr.h`), and the address twice: as the local one and as the
/// peer's, which is the same where there is no peer.
fn request() -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(RTM_NEWADDR.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE).to_ne_bytes());
    // Sequence number and port: there is one request and one answer.
    message.extend([0; 8]);
    let family = u8::try_from(AddressFamily::INET.as_raw()).unwrap_or_default();
    message.extend([family, PREFIX, 0, RT_SCOPE_HOST]);
    message.extend(LOOPBACK.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        message.extend(ATTRIBUTE.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(METADATA);
    }
    message
}

/// Reads `struct nlmsghdr` and `struct nlmsgerr`, whose error is 0 where there is none.
fn read(answer: &[u8]) -> io::Result<()> {
    let garbled = || io::Error::other("the kernel answers strangely");
    let kind = answer.get(4..6).ok_or_else(garbled)?;
    let errno = answer.get(16..20).and_then(|errno| errno.try_into().ok());
    let errno = i32::from_ne_bytes(errno.ok_or_else(garbled)?);
    match errno {
        _ if kind != NLMSG_ERROR.to_ne_bytes() => Err(garbled()),
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

const METADATA: [u8; 4] = [100, 100, 100, 200];

/// Bits of the network: the address alone.
const PREFIX: u8 = 32;

/// The first interface of every network namespace is `lo`.
const LOOPBACK: u32 = 1;

/// 16 bytes of header, 8 of the interface, 8 for each of two attributes.
const LENGTH: u32 = 40;
const ATTRIBUTE: u16 = 8;
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RT_SCOPE_HOST: u8 = 254;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, errno: i32) -> Vec<u8> {
        let mut answer = vec![0; 4];
        answer.extend(kind.to_ne_bytes());
        answer.extend([0; 10]);
        answer.extend(errno.to_ne_bytes());
        answer
    }

    #[test]
    fn the_kernel_says_what_came_of_it() {
        assert!(read(&answer(NLMSG_ERROR, 0)).is_ok());
        let there = read(&answer(NLMSG_ERROR, -17)).unwrap_err();
        assert_eq!(there.kind(), io::ErrorKind::AlreadyExists);
        for garbled in [
            &answer(RTM_NEWADDR, 0)[..],
            &answer(NLMSG_ERROR, 0)[..19],
            b"",
        ] {
            let told = read(garbled).unwrap_err().to_string();
            assert_eq!(told, "the kernel answers strangely");
        }
    }

    #[test]
    fn the_message_is_as_long_as_it_says() {
        assert_eq!(request().len(), usize::try_from(LENGTH).unwrap());
    }
}
