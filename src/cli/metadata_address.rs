//! `metadata-address`: gives this network namespace the address of the ECS metadata service, by `rtnetlink(7)`.

use std::io;
use std::process::ExitCode;

use clap::ArgMatches;
use rustix::net::AddressFamily;

use super::{Command, Error};
use crate::system::netlink::{self, Kernel};

pub(super) const COMMAND: Command = Command {
    name: "metadata-address",
    about: "Adds 100.100.100.200 to this network namespace, in an init container, for --metadata-listen",
    examples: &[
        (
            "in an init container with the capability NET_ADMIN",
            "ram-sidecar metadata-address",
        ),
        (
            "then, in the sidecar",
            "ram-sidecar serve --metadata-listen 100.100.100.200:80",
        ),
    ],
    notes: NOTES,
    define: |command| command,
    run,
};

fn run(_: &ArgMatches) -> Result<ExitCode, Error> {
    let reason = match add() {
        Ok(()) => return Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "the capability NET_ADMIN is missing; run this as root with it, in an init container of the pod".to_owned()
        }
        Err(error) => error.to_string(),
    };
    let reason = format!("cannot add 100.100.100.200 to the interface lo: {reason}");
    Err(Error::System(reason.into()))
}

/// Adds the address to the loopback interface.
fn add() -> io::Result<()> {
    let flags = NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE;
    let answer = Kernel::open(None)?.call(RTM_NEWADDR, flags, &request())?;
    netlink::read(&answer, RTM_NEWADDR).map(drop)
}

/// Writes `struct ifaddrmsg` (`linux/if_addr.h`) and the address twice: as the local one and as the peer's, which is the
/// same where there is no peer.
fn request() -> Vec<u8> {
    let mut message = Vec::new();
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

const METADATA: [u8; 4] = [100, 100, 100, 200];

/// Bits of the network: the address alone.
const PREFIX: u8 = 32;

/// The first interface of every network namespace is `lo`.
const LOOPBACK: u32 = 1;

/// The length of an attribute with an address of 4 bytes.
const ATTRIBUTE: u16 = 8;
const RTM_NEWADDR: u16 = 20;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const RT_SCOPE_HOST: u8 = 254;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const NOTES: &str = "\
It needs the capability NET_ADMIN, and changes nothing if the address is there already.
Exit codes: 0 the address is there, 64 usage, 71 it cannot be added.";
