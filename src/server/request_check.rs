//! Decides which requests are accepted: those of programs on this machine, not those of web pages or proxies.
//!
//! A page in a browser can reach loopback, directly or by DNS rebinding. It cannot hide `Host` and, towards loopback,
//! `Origin` or `Sec-Fetch-*`; towards other addresses, such as 100.100.100.200, a browser sends neither, but its
//! `User-Agent`. None of the headers that mark SDKs is required, because plain `curl` sends none.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request, StatusCode, Version, header};

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The `Code` of the body.
    pub code: &'static str,
    /// The `Message` of the body.
    pub message: &'static str,
}

/// Which requests a listener accepts.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The address it is bound to.
    pub bound: IpAddr,
    /// The methods.
    pub methods: &'static [Method],
}

/// Headers, whose names may have capitals.
pub trait Headers {
    /// Returns names and values.
    fn all(&self) -> impl Iterator<Item = (&str, &[u8])>;

    /// Returns the values of a header, whose name has no capitals.
    fn named(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_it =
            move |(found, value): (&str, _)| found.eq_ignore_ascii_case(name).then_some(value);
        self.all().filter_map(is_it)
    }
}

impl Headers for HeaderMap {
    fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

impl Headers for [httparse::Header<'_>] {
    fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().map(|header| (header.name, header.value))
    }
}

/// What is checked of a request.
#[derive(Debug)]
pub struct Head<'a, H: ?Sized> {
    /// Its method.
    pub method: &'a Method,
    /// Its version.
    pub version: Version,
    /// The host in its target, if that has one.
    pub authority: Option<&'a str>,
    /// Its headers.
    pub headers: &'a H,
}

impl<'a> Head<'a, HeaderMap> {
    /// Returns that of a request.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            version: request.version(),
            authority: request.uri().authority().map(Authority::as_str),
            headers: request.headers(),
        }
    }
}

/// Checks the method, the host and the headers of a request.
pub fn check<H: Headers + ?Sized>(head: &Head<'_, H>, rules: Rules) -> Result<(), Refusal> {
    if is_from_browser(head.headers) {
        return Err(BROWSER);
    }
    if head.headers.all().any(|(name, _)| is_of_proxy(name)) {
        return Err(FORWARDED);
    }
    let names_this_machine = |name: &str| names_this_machine(name, rules.bound);
    let is_required = head.version != Version::HTTP_10;
    if !has_host(head, is_required, names_this_machine) {
        return Err(HOST);
    }
    if rules.methods.contains(head.method) {
        Ok(())
    } else {
        Err(METHOD)
    }
}

/// Checks the host of a request for a probe: an IP address, `localhost`, one of `names`, or none at all.
///
/// The kubelet and Prometheus send the pod's address, which may be one that this process does not know.
pub fn check_probe<B>(request: &Request<B>, names: &[String]) -> Result<(), Refusal> {
    let is_known = |host: &str| {
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok()
            || names.iter().any(|name| name.eq_ignore_ascii_case(host))
    };
    if has_host(&Head::of(request), false, is_known) {
        Ok(())
    } else {
        Err(PROBE_HOST)
    }
}

/// Checks a request for the status page, which a browser may show to its user: by an address of this machine, and neither
/// to another page nor through a proxy.
///
/// Browsers of before 2023 do not say for whom they ask. Those keep the answer from other pages by its own headers.
pub fn check_page<B>(request: &Request<B>, bound: IpAddr) -> Result<(), Refusal> {
    let headers = request.headers();
    if headers.all().any(|(name, _)| is_of_proxy(name)) {
        return Err(FORWARDED);
    }
    let names_this_machine = |name: &str| names_this_machine(name, bound);
    if !has_host(&Head::of(request), false, names_this_machine) {
        return Err(HOST);
    }
    let mut sites = headers.named("sec-fetch-site");
    let is_own = sites.all(|site| [&b"none"[..], b"same-origin"].contains(&site));
    if is_own && !headers.contains_key(header::ORIGIN) {
        Ok(())
    } else {
        Err(PAGE)
    }
}

