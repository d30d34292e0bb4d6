//! The table of hostile requests, and their outcomes.

use super::super::Dialect;

/// The expected response to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Credentials.
    Served,
    /// Status 200 without a body.
    Empty,
    /// A refusal with a status, and a code in a JSON body.
    Refused(u16, &'static str),
    /// A refusal by the HTTP library, which cannot parse the request: a status without a body.
    Malformed(u16),
}

use Outcome::{Empty, Malformed, Refused, Served};

const BROWSER: Outcome = Refused(403, "BrowserRefused");
const PROXY: Outcome = Refused(403, "ForwardedRefused");
const HOST: Outcome = Refused(403, "HostRefused");
const METHOD: Outcome = Refused(405, "MethodNotAllowed");
const NOT_FOUND: Outcome = Refused(404, "NotFound");

/// Values of `Host`. ADDRESS stands for the address of the listener, PORT for its port.
const HOSTS: &[(&str, Outcome)] = &[
    ("ADDRESS", Served),
    ("localhost:PORT", Served),
    // Names of DNS rebinding.
    ("evil.example", HOST),
    ("localhost.evil.example:PORT", HOST),
    ("127.0.0.1.nip.io", HOST),
    ("7f000001.rbndr.us:PORT", HOST),
    ("ip6-localhost", HOST),
    ("localhost.", HOST),
    ("127.0.0.1.", HOST),
    // Other spellings of the address, which resolvers accept and browsers rewrite.
    ("2130706433", HOST),
    ("017700000001", HOST),
    ("0x7f000001", HOST),
    ("0177.0.0.1", HOST),
    ("0x7f.0.0.1", HOST),
    ("127.1", HOST),
    ("127.000.000.001", HOST),
    // Other addresses.
    ("0.0.0.0:PORT", HOST),
    ("[::]:PORT", HOST),
    // Text before or after the address.
    ("127.0.0.1@evil.example", HOST),
    ("evil@127.0.0.1", HOST),
    ("http://127.0.0.1@evil.example/", HOST),
    ("http://evil.example/127.0.0.1", HOST),
    ("127.0.0.1, evil.example", HOST),
    ("127.0.0.1#evil.example", HOST),
    ("", HOST),
    ("\u{ff}", HOST),
];

/// Headers that are added to a valid request.
const HEADERS: &[(&str, Outcome)] = &[
    ("Host: 127.0.0.1\r\n", HOST),
    ("hOsT: evil.example\r\n", HOST),
    // Web pages.
    ("Origin: null\r\n", BROWSER),
    ("Origin: http://ADDRESS\r\n", BROWSER),
    ("Origin: http://evil.example\r\n", BROWSER),
    ("ORIGIN:\r\n", BROWSER),
    ("Sec-Fetch-Site: none\r\n", BROWSER),
    (
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        BROWSER,
    ),
    (
        "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
        BROWSER,
    ),
    ("Sec-Fetch-User: ?1\r\n", BROWSER),
    (
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n",
        BROWSER,
    ),
    // Node's fetch.
    ("Sec-Fetch-Mode: cors\r\nUser-Agent: node\r\n", Served),
    // Proxies.
    ("X-Forwarded-For: 10.0.0.1\r\n", PROXY),
    ("x-forwarded-for:\r\n", PROXY),
    ("Forwarded: for=10.0.0.1\r\n", PROXY),
    ("CF-Connecting-IP: 10.0.0.1\r\n", PROXY),
    ("Proxy-Connection: Keep-Alive\r\n", PROXY),
    // Bodies are not read, and the connection is closed after the response.
    ("Content-Length: 10000000000\r\n", Served),
    ("Transfer-Encoding: chunked\r\n", Served),
    (
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        Served,
    ),
    ("Expect: 100-continue\r\nContent-Length: 5\r\n", Served),
    ("Content-Length: -1\r\n", Malformed(400)),
    ("Content-Length: 18446744073709551616\r\n", Malformed(400)),
    ("Content-Length: 1\r\nContent-Length: 2\r\n", Malformed(400)),
    ("Transfer-Encoding: gzip\r\n", Malformed(400)),
    // An upgrade to another protocol is ignored.
    (
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        Served,
    ),
    (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        Served,
    ),
    // Malformed headers, and one with bytes beyond ASCII.
    ("X: folded\r\n line\r\n", Malformed(400)),
    ("X y: a\r\n", Malformed(400)),
    ("X : a\r\n", Malformed(400)),
    ("Host : evil.example\r\n", Malformed(400)),
    (": a\r\n", Malformed(400)),
    ("X\r\n", Malformed(400)),
    ("X: a\0b\r\n", Malformed(400)),
    ("X: a\rb\r\n", Malformed(400)),
    ("X: \u{1b}[2J\r\n", Malformed(400)),
    ("X: \u{ff}\u{fe}\r\n", Served),
];

