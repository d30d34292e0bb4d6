//! Requests and answers of HTTP/1.1, read by themselves: nothing here is shared with what is tested.

use std::net::IpAddr;

/// A request as it may be read by whoever knows RFC 9112 and nothing of this program.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Vec<u8>,
    /// The host of a target in absolute form.
    pub authority: Option<Vec<u8>>,
    /// Its path, as it was sent, without the query.
    pub path: Vec<u8>,
    /// Whether its version is 1.0, which needs no host.
    pub is_old: bool,
    /// Names in small letters, and values.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Request {
    /// Reads as much as makes a request; nothing if there is none.
    pub fn read(text: &[u8]) -> Option<Self> {
        let strip = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        let mut lines = text.split(|byte| *byte == b'\n').map(strip);
        let line = lines.find(|line| !line.is_empty())?;
        let mut words = line
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let (authority, target) = if target.starts_with(b"/") {
            (None, target)
        } else {
            let rest = target.windows(3).position(|w| w == b"://")?;
            let rest = &target[rest + 3..];
            let end = rest.iter().position(|b| b"/?#".contains(b));
            let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
            // A user before the host is of no account.
            let host = authority.rsplit(|byte| *byte == b'@').next()?;
            (Some(host.to_vec()), path)
        };
        let end = target.iter().position(|b| b"?#".contains(b));
        let mut headers = Vec::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            headers.push((name.to_ascii_lowercase(), value[1..].trim_ascii().to_vec()));
        }
        Some(Self {
            method: method.to_vec(),
            authority,
            path: target[..end.unwrap_or(target.len())].to_vec(),
            is_old: version == b"HTTP/1.0",
            headers,
        })
    }

    /// Reads a request that is written as every client writes it, and nothing behind it.
    pub fn plain(text: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(text.strip_suffix(b"\r\n\r\n")?).ok()?;
        let mut lines = head.split("\r\n");
        let (target, version) = lines.next()?.strip_prefix("GET /")?.split_once(' ')?;
        let is_visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        let is_known = |line: &str| {
            [
                "Host: ",
                "User-Agent: ",
                "Accept: ",
                "X-aliyun-ecs-metadata-token: ",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        };
        let mut rest = lines.clone();
        let is_plain = version == "HTTP/1.1"
            && target
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/-".contains(&b))
            && rest
                .clone()
                .filter(|line| line.starts_with("Host: "))
                .count()
                == 1
            && rest.clone().count() < 10
            && rest.all(|line| is_visible(line) && is_known(line));
        is_plain.then(|| Self::read(text))?
    }

    /// Whether it names this machine, and neither a page nor a proxy has sent it.
    pub fn comes_from_a_program(&self, own: IpAddr) -> bool {
        let is_suspicious = |name: &[u8], value: &[u8]| {
            matches!(name, b"origin" | b"sec-fetch-site" | b"sec-fetch-dest")
                || matches!(name, b"forwarded" | b"via" | b"x-real-ip")
                || name.starts_with(b"x-forwarded-")
                || (name == b"user-agent" && value.to_ascii_lowercase().starts_with(b"mozilla/"))
        };
        let hosts = || self.headers.iter().filter(|(name, _)| name == b"host");
        let names = hosts().map(|(_, host)| host).chain(&self.authority);
        let is_named = hosts().count() == 1 || self.authority.is_some() || self.is_old;
        !self
            .headers
            .iter()
            .any(|(name, value)| is_suspicious(name, value))
            && hosts().count() <= 1
            && is_named
            && names.into_iter().all(|name| is_own(name, own))
    }

    /// Returns the first value of a header.
    pub fn first(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_slice())
    }
}

/// Whether a name in a request is one of this machine, where it listens on `own`.
fn is_own(name: &[u8], own: IpAddr) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    // Swift's SDK writes the whole address.
    let name = name.strip_prefix("http://").map_or(name, |rest| {
        &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
    });
    let is_host = |host: &str| {
        host.eq_ignore_ascii_case("localhost")
            || host
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback() || ip == own)
    };
    let is_port = |port: &str| {
        let value = port.trim_start_matches('0');
        !port.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit())
            && (value.len() < 5 || (value.len() == 5 && value <= "65535"))
    };
    if let Some(rest) = name.strip_prefix('[') {
        let Some((host, port)) = rest.split_once(']') else {
            return false;
        };
        return is_host(host) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    match name.split_once(':') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(name),
    }
}

/// What the client got.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// Whether a request says that it has a body.
pub fn has_body(request: &[u8]) -> bool {
    let small = request.to_ascii_lowercase();
    let names: [&[u8]; 2] = [b"transfer-encoding", b"content-length"];
    names
        .iter()
        .any(|name| small.windows(name.len()).any(|w| w == *name))
}

/// Whether an answer has begun and not ended.
pub fn is_cut(answered: &[u8]) -> bool {
    let Some(end) = answered.windows(4).position(|w| w == b"\r\n\r\n") else {
        return !answered.is_empty();
    };
    let head = String::from_utf8_lossy(&answered[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| answered.len() < end + 4 + length)
}

/// Reads the answer; nothing if there is none. There is at most one, and it is whole.
pub fn read(answered: &[u8], request: &[u8]) -> Option<Answer> {
    if answered.is_empty() {
        return None;
    }
    let end = answered
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let head = std::str::from_utf8(&answered[..end]).expect("a head is text");
    let body = &answered[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.expect("a status");
    let headers: Vec<(String, &str)> = lines
        .map(|line| line.split_once(": ").expect("a header"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let header = |name: &str| {
        let mut found = headers.iter().filter(|(given, _)| given == name);
        let value = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "{name} twice");
        value
    };
    let length: usize = header("content-length")
        .expect("a length")
        .parse()
        .expect("a length");
    let is_head = request.trim_ascii_start().starts_with(b"HEAD ");
    assert_eq!(body.len(), if is_head { 0 } else { length }, "{head}");
    assert!(header("transfer-encoding").is_none());
    // hyper itself answers what is no request at all.
    if matches!(status, 400 | 414 | 431) && header("content-type").is_none() {
        assert_eq!(length, 0);
    } else {
        assert!(header("content-type").is_some() && length > 0, "{head}");
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("connection"), Some("close"));
        let is_json = header("content-type") == Some("application/json");
        assert!(is_head || !is_json || serde_json::from_slice::<serde_json::Value>(body).is_ok());
    }
    Some(Answer {
        status,
        body: body.to_vec(),
    })
}
