//! An HTTP client that sends one request, and returns the response as it is.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A response.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// The status; 0 if the connection was closed without a response.
    pub(crate) status: u16,
    /// The headers, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// Returns the value of a header, which must not occur twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} occurs twice in {self:?}");
        value
    }

    /// Returns a string of the JSON body.
    pub(crate) fn text(&self, name: &str) -> String {
        let json: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let text = json[name].as_str();
        text.unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_owned()
    }
}

/// Requests a path as an SDK does.
pub(crate) fn get(address: SocketAddr, path: &str) -> Reply {
    raw(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    )
}

/// Sends bytes, and reads the response until the server closes.
pub(crate) fn raw(address: SocketAddr, request: &str) -> Reply {
    received(send(address, request))
}

/// Sends bytes.
pub(crate) fn send(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(TIMEOUT))
        .expect("a timeout above zero");
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    stream
}

/// Reads a response until the server closes.
pub(crate) fn received(mut stream: TcpStream) -> Reply {
    let mut received = Vec::new();
    // A response may be followed by a reset.
    let _ = stream.read_to_end(&mut received);
    parse(&String::from_utf8(received).expect("responses are text"))
}

/// Parses a response.
pub(crate) fn parse(received: &str) -> Reply {
    let Some((head, body)) = received.split_once("\r\n\r\n") else {
        return Reply::default();
    };
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default();
    let headers = lines.filter_map(|line| line.split_once(": "));
    Reply {
        status: status.parse().expect("a status is a number"),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

/// Longer than the limit of the daemon for a connection.
const TIMEOUT: Duration = Duration::from_secs(20);