/// Checks the machine and the user of a caller. `uid` is `None` if the kernel does not know the owner of the connection.
pub fn admit(
    is_local: bool,
    uid: Option<u32>,
    allow_remote: bool,
    allow_uids: Option<&[u32]>,
) -> Result<(), Refusal> {
    if !is_local && !allow_remote {
        return Err(REMOTE);
    }
    match (allow_uids, uid) {
        (None, _) => Ok(()),
        (Some(allowed), Some(uid)) if allowed.contains(&uid) => Ok(()),
        (Some(_), Some(_)) => Err(CALLER),
        (Some(_), None) => Err(UNKNOWN_CALLER),
    }
}

/// The methods that only read.
pub const READ: &[Method] = &[Method::GET, Method::HEAD];

/// Whether a browser sends the request, for a page or for its user.
///
/// Node's `fetch` sends `Sec-Fetch-Mode` alone, and a script cannot remove it; a browser never sends it alone.
fn is_from_browser<H: Headers + ?Sized>(headers: &H) -> bool {
    let is_of_browser = |(name, _): (&str, _)| {
        is_one_of(name, BROWSER_HEADERS)
            || (starts_with(name, "sec-fetch-") && !name.eq_ignore_ascii_case("sec-fetch-mode"))
            || starts_with(name, "sec-ch-")
    };
    let mut agents = headers.named("user-agent");
    headers.all().any(is_of_browser)
        || agents.any(|agent| {
            let start = agent.get(..BROWSER_AGENT.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(BROWSER_AGENT))
        })
}

/// Whether a proxy adds a header of this name to what it forwards.
pub fn is_of_proxy(name: &str) -> bool {
    let mut prefixes = PROXY_PREFIXES.iter();
    prefixes.any(|prefix| starts_with(name, prefix)) || is_one_of(name, PROXY_HEADERS)
}

/// Whether a header has one of these names, which have no capitals.
pub(super) fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}

fn starts_with(name: &str, prefix: &str) -> bool {
    let start = name.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Returns a value that is text, as [`axum::http::HeaderValue::to_str`] does; otherwise nothing.
pub(super) fn text(value: &[u8]) -> &str {
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let text = is_text.then(|| std::str::from_utf8(value).ok());
    text.flatten().unwrap_or_default()
}

/// Whether `is_accepted` accepts every host that a request names, and it names one if one is required.
fn has_host<H: Headers + ?Sized>(
    head: &Head<'_, H>,
    is_required: bool,
    is_accepted: impl Fn(&str) -> bool,
) -> bool {
    let mut hosts = head.headers.named("host");
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(text(host)),
        (None, _) => None,
        (Some(_), Some(_)) => return false,
    };
    // The user information before the host is ignored; the port must be valid.
    let authority = head
        .authority
        .map(|all| all.rsplit_once('@').map_or(all, |(_, host)| host));
    let mut named = [host, authority].into_iter().flatten().peekable();
    if named.peek().is_none() {
        return !is_required;
    }
    named.all(|host| without_port(host).is_some_and(&is_accepted))
}

/// Returns the name in a `Host`, with or without a port: Python's SDK omits it.
fn without_port(host: &str) -> Option<&str> {
    // Swift's SDK sends the whole URI.
    let host = match host.strip_prefix("http://") {
        Some(rest) => rest.split(['/', '?']).next().unwrap_or_default(),
        None => host,
    };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default(),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |text: &str| {
        let digits = text.strip_prefix(':').unwrap_or_default();
        digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    };
    (port.is_empty() || is_port(port)).then_some(name)
}

/// Whether a name in a `Host` means this machine.
///
/// A DNS rebinding attack needs a name that the attacker controls; an IP address cannot be rebound.
fn names_this_machine(name: &str, bound: IpAddr) -> bool {
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    name.parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_loopback() || ip == bound || bound.is_unspecified())
}

const METHOD: Refusal = Refusal {
    status: StatusCode::METHOD_NOT_ALLOWED,
    code: "MethodNotAllowed",
    message: "this method is not supported here; use one that the Allow header lists",
};

