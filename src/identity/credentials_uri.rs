//! Another server of credentials: that of PAI, or a second ram-sidecar.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::failure::diagnosis;
use crate::failure::{Failure, LocalCode, Stage, redact};
use crate::http::address;
use crate::http::client::{self, Call, Client, Outbound};
use crate::http::response::Response;
use crate::time::clock::Clock;

use super::Proof;
use super::document::Document;

/// A server of credentials, by its URL.
#[derive(Debug)]
pub struct CredentialsUri {
    /// The URL, whose path may be a secret.
    url: SecretString,
    host: String,
    /// The port, if the server is on this machine.
    loopback_port: Option<u16>,
    /// How the server is called.
    pub outbound: Outbound,
    client: Option<Client>,
    /// The status and the code of the last answer.
    answer: Option<(u16, Option<String>)>,
}

impl CredentialsUri {
    /// Parses a URL: `http://` on loopback, or `https://`, because the response is a secret.
    ///
    /// The error is the reason. It does not quote the URL, whose path may be a secret too.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!("it is not a URL ({error}); write it like http://127.0.0.1:7002/api/v1/credentials/0")
        })?;
        let loopback = address::is_local(&url);
        address::check(&url, loopback).map_err(|error| error.to_string())?;
        Ok(Self {
            host: address::host_and_port(&url).unwrap_or_default(),
            loopback_port: url.port_or_known_default().filter(|_| loopback),
            url: String::from(url).into(),
            outbound: Outbound::default(),
            client: None,
            answer: None,
        })
    }

    /// Returns the port if the server is on this machine.
    pub fn loopback_port(&self) -> Option<u16> {
        self.loopback_port
    }

    /// Replaces the client that is otherwise created at the first call.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Returns the HTTP status of the last answer, and the code of its error, which may be any text.
    pub fn answer(&self) -> Option<(u16, Option<&str>)> {
        let (status, code) = self.answer.as_ref()?;
        Some((*status, code.as_deref()))
    }

    /// Returns the URL, whose path may be a secret.
    pub fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// Calls the server once. Cancel safe.
    pub async fn proof(&mut self, clock: &Clock) -> Result<Proof, Failure> {
        let requested_at = clock.now();
        self.answer = None;
        let response = self.call().await?;
        let refusal = Refusal::read(&response.body);
        let code = refusal.as_ref().map(|refusal| refusal.code.clone());
        self.answer = Some((response.status, code));
        if response.status != 200 || refusal.is_some() {
            return Err(self.refused(&response, refusal));
        }
        let document = Document::parse(&response.body).map_err(|reason| {
            let message = format!("{} answered HTTP 200, but {reason}", self.host);
            Failure::new(Stage::Answer, LocalCode::CredentialsUriUnusable, message)
        })?;
        // Processes of one machine have the same clock.
        let date = response.date.filter(|_| self.loopback_port.is_none());
        document.proof(requested_at, date, &self.host)
    }

    /// Returns the segments of the URL that may be secrets, as written and percent-decoded. `credentials` is left out:
    /// it is not secret, and occurs in ordinary sentences.
    fn segments(&self) -> Vec<Zeroizing<String>> {
        let url = self.url.expose_secret();
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let segments = path.split(['/', '?', '&', '=', '#']);
        let secret = segments.filter(|segment| *segment != "credentials");
        let both = |segment: &str| {
            let decoded = percent_decode_str(segment).decode_utf8_lossy().into_owned();
            [Zeroizing::new(segment.to_owned()), Zeroizing::new(decoded)]
        };
        secret.flat_map(both).collect()
    }

    async fn call(&mut self) -> Result<Response, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let mut outbound = self.outbound.clone();
                if self.loopback_port.is_some() {
                    outbound = outbound.direct();
                }
                let options = client::Options {
                    outbound,
                    ..client::Options::default()
                };
                none.insert(Client::new(options)?)
            }
        };
        let call = Call {
            method: Method::GET,
            url: self.url.expose_secret(),
            headers: &[],
            form: None,
        };
        client.call(call).await.map_err(|mut failure| {
            // It is not STS, whose settings the advice is about. Those of TLS and of the proxy matter here too.
            if UNREACHABLE.contains(&failure.code.as_str()) {
                failure.advice = "start the server of credentials at that address, or correct the address (ALIBABA_CLOUD_CREDENTIALS_URI, identity.credentials_uri)".into();
            }
            failure
        })
    }

    /// Quotes the error of the server, which knows the cause.
    fn refused(&self, response: &Response, refusal: Option<Refusal>) -> Failure {
        let (host, status) = (&self.host, response.status);
        let reason = refusal.map(|Refusal { code, message }| {
            let message = message.unwrap_or_default();
            let segments = self.segments();
            let secrets: Vec<&str> = segments.iter().map(|segment| segment.as_str()).collect();
            format!(
                "{}: {}",
                redact(&code, &secrets),
                redact(&message, &secrets)
            )
        });
        let (stage, code, reason) = match reason {
            Some(reason) => (
                Stage::Identity,
                LocalCode::CredentialsUriRefused,
                format!("with {reason}"),
            ),
            None => (
                Stage::Answer,
                LocalCode::CredentialsUriUnusable,
                "without the JSON of such a server".to_owned(),
            ),
        };
        let message = format!("{host} answered HTTP {status} {reason}");
        let mut failure = Failure::new(stage, code, message);
        failure.retry_after = response.retry_after;
        diagnosis::not_passed(failure)
    }
}