const METHODS: &[(&str, Outcome)] = &[
    ("HEAD", Empty),
    ("POST", METHOD),
    ("PUT", METHOD),
    ("DELETE", METHOD),
    ("PATCH", METHOD),
    ("TRACE", METHOD),
    ("OPTIONS", METHOD),
    ("CONNECT", METHOD),
    ("BREW", METHOD),
    ("get", METHOD),
    ("G,T", Malformed(400)),
    ("G\u{ff}T", Malformed(400)),
];

/// Request targets. PATH stands for the path of the credentials, DIR and LAST for its parts, CODED for LAST with its first
/// character percent-encoded.
const TARGETS: &[(&str, Outcome)] = &[
    ("PATH?x=1", Served),
    ("PATH?", Served),
    ("PATH#fragment", Served),
    ("/PATH", NOT_FOUND),
    ("/x/..PATH", NOT_FOUND),
    ("/.PATH", NOT_FOUND),
    ("/%2ePATH", NOT_FOUND),
    ("/%2e%2ePATH", NOT_FOUND),
    ("DIR../LAST", NOT_FOUND),
    ("DIR/LAST", NOT_FOUND),
    ("DIRCODED", NOT_FOUND),
    ("DIR%2FLAST", NOT_FOUND),
    ("PATH/", NOT_FOUND),
    ("PATH/.", NOT_FOUND),
    ("PATH;x", NOT_FOUND),
    ("PATH%00", NOT_FOUND),
    ("PATH%0d%0aX:1", NOT_FOUND),
    ("PATHLAST", NOT_FOUND),
    ("/", NOT_FOUND),
    ("/?PATH", NOT_FOUND),
    ("/#PATH", NOT_FOUND),
    ("PATH\u{c3}\u{a9}", NOT_FOUND),
    ("PATH\u{e9}", Malformed(400)),
    ("*", NOT_FOUND),
    ("ADDRESS", NOT_FOUND),
    ("PATH ", Malformed(400)),
    ("PATH\t", Malformed(400)),
    ("PATH\0", Malformed(400)),
    ("\\PATH", Malformed(400)),
    ("", Malformed(400)),
    // With an authority, as in a request to a proxy.
    ("http://ADDRESSPATH", Served),
    ("http://user:word@ADDRESSPATH", Served),
    ("http://evil.examplePATH", HOST),
    ("http://evil.example:PORTPATH", HOST),
    ("http://127.0.0.1@evil.examplePATH", HOST),
    ("http://localhost.evil.examplePATH", HOST),
    ("http://2130706433PATH", HOST),
];

