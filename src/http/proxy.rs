//! The proxy that the environment names for HTTPS. Plain HTTP only stays on this machine, and needs none.
//!
//! A variable that cannot be read is an error: without the proxy, services would be called past it.

use std::ffi::OsString;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use reqwest::NoProxy;
use reqwest::header::HeaderValue;
use url::Url;

/// A proxy, and the hosts that are called without it.
#[derive(Clone, Debug)]
pub struct Proxy {
    url: Url,
    /// The value of `Proxy-Authorization`.
    authorization: Option<HeaderValue>,
    except: String,
    /// The variable that names it.
    variable: &'static str,
}

impl Proxy {
    /// Reads the proxy for calls to `urls`, or to any service if they are not known beforehand. Returns `None` if no proxy is
    /// set, or if `NO_PROXY` names all of them.
    ///
    /// The error names the variable. It does not quote the value, which may contain a password.
    pub fn of_environment(
        variable: &dyn Fn(&str) -> Option<OsString>,
        urls: Option<&[&str]>,
    ) -> Result<Option<Self>, String> {
        let first = |names: &[&'static str]| {
            let set =
                |name: &&'static str| Some((*name, variable(name).filter(|v| !v.is_empty())?));
            names.iter().find_map(set)
        };
        let except = match first(&["NO_PROXY", "no_proxy"]) {
            Some((name, value)) => value
                .into_string()
                .map_err(|_| format!("{name}: it is not valid UTF-8; set it again"))?,
            None => String::new(),
        };
        // As Go reads it; to the client, only a star alone has a meaning.
        let entries = except.split(',').map(str::trim);
        let entries = entries.map(|entry| match entry.strip_prefix('*') {
            Some(domain) if domain.starts_with('.') => domain,
            _ => entry,
        });
        let except = entries.collect::<Vec<_>>().join(",");
        let named = first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        let is_used = urls.is_none_or(|urls| urls.iter().any(|url| !is_excepted(url, &except)));
        let Some((name, value)) = named.filter(|_| is_used) else {
            return Ok(None);
        };
        let text = value.to_str().ok_or("it is not valid UTF-8");
        let (url, authorization) = text
            .and_then(parse)
            .map_err(|reason| format!("{name}: {reason}; {FORM}"))?;
        Ok(Some(Self {
            url,
            authorization,
            except,
            variable: name,
        }))
    }

    /// Whether a call to `url` goes through it.
    pub(super) fn serves(&self, url: &str) -> bool {
        url.starts_with("https:") && !is_excepted(url, &self.except)
    }

    /// Returns its host and port.
    pub(super) fn address(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{host}:{port}")
    }

    pub(super) fn variable(&self) -> &'static str {
        self.variable
    }

    pub(super) fn has_password(&self) -> bool {
        self.authorization.is_some()
    }

    pub(super) fn build(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::https(self.url.clone())?;
        let proxy = proxy.no_proxy(NoProxy::from_string(&self.except));
        Ok(match &self.authorization {
            Some(value) => proxy.custom_http_auth(value.clone()),
            None => proxy,
        })
    }
}

/// Whether a URL is called without a proxy, with the same rules as the client.
fn is_excepted(url: &str, except: &str) -> bool {
    let rules = Matcher::builder().all("http://proxy").no(except).build();
    url.parse().is_ok_and(|url| rules.intercept(&url).is_none())
}

fn parse(text: &str) -> Result<(Url, Option<HeaderValue>), &'static str> {
    if text.starts_with(['"', '\'']) {
        return Err("it is in quotes, which docker --env-file keeps");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it contains a blank or a line break");
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None if text.starts_with("http:/") || text.starts_with("https:/") => {
            return Err("it has one slash instead of two");
        }
        None => ("http", text),
    };
    if !["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Err("its scheme is neither http nor https");
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if path.contains('@') {
        return Err("its password contains /, ? or #, to be written as %2F, %3F and %23");
    }
    // As Go and Python read it: a password may contain an @.
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let url = Url::parse(&format!("{scheme}://{host}")).map_err(|_| "it is not a URL")?;
    if url.path() != "/" {
        return Err("it is not a URL");
    }
    Ok((url, user.map(authorization)))
}

