//! Sends one request to the kernel and receives its response, as `netlink(7)` describes.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};

/// Sends one request and returns the response, to be parsed by [`read`]. Does not block.
///
/// `flags` are added to `NLM_F_REQUEST`. The protocol `None` means `NETLINK_ROUTE`, whose number is 0.
pub fn call(
    protocol: Option<Protocol>,
    kind: u16,
    flags: u16,
    payload: &[u8],
) -> io::Result<Vec<u8>> {
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        protocol,
    )?;
    let request = message(kind, NLM_F_REQUEST | flags, payload);
    let address = SocketAddrNetlink::new(0, 0);
    sendto(&kernel, &request, SendFlags::empty(), &address)?;
    let mut response = vec![0_u8; 1024];
    // The kernel responds before `sendto` returns.
    let (length, _) = recv(&kernel, &mut response[..], RecvFlags::empty())?;
    response.truncate(length);
    Ok(response)
}

/// Builds a message: `struct nlmsghdr` and its payload.
fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // The sequence number and the port are 0, because there is only one request.
    message.extend([0; 8]);
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
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn response(kind: u16, errno: i32) -> Vec<u8> {
        message(kind, 0, &errno.to_ne_bytes())
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
    fn message_length_is_that_of_its_header() {
        let message = message(20, 0, &[0; 24]);
        assert_eq!(message.len(), 40);
        assert_eq!(message[..4], 40_u32.to_ne_bytes());
    }
}
