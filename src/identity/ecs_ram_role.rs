//! The role of the ECS instance, from the instance metadata service.
//!
//! Requests use hardened mode (v2, with a token) unless v1 is allowed explicitly: a v1 request can be forged through a web
//! page or a proxy. The credentials of the role live 6 hours, and are replaced half an hour before they expire. Source:
//! "ECS instance metadata".

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::credentials::{is_key_text, is_made_of};
use crate::failure::{Failure, LocalCode, Stage, redact};
use crate::http::client::{Call, Client, Options, Outbound};
use crate::http::response::Response;
use crate::time::clock::Clock;
use crate::time::moment::Moment;

use super::Proof;
use super::document::Document;

/// The address of the metadata service, and how it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The address without a path: `http://100.100.100.200`.
    pub url: String,
    /// Whether to call it without a token if it issues none.
    pub allow_v1: bool,
    /// Whether `ALIBABA_CLOUD_ECS_METADATA_DISABLED` forbids its use.
    pub disabled: bool,
}

/// The role of the instance.
#[derive(Debug)]
pub struct EcsRamRole {
    metadata: Metadata,
    role: Option<String>,
    client: Option<Client>,
    token: Option<Token>,
}

#[derive(Debug)]
struct Token {
    value: SecretString,
    expires_at: Moment,
}

impl EcsRamRole {
    /// Creates the identity of a role; without a name, the service is asked for it.
    pub fn new(metadata: Metadata, role: Option<String>) -> Self {
        Self {
            metadata,
            role,
            client: None,
            token: None,
        }
    }