/// Returns the header for a user name and a password, which are percent-encoded.
fn authorization(user: &str) -> HeaderValue {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let plain: Vec<u8> = percent_decode_str(user)
        .chain(*b":")
        .chain(percent_decode_str(password))
        .collect();
    let encoded = format!("Basic {}", STANDARD.encode(plain));
    let mut value = HeaderValue::try_from(encoded).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

const FORM: &str = "write it like http://proxy:3128 or http://user:password@proxy:3128";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], urls: Option<&[&str]>) -> Result<Option<Proxy>, String> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Proxy::of_environment(&find, urls)
    }

    #[test]
    fn a_proxy_is_read_whole_or_reported_without_its_password() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (text, url, user) in [
            ("http://proxy:3128", "http://proxy:3128/", None),
            ("proxy:3128", "http://proxy:3128/", None),
            ("HTTPS://[::1]:3128/", "https://[::1]:3128/", None),
            ("http://u:p@ss@proxy", "http://proxy/", Some("u:p@ss")),
            ("http://u:p%40ss@proxy", "http://proxy/", Some("u:p@ss")),
            ("u@proxy:1", "http://proxy:1/", Some("u:")),
            ("http://u:a:b%25@proxy", "http://proxy/", Some("u:a:b%")),
        ] {
            let proxy = read(&[("HTTPS_PROXY", text)], None).unwrap().unwrap();
            assert_eq!(proxy.url.as_str(), url, "{text}");
            let sent = proxy
                .authorization
                .as_ref()
                .map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(sent, user.map(basic), "{text}");
            assert!(!format!("{proxy:?}").contains("Basic"));
        }
        for (text, reason) in [
            ("\"http://planted@proxy\"", "it is in quotes"),
            ("'proxy:3128'", "it is in quotes"),
            ("http://planted@proxy ", "a blank or a line break"),
            ("http://proxy\n", "a blank or a line break"),
            ("http://proxy\r", "a blank or a line break"),
            ("http://pro xy", "a blank or a line break"),
            ("http:/proxy:3128", "one slash"),
            ("socks5://proxy:1080", "neither http nor https"),
            ("http://u:planted/x@proxy", "as %2F"),
            ("http://u:planted#x@proxy", "as %2F"),
            ("http://", "not a URL"),
            ("http://proxy:planted", "not a URL"),
            ("http://u:planted@", "not a URL"),
        ] {
            let error = read(&[("all_proxy", text)], None).unwrap_err();
            assert!(
                error.starts_with("all_proxy: it") && error.contains(reason),
                "{text}: {error}"
            );
            assert!(!error.contains("planted"), "{error}");
        }
    }

    #[test]
    fn the_first_variable_with_a_value_counts_unless_its_hosts_are_excepted() {
        let url = "https://sts.aliyuncs.com/";
        let port = |variables: &[(&str, &str)]| {
            read(variables, Some(&[url])).map(|proxy| proxy.and_then(|proxy| proxy.url.port()))
        };
        assert_eq!(port(&[]), Ok(None));
        assert_eq!(port(&[("HTTP_PROXY", "x:1")]), Ok(None));
        assert_eq!(
            port(&[
                ("HTTPS_PROXY", ""),
                ("https_proxy", "x:2"),
                ("ALL_PROXY", "x:3")
            ]),
            Ok(Some(2))
        );
        assert_eq!(
            port(&[("ALL_PROXY", "x:3"), ("REQUEST_METHOD", "GET")]),
            Ok(Some(3))
        );
        let excepted = |except| port(&[("HTTPS_PROXY", "socks5://x"), ("no_proxy", except)]);
        assert_eq!(excepted("10.0.0.0/8, .aliyuncs.com"), Ok(None));
        assert_eq!(excepted("10.0.0.0/8, *.aliyuncs.com"), Ok(None));
        assert!(excepted("*.example.com").is_err());
        assert!(excepted("example.com").is_err());
        let unknown = read(&[("HTTPS_PROXY", "\"x"), ("NO_PROXY", "*")], None);
        assert!(unknown.is_err());
    }
}
