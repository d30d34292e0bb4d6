//! The role of the ECS instance, from the instance metadata service.
//!
//! Hardened mode (v2, with a token) unless v1 is allowed explicitly: a v1 request can be forged through a web page or a
//! proxy. Source: "ECS instance metadata". The role's credentials live 6 hours, and new ones are there half an hour
//! before the end.

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::credentials::is_key_text;
use crate::failure::{Failure, OwnCode, Stage, chain, redact};
use crate::http::client::{Call, Options, Outbound};
use crate::http::response::Answer;
use crate::time::clock::Clock;
use crate::time::moment::Moment;

use super::Proof;
use super::document::Document;

/// Where the metadata service is, and how it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The address without a path: `http://100.100.100.200`.
    pub url: String,
    /// Go on without a token where the service gives none.
    pub allow_v1: bool,
    /// Whether `ALIBABA_CLOUD_ECS_METADATA_DISABLED` forbids it.
    pub disabled: bool,
}

/// The role of the instance.
#[derive(Debug)]
pub struct EcsRamRole {
    metadata: Metadata,
    role: Option<String>,
    client: Option<Outbound>,
    token: Option<Token>,
}

#[derive(Debug)]
struct Token {
    value: SecretString,
    until: Moment,
}

impl EcsRamRole {
    /// Names the role; without a name it is asked for.
    pub fn new(metadata: Metadata, role: Option<String>) -> Self {
        Self {
            metadata,
            role,
            client: None,
            token: None,
        }
    }

    /// Asks through this client, instead of one of its own.
    #[must_use]
    pub fn through(mut self, client: Outbound) -> Self {
        self.client = Some(client);
        self
    }

    pub(super) fn coordinates(&self) -> Vec<String> {
        let role = self.role.clone().unwrap_or_default();
        vec![self.metadata.url.clone(), role]
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.role == other.role && self.metadata == other.metadata
    }

    pub(super) async fn proof(&mut self, clock: &Clock) -> Result<Proof, Failure> {
        if self.metadata.disabled {
            let message = "ALIBABA_CLOUD_ECS_METADATA_DISABLED forbids the ECS metadata service";
            return Err(Failure::new(
                Stage::Identity,
                OwnCode::MetadataDisabled,
                message,
            ));
        }
        let role = match &self.role {
            Some(role) => role.clone(),
            None => self.role_name(clock).await?,
        };
        let asked_at = clock.now();
        let answer = self.get(&format!("{CREDENTIALS}{role}"), clock).await?;
        if answer.status == 404 {
            let message = format!("{} knows no role {role} of this instance", self.host());
            return Err(Failure::new(
                Stage::Identity,
                OwnCode::MetadataNoRole,
                message,
            ));
        }
        self.succeeded(&answer)?;
        let source = self.host().to_owned();
        let document = Document::read(&answer.body).map_err(|reason| {
            let message = format!("the credentials of {role} at {source} cannot be used: {reason}");
            Failure::new(Stage::Answer, OwnCode::MetadataUnusable, message)
        })?;
        document.proof(asked_at, answer.date, &source)
    }

    async fn role_name(&mut self, clock: &Clock) -> Result<String, Failure> {
        let answer = self.get(CREDENTIALS, clock).await?;
        let text = std::str::from_utf8(&answer.body).unwrap_or_default();
        let name = text.lines().map(str::trim).find(|line| !line.is_empty());
        match (answer.status, name) {
            (404, _) | (200, None) => {
                let message = format!("{} says that this instance has no RAM role", self.host());
                Err(Failure::new(
                    Stage::Identity,
                    OwnCode::MetadataNoRole,
                    message,
                ))
            }
            (200, Some(name)) if is_role_name(name) => Ok(name.to_owned()),
            (200, Some(name)) => {
                let (host, name) = (self.host(), redact(name, &[]));
                let message = format!("{host} answered `{name}` where the name of a role belongs");
                Err(Failure::new(
                    Stage::Answer,
                    OwnCode::MetadataUnusable,
                    message,
                ))
            }
            _ => Err(self.refused(&answer)),
        }
    }

    /// Asks for a path; with a new token if the service does not take the one in hand.
    async fn get(&mut self, path: &str, clock: &Clock) -> Result<Answer, Failure> {
        let mut answer = self.get_once(path, clock).await?;
        if answer.status == 401 && self.token.take().is_some() {
            answer = self.get_once(path, clock).await?;
        }
        Ok(answer)
    }

