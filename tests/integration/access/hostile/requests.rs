//! The table of hostile requests, and what each gets.

use super::super::Dialect;

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Credentials.
    Served,
    /// 200 and no body.
    Empty,
    /// A status and a code, as JSON.
    Refused(u16, &'static str),
    /// The HTTP library refuses what it cannot read, with a status and no body.
    Unread(u16),
}

use Verdict::{Empty, Refused, Served, Unread};

const BROWSER: Verdict = Refused(403, "BrowserRefused");
const PROXY: Verdict = Refused(403, "ForwardedRefused");
const HOST: Verdict = Refused(403, "HostRefused");
const METHOD: Verdict = Refused(405, "MethodNotAllowed");
const NOWHERE: Verdict = Refused(404, "NotFound");

/// Values of `Host`. ADDRESS stands for that of the listener, PORT for its port.
const HOSTS: &[(&str, Verdict)] = &[
    ("ADDRESS", Served),
    ("localhost:PORT", Served),
    // Rebound names.
    ("evil.example", HOST),
    ("localhost.evil.example:PORT", HOST),
    ("127.0.0.1.nip.io", HOST),
    ("7f000001.rbndr.us:PORT", HOST),
    ("ip6-localhost", HOST),
    ("localhost.", HOST),
    ("127.0.0.1.", HOST),
    // Other spellings of the address, which resolvers take and browsers rewrite.
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
    // Something before or behind it.
    ("127.0.0.1@evil.example", HOST),
    ("evil@127.0.0.1", HOST),
    ("http://127.0.0.1@evil.example/", HOST),
    ("http://evil.example/127.0.0.1", HOST),
    ("127.0.0.1, evil.example", HOST),
    ("127.0.0.1#evil.example", HOST),
    ("", HOST),
    ("\u{ff}", HOST),
];

/// Lines beside a good request.
const HEADERS: &[(&str, Verdict)] = &[
    ("Host: 127.0.0.1\r\n", HOST),
    ("hOsT: evil.example\r\n", HOST),
    // Pages.
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
    // Proxies.
    ("X-Forwarded-For: 10.0.0.1\r\n", PROXY),
    ("x-forwarded-for:\r\n", PROXY),
    ("Forwarded: for=10.0.0.1\r\n", PROXY),
    // Bodies: nobody reads them, and the connection is closed after the answer.
    ("Content-Length: 10000000000\r\n", Served),
    ("Transfer-Encoding: chunked\r\n", Served),
    (
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        Served,
    ),
    ("Expect: 100-continue\r\nContent-Length: 5\r\n", Served),
    ("Content-Length: -1\r\n", Unread(400)),
    ("Content-Length: 18446744073709551616\r\n", Unread(400)),
    ("Content-Length: 1\r\nContent-Length: 2\r\n", Unread(400)),
    ("Transfer-Encoding: gzip\r\n", Unread(400)),
    // Other protocols are not switched to.
    (
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        Served,
    ),
    (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        Served,
    ),
    // What is no header.
    ("X: folded\r\n line\r\n", Unread(400)),
    ("X y: a\r\n", Unread(400)),
    ("X : a\r\n", Unread(400)),
    ("Host : evil.example\r\n", Unread(400)),
    (": a\r\n", Unread(400)),
    ("X\r\n", Unread(400)),
    ("X: a\0b\r\n", Unread(400)),
    ("X: a\rb\r\n", Unread(400)),
    ("X: \u{1b}[2J\r\n", Unread(400)),
    ("X: \u{ff}\u{fe}\r\n", Served),
];

const METHODS: &[(&str, Verdict)] = &[
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
    ("G,T", Unread(400)),
    ("G\u{ff}T", Unread(400)),
];

/// Targets. PATH stands for that of the credentials, DIR and LAST for its parts, CODED for LAST with a `%`.
const TARGETS: &[(&str, Verdict)] = &[
    ("PATH?x=1", Served),
    ("PATH?", Served),
    ("PATH#fragment", Served),
    ("/PATH", NOWHERE),
    ("/x/..PATH", NOWHERE),
    ("/.PATH", NOWHERE),
    ("/%2ePATH", NOWHERE),
    ("/%2e%2ePATH", NOWHERE),
    ("DIR../LAST", NOWHERE),
    ("DIR/LAST", NOWHERE),
    ("DIRCODED", NOWHERE),
    ("DIR%2FLAST", NOWHERE),
    ("PATH/", NOWHERE),
    ("PATH/.", NOWHERE),
    ("PATH;x", NOWHERE),
    ("PATH%00", NOWHERE),
    ("PATH%0d%0aX:1", NOWHERE),
    ("PATHLAST", NOWHERE),
    ("/", NOWHERE),
    ("/?PATH", NOWHERE),
    ("/#PATH", NOWHERE),
    ("PATH\u{c3}\u{a9}", NOWHERE),
    ("PATH\u{e9}", Unread(400)),
    ("*", NOWHERE),
    ("ADDRESS", NOWHERE),
    ("PATH ", Unread(400)),
    ("PATH\t", Unread(400)),
    ("PATH\0", Unread(400)),
    ("\\PATH", Unread(400)),
    ("", Unread(400)),
    // With an authority, as to a proxy.
    ("http://ADDRESSPATH", Served),
    ("http://user:word@ADDRESSPATH", Served),
    ("http://evil.examplePATH", HOST),
    ("http://evil.example:PORTPATH", HOST),
    ("http://127.0.0.1@evil.examplePATH", HOST),
    ("http://localhost.evil.examplePATH", HOST),
    ("http://2130706433PATH", HOST),
];

