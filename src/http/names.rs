//! Resolves host names by `/etc/hosts` and DNS, without the C library: that loads the modules of `nsswitch.conf` into the
//! process, which a static binary does not survive.
//!
//! Both files are read for every look-up, because they change. Names of this machine are never asked of DNS.

pub mod configuration;
mod exchange;
pub mod hosts;
pub mod message;
mod order;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::future::Future;
use std::io::{self, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustix::fs::{CWD, OFlags};
use tokio::time::{Instant, timeout};

use self::configuration::Configuration;
use self::exchange::{Ask, Network, Reason, exchange};
use self::message::{Answer, Kind, Question};
use crate::system::{file, process, random, remedy};

/// The resolver of the HTTP client.
#[derive(Debug)]
pub(super) struct Resolver {
    /// The longest time that a look-up may take.
    pub(super) timeout: Duration,
}

/// Why a name has no address; a later reason counts more, because it may pass.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Error {
    #[error("it is not a host name")]
    NotAName,
    #[error("the name server {0} says that there is no such name")]
    NoSuchName(IpAddr),
    #[error("the name server {0} says that it has no address")]
    NoAddress(IpAddr),
    /// No server answers, or none says whether the name has an address.
    #[error("{reason}")]
    Unanswered {
        reason: String,
        /// Whether one of the servers did not say anything.
        is_silent: bool,
    },
    #[error(transparent)]
    Own(#[from] Own),
}

/// Why this machine cannot ask anybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Own {
    /// There are no random numbers for a query.
    #[error("{0}")]
    Random(String),
    /// A limit keeps this process from reading the files or from asking.
    #[error("{reason}")]
    Limit {
        reason: String,
        remedy: &'static str,
    },
}

impl Own {
    /// Says that a file cannot be read; as an error only if a limit is why, because a name may be known without the file.
    fn unread(path: &str, error: &io::Error) -> Result<String, Self> {
        let reason = format!("{path} cannot be read: {error}");
        match remedy::of(error) {
            Some(remedy) => Err(Self::Limit { reason, remedy }),
            None => Ok(reason),
        }
    }
}