    async fn get_once(&mut self, path: &str, clock: &Clock) -> Result<Answer, Failure> {
        let token = self.token(clock).await?;
        let headers: Vec<_> = token.into_iter().map(|token| (TOKEN, token)).collect();
        self.call(Method::GET, path, &headers).await
    }

    /// Returns the token in hand, or a new one; none where v1 is allowed and there is no other way.
    async fn token(&mut self, clock: &Clock) -> Result<Option<Zeroizing<String>>, Failure> {
        let now = clock.now();
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|token| !now.is_past(token.until))
        {
            return Ok(Some(Zeroizing::new(token.value.expose_secret().to_owned())));
        }
        let ttl = Zeroizing::new(TTL.as_secs().to_string());
        let outcome = self
            .call(Method::PUT, "/latest/api/token", &[(TOKEN_TTL, ttl)])
            .await;
        let answer = match outcome {
            Err(_) if self.metadata.allow_v1 => return Ok(None),
            outcome => outcome?,
        };
        let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
        if answer.status == 200 && is_key_text(text) {
            self.token = Some(Token {
                value: text.into(),
                until: now.after(TTL.saturating_sub(MARGIN)),
            });
            return Ok(Some(Zeroizing::new(text.to_owned())));
        }
        if self.metadata.allow_v1 {
            return Ok(None);
        }
        Err(self.no_token(&answer))
    }

    /// Tells a service that knows of no tokens from one that has none to give now.
    fn no_token(&self, answer: &Answer) -> Failure {
        let (host, status) = (self.host(), answer.status);
        let message = format!(
            "{host} answered HTTP {status} where it should give a token (hardened mode, v2)"
        );
        match status {
            200 => Failure::new(Stage::Answer, OwnCode::MetadataUnusable, message),
            // A simple server that imitates v1 does not implement PUT.
            400 | 404 | 405 | 501 => {
                Failure::new(Stage::Identity, OwnCode::MetadataNoToken, message)
            }
            _ => Failure {
                message,
                ..self.refused(answer)
            },
        }
    }

    async fn call(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, Zeroizing<String>)],
    ) -> Result<Answer, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(client()?),
        };
        let call = Call {
            method,
            url: &format!("{}{path}", self.metadata.url),
            headers,
            form: None,
        };
        client.call(call).await.map_err(|failure| {
            if failure.stage == Stage::Answer {
                return Failure::new(Stage::Answer, OwnCode::MetadataUnusable, failure.message);
            }
            let message = format!("the ECS metadata service is not there: {}", failure.message);
            Failure::new(Stage::Transport, OwnCode::MetadataUnreachable, message)
        })
    }

    fn succeeded(&self, answer: &Answer) -> Result<(), Failure> {
        if answer.status == 200 {
            return Ok(());
        }
        Err(self.refused(answer))
    }

    fn refused(&self, answer: &Answer) -> Failure {
        let (host, status) = (self.host(), answer.status);
        let code = match status {
            401 | 403 => OwnCode::MetadataRefused,
            429 => OwnCode::MetadataThrottled,
            // An error of the service itself among them: what answers has been reached.
            _ => OwnCode::MetadataUnusable,
        };
        let message =
            format!("{host} answered HTTP {status} to a question about the instance's role");
        let mut failure = Failure::new(Stage::Identity, code, message);
        failure.retry_after = answer.retry_after;
        failure
    }

    fn host(&self) -> &str {
        let url = &self.metadata.url;
        url.split_once("://").map_or(url, |(_, host)| host)
    }
}

fn client() -> Result<Outbound, Failure> {
    let options = Options {
        roots: None,
        // A proxy would hand the instance's credentials to whoever runs it.
        direct: true,
        connect: SECOND,
        total: SECOND,
    };
    Outbound::new(options)
        .map_err(|error| Failure::new(Stage::Transport, OwnCode::RequestFailed, chain(&error)))
}

/// Whether a text can be the name of an instance's role: the name alone, not an ARN.
pub fn is_role_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials/";
const TOKEN: &str = "x-aliyun-ecs-metadata-token";
const TOKEN_TTL: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";

/// The longest that the service grants.
const TTL: Duration = Duration::from_secs(21_600);

/// A token is not used when it may end on the way.
const MARGIN: Duration = Duration::from_secs(60);

/// The service is one hop away: official SDKs wait as long.
const SECOND: Duration = Duration::from_secs(1);

/// Two questions, each of which may meet an old token, with a new token after it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(8);
