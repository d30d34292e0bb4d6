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

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
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
    let mut addresses = known(name, &read("/etc/hosts")?, &host);
    if addresses.is_empty() {
        let configuration = Configuration::parse(&read("/etc/resolv.conf")?, &host);
        let network = Network {
            use_vc: configuration.use_vc,
        };
        addresses = ask_dns(name, &configuration, &network, deadline).await?;
    }
    order::sort(&mut addresses);
    // The time for connecting is divided among them.
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}

/// Returns the content of a file; nothing if it cannot be read, as if it were not there, unless a limit is why.
fn read(path: &str) -> Result<String, Own> {
    match file::read_regular(Path::new(path), MAX_FILE) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(file::Error::Io(error)) if let Some(remedy) = remedy::of(&error) => {
            let reason = format!("cannot read {path}: {error}");
            Err(Own::Limit { reason, remedy })
        }
        Err(_) => Ok(String::new()),
    }
}

/// Returns the addresses of a name that need not be asked for.
fn known(name: &str, hosts: &str, host: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let listed = hosts::addresses(hosts, name);
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
        one = &mut ipv4 => { let other = other_kind(&one, ipv6).await; (one, other) }
        one = &mut ipv6 => { let other = other_kind(&one, ipv4).await; (one, other) }
    };
    match (one, other) {
        (Ok(one), Ok(other)) => Ok([one, other].concat()),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(one), Err(other)) => Err(one.max(other)),
    }
}

type Found = Result<Vec<IpAddr>, Error>;

/// Waits for the addresses of the other kind, and not for long if there are some of `one` already.
async fn other_kind(one: &Found, other: impl Future<Output = Found>) -> Found {
    match one {
        Ok(_) => timeout(OTHER_KIND, other).await.unwrap_or(Ok(Vec::new())),
        Err(_) => other.await,
    }
}

fn unanswered(configuration: &Configuration, reasons: &[(SocketAddr, Reason)]) -> Error {
    if let Some(own) = reasons.iter().find_map(|(_, reason)| match reason {
        Reason::Own(own) => Some(own.clone()),
        _ => None,
    }) {
        return Error::Own(own);
    }
    let assumed = if configuration.is_assumed {
        " (assumed, because no line `nameserver` of /etc/resolv.conf has an address)"
    } else {
        ""
    };
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

/// Lists that block advertisements have a few megabytes.
const MAX_FILE: usize = 16 << 20;

/// As many as can be tried within the timeout of connecting.
const MAX_ADDRESSES: usize = 8;