const REMOTE: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "RemoteRefused",
    message: "the request comes from another machine; credentials are for programs on this one, unless serve.allow_remote is set",
};

const CALLER: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "CallerRefused",
    message: "the user of this program is not in serve.allow_uids, which under `exec --metadata` has by default the user of exec only; list there every uid that is to be served, or run the program as another user",
};

const UNKNOWN_CALLER: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "CallerRefused",
    message: "serve.allow_uids is set, and the kernel does not know the owner of this connection; connect from this machine, and keep the connection open",
};

const BROWSER: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "BrowserRefused",
    message: "the request is a browser's, by its Origin, its Sec-Fetch-Site or a User-Agent that begins with Mozilla/, and web pages get no credentials; a program must send another User-Agent (PowerShell: -UserAgent)",
};

const PAGE: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "BrowserRefused",
    message: "another web page asks for this one, by its Origin or Sec-Fetch-Site; open the address itself",
};

const FORWARDED: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "ForwardedRefused",
    message: "the request was forwarded by a proxy; unset HTTP_PROXY for this client; if it respects NO_PROXY, add 127.0.0.1 to that instead",
};

const HOST: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "HostRefused",
    message: "the Host header does not name this machine; use the address that ram-sidecar listens on, as in ALIBABA_CLOUD_CREDENTIALS_URI",
};

const PROBE_HOST: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "HostRefused",
    message: "the Host header is neither an IP address nor localhost nor the name of this machine; use one of them, or add the name to admin.hosts (RAM_SIDECAR_ADMIN_HOSTS)",
};

/// Headers of browsers, beside those that begin with `sec-fetch-` and `sec-ch-`.
const BROWSER_HEADERS: &[&str] = &["origin", "sec-purpose", "upgrade-insecure-requests"];

/// How the `User-Agent` of browsers begins.
const BROWSER_AGENT: &[u8] = b"Mozilla/";

/// How headers begin that proxies, gateways and content delivery networks add.
const PROXY_PREFIXES: &[&str] = &[
    "x-forwarded",
    "x_forwarded",
    "x-forwarder",
    "x-original-",
    "x-envoy-",
    "cf-",
    "x-amz-cf-",
    "x-azure-",
    "x-akamai-",
    "x-appengine-",
    "x-kong-",
    "x-vercel-",
    "fastly-",
];

