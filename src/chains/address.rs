//! The address of a server of credentials.

use url::Url;

use crate::http::address;

/// The address of a server of credentials.
#[derive(PartialEq, Eq)]
pub(super) struct Address(Url);

impl Address {
    /// Parses an address. The error is the reason, which does not quote it: its path may be a secret.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "it is not a URL")?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("its scheme is neither http nor https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it contains a user name or password");
        }
        let host = url.host_str().unwrap_or_default();
        if text.contains(char::is_whitespace) || !has_host(text, host) {
            return Err("not every client reads its host or its blanks alike");
        }
        Ok(Self(url))
    }

    /// Returns the path.
    pub(super) fn path(&self) -> &str {
        self.0.path()
    }

    /// Returns the host, an IPv6 address without brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the port.
    pub(super) fn port(&self) -> Option<u16> {
        self.0.port_or_known_default()
    }

    /// Whether it is on this machine, and may be ours, which has no TLS.
    pub(super) fn is_local(&self) -> bool {
        self.0.scheme() == "http" && address::is_local(&self.0)
    }
}

/// Whether a URL has this host as it is, apart from capitals.
fn has_host(text: &str, host: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let rest = lower.split_once("://").map(|(_, rest)| rest);
    let rest = rest.and_then(|rest| rest.strip_prefix(host));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?', '#']))
}

/// The variable of the credentials URI.
pub(super) const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIKE: &str = "not every client reads its host or its blanks alike";

    #[test]
    fn address_is_local_as_the_client_of_a_credentials_uri_takes_it() {
        for (text, is_local) in [
            ("http://127.0.0.1:7002/x", Ok(true)),
            ("HTTP://127.0.0.1/x", Ok(true)),
            ("http://LOCALHOST/x", Ok(true)),
            ("http://[::1]:7002/x", Ok(true)),
            ("http://10.0.0.1/x", Ok(false)),
            ("http://127.0.0.1.example.com/x", Ok(false)),
            ("https://127.0.0.1/x", Ok(false)),
            (
                "http://127.0.0.1:7002@evil.example/x",
                Err("it contains a user name or password"),
            ),
            ("http://localhost:bad/x", Err("it is not a URL")),
            ("http://127.1/x", Err(UNLIKE)),
            ("http://2130706433/x", Err(UNLIKE)),
            ("http://127.0.0.1./x", Err(UNLIKE)),
            ("http://127.0.0.1/x ", Err(UNLIKE)),
            ("\nhttp://127.0.0.1/x", Err(UNLIKE)),
            ("127.0.0.1:7002", Err("it is not a URL")),
            ("file:///x", Err("its scheme is neither http nor https")),
        ] {
            let parsed = Address::parse(text).map(|address| address.is_local());
            assert_eq!(parsed, is_local, "{text}");
        }
        assert_eq!(Address::parse("http://[::1]/").unwrap().host(), "::1");
    }
}
