//! Another server of credentials: PAI's own, or a second ram-sidecar.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::failure::diagnosis;
use crate::failure::{Failure, OwnCode, Stage, chain, redact};
use crate::http::address;
use crate::http::client::{self, Call, Outbound};
use crate::http::response::Answer;
use crate::time::clock::Clock;

use super::Proof;
use super::document::Document;

/// The server, by its address.
#[derive(Debug)]
pub struct CredentialsUri {
    /// Its path may be a secret.
    url: SecretString,
    host: String,
    loopback: bool,
    port: u16,
    /// The certificate authorities to trust, instead of the bundled ones.
    pub roots: Option<Vec<CertificateDer<'static>>>,
    client: Option<Outbound>,
}

impl CredentialsUri {
    /// Parses an address: `http://` on loopback, or `https://`.
    ///
    /// Refuses everything else with the reason, and without repeating the address: the answer is a secret, and so may
    /// be the path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!("it is no address ({error}); write it like http://127.0.0.1:7002/api/v1/credentials/0")
        })?;
        let loopback = address::is_loopback(&url) || url.host_str() == Some("localhost");
        address::check(&url, loopback).map_err(|error| error.to_string())?;
        let host = address::host_and_port(&url).unwrap_or_default();
        Ok(Self {
            host,
            loopback,
            port: url.port_or_known_default().unwrap_or_default(),
            url: String::from(url).into(),
            roots: None,
            client: None,
        })
    }

    /// Returns the port, if the server is on this machine.
    pub fn loopback_port(&self) -> Option<u16> {
        self.loopback.then_some(self.port)
    }

    /// Asks through this client, instead of one of its own.
    #[must_use]
    pub fn through(mut self, client: Outbound) -> Self {
        self.client = Some(client);
        self
    }

    pub(super) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// Asks once. Cancel safe.
    pub async fn proof(&mut self, clock: &Clock) -> Result<Proof, Failure> {
        let asked_at = clock.now();
        let answer = self.ask().await?;
        let refusal = Refusal::read(&answer.body);
        if answer.status != 200 || refusal.is_some() {
            return Err(self.refused(&answer, refusal));
        }
        let document = Document::read(&answer.body).map_err(|reason| {
            let message = format!("{} answered HTTP 200, but {reason}", self.host);
            Failure::new(Stage::Answer, OwnCode::CredentialsUriUnusable, message)
        })?;
        // Two processes of one machine go by one clock.
        let date = answer.date.filter(|_| !self.loopback);
        document.proof(asked_at, date, &self.host)
    }

    /// Returns the pieces of the address that may be secrets, as written and decoded. Short ones, and the usual one, are
    /// none, and stand in many a sentence.
    fn pieces(&self) -> Vec<Zeroizing<String>> {
        let url = self.url.expose_secret();
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let pieces = path.split(['/', '?', '&', '=', '#']);
        let telling = pieces.filter(|piece| piece.len() >= 8 && *piece != "credentials");
        let both = |piece: &str| {
            let decoded = percent_decode_str(piece).decode_utf8_lossy().into_owned();
            [Zeroizing::new(piece.to_owned()), Zeroizing::new(decoded)]
        };
        telling.flat_map(both).collect()
    }

    async fn ask(&mut self) -> Result<Answer, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let options = client::Options {
                    roots: self.roots.clone(),
                    direct: self.loopback,
                    ..client::Options::default()
                };
                none.insert(Outbound::new(options).map_err(|error| {
                    Failure::new(Stage::Transport, OwnCode::RequestFailed, chain(&error))
                })?)
            }
        };
        let call = Call {
            method: Method::GET,
            url: self.url.expose_secret(),
            headers: &[],
            form: None,
        };
        client.call(call).await
    }

    /// Repeats what the server says: it knows better than anyone what is wrong.
    fn refused(&self, answer: &Answer, refusal: Option<Refusal>) -> Failure {
        let (host, status) = (&self.host, answer.status);
        let told = refusal.map(|Refusal { code, message }| {
            let message = message.unwrap_or_default();
            let pieces = self.pieces();
            let secrets: Vec<&str> = pieces.iter().map(|piece| piece.as_str()).collect();
            format!(
                "{}: {}",
                redact(&code, &secrets),
                redact(&message, &secrets)
            )
        });
        let told = told.unwrap_or_else(|| "no JSON that says why".to_owned());
        let message = format!("{host} answered HTTP {status} with {told}");
        let mut failure = Failure::new(Stage::Identity, OwnCode::CredentialsUriRefused, message);
        failure.retry_after = answer.retry_after;
        diagnosis::not_passed(failure)
    }
}

/// What a server says instead of credentials, whatever its HTTP status.
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

/// A call, which is bounded by itself.
pub(super) const TIMEOUT: Duration = client::TOTAL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_part_of_the_url_is_redacted_in_messages_of_the_server() {
        for (address, told) in [
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
            let answer = Answer {
                status: 404,
                date: None,
                retry_after: None,
                request_id: None,
                body: Zeroizing::new(Vec::new()),
            };
            let refusal = Refusal {
                code: "NotFound".to_owned(),
                message: Some(told.to_owned()),
            };
            let failure = uri.refused(&answer, Some(refusal));
            assert!(!failure.to_string().contains("planted"), "{failure}");
        }
    }

    #[test]
    fn only_local_or_encrypted_servers_are_accepted() {
        for (good, port) in [
            ("http://localhost:7002/api/v1/credentials/0", Some(7002)),
            ("http://127.0.0.1:7002/x", Some(7002)),
            ("http://[::1]/x", Some(80)),
            ("https://credentials.example/x?y=z", None),
        ] {
            assert_eq!(CredentialsUri::parse(good).unwrap().loopback_port(), port);
        }
        for (bad, reason) in [
            ("", "no address"),
            ("127.0.0.1:7002", "no address"),
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