/// Everything else.
const WHOLE: &[(&str, Verdict)] = &[
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
    ("GET PATH\r\n", Unread(400)),
    ("GET PATH\r\n\r\n", Unread(400)),
    ("GET PATH HTTP/0.9\r\nHost: ADDRESS\r\n\r\n", Unread(400)),
    ("GET PATH HTTP/1.2\r\nHost: ADDRESS\r\n\r\n", Unread(400)),
    ("GET PATH HTTP/2.0\r\nHost: ADDRESS\r\n\r\n", Unread(400)),
    ("GET PATH http/1.1\r\nHost: ADDRESS\r\n\r\n", Unread(400)),
    (
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
        Unread(400),
    ),
    // Other white space.
    ("\r\n\r\nGET PATH HTTP/1.1\r\nHost: ADDRESS\r\n\r\n", Served),
    ("GET PATH HTTP/1.1\nHost: ADDRESS\n\n", Served),
    ("GET PATH HTTP/1.1\nHost: evil.example\n\n", HOST),
    ("GET PATH HTTP/1.1\rHost: ADDRESS\r\r", Unread(400)),
    ("GET  PATH HTTP/1.1\r\nHost: ADDRESS\r\n\r\n", Unread(400)),
    ("GET\tPATH\tHTTP/1.1\r\nHost: ADDRESS\r\n\r\n", Unread(400)),
    (" GET PATH HTTP/1.1\r\nHost: ADDRESS\r\n\r\n", Unread(400)),
    ("GET PATH HTTP/1.1\r\n Host: ADDRESS\r\n\r\n", Unread(400)),
    // No HTTP at all.
    (
        "\u{16}\u{3}\u{1}\0\u{c8}\u{1}\0\0\u{c4}\u{3}\u{3}PATH\r\n\r\n",
        Unread(400),
    ),
    ("\0\0\0\0\0\0\0\0\r\n\r\n", Unread(400)),
    ("\u{ff}\u{fe}\u{fd}\r\n\r\n", Unread(400)),
    ("*1\r\n$4\r\nPING\r\n", Unread(400)),
];

/// Returns what every request is called, its bytes, and what it gets.
pub(super) fn requests(dialect: &Dialect) -> Vec<(String, Vec<u8>, Verdict)> {
    let mut all = Vec::new();
    let mut add = |text: String, verdict| {
        let request = filled(&text, dialect);
        all.push((text, request, verdict));
    };
    for (host, verdict) in HOSTS {
        add(
            format!("GET PATH HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            *verdict,
        );
    }
    for (lines, verdict) in HEADERS {
        add(
            format!("GET PATH HTTP/1.1\r\nHost: ADDRESS\r\n{lines}\r\n"),
            *verdict,
        );
    }
    for (method, verdict) in METHODS {
        add(
            format!("{method} PATH HTTP/1.1\r\nHost: ADDRESS\r\n\r\n"),
            *verdict,
        );
    }
    for (target, verdict) in TARGETS {
        add(
            format!("GET {target} HTTP/1.1\r\nHost: ADDRESS\r\n\r\n"),
            *verdict,
        );
    }
    for (request, verdict) in WHOLE {
        add((*request).to_owned(), *verdict);
    }
    for (headers, verdict) in [(98, Served), (200, Unread(431)), (5000, Unread(431))] {
        let lines = "X: 1\r\n".repeat(headers);
        add(
            format!("GET PATH HTTP/1.1\r\nHost: ADDRESS\r\n{lines}\r\n"),
            verdict,
        );
    }
    for (bytes, header, target) in [
        (8_000, Served, NOWHERE),
        (20_000, Unread(431), Unread(431)),
        (2_000_000, Unread(431), Unread(431)),
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
    for (what, _, _) in &mut all {
        *what = what.chars().take(120).collect();
    }
    all
}

/// Puts in what the words in capitals stand for; every character is one byte.
fn filled(text: &str, dialect: &Dialect) -> Vec<u8> {
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
