//! A client of the admin listener of a running daemon, for the commands that ask it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::ArgMatches;
use reqwest::Method;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::error;
use super::input::{input, unknown_variables};
use super::progress::Attempt;
use crate::config;
use crate::failure::{LocalCode, error_chain};
use crate::http::client::{self, Call, Client};
use crate::http::response::Response;
use crate::server::status::Report;
use crate::system::log;

/// The admin listener of a daemon.
#[derive(Debug)]
pub(super) struct Admin {
    address: SocketAddr,
    is_default: bool,
    client: Client,
}

/// Why a request to the admin listener came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nothing answers.
    #[error(
        "no ram-sidecar answers at {address} (admin.listen): {reason}; start one, or correct --admin-listen or RAM_SIDECAR_ADMIN_LISTEN"
    )]
    Unanswered {
        /// Where.
        address: SocketAddr,
        /// Why not.
        reason: String,
        /// Whether nothing listens there, and that is the default.
        is_nowhere: bool,
    },
    /// Another program answers.
    #[error(
        "what answers at {0} is not the admin listener of a ram-sidecar; correct --admin-listen or RAM_SIDECAR_ADMIN_LISTEN"
    )]
    Foreign(SocketAddr),
    /// The daemon says no.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
        /// The failed attempt that is the reason.
        attempt: Option<Attempt>,
    },
}

impl Admin {
    /// Prepares a client of the daemon whose `admin.listen` the settings name.
    pub(super) fn of(given: &ArgMatches) -> Result<Self, error::Error> {
        // There is no log, and the daemon that is asked may be another one because of them.
        for warning in unknown_variables() {
            log::print(&format!("ram-sidecar: {warning}"));
        }
        let (listen, is_default) = config::admin(&input(given, Vec::new()))?;
        let mut address = listen.ok_or_else(|| {
            error::Error::Configuration(
                "admin.listen is off, so the daemon cannot be asked; give it an address there"
                    .into(),
            )
        })?;
        // A daemon that listens on every address is asked on loopback.
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(Self {
            is_default,
            ..Self::at(address)?
        })
    }

    /// Prepares a client of an address.
    pub(super) fn at(address: SocketAddr) -> Result<Self, error::Error> {
        let client = Client::new(client::Options {
            connect: TIMEOUT,
            total: TIMEOUT,
            ..client::Options::default()
        });
        let client = client.map_err(|error| error::Error::System(error_chain(&error).into()))?;
        Ok(Self {
            address,
            is_default: false,
            client,
        })
    }

    /// Makes one request. Succeeds if the daemon answers with a good status.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<(), Error> {
        let answer = self.call(method, path, &[]).await?;
        match answer.status {
            404 | 405 => Err(Error::Foreign(self.address)),
            _ => read(&answer),
        }
    }

    /// Asks for the status.
    pub(super) async fn status(&self) -> Result<Report, Error> {
        let json = ("accept", "application/json".to_owned().into());
        let answer = self.call(Method::GET, "/", &[json]).await?;
        let report = serde_json::from_slice::<Report>(&answer.body).ok();
        match (answer.status, report) {
            (200, Some(report)) if !report.version.is_empty() => Ok(report),
            (200 | 404 | 405, _) => Err(Error::Foreign(self.address)),
            _ => Err(read(&answer).err().unwrap_or(Error::Foreign(self.address))),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, Zeroizing<String>)],
    ) -> Result<Response, Error> {
        let call = Call {
            method,
            url: &format!("http://{}{path}", self.address),
            headers,
            form: None,
        };
        let answer = self.client.call(call).await;
        answer.map_err(|failure| Error::Unanswered {
            address: self.address,
            is_nowhere: self.is_default && failure.code == LocalCode::ConnectionRefused,
            reason: failure.message,
        })
    }
}

/// Reads the answer to a probe or to `POST /stop`.
///
/// Fails with the reason that it gives.
fn read(answer: &Response) -> Result<(), Error> {
    #[derive(Default, Deserialize)]
    struct Body {
        status: Option<String>,
        phase: Option<String>,
        #[serde(rename = "Message")]
        message: Option<String>,
        file_message: Option<String>,
        #[serde(rename = "Code")]
        code: Option<String>,
        #[serde(default)]
        failures: u32,
        next_attempt_seconds: Option<u64>,
    }
    let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
    let status = body.status.as_deref().unwrap_or_default();
    // Another program may listen there, and answer every path with 200.
    let is_good = ["live", "ready", "started", "stopping"].contains(&status);
    if is_good && (200..300).contains(&answer.status) {
        return Ok(());
    }
    let attempt = match (body.failures, body.code, body.next_attempt_seconds) {
        (number @ 1.., Some(code), Some(seconds)) => Some(Attempt {
            number,
            code,
            next: Duration::from_secs(seconds),
        }),
        _ => None,
    };
    // While the credentials are valid, a failed renewal is not the reason.
    let is_valid = ["fresh", "failing"].contains(&body.phase.as_deref().unwrap_or_default());
    let message = body.message.filter(|_| !is_valid);
    let reason = message.or(body.file_message).or(body.status);
    let reason = reason.unwrap_or_else(|| {
        let status = answer.status;
        format!("it answers HTTP {status} and not as a ram-sidecar does")
    });
    Err(Error::Refused { reason, attempt })
}

/// Covers the connection and the whole answer: a process on this machine answers at once.
const TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn the_reason_is_what_keeps_the_daemon_from_being_ready() {
        for (status, body, reason) in [
            (
                200,
                r#"{"status":"ready","phase":"failing","Message":"sts"}"#,
                None,
            ),
            (
                503,
                r#"{"status":"not ready","phase":"expired","Message":"sts","file_message":"file"}"#,
                Some("sts"),
            ),
            (
                503,
                r#"{"status":"not ready","phase":"failing","Message":"sts","file_message":"file"}"#,
                Some("file"),
            ),
            (
                503,
                r#"{"status":"stopping","phase":"failing","Message":"sts"}"#,
                Some("stopping"),
            ),
            (
                503,
                r#"{"status":"not ready","phase":"fresh"}"#,
                Some("not ready"),
            ),
            (
                403,
                r#"{"Code":"StopRefused","Message":"only root"}"#,
                Some("only root"),
            ),
            (
                200,
                "<html>",
                Some("it answers HTTP 200 and not as a ram-sidecar does"),
            ),
        ] {
            let response =
                Response::new(status, &HeaderMap::new(), body.as_bytes().to_vec().into());
            let read = read(&response).err().map(|error| error.to_string());
            assert_eq!(read.as_deref(), reason, "{body}");
        }
    }
}
