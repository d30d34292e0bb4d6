//! The order in which addresses are tried: that of getaddrinfo (RFC 6724), as far as this machine's routes decide it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Sorts addresses, the best first.
pub(super) fn sort(addresses: &mut [IpAddr]) {
    if addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6) {
        addresses.sort_by_cached_key(|ip| rank(*ip, source(*ip)));
    }
}

/// Returns the address from which the kernel would call another. Sends nothing.
pub(super) fn source(ip: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((ip, 443)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// A smaller rank is better: an address that has a route, with a source of the same network, of the preferred kind.
fn rank(ip: IpAddr, source: Option<IpAddr>) -> (bool, bool, u8) {
    let (network, order) = network(ip);
    let is_foreign = source.is_none_or(|source| self::network(source).0 != network);
    (source.is_none(), is_foreign, order)
}

/// Returns the label of an address and the order of that label in the default policy table.
fn network(ip: IpAddr) -> (u8, u8) {
    match ip {
        IpAddr::V6(ip) if ip.is_loopback() => (0, 0),
        IpAddr::V4(_) => (4, 2),
        IpAddr::V6(ip) => match ip.segments() {
            [0x2002, ..] => (2, 3),
            [0x2001, 0, ..] => (5, 4),
            [0xFC00..=0xFDFF, ..] => (13, 5),
            _ => (1, 1),
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn reachable_addresses_come_first_and_then_ipv6() {
        let (global, private, four) = ("2400:3200::1", "fd00::1", "47.1.2.3");
        let cases = [
            // Each with its source, the better one first.
            ((global, Some("2400::9")), (four, Some("10.0.0.9"))),
            ((four, Some("10.0.0.9")), (global, None)),
            ((global, Some("2400::9")), (four, None)),
            ((four, Some("10.0.0.9")), (global, Some("fd00::9"))),
            ((four, Some("10.0.0.9")), (private, Some("fd00::9"))),
            (("::1", Some("::1")), ("127.0.0.1", Some("127.0.0.1"))),
        ];
        let rank = |(ip, source): (&str, Option<&str>)| {
            super::rank(ip.parse().unwrap(), source.map(|ip| ip.parse().unwrap()))
        };
        for (better, worse) in cases {
            assert!(rank(better) < rank(worse), "{better:?} {worse:?}");
        }
    }
}
