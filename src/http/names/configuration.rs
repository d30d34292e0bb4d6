//! The file `/etc/resolv.conf`, read as glibc reads it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// Which servers to ask, how, and in which domains names are searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// In the order of preference; never empty.
    pub servers: Vec<SocketAddr>,
    /// Why one on this machine is assumed, if that is so.
    pub assumed: Option<String>,
    /// The domains, without a dot at the end.
    pub search: Vec<String>,
    /// A name with fewer dots is first searched for in the domains.
    pub ndots: usize,
    /// How long to wait for the answer to one query.
    pub timeout: Duration,
    /// How often to ask each server.
    pub attempts: usize,
    /// Whether to begin with another server each time.
    pub rotate: bool,
    /// Whether to ask over TCP only.
    pub use_vc: bool,
    /// Whether to ask for IPv4 addresses only.
    pub no_aaaa: bool,
}

impl Configuration {
    /// Reads the file. What it does not understand is ignored.
    ///
    /// `host` is the name of this machine: its domain is searched unless the file says otherwise.
    pub fn parse(text: &str, host: &str) -> Self {
        let mut read = Self {
            servers: Vec::new(),
            assumed: None,
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            use_vc: false,
            no_aaaa: false,
        };
        let mut search = None;
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            // A keyword begins its line.
            if line.starts_with([' ', '\t']) {
                continue;
            }
            let keyword = words.next();
            let mut values = words.take_while(|word| !word.starts_with(['#', ';']));
            match keyword {
                Some("nameserver") if read.servers.len() < MAX_SERVERS => {
                    read.servers.extend(values.next().and_then(server));
                }
                Some("domain") => search = domains(values.take(1)).or(search),
                Some("search") => search = domains(values).or(search),
                Some("options") => values.for_each(|option| read.set(option)),
                _ => {}
            }
        }
        read.search = search.unwrap_or_else(|| {
            let domain = host.split_once('.').map(|(_, domain)| bare(domain));
            domain.into_iter().collect()
        });
        if read.servers.is_empty() {
            read.assumed =
                Some("no line `nameserver` of /etc/resolv.conf has an address".to_owned());
            read.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        read
    }

    fn set(&mut self, option: &str) {
        match option {
            "rotate" => self.rotate = true,
            "use-vc" => self.use_vc = true,
            "no-aaaa" => self.no_aaaa = true,
            _ => {}
        }
        let Some((name, value)) = option.split_once(':') else {
            return;
        };
        let end = value.find(|c: char| !c.is_ascii_digit());
        let digits = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
        // glibc has the same limits.
        let at_most = |limit: u64| digits.parse().unwrap_or(limit).min(limit);
        let at_most = |limit| if digits.is_empty() { 0 } else { at_most(limit) };
        let count = |limit| usize::try_from(at_most(limit)).unwrap_or_default();
        match name {
            "ndots" => self.ndots = count(15),
            "timeout" => self.timeout = Duration::from_secs(at_most(30).max(1)),
            "attempts" => self.attempts = count(5).max(1),
            _ => {}
        }
    }

    /// Returns the names to ask for, one after the other, until one of them has an address.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut candidates = Vec::new();
        if name.matches('.').count() >= self.ndots {
            candidates.push(name.to_owned());
        }
        let searched = self.search.iter().map(|domain| match domain.as_str() {
            "" => name.to_owned(),
            domain => format!("{name}.{domain}"),
        });
        for candidate in searched.chain([name.to_owned()]) {
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        candidates
    }
}

/// Reads the address of a server; one that is local to a link has the name or the number of its interface.
fn server(text: &str) -> Option<SocketAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, PORT));
    }
    let (ip, interface) = text.split_once('%')?;
    let ip: Ipv6Addr = ip.parse().ok()?;
    let index = interface.parse().ok().or_else(|| index_of(interface))?;
    Some(SocketAddrV6::new(ip, PORT, 0, index).into())
}

fn index_of(interface: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::name_to_index(socket, interface).ok()
}

/// Returns the domains of a list, or `None` if it has none.
fn domains<'a>(words: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    let domains: Vec<_> = words.map(bare).take(MAX_DOMAINS).collect();
    (!domains.is_empty()).then_some(domains)
}

/// Returns a domain without the dot at its end.
fn bare(domain: &str) -> String {
    domain.strip_suffix('.').unwrap_or(domain).to_owned()
}

/// Of DNS.
const PORT: u16 = 53;

/// As in glibc, which ignores any further server.
const MAX_SERVERS: usize = 3;