impl From<random::Error> for Own {
    fn from(error: random::Error) -> Self {
        Self::Random(error.to_string())
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let deadline = Instant::now() + self.timeout;
        Box::pin(async move {
            let addresses = resolve(name.as_str(), deadline).await?;
            // The client replaces the port.
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

async fn resolve(name: &str, deadline: Instant) -> Found {
    let host = process::host_name();
    let listed = open("/etc/hosts").and_then(|file| match file {
        Some(file) => hosts::addresses(BufReader::new(file), bare(name)),
        None => Ok(Vec::new()),
    });
    let (listed, unread) = match listed {
        Ok(listed) => (listed, None),
        Err(error) => (Vec::new(), Some(Own::unread("/etc/hosts", &error)?)),
    };
    let mut addresses = known(bare(name), listed, &host);
    if addresses.is_empty() {
        let configuration = configuration(&host)?;
        let network = Network {
            use_vc: configuration.use_vc,
        };
        addresses = ask_dns(name, &configuration, &network, deadline)
            .await
            .map_err(|error| match unread {
                Some(unread) => Error::Unanswered {
                    reason: format!("{error}; {unread}"),
                    is_silent: false,
                },
                None => error,
            })?;
    }
    order::sort(&mut addresses);
    // The time for connecting is divided among them.
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}

fn configuration(host: &str) -> Result<Configuration, Own> {
    let path = "/etc/resolv.conf";
    let mut text = Vec::new();
    let read = open(path).and_then(|file| {
        let file = file.map(|file| file.take(MAX_CONFIGURATION));
        file.map_or(Ok(0), |mut file| file.read_to_end(&mut text))
    });
    let mut configuration = Configuration::parse(&String::from_utf8_lossy(&text), host);
    if let Err(error) = read {
        configuration.assumed = Some(Own::unread(path, &error)?);
    }
    Ok(configuration)
}

/// Opens a file; what is not a regular file, such as `/dev/null`, counts as absent.
fn open(path: &str) -> io::Result<Option<File>> {
    match file::open_regular_at(CWD, path, OFlags::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(file::Error::Io(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) => Ok(None),
    }
}

/// Returns a name without the dot at its end.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns the addresses of a name that need not be asked for: those that are listed, or those of this machine.
fn known(name: &str, listed: Vec<IpAddr>, host: &str) -> Vec<IpAddr> {
    let is = |own: &str| name.eq_ignore_ascii_case(own);
    let top = name.rsplit('.').next().unwrap_or_default();
    if listed.is_empty() && (is(host) || top.eq_ignore_ascii_case("localhost")) {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    listed
}

/// Asks for a name, and for the names that the search domains make of it, until one of them has an address.
async fn ask_dns(
    name: &str,
    configuration: &Configuration,
    ask: &impl Ask,
    deadline: Instant,
) -> Found {
    let mut first = 0;
    if configuration.rotate {
        let drawn = random::bytes().map_err(Own::from)?;
        first = usize::from(u16::from_be_bytes(drawn)) % configuration.servers.len().max(1);
    }
    let first = AtomicUsize::new(first);
    let mut reason = Error::NotAName;
    let mut is_silent = false;
    for candidate in configuration.candidates(name) {
        // Whoever is silent may only refuse to search, so that the name itself is still asked for.
        if is_silent && candidate != name {
            continue;
        }
        match addresses(&candidate, configuration, ask, &first, deadline).await {
            Ok(found) => return Ok(found),
            Err(error) => reason = reason.max(error),
        }
        is_silent = matches!(
            reason,
            Error::Unanswered {
                is_silent: true,
                ..
            }
        );
        if Instant::now() >= deadline || matches!(reason, Error::Own(_)) {
            break;
        }
    }
    Err(reason)
}

/// Asks for both kinds of address of one name at the same time.
async fn addresses(
    name: &str,
    configuration: &Configuration,
    ask: &impl Ask,
    first: &AtomicUsize,
    deadline: Instant,
) -> Found {
    let of_kind = |kind| async move {
        let Some(question) = Question::new(name, kind) else {
            return Err(Error::NotAName);
        };
        match exchange(configuration, ask, &question, first, deadline).await {
            Ok((Answer::Addresses(found), server)) if found.is_empty() => {
                Err(Error::NoAddress(server.ip()))
            }
            Ok((Answer::Addresses(found), _)) => Ok(found),
            Ok((_, server)) => Err(Error::NoSuchName(server.ip())),
            Err(reasons) => Err(unanswered(configuration, &reasons)),
        }
    };
    let ipv4 = of_kind(Kind::A);
    if configuration.no_aaaa {
        return ipv4.await;
    }
    let mut ipv6 = std::pin::pin!(of_kind(Kind::Aaaa));
    let mut ipv4 = std::pin::pin!(ipv4);
    let (one, other) = tokio::select! {
        biased;
        one = &mut ipv4 => { let other = other_kind(&one, ipv6, ask, deadline).await; (one, other) }
        one = &mut ipv6 => { let other = other_kind(&one, ipv4, ask, deadline).await; (one, other) }
    };
    let Some(other) = other else {
        return one;
    };
    match (one, other) {
        (Ok(one), Ok(other)) => Ok([one, other].concat()),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(one), Err(other)) => Err(one.max(other)),
    }
}

type Found = Result<Vec<IpAddr>, Error>;

/// Waits for the answer for the other kind of address. Returns `None` if it does not matter any more.
async fn other_kind(
    one: &Found,
    other: impl Future<Output = Found>,
    ask: &impl Ask,
    deadline: Instant,
) -> Option<Found> {
    match one {
        Ok(found) if found.iter().any(|ip| ask.has_route(*ip)) => {
            timeout(OTHER_KIND, other).await.ok()
        }
        // Of no kind.
        Err(Error::NoSuchName(_)) => None,
        // Time remains to ask for another name.
        Err(Error::NoAddress(server)) => {
            let half = deadline.saturating_duration_since(Instant::now()) / 2;
            Some(timeout(half, other).await.unwrap_or_else(|_| {
                Err(Error::Unanswered {
                    reason: format!(
                        "the name server {server} answered for one kind of address only"
                    ),
                    is_silent: true,
                })
            }))
        }
        _ => Some(other.await),
    }
}

fn unanswered(configuration: &Configuration, reasons: &[(SocketAddr, Reason)]) -> Error {
    if let Some(own) = reasons.iter().find_map(|(_, reason)| match reason {
        Reason::Own(own) => Some(own.clone()),
        _ => None,
    }) {
        return Error::Own(own);
    }
    let assumed = configuration
        .assumed
        .as_ref()
        .map_or_else(String::new, |why| format!(" (assumed, because {why})"));
    let told = |(server, reason): &(SocketAddr, Reason)| {
        format!("the name server {}{assumed} {reason}", server.ip())
    };
    Error::Unanswered {
        reason: reasons.iter().map(told).collect::<Vec<_>>().join(", "),
        is_silent: reasons.iter().any(|(_, reason)| *reason == Reason::Silent),
    }
}

/// When one kind of address is known, the other is waited for so long: some servers never answer for IPv6.
const OTHER_KIND: Duration = Duration::from_millis(300);

/// In bytes.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// As many as can be tried within the timeout of connecting.
const MAX_ADDRESSES: usize = 8;