/// Whole requests.
const WHOLE_REQUESTS: &[(&str, Outcome)] = &[
    (
        "GET http://ADDRESSPATH HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        HOST,
    ),
    ("GET PATH HTTP/1.1\r\n\r\n", HOST),
    (
        "OPTIONS PATH HTTP/1.1\r\nHost: ADDRESS\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Private-Network: true\r\n\r\n",
        BROWSER,
    ),
    ("OPTIONS * HTTP/1.1\r\nHost: ADDRESS\r\n\r\n", METHOD),
    ("CONNECT ADDRESS HTTP/1.1\r\nHost: ADDRESS\r\n\r\n", METHOD),
    (
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
        HOST,
    ),
    // Versions.
    ("GET PATH HTTP/1.0\r\n\r\n", Served),
    ("GET PATH HTTP/1.0\r\nHost: evil.example\r\n\r\n", HOST),
    ("GET PATH\r\n", Malformed(400)),
    ("GET PATH\r\n\r\n", Malformed(400)),
    ("GET PATH HTTP/0.9\r\nHost: ADDRESS\r\n\r\n", Malformed(400)),
    ("GET PATH HTTP/1.2\r\nHost: ADDRESS\r\n\r\n", Malformed(400)),
    ("GET PATH HTTP/2.0\r\nHost: ADDRESS\r\n\r\n", Malformed(400)),
    ("GET PATH http/1.1\r\nHost: ADDRESS\r\n\r\n", Malformed(400)),
    (
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
        Malformed(400),
    ),
    // Other white space.
    ("\r\n\r\nGET PATH HTTP/1.1\r\nHost: ADDRESS\r\n\r\n", Served),
    ("GET PATH HTTP/1.1\nHost: ADDRESS\n\n", Served),
    ("GET PATH HTTP/1.1\nHost: evil.example\n\n", HOST),
    ("GET PATH HTTP/1.1\rHost: ADDRESS\r\r", Malformed(400)),
    (
        "GET  PATH HTTP/1.1\r\nHost: ADDRESS\r\n\r\n",
        Malformed(400),
    ),
    (
        "GET\tPATH\tHTTP/1.1\r\nHost: ADDRESS\r\n\r\n",
        Malformed(400),
    ),
    (
        " GET PATH HTTP/1.1\r\nHost: ADDRESS\r\n\r\n",
        Malformed(400),
    ),
    (
        "GET PATH HTTP/1.1\r\n Host: ADDRESS\r\n\r\n",
        Malformed(400),
    ),
    // Other protocols and garbage.
    (
        "\u{16}\u{3}\u{1}\0\u{c8}\u{1}\0\0\u{c4}\u{3}\u{3}PATH\r\n\r\n",
        Malformed(400),
    ),
    ("\0\0\0\0\0\0\0\0\r\n\r\n", Malformed(400)),
    ("\u{ff}\u{fe}\u{fd}\r\n\r\n", Malformed(400)),
    ("*1\r\n$4\r\nPING\r\n", Malformed(400)),
];

/// Returns the description of every request, its bytes and its expected outcome.
pub(super) fn requests(dialect: &Dialect) -> Vec<(String, Vec<u8>, Outcome)> {
    let mut all = Vec::new();
    let mut add = |text: String, outcome| {
        let request = fill(&text, dialect);
        all.push((text, request, outcome));
    };
    for (host, outcome) in HOSTS {
        add(
            format!("GET PATH HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            *outcome,
        );
    }
    for (lines, outcome) in HEADERS {
        add(
            format!("GET PATH HTTP/1.1\r\nHost: ADDRESS\r\n{lines}\r\n"),
            *outcome,
        );
    }
    for (method, outcome) in METHODS {
        add(
            format!("{method} PATH HTTP/1.1\r\nHost: ADDRESS\r\n\r\n"),
            *outcome,
        );
    }
    for (target, outcome) in TARGETS {
        add(
            format!("GET {target} HTTP/1.1\r\nHost: ADDRESS\r\n\r\n"),
            *outcome,
        );
    }
    for (request, outcome) in WHOLE_REQUESTS {
        add((*request).to_owned(), *outcome);
    }
    for (headers, outcome) in [(98, Served), (200, Malformed(431)), (5000, Malformed(431))] {
        let lines = "X: 1\r\n".repeat(headers);
        add(
            format!("GET PATH HTTP/1.1\r\nHost: ADDRESS\r\n{lines}\r\n"),
            outcome,
        );
    }
    for (bytes, header, target) in [
        (8_000, Served, NOT_FOUND),
        (20_000, Malformed(431), Malformed(431)),
        (2_000_000, Malformed(431), Malformed(431)),
    ] {
        let x = "x".repeat(bytes);
        add(
            format!("GET PATH HTTP/1.1\r\nHost: ADDRESS\r\nX: {x}\r\n\r\n"),
            header,
        );
        add(
            format!("GET PATH/{x} HTTP/1.1\r\nHost: ADDRESS\r\n\r\n"),
            target,
        );
    }
    for (description, _, _) in &mut all {
        *description = description.chars().take(120).collect();
    }
    all
}

/// Replaces the placeholders in capitals, and encodes each character as one byte.
fn fill(text: &str, dialect: &Dialect) -> Vec<u8> {
    let (first, rest) = dialect.last.split_at(1);
    let coded = format!("%{:02x}{rest}", first.as_bytes()[0]);
    let text = text
        .replace("PATH", "DIRLAST")
        .replace("DIR", dialect.prefix)
        .replace("LAST", dialect.last)
        .replace("CODED", &coded)
        .replace("ADDRESS", &dialect.address.to_string())
        .replace("PORT", &dialect.address.port().to_string());
    let byte = |character| u8::try_from(u32::from(character)).expect("Latin-1");
    text.chars().map(byte).collect()
}