/// As in Kubernetes.
const MAX_DOMAINS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Configuration {
        Configuration::parse(text, "node")
    }

    type Change = fn(&mut Configuration);

    fn default() -> Configuration {
        parsed("nameserver 10.0.0.10")
    }

    #[test]
    fn file_of_a_pod_is_read() {
        let file = "search team.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.0.0.10\noptions ndots:5\n";
        let expected = Configuration {
            search: [
                "team.svc.cluster.local",
                "svc.cluster.local",
                "cluster.local",
            ]
            .map(String::from)
            .into(),
            ndots: 5,
            ..default()
        };
        assert_eq!(parsed(file), expected);
    }

    #[test]
    fn servers_are_read() {
        let cases: &[(&str, &[&str])] = &[
            ("", &["127.0.0.1:53"]),
            ("nameserver", &["127.0.0.1:53"]),
            ("nameserver dns.example", &["127.0.0.1:53"]),
            (" nameserver 10.0.0.1", &["127.0.0.1:53"]),
            ("#nameserver 10.0.0.1", &["127.0.0.1:53"]),
            ("nameserver\t10.0.0.1\r", &["10.0.0.1:53"]),
            ("nameserver 10.0.0.1 # ours", &["10.0.0.1:53"]),
            (
                "nameserver ::1\nnameserver 10.0.0.1",
                &["[::1]:53", "10.0.0.1:53"],
            ),
            ("nameserver fe80::1%7", &["[fe80::1%7]:53"]),
            ("nameserver fe80::1%lo", &["[fe80::1%1]:53"]),
            ("nameserver fe80::1%absent", &["127.0.0.1:53"]),
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
                &["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"],
            ),
        ];
        for (text, expected) in cases {
            let servers = parsed(text).servers;
            let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
            assert_eq!(servers, *expected, "{text}");
        }
        assert!(parsed("").assumed.is_some() && default().assumed.is_none());
    }

    #[test]
    fn options_are_read_up_to_the_limits_of_glibc() {
        let cases: &[(&str, Change)] = &[
            ("ndots:0", |c| c.ndots = 0),
            ("ndots:99999999999999999999", |c| c.ndots = 15),
            ("ndots:", |c| c.ndots = 0),
            ("ndots", |_| {}),
            ("timeout:1 attempts:3", |c| {
                c.timeout = Duration::from_secs(1);
                c.attempts = 3;
            }),
            ("timeout:0 attempts:0", |c| {
                c.timeout = Duration::from_secs(1);
                c.attempts = 1;
            }),
            ("timeout:99 attempts:99", |c| {
                c.timeout = Duration::from_secs(30);
                c.attempts = 5;
            }),
            ("rotate\tuse-vc no-aaaa", |c| {
                c.rotate = true;
                c.use_vc = true;
                c.no_aaaa = true;
            }),
            ("edns0 trust-ad single-request #rotate", |_| {}),
        ];
        for (options, set) in cases {
            let mut expected = default();
            set(&mut expected);
            let read = parsed(&format!("nameserver 10.0.0.10\noptions {options}"));
            assert_eq!(read, expected, "{options}");
        }
    }

    #[test]
    fn domains_are_read() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("", "node", &[]),
            ("", "node.example.com", &["example.com"]),
            ("search", "node.example.com", &["example.com"]),
            ("search a\nsearch\ndomain", "node", &["a"]),
            ("search a b.", "node", &["a", "b"]),
            ("search a\nsearch b", "node", &["b"]),
            ("search a\ndomain b c", "node", &["b"]),
            ("search .", "node", &[""]),
        ];
        for (text, host, expected) in cases {
            assert_eq!(Configuration::parse(text, host).search, *expected, "{text}");
        }
    }

    #[test]
    fn names_are_asked_for_in_the_order_of_glibc() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("", "a.b", &["a.b"]),
            ("", "a", &["a"]),
            ("search x y", "a", &["a.x", "a.y", "a"]),
            ("search x y", "a.b", &["a.b", "a.b.x", "a.b.y"]),
            ("search x y", "a.b.", &["a.b"]),
            (
                "search x y\noptions ndots:2",
                "a.b",
                &["a.b.x", "a.b.y", "a.b"],
            ),
            ("search x y\noptions ndots:0", "a", &["a", "a.x", "a.y"]),
            ("search x . y", "a", &["a.x", "a", "a.y"]),
        ];
        for (text, name, expected) in cases {
            assert_eq!(parsed(text).candidates(name), *expected, "{text}, {name}");
        }
    }
}
