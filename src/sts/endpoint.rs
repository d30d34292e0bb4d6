//! The address of an STS endpoint.

use std::fmt;

use url::Url;

use crate::http::address;

/// The address of an STS endpoint: `https`, or `http` on a loopback address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    host: String,
    loopback: bool,
}

impl Endpoint {
    /// Parses a host name, `host:port`, an `https://` URL, or an `http://` URL of a loopback address.
    ///
    /// Refuses everything else with the reason; plain http would send the caller's token or signature in the clear.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let url = Url::parse(&url)
            .map_err(|error| format!("it is neither a host name nor a URL ({error})"))?;
        let loopback = address::is_loopback(&url);
        address::check(&url, loopback).map_err(|error| error.to_string())?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "it has a path or query; STS is served at the root; give only the host".into(),
            );
        }
        let host = address::host_and_port(&url).ok_or("it has no host name")?;
        Ok(Self {
            url: url.into(),
            host,
            loopback,
        })
    }

    /// Returns the endpoint of a region, on the internet or inside its VPCs; without a region, the global endpoint.
    pub fn of(region: Option<&str>, vpc: bool) -> Self {
        let host = match region {
            Some(region) if vpc => format!("sts-vpc.{region}.aliyuncs.com"),
            Some(region) => format!("sts.{region}.aliyuncs.com"),
            None => "sts.aliyuncs.com".to_owned(),
        };
        Self {
            url: format!("https://{host}/"),
            host,
            loopback: false,
        }
    }

    /// Returns the URL of the endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the host name, followed by the port unless it is the default: the `Host` header of a request.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the endpoint is on this machine, and must be called without a proxy.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_or_local_endpoints_are_accepted() {
        for (given, url) in [
            ("sts.aliyuncs.com", "https://sts.aliyuncs.com/"),
            (
                "sts-vpc.cn-beijing.aliyuncs.com",
                "https://sts-vpc.cn-beijing.aliyuncs.com/",
            ),
            ("sts.example:8443", "https://sts.example:8443/"),
            ("https://sts.aliyuncs.com", "https://sts.aliyuncs.com/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
        ] {
            assert_eq!(
                Endpoint::parse(given)
                    .map(|endpoint| endpoint.url)
                    .as_deref(),
                Ok(url)
            );
        }
        for (bad, reason) in [
            ("", "neither"),
            ("http://sts.aliyuncs.com", "in the clear"),
            ("http://localhost:1", "in the clear"),
            ("http://127.0.0.1.example.com", "in the clear"),
            ("ftp://sts.aliyuncs.com", "scheme is `ftp`"),
            ("https://user:word@sts.aliyuncs.com", "user name"),
            ("https://sts.aliyuncs.com/path", "path or query"),
            ("https://sts.aliyuncs.com?x=1", "path or query"),
            ("sts aliyuncs com", "neither"),
        ] {
            let refusal = Endpoint::parse(bad).unwrap_err();
            assert!(refusal.contains(reason), "{bad}: {refusal}");
        }
    }

    #[test]
    fn endpoint_is_derived_from_the_region_and_its_network() {
        for (region, vpc, host) in [
            (None, false, "sts.aliyuncs.com"),
            (Some("cn-hangzhou"), false, "sts.cn-hangzhou.aliyuncs.com"),
            (
                Some("cn-hangzhou"),
                true,
                "sts-vpc.cn-hangzhou.aliyuncs.com",
            ),
        ] {
            assert_eq!(Endpoint::of(region, vpc).host(), host);
        }
    }
}
