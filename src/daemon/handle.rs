//! The handle of a running daemon: its addresses, its state, and requests to it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::files::credentials_file::CredentialsFile;
use crate::files::ownership::Ownership;
use crate::files::target::Target as _;
use crate::files::writer;
use crate::formats::format::Format;
use crate::refresh::store::{Current, Health, Offer, Subscriber};
use crate::server::{metadata, status};
use crate::time::clock::Clock;

/// The handle of a running [`App`](super::App).
#[derive(Clone, Debug)]
pub struct Handle {
    /// The URI of the credentials, including its secret key.
    pub uri: SecretString,
    /// The URI of the credentials for AWS SDKs, if it is served.
    pub container_uri: Option<SecretString>,
    /// The file with the token that AWS SDKs must send, if one is required.
    pub container_token_file: Option<PathBuf>,
    /// The address of the metadata listener, if there is one.
    pub metadata: Option<SocketAddr>,
    pub(super) subscriber: Subscriber,
    pub(super) clock: Clock,
    pub(super) files: Vec<OutputFile>,
    pub(super) refresh_requests: Arc<watch::Sender<u64>>,
    pub(super) stop_requested: watch::Receiver<bool>,
}

/// A credentials file, its status, and the ownership with which it is removed.
#[derive(Clone, Debug)]
pub(super) struct OutputFile {
    pub(super) options: CredentialsFile,
    pub(super) status: watch::Receiver<writer::Status>,
    pub(super) ownership: Ownership,
}

impl OutputFile {
    /// Returns what the status page shows.
    pub(super) fn shown(&self) -> status::Output {
        status::Output {
            path: self.options.path.clone(),
            format: self.options.format.name(),
            status: self.status.clone(),
        }
    }
}

impl Handle {
    /// Waits until there are valid credentials, or the job turns out to have no role.
    pub async fn credentials(&self) {
        let is_settled =
            |offer| matches!(offer, Offer::Credentials(_) | Offer::NoRole).then_some(());
        self.wait_for(is_settled).await;
    }

    /// Waits like [`Self::credentials`], and until every file contains them.
    ///
    /// Fails as soon as an attempt fails with an error that only a human can correct.
    pub async fn ready(&self) -> Result<(), Arc<Failure>> {
        let settled = |offer| match offer {
            Offer::Credentials(_) | Offer::NoRole => Some(Ok(())),
            Offer::Refusal(failure) => Some(Err(failure)),
            Offer::Wait(_) => None,
        };
        self.wait_for(settled).await?;
        for OutputFile { status, .. } in &self.files {
            let is_written = |status: &writer::Status| matches!(status, writer::Status::Written);
            // The writer ends only with the process.
            let _ = status.clone().wait_for(is_written).await;
        }
        Ok(())
    }

    /// Whether the metadata listener is at 100.100.100.200:80, where every client expects it.
    pub fn is_instance(&self) -> bool {
        self.metadata == Some((metadata::ADDRESS, 80).into())
    }

    /// Returns the current credentials, if there are any.
    pub fn current(&self) -> Option<Arc<Current>> {
        match self.subscriber.clone().snapshot().offer(self.clock.now()) {
            Offer::Credentials(current) => Some(current),
            Offer::NoRole | Offer::Wait(_) | Offer::Refusal(_) => None,
        }
    }

    /// Returns the path of the first credentials file of a format.
    pub fn file(&self, format: Format) -> Option<&Path> {
        let mut options = self.files.iter().map(|file| &file.options);
        let found = options.find(|options| options.format == format);
        found.map(|options| options.path.as_path())
    }

    /// Returns the failure that prevents readiness, if there is one.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        let failed = |file: &OutputFile| match &*file.status.borrow() {
            writer::Status::Failed(failure) => Some(Arc::clone(failure)),
            _ => None,
        };
        match self.subscriber.clone().snapshot().offer(self.clock.now()) {
            Offer::Refusal(failure) | Offer::Wait(Some(failure)) => Some(failure),
            Offer::Wait(None) => None,
            Offer::Credentials(_) | Offer::NoRole => self.files.iter().find_map(failed),
        }
    }

    async fn wait_for<T>(&self, decide: impl Fn(Offer) -> Option<T>) -> T {
        self.subscriber.clone().wait_for(&self.clock, decide).await
    }

    /// Reports the health, now and after each change, for ever.
    pub async fn follow(&self, mut report: impl AsyncFnMut(Health)) -> Infallible {
        let mut subscriber = self.subscriber.clone();
        loop {
            let health = subscriber.snapshot().health(self.clock.now());
            report(health).await;
            subscriber.changed().await;
        }
    }

    /// Requests new credentials at once.
    pub fn renew(&self) {
        self.refresh_requests.send_modify(|count| *count += 1);
    }

    /// Waits for a stop request on the admin listener. Pends for ever if there is no such listener.
    pub async fn stop_requested(&self) {
        let mut stop_requested = self.stop_requested.clone();
        if stop_requested
            .wait_for(|is_requested| *is_requested)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Removes the files that this process has written, as far as possible.
    pub async fn remove_files(self) {
        let removing = tokio::task::spawn_blocking(move || {
            for OutputFile {
                options, ownership, ..
            } in self.files
            {
                options.withdraw(&ownership);
            }
        });
        // A file system that hangs must not delay the exit.
        let _ = tokio::time::timeout(REMOVAL_TIMEOUT, removing).await;
    }
}

/// More than a removal takes, unless the file system hangs.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::future::{Future as _, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::failure::Stage;
    use crate::refresh::store;
    use crate::refresh::store::tests::{lease, noon};

    #[tokio::test(start_paused = true)]
    async fn waiting_for_credentials_sleeps_between_publications() {
        let (publisher, subscriber, _) = store::channel(|_| "credentials".into());
        let handle = Handle {
            uri: "uri".to_owned().into(),
            container_uri: None,
            container_token_file: None,
            metadata: None,
            subscriber,
            clock: Clock::simulated(noon(), true),
            files: Vec::new(),
            refresh_requests: Arc::new(watch::channel(0).0),
            stop_requested: watch::channel(false).1,
        };
        publisher.failed(Failure::new(Stage::Sts, "TimedOut", "slow"), noon());
        let mut waiting = pin!(handle.credentials());
        let mut polls = 0;
        let bounded = poll_fn(|context| {
            polls += 1;
            let polled = waiting.as_mut().poll(context).map(|()| true);
            if polls > 10 {
                Poll::Ready(false)
            } else {
                polled
            }
        });
        let renewal = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let later = noon().after(Duration::from_secs(3600));
            publisher.renewed(lease("a", later), later);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            is_bounded = bounded => assert!(is_bounded, "the wait polled more than ten times"),
            () = renewal => {}
        }
    }
}