/// Further headers that they add.
const PROXY_HEADERS: &[&str] = &[
    "ali-cdn-real-ip",
    "cdn-loop",
    "client-ip",
    "do-connecting-ip",
    "eagleid",
    "fly-client-ip",
    "forwarded",
    "incap-client-ip",
    "max-forwards",
    "proxy-client-ip",
    "proxy-connection",
    "remote-ip",
    "slb-ip",
    "surrogate-capability",
    "true-client-ip",
    "via",
    "wl-proxy-client-ip",
    "x-amzn-trace-id",
    "x-bluecoat-via",
    "x-client-ip",
    "x-cloud-trace-context",
    "x-cluster-client-ip",
    "x-host",
    "x-http-forwarded-for",
    "x-nf-client-connection-ip",
    "x-proxy-id",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
    "x-sucuri-clientip",
    "x-true-client-ip",
    "x-varnish",
];

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn outcome(
        method: &Method,
        uri: &str,
        version: Version,
        headers: &[(&str, &str)],
    ) -> &'static str {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let rules = Rules {
            bound: IpAddr::from([127, 0, 0, 1]),
            methods: READ,
        };
        match check(&Head::of(&request.body(()).unwrap()), rules) {
            Ok(()) => "ok",
            Err(refusal) => refusal.code,
        }
    }

    #[test]
    fn hosts_of_real_clients_are_accepted_and_others_refused() {
        for (host, expected) in [
            ("127.0.0.1:7002", "ok"),
            ("127.0.0.1", "ok"),
            ("localhost:7002", "ok"),
            ("LOCALHOST", "ok"),
            ("[::1]:7002", "ok"),
            ("[::1]", "ok"),
            ("127.8.8.8:80", "ok"),
            ("http://127.0.0.1:7002/api/v1/credentials/0", "ok"),
            ("evil.example", "HostRefused"),
            ("127.0.0.1.evil.example:7002", "HostRefused"),
            ("localhost.evil.example", "HostRefused"),
            ("http://evil.example/127.0.0.1", "HostRefused"),
            ("10.0.0.5:7002", "HostRefused"),
            ("", "HostRefused"),
            ("[::1", "HostRefused"),
            ("[fe80::1]", "HostRefused"),
            ("[::1]evil", "HostRefused"),
            ("[::1]@evil", "HostRefused"),
            ("127.0.0.1:x", "HostRefused"),
            ("127.0.0.1:", "HostRefused"),
            ("127.0.0.1:99999", "HostRefused"),
            ("localhost:7002:9", "HostRefused"),
            ("localhost/evil", "HostRefused"),
            ("ftp://localhost", "HostRefused"),
        ] {
            assert_eq!(
                outcome(&Method::GET, "/x", Version::HTTP_11, &[("host", host)]),
                expected,
                "{host}"
            );
        }
    }

    #[test]
    fn listener_beyond_loopback_accepts_only_its_own_address() {
        let own: IpAddr = [10, 0, 0, 5].into();
        assert!(names_this_machine("10.0.0.5", own));
        assert!(!names_this_machine("10.0.0.6", own));
        let any: IpAddr = [0, 0, 0, 0].into();
        assert!(names_this_machine("10.0.0.6", any));
        assert!(!names_this_machine("evil.example", any));
    }

    #[test]
    fn web_pages_and_proxies_are_refused() {
        let host = ("host", "127.0.0.1");
        let get = |headers: &[_]| outcome(&Method::GET, "/x", Version::HTTP_11, headers);
        assert_eq!(get(&[host, ("origin", "null")]), "BrowserRefused");
        for (name, value, expected) in [
            ("sec-fetch-site", "none", "BrowserRefused"),
            ("sec-fetch-dest", "image", "BrowserRefused"),
            ("sec-fetch-user", "?1", "BrowserRefused"),
            ("sec-fetch-mode", "cors", "ok"),
            ("sec-ch-ua", "x", "BrowserRefused"),
            ("upgrade-insecure-requests", "1", "BrowserRefused"),
            ("user-agent", "mozilla/5.0", "BrowserRefused"),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64)",
                "BrowserRefused",
            ),
            (
                "user-agent",
                "AlibabaCloud (linux; amd64) Python/3.11",
                "ok",
            ),
            ("user-agent", "curl/8.5.0 (not Mozilla/5.0)", "ok"),
        ] {
            assert_eq!(get(&[host, (name, value)]), expected, "{name}: {value}");
        }
        assert_eq!(
            get(&[host, ("x-forwarded-for", "1.2.3.4")]),
            "ForwardedRefused"
        );
        assert_eq!(
            get(&[host, ("forwarded", "for=1.2.3.4")]),
            "ForwardedRefused"
        );
        let named = [
            "via",
            "x-forwarded",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-envoy-external-address",
            "cf-connecting-ip",
            "fastly-client-ip",
        ];
        for proxy in named.iter().chain(PROXY_HEADERS) {
            assert_eq!(get(&[host, (proxy, "x")]), "ForwardedRefused", "{proxy}");
        }
        for header in [
            "traceparent",
            "x-request-id",
            "amz-sdk-request",
            "x-acs-version",
        ] {
            assert_eq!(get(&[host, (header, "x")]), "ok", "{header}");
        }
        assert_eq!(get(&[host, ("host", "evil.example")]), "HostRefused");
        assert_eq!(get(&[]), "HostRefused");
        assert_eq!(outcome(&Method::GET, "/x", Version::HTTP_10, &[]), "ok");
        assert_eq!(
            outcome(&Method::POST, "/x", Version::HTTP_11, &[host]),
            "MethodNotAllowed"
        );
    }

    #[test]
    fn probes_accept_addresses_and_configured_names_but_no_other() {
        let names = ["trainer-0".to_owned(), "probe.example".to_owned()];
        for (host, is_accepted) in [
            (None, true),
            (Some("10.0.0.5:7003"), true),
            (Some("[fd00::5]:7003"), true),
            (Some("localhost"), true),
            (Some("Trainer-0:7003"), true),
            (Some("probe.example"), true),
            (Some("evil.example:7003"), false),
            (Some("probe.example.evil.example"), false),
            (Some("10.0.0.5.nip.io"), false),
            (Some("10.0.0.5:x"), false),
            (Some(""), false),
        ] {
            let mut request = Request::builder().uri("/ready");
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let checked = check_probe(&request.body(()).unwrap(), &names);
            assert_eq!(checked.is_ok(), is_accepted, "{host:?}");
        }
    }

    #[test]
    fn a_browser_sees_the_status_by_its_own_address_only() {
        for (host, header, code) in [
            ("127.0.0.1:7003", None, "ok"),
            ("localhost:7003", None, "ok"),
            ("[::1]:7003", Some(("sec-fetch-site", "none")), "ok"),
            (
                "127.0.0.1:7003",
                Some(("sec-fetch-site", "same-origin")),
                "ok",
            ),
            ("127.0.0.1:7003", Some(("user-agent", "Mozilla/5.0")), "ok"),
            (
                "127.0.0.1:7003",
                Some(("sec-fetch-site", "same-site")),
                "BrowserRefused",
            ),
            (
                "127.0.0.1:7003",
                Some(("sec-fetch-site", "cross-site")),
                "BrowserRefused",
            ),
            (
                "127.0.0.1:7003",
                Some(("sec-fetch-site", "")),
                "BrowserRefused",
            ),
            ("127.0.0.1:7003", Some(("origin", "null")), "BrowserRefused"),
            (
                "127.0.0.1:7003",
                Some(("x-forwarded-for", "10.0.0.1")),
                "ForwardedRefused",
            ),
            ("rebound.example:7003", None, "HostRefused"),
            ("10.0.0.7:7003", None, "HostRefused"),
        ] {
            let mut request = Request::builder().uri("/").header("host", host);
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let checked = check_page(&request.body(()).unwrap(), Ipv4Addr::LOCALHOST.into());
            let found = checked.map_or_else(|refusal| refusal.code, |()| "ok");
            assert_eq!(found, code, "{host} {header:?}");
        }
    }

    #[test]
    fn callers_are_checked_by_machine_and_user() {
        let uids = [0, 1000];
        for (is_local, uid, allow_remote, allow_uids, code) in [
            (true, None, false, None, None),
            (true, Some(7), false, None, None),
            (false, None, false, None, Some("RemoteRefused")),
            (false, None, true, None, None),
            (true, Some(1000), false, Some(&uids[..]), None),
            (true, Some(7), false, Some(&uids), Some("CallerRefused")),
            (true, None, false, Some(&uids), Some("CallerRefused")),
            (false, None, true, Some(&uids), Some("CallerRefused")),
            (false, Some(0), false, Some(&uids), Some("RemoteRefused")),
            (true, Some(0), false, Some(&[]), Some("CallerRefused")),
        ] {
            let admitted = admit(is_local, uid, allow_remote, allow_uids);
            let found = admitted.err().map(|refusal| refusal.code);
            assert_eq!(
                found, code,
                "{is_local} {uid:?} {allow_remote} {allow_uids:?}"
            );
        }
    }

    #[test]
    fn the_authority_of_an_absolute_target_is_checked_too() {
        let outcome = |uri| {
            outcome(
                &Method::GET,
                uri,
                Version::HTTP_11,
                &[("host", "127.0.0.1")],
            )
        };
        assert_eq!(outcome("http://127.0.0.1:7002/x?y=1"), "ok");
        assert_eq!(outcome("http://evil.example/x"), "HostRefused");
        assert_eq!(outcome("http://127.0.0.1:PUT7002/x"), "HostRefused");
        assert_eq!(outcome("http://user@127.0.0.1:7002/x"), "ok");
        assert_eq!(
            outcome("http://127.0.0.1:7002@evil.example/x"),
            "HostRefused"
        );
    }
}
