//! The client of the tests: its own RPC signer and HTTP client.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha1::Sha1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::credentials::timestamp;
use crate::sandbox::random::Random;
use crate::sandbox::{AccessKey, Options, Sandbox};

/// A parsed response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the string at a JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> String {
        let json = self.json();
        let value = json.pointer(pointer).and_then(Value::as_str);
        value
            .unwrap_or_else(|| panic!("no {pointer} in {json}"))
            .to_owned()
    }

    /// Returns status and code; the code of a success is `ok`.
    pub(crate) fn outcome(&self) -> (u16, String) {
        let code = self.json()["Code"].as_str().unwrap_or("ok").to_owned();
        (self.status, code)
    }
}

/// One request of an action, signed unless it is anonymous.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    params: BTreeMap<String, String>,
    secret: Option<SecretString>,
    in_body: bool,
}

pub(crate) async fn start() -> Sandbox {
    Sandbox::start(Options::default()).await.unwrap()
}

/// Returns a valid call of the RAM user.
pub(crate) fn call(sandbox: &Sandbox, action: &str) -> Request {
    let now = timestamp(sandbox.clock().now().wall);
    let nonce = Random::seeded().unwrap().uuid();
    let request = Request {
        method: "GET",
        params: BTreeMap::new(),
        secret: None,
        in_body: false,
    }
    .with("Action", action)
    .with("Version", "2015-04-01")
    .with("Format", "JSON")
    .with("SignatureMethod", "HMAC-SHA1")
    .with("SignatureVersion", "1.0")
    .with("SignatureNonce", &nonce)
    .with("Timestamp", &now)
    .signed_with(&sandbox.access_key());
    if action == "AssumeRole" {
        request
            .with("RoleArn", &sandbox.role_arn())
            .with("RoleSessionName", "session")
    } else {
        request
    }
}

/// Returns an anonymous call, which is valid if the token is.
pub(crate) fn oidc_call(sandbox: &Sandbox, token: &str) -> Request {
    Request {
        method: "POST",
        params: BTreeMap::new(),
        secret: None,
        in_body: true,
    }
    .with("Action", "AssumeRoleWithOIDC")
    .with("Version", "2015-04-01")
    .with("RoleArn", &sandbox.role_arn())
    .with("RoleSessionName", "session")
    .with("OIDCProviderArn", &sandbox.oidc_provider_arn())
    .with("OIDCToken", token)
}

impl Request {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.params.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.params.remove(name);
        self
    }

    pub(crate) fn signed_with(mut self, key: &AccessKey) -> Self {
        self.secret = Some(key.secret.clone());
        self.with("AccessKeyId", &key.id)
    }

    /// Signs with the credentials of a response.
    pub(crate) fn by_session(self, reply: &Reply) -> Self {
        let key = AccessKey {
            id: reply.at("/Credentials/AccessKeyId"),
            secret: reply.at("/Credentials/AccessKeySecret").into(),
        };
        self.signed_with(&key)
            .with("SecurityToken", &reply.at("/Credentials/SecurityToken"))
    }

    pub(crate) fn posted(mut self, in_body: bool) -> Self {
        self.method = "POST";
        self.in_body = in_body;
        self
    }

    /// Sends the request as it is, with its `Signature` if it has one.
    pub(crate) async fn send_unsigned(&self, sandbox: &Sandbox) -> Reply {
        let (method, form) = (self.method, self.form());
        let raw = if self.in_body {
            let length = form.len();
            format!(
                "{method} / HTTP/1.1\r\nHost: sts\r\nContent-Length: {length}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
            )
        } else {
            format!("{method} /?{form} HTTP/1.1\r\nHost: sts\r\nContent-Length: 0\r\n\r\n")
        };
        send(sandbox, raw.as_bytes()).await
    }

    pub(crate) async fn send(&self, sandbox: &Sandbox) -> Reply {
        let Some(secret) = &self.secret else {
            return self.send_unsigned(sandbox).await;
        };
        let text = self.string_to_sign();
        let key = format!("{}&", secret.expose_secret());
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        self.clone()
            .with("Signature", &signature)
            .send_unsigned(sandbox)
            .await
    }

    pub(crate) fn string_to_sign(&self) -> String {
        format!("{}&%2F&{}", self.method, escape(&self.form()))
    }

    fn form(&self) -> String {
        let pairs = self
            .params
            .iter()
            .map(|(k, v)| format!("{}={}", escape(k), escape(v)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

pub(crate) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into());
            }
            _ => write!(escaped, "%{byte:02X}").unwrap(),
        }
        escaped
    })
}

/// Sends bytes on a new connection, and parses the response.
pub(crate) async fn send(sandbox: &Sandbox, raw: &[u8]) -> Reply {
    let received = exchange(sandbox, raw).await;
    let text = String::from_utf8(received).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {text:?}"));
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Reply {
        status,
        headers,
        body: body.to_owned(),
    }
}

/// Sends bytes, and returns those of the response; empty if there is none.
pub(crate) async fn exchange(sandbox: &Sandbox, raw: &[u8]) -> Vec<u8> {
    let mut stream = connect(sandbox).await;
    // The server may have responded and closed the connection before everything is written.
    let _ = stream.write_all(raw).await;
    let mut received = Vec::new();
    while !is_complete(&received) {
        if !matches!(stream.read_buf(&mut received).await, Ok(1..)) {
            break;
        }
    }
    received
}

pub(crate) async fn connect(sandbox: &Sandbox) -> TcpStream {
    let endpoint = sandbox.endpoint();
    TcpStream::connect(endpoint.strip_prefix("http://").unwrap())
        .await
        .unwrap()
}

fn is_complete(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}
