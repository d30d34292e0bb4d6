//! A client of the admin listener of a running daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;

use crate::failure::{Failure, OwnCode, Stage, chain};
use crate::http::client::{self, Call, Outbound};
use crate::http::response::Answer;

/// The admin listener of a daemon.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    client: Outbound,
}

impl Admin {
    /// Prepares to ask the daemon whose `admin.listen` is `listen`.
    pub fn new(listen: SocketAddr) -> Result<Self, Failure> {
        let mut address = listen;
        // Where it listens on every address, the nearest is asked.
        if listen.ip().is_unspecified() {
            address.set_ip(match listen.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let client = Outbound::new(client::Options {
            direct: true,
            connect: PATIENCE,
            total: PATIENCE,
            ..client::Options::default()
        });
        let client = client.map_err(|error| {
            Failure::new(Stage::Transport, OwnCode::RequestFailed, chain(&error))
        })?;
        Ok(Self { address, client })
    }

    /// Asks once.
    ///
    /// Fails with a sentence where nobody answers.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<Told, String> {
        let url = format!("http://{}{path}", self.address);
        let call = Call {
            method,
            url: &url,
            headers: &[],
            form: None,
        };
        let answer = self.client.call(call).await.map_err(|failure| {
            format!("no ram-sidecar answers at {} (admin.listen): {}; start one, or correct --admin-listen or RAM_SIDECAR_ADMIN_LISTEN", self.address, failure.message)
        })?;
        if matches!(answer.status, 404 | 405) {
            return Err(format!(
                "what answers at {} is no admin listener of ram-sidecar; correct --admin-listen or RAM_SIDECAR_ADMIN_LISTEN",
                self.address
            ));
        }
        Ok(Told::read(&answer))
    }
}

/// What a daemon says of itself.
pub(super) struct Told {
    /// Whether the status is a good one.
    pub(super) good: bool,
    /// Why not.
    pub(super) message: String,
}

impl Told {
    fn read(answer: &Answer) -> Self {
        #[derive(Default, Deserialize)]
        struct Body {
            status: Option<String>,
            #[serde(rename = "Message")]
            message: Option<String>,
            file_message: Option<String>,
        }
        let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
        let told = body.message.as_ref().or(body.file_message.as_ref());
        let said = told.or(body.status.as_ref()).cloned();
        let is_well = |status: &str| ["live", "ready", "started", "stopping"].contains(&status);
        Self {
            // Another program may listen there, and like every path.
            good: (200..300).contains(&answer.status)
                && body.status.as_deref().is_some_and(is_well),
            message: said.unwrap_or_else(|| {
                format!(
                    "it answers HTTP {} and not as a ram-sidecar does",
                    answer.status
                )
            }),
        }
    }
}

/// A process on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(2);