/// The body that a server sends instead of credentials, whatever the HTTP status.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
    message: Option<String>,
}

impl Refusal {
    fn read(body: &[u8]) -> Option<Self> {
        let refusal: Self = serde_json::from_slice(body).ok()?;
        (refusal.code != "Success").then_some(refusal)
    }
}

/// The codes of a server that cannot be reached.
const UNREACHABLE: [&str; 5] = [
    "DnsFailed",
    "ConnectionRefused",
    "ConnectFailed",
    "TimedOut",
    "RequestFailed",
];

/// The timeout of the only call.
pub(super) const TIMEOUT: Duration = client::TOTAL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_part_of_the_url_is_redacted_in_messages_of_the_server() {
        for (address, message) in [
            (
                "http://127.0.0.1/planted-key/credentials",
                "no route for /planted-key/credentials",
            ),
            (
                "http://127.0.0.1/api/v1/credentials/planted-key/",
                "planted-key is unknown",
            ),
            ("http://127.0.0.1/x?key=planted%2Bkey", "no planted+key"),
        ] {
            let uri = CredentialsUri::parse(address).unwrap();
            let response = Response {
                status: 404,
                date: None,
                retry_after: None,
                request_id: None,
                body: Zeroizing::new(Vec::new()),
            };
            let refusal = Refusal {
                code: "NotFound".to_owned(),
                message: Some(message.to_owned()),
            };
            let failure = uri.refused(&response, Some(refusal));
            assert!(!failure.to_string().contains("planted"), "{failure}");
        }
    }

    #[test]
    fn only_loopback_or_https_servers_are_accepted() {
        for (good, port) in [
            ("http://localhost:7002/api/v1/credentials/0", Some(7002)),
            ("http://127.0.0.1:7002/x", Some(7002)),
            ("http://[::1]/x", Some(80)),
            ("https://credentials.example/x?y=z", None),
        ] {
            assert_eq!(CredentialsUri::parse(good).unwrap().loopback_port(), port);
        }
        for (bad, reason) in [
            ("", "not a URL"),
            ("127.0.0.1:7002", "not a URL"),
            ("http://10.0.0.1/planted", "in the clear"),
            ("http://127.0.0.1.example/planted", "in the clear"),
            ("file:///planted", "scheme is `file`"),
            ("https://user:planted@example/", "user name"),
        ] {
            let refusal = CredentialsUri::parse(bad).unwrap_err();
            assert!(
                refusal.contains(reason) && !refusal.contains("planted"),
                "{bad}: {refusal}"
            );
        }
    }
}
