//! Addresses to which secrets may be sent.

use url::{Host, Url};

/// Why secrets must not be sent to an address. The reasons repeat nothing of it: it may be a secret itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is `http`, and not on this machine.
    #[error(
        "plain http to another machine would send credentials in the clear; use https, or http on a loopback address (127.0.0.1)"
    )]
    Clear,
    /// It is neither `http` nor `https`.
    #[error("its scheme is `{0}`; use https, or http on a loopback address")]
    Scheme(String),
    /// It has a user.
    #[error("it carries a user name or password; remove them")]
    User,
}

/// Checks that secrets may be sent to an address: `https`, or plain `http` if it `is_loopback`, and no user in it.
pub fn check(url: &Url, is_loopback: bool) -> Result<(), Error> {
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => return Err(Error::Clear),
        other => return Err(Error::Scheme(other.to_owned())),
    }
    if url.username().is_empty() && url.password().is_none() {
        Ok(())
    } else {
        Err(Error::User)
    }
}

/// Whether the host is a loopback address, written as a number.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    }
}

/// Returns the host, with its port unless that is the usual one of the scheme.
pub fn host_and_port(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}