    /// Replaces the client that is otherwise created at the first call.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    pub(super) fn coordinates(&self) -> Vec<String> {
        let role = self.role.clone().unwrap_or_default();
        vec![self.metadata.url.clone(), role]
    }

    pub(super) fn has_same_source(&self, other: &Self) -> bool {
        self.role == other.role && self.metadata == other.metadata
    }

    /// Asks the service for the credentials of the role.
    pub async fn proof(&mut self, clock: &Clock) -> Result<Proof, Failure> {
        if self.metadata.disabled {
            let message = "ALIBABA_CLOUD_ECS_METADATA_DISABLED forbids the ECS metadata service";
            return Err(refusal(LocalCode::MetadataDisabled, message));
        }
        let role = match &self.role {
            Some(role) => role.clone(),
            None => self.role_name(clock).await?,
        };
        let requested_at = clock.now();
        let response = self.get(&format!("{CREDENTIALS}{role}"), clock).await?;
        if response.status == 404 {
            let message = format!("{} has no role {role} for this instance", self.host());
            return Err(refusal(LocalCode::MetadataNoRole, message));
        }
        if response.status != 200 {
            return Err(self.refused(&response));
        }
        let source = self.host().to_owned();
        let document = Document::parse(&response.body).map_err(|reason| {
            let message = format!("the credentials of {role} at {source} cannot be used: {reason}");
            unusable(message)
        })?;
        document.proof(requested_at, response.date, &source)
    }

    async fn role_name(&mut self, clock: &Clock) -> Result<String, Failure> {
        let response = self.get(CREDENTIALS, clock).await?;
        let text = std::str::from_utf8(&response.body).unwrap_or_default();
        let name = text.lines().map(str::trim).find(|line| !line.is_empty());
        match (response.status, name) {
            (404, _) | (200, None) => {
                let message = format!("{} reports that this instance has no RAM role", self.host());
                Err(refusal(LocalCode::MetadataNoRole, message))
            }
            (200, Some(name)) if is_role_name(name) => Ok(name.to_owned()),
            (200, Some(name)) => {
                let (host, name) = (self.host(), redact(name, &[]));
                let message = format!("{host} answered `{name}`, which is not a role name");
                Err(unusable(message))
            }
            _ => Err(self.refused(&response)),
        }
    }

    /// Requests a path; again with a new token if the service rejects the current one.
    async fn get(&mut self, path: &str, clock: &Clock) -> Result<Response, Failure> {
        let mut response = self.get_once(path, clock).await?;
        if response.status == 401 && self.token.take().is_some() {
            response = self.get_once(path, clock).await?;
        }
        Ok(response)
    }

    async fn get_once(&mut self, path: &str, clock: &Clock) -> Result<Response, Failure> {
        let token = self.token(clock).await?;
        let headers: Vec<_> = token.into_iter().map(|token| (TOKEN, token)).collect();
        self.call(Method::GET, path, &headers).await
    }

    /// Returns the current token, or a new one; `None` if the service issues none and v1 is allowed.
    async fn token(&mut self, clock: &Clock) -> Result<Option<Zeroizing<String>>, Failure> {
        let now = clock.now();
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|token| !now.is_past(token.expires_at))
        {
            return Ok(Some(Zeroizing::new(token.value.expose_secret().to_owned())));
        }
        let ttl = Zeroizing::new(TTL.as_secs().to_string());
        let outcome = self
            .call(Method::PUT, "/latest/api/token", &[(TOKEN_TTL, ttl)])
            .await;
        let response = match outcome {
            Err(_) if self.metadata.allow_v1 => return Ok(None),
            outcome => outcome?,
        };
        let text = std::str::from_utf8(&response.body)
            .unwrap_or_default()
            .trim();
        if response.status == 200 && is_key_text(text) {
            self.token = Some(Token {
                value: text.into(),
                expires_at: now.after(TTL.saturating_sub(MARGIN)),
            });
            return Ok(Some(Zeroizing::new(text.to_owned())));
        }
        if self.metadata.allow_v1 {
            return Ok(None);
        }
        Err(self.no_token(&response))
    }

    /// Distinguishes a service that does not support tokens from one that failed to issue one.
    fn no_token(&self, response: &Response) -> Failure {
        let (host, status) = (self.host(), response.status);
        let message =
            format!("{host} answered HTTP {status} instead of a token (hardened mode, v2)");
        match status {
            200 => unusable(message),
            // A server that supports only v1 does not implement PUT.
            400 | 404 | 405 | 501 => refusal(LocalCode::MetadataNoToken, message),
            _ => Failure {
                message,
                ..self.refused(response)
            },
        }
    }

    async fn call(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, Zeroizing<String>)],
    ) -> Result<Response, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::new(Options {
                // Without a proxy, which would see the instance's credentials.
                outbound: Outbound::default(),
                connect: CALL_TIMEOUT,
                total: CALL_TIMEOUT,
            })?),
        };
        let call = Call {
            method,
            url: &format!("{}{path}", self.metadata.url),
            headers,
            form: None,
        };
        client.call(call).await.map_err(|failure| {
            if failure.stage == Stage::Answer {
                return unusable(failure.message);
            }
            // What keeps this process from calling anybody.
            if failure.code == LocalCode::LimitReached
                || failure.code == LocalCode::RandomnessFailed
            {
                return failure;
            }
            let message = format!(
                "the ECS metadata service is unreachable: {}",
                failure.message
            );
            Failure::new(Stage::Transport, LocalCode::MetadataUnreachable, message)
        })
    }

    fn refused(&self, response: &Response) -> Failure {
        let (host, status) = (self.host(), response.status);
        let code = match status {
            401 | 403 => LocalCode::MetadataRefused,
            429 => LocalCode::MetadataThrottled,
            // Including errors of the service, which is reachable.
            _ => LocalCode::MetadataUnusable,
        };
        let message = format!("{host} answered HTTP {status} to a request for the instance's role");
        let mut failure = refusal(code, message);
        failure.retry_after = response.retry_after;
        failure
    }

    fn host(&self) -> &str {
        let url = &self.metadata.url;
        url.split_once("://").map_or(url, |(_, host)| host)
    }
}

fn refusal(code: LocalCode, message: impl Into<String>) -> Failure {
    Failure::new(Stage::Identity, code, message)
}

fn unusable(message: String) -> Failure {
    Failure::new(Stage::Answer, LocalCode::MetadataUnusable, message)
}

/// Whether a text is a valid role name: the name alone, not an ARN.
pub fn is_role_name(name: &str) -> bool {
    is_made_of(name, 1..=64, "._-")
}

const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials/";
const TOKEN: &str = "x-aliyun-ecs-metadata-token";
const TOKEN_TTL: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";

/// The longest lifetime of a token that the service permits.
const TTL: Duration = Duration::from_secs(21_600);

/// A token is not used in its last minute: it might expire during the request.
const MARGIN: Duration = Duration::from_secs(60);

/// The service is one hop away. The official SDKs have the same timeout.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Two requests of up to four calls each: a token, the request, a new token after status 401, the request again.
pub(super) const TIMEOUT: Duration = Duration::from_secs(8);
