//! Addresses to which secrets may be sent.

use url::{Host, Url};

/// Why secrets must not be sent to an address. No message quotes more than the scheme: the address may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The scheme is `http`, and the host is not this machine.
    #[error(
        "plain http to another machine would send credentials in the clear; use https, or http on a loopback address (127.0.0.1)"
    )]
    PlainHttp,
    /// The scheme is neither `http` nor `https`.
    #[error("its scheme is `{0}`; use https, or http on a loopback address")]
    Scheme(String),
    /// The address contains a user name or a password.
    #[error("it contains a user name or password; remove them")]
    User,
}

/// Checks that secrets may be sent to an address: `https`, or plain `http` if `is_loopback`, without a user name or
/// password.
pub fn check(url: &Url, is_loopback: bool) -> Result<(), Error> {
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => return Err(Error::PlainHttp),
        other => return Err(Error::Scheme(other.to_owned())),
    }
    if url.username().is_empty() && url.password().is_none() {
        Ok(())
    } else {
        Err(Error::User)
    }
}

/// Whether the host is a loopback IP address; no name is resolved.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    }
}

/// Whether the host is this machine: a loopback IP address, or `localhost`, which clients do not resolve otherwise.
pub fn is_local(url: &Url) -> bool {
    is_loopback(url) || url.host_str() == Some("localhost")
}

/// Returns the host, followed by the port unless it is the default of the scheme.
pub fn host_and_port(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}
