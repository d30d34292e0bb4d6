//! `get`: prints credentials once, of a running daemon or minted for the purpose.

use bytes::Bytes;

use crate::config::Config;
use crate::credentials::Credentials;
use crate::daemon::source;
use crate::failure::{Failure, OwnCode, Stage};
use crate::formats::format::Format;
use crate::identity::{CredentialsUri, Proof};
use crate::refresh::source::Source as _;
use crate::time::clock::Clock;

/// Where credentials come from.
#[derive(Debug)]
pub enum Origin {
    /// A running daemon.
    Daemon(Box<CredentialsUri>),
    /// These settings.
    Settings(Box<Config>),
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They could not be minted.
    #[error("{0}")]
    Failure(Failure),
    /// The daemon does not answer, or says no.
    #[error("{}", of_daemon_in_words(.0))]
    Daemon(Failure),
    /// What answers does not say when its credentials end.
    #[error(
        "what answers there gives an AccessKey without an end, which is never passed on; give the address of a ram-sidecar"
    )]
    NotTemporary,
    /// The job is to have none.
    #[error(
        "this job has no RAM role, because role.preset is none, and therefore no credentials; set role.arn to give it some"
    )]
    NoRole,
    /// What credentials come from cannot be built.
    #[error(transparent)]
    Upstream(#[from] source::Error),
}

/// Obtains credentials once, and renders them.
pub async fn run(origin: Origin, format: Format) -> Result<Bytes, Error> {
    let credentials = match origin {
        Origin::Daemon(uri) => of_daemon(*uri).await,
        Origin::Settings(config) => minted(*config).await,
    }?;
    Ok(format.printed(&credentials))
}

async fn of_daemon(mut uri: CredentialsUri) -> Result<Credentials, Error> {
    let proof = uri.proof(&Clock::machine()).await.map_err(Error::Daemon)?;
    match proof {
        Proof::Lease(lease) => Ok(lease.credentials),
        Proof::Keys(_) | Proof::Token { .. } => Err(Error::NotTemporary),
    }
}

/// The remedies of a daemon that has another one for its identity are not those of a user who asks.
fn of_daemon_in_words(failure: &Failure) -> String {
    let message = &failure.message;
    match failure.stage {
        // It says itself what to change.
        Stage::Identity if failure.code != OwnCode::ExpiredAnswer => message.clone(),
        Stage::Transport => format!(
            "{message}; start a ram-sidecar there, or correct --from or ALIBABA_CLOUD_CREDENTIALS_URI"
        ),
        _ => format!(
            "{message}; let --from or ALIBABA_CLOUD_CREDENTIALS_URI name the credentials of a ram-sidecar"
        ),
    }
}

async fn minted(config: Config) -> Result<Credentials, Error> {
    let clock = Clock::machine();
    // Dropping the guard would stop the embedded STS.
    let (chain, _guard) = source::source(config.upstream, config.session, &clock).await?;
    let mut chain = chain.ok_or(Error::NoRole)?;
    let lease = tokio::time::timeout(chain.timeout(), chain.mint()).await;
    let lease = lease.unwrap_or_else(|_| Err(Failure::timed_out(chain.timeout())));
    lease.map(|lease| lease.credentials).map_err(Error::Failure)
}
