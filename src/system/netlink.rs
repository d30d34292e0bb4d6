//! Sends requests to the kernel and receives its responses, as `netlink(7)` describes.

use std::io;
use std::ops::Range;

use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto,
    socket_with,
};

/// A socket on which the kernel answers one request at a time.
#[derive(Debug)]
pub struct Kernel {
    socket: OwnedFd,
    sequence: u32,
}

impl Kernel {
    /// Opens a socket. The protocol `None` means `NETLINK_ROUTE`, whose number is 0.
    pub fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            protocol,
        )?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends a request and returns the response, to be parsed by [`read`]. Does not block.
    ///
    /// `flags` are added to `NLM_F_REQUEST`. After an error the socket must not be used again: another message may be in it.
    pub fn call(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = message(kind, NLM_F_REQUEST | flags, self.sequence, payload);
        let address = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &request, SendFlags::empty(), &address)?;
        let mut response = Vec::with_capacity(RESPONSE_LIMIT);
        // The kernel responds before `sendto` returns.
        let room = spare_capacity(&mut response);
        let (_, _, sender) = recvfrom(&self.socket, room, RecvFlags::empty())?;
        let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
        // Who has CAP_NET_ADMIN can send messages to the sockets of others; 0 is the kernel.
        if sender.is_none_or(|sender| sender.pid() != 0) {
            return Err(io::Error::other("a message that is not from the kernel"));
        }
        if response.get(SEQUENCE) != Some(&self.sequence.to_ne_bytes()) {
            return Err(io::Error::other("the kernel responds to another request"));
        }
        Ok(response)
    }
}

/// Builds a message: `struct nlmsghdr` and its payload.
fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    // The port of the sender, which the kernel knows.
    message.extend([0; 4]);
    message.extend(payload);
    message
}

/// Parses `struct nlmsghdr`, and returns the payload of a response of `kind`; `None` for an acknowledgement.
///
/// Returns the error that the kernel reports in `struct nlmsgerr`, or an error for a response of any other kind.
pub fn read(response: &[u8], kind: u16) -> io::Result<Option<&[u8]>> {
    let payload = response.get(HEADER..).unwrap_or_default();
    match response.get(4..6) {
        Some(found) if found == kind.to_ne_bytes() => Ok(Some(payload)),
        Some(found) if found == NLMSG_ERROR.to_ne_bytes() => {
            let errno = number(payload, 0).ok_or_else(malformed)?.cast_signed();
            match errno.checked_neg() {
                Some(0) => Ok(None),
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => Err(malformed()),
            }
        }
        _ => Err(malformed()),
    }
}

/// Returns the 32-bit number at an offset.
pub fn number(payload: &[u8], at: usize) -> Option<u32> {
    let bytes = payload.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// Returns the error of a response that cannot be parsed.
pub fn malformed() -> io::Error {
    io::Error::other("the kernel's response cannot be parsed")
}

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Where the number of the request is in it, which its response repeats.
const SEQUENCE: Range<usize> = 8..12;
/// More than the kernel says of one object.
const RESPONSE_LIMIT: usize = 1024;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;

#[cfg(test)]
mod tests {
    use rustix::net::getsockname;
    use rustix::net::netlink::SOCK_DIAG;

    use super::*;

    fn response(kind: u16, errno: i32) -> Vec<u8> {
        message(kind, 0, 0, &errno.to_ne_bytes())
    }

    #[test]
    fn response_is_a_payload_an_acknowledgement_or_an_error() {
        assert!(read(&response(20, 7), 20).unwrap().is_some());
        assert!(read(&response(NLMSG_ERROR, 0), 20).unwrap().is_none());
        let exists = read(&response(NLMSG_ERROR, -17), 20).unwrap_err();
        assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
        for malformed in [
            &response(21, 0)[..],
            &response(NLMSG_ERROR, 0)[..19],
            &response(NLMSG_ERROR, i32::MIN),
            b"",
        ] {
            let error = read(malformed, 20).unwrap_err().to_string();
            assert_eq!(error, "the kernel's response cannot be parsed");
        }
    }

    #[test]
    fn a_message_of_another_program_is_an_error() {
        let mut kernel = Kernel::open(Some(SOCK_DIAG)).unwrap();
        kernel.call(20, 0, &[0; 56]).unwrap();
        let address = SocketAddrNetlink::try_from(getsockname(&kernel.socket).unwrap()).unwrap();
        let other = Kernel::open(Some(SOCK_DIAG)).unwrap();
        let forged = message(20, 0, kernel.sequence + 1, &[0; 72]);
        if sendto(&other.socket, &forged, SendFlags::empty(), &address).is_err() {
            return crate::testing::skipped("CAP_NET_ADMIN, to send messages to another socket");
        }
        let error = kernel.call(20, 0, &[0; 56]).unwrap_err();
        assert!(error.to_string().contains("not from the kernel"), "{error}");
    }

    #[test]
    fn message_length_is_that_of_its_header() {
        let message = message(20, 0, 7, &[0; 24]);
        assert_eq!(message.len(), 40);
        assert_eq!(message[..4], 40_u32.to_ne_bytes());
        assert_eq!(message[SEQUENCE], 7_u32.to_ne_bytes());
    }
}
