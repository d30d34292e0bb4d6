//! Finds the owner of a socket in the kernel's table of connections, `/proc/net/tcp`: for kernels without `sock_diag`.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::{Addresses, Owner};

/// Finds the owner of the client's socket.
pub(super) fn owner(addresses: &Addresses) -> io::Result<Option<Owner>> {
    let search = |table, client: SocketAddr, server: SocketAddr| {
        let text = fs::read_to_string(table)?;
        Ok(find(&text, client, server))
    };
    let Addresses { peer, local } = *addresses;
    if peer.is_ipv6() {
        return search("/proc/net/tcp6", peer, local);
    }
    // A dual-stack socket of a client, such as Java's, is in the table of IPv6.
    match search("/proc/net/tcp", peer, local)? {
        // A machine without IPv6 has no such table.
        None => Ok(search("/proc/net/tcp6", mapped(peer), mapped(local)).unwrap_or_default()),
        found => Ok(found),
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Finds the owner of the client's socket in a table of lines
/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`.
pub fn find(text: &str, client: SocketAddr, server: SocketAddr) -> Option<Owner> {
    let (client, server) = (format_address(client), format_address(server));
    text.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let addresses = (fields.next()?, fields.next()?);
        if addresses != (client.as_str(), server.as_str()) {
            return None;
        }
        let uid = fields.nth(4)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        // A socket that its process has closed has no inode, and root as its owner.
        (inode != 0).then_some(Owner { uid, inode })
    })
}

/// Formats an address as in the table: 32-bit words in native byte order, the port in network byte order.
fn format_address(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let word = word.try_into().unwrap_or_default();
        format!("{:08X}", u32::from_ne_bytes(word))
    });
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_sockets_and_malformed_lines_are_skipped() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |uid: u32, inode: u32| {
            format!(
                "   0: 0100007F:A2C4 0100007F:1B5A 01 00000000:00000000 00:00000000 00000000 {uid:5}        0 {inode} 1 0 20\n"
            )
        };
        let addresses = ["127.0.0.1:41668", "127.0.0.1:7002"].map(|end| end.parse().unwrap());
        let find = |text: &str| find(text, addresses[0], addresses[1]);
        let text = format!("{head}{}", line(1000, 77));
        assert_eq!(
            find(&text),
            Some(Owner {
                uid: 1000,
                inode: 77
            })
        );
        assert_eq!(find(&format!("{head}{}", line(0, 0))), None);
        assert_eq!(find(head), None);
        assert_eq!(find(&format!("{head}garbage\n")), None);
    }
}
