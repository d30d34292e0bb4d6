//! What can be asked of the servers, writers and the loop at work, and told to them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::files::writer;
use crate::refresh::store::{Health, Offer, Subscriber};
use crate::time::clock::Clock;

/// What can be asked of an [`App`](super::App) and told to it.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The address of the credentials, secret and all.
    pub uri: SecretString,
    /// The address of the credentials for AWS SDKs, if they are served.
    pub container_uri: Option<SecretString>,
    /// The file that holds the token which AWS SDKs must send, if one is demanded.
    pub container_token_file: Option<PathBuf>,
    /// Whether the metadata dialect is spoken where every client looks for it.
    pub is_instance: bool,
    pub(super) subscriber: Subscriber,
    pub(super) clock: Clock,
    pub(super) files: Vec<Kept>,
    pub(super) refresh_requests: Arc<watch::Sender<u64>>,
    pub(super) stop_asked: watch::Receiver<bool>,
}

/// A file that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) options: writer::Options,
    pub(super) state: watch::Receiver<writer::Status>,
    pub(super) ownership: writer::Ownership,
}

impl Handle {
    /// Waits until there are good credentials, or it is certain that there will be none.
    pub async fn credentials(&self) {
        let is_settled =
            |offer| matches!(offer, Offer::Credentials(_) | Offer::NoRole).then_some(());
        self.wait_for(is_settled).await;
    }

    /// Waits like [`Self::credentials`], and until every file holds them.
    ///
    /// Fails as soon as only a human can mend what is wrong.
    pub async fn ready(&self) -> Result<(), Arc<Failure>> {
        let settled = |offer| match offer {
            Offer::Credentials(_) | Offer::NoRole => Some(Ok(())),
            Offer::Refusal(failure) => Some(Err(failure)),
            Offer::Wait(_) => None,
        };
        self.wait_for(settled).await?;
        for Kept { state, .. } in &self.files {
            let is_written = |state: &writer::Status| matches!(state, writer::Status::Written);
            // The writer goes away with the whole process.
            let _ = state.clone().wait_for(is_written).await;
        }
        Ok(())
    }

    /// Says what has been in the way so far, if anything has.
    pub fn trouble(&self) -> Option<Arc<Failure>> {
        let failed = |kept: &Kept| match &*kept.state.borrow() {
            writer::Status::Failed(failure) => Some(Arc::clone(failure)),
            _ => None,
        };
        match self.offer() {
            Offer::Refusal(failure) | Offer::Wait(Some(failure)) => Some(failure),
            Offer::Wait(None) => None,
            Offer::Credentials(_) | Offer::NoRole => self.files.iter().find_map(failed),
        }
    }

    async fn wait_for<T>(&self, decide: impl Fn(Offer) -> Option<T>) -> T {
        self.subscriber.clone().wait_for(&self.clock, decide).await
    }

    /// Tells how things are, now and whenever they have changed, for ever.
    pub async fn follow(&self, mut tell: impl AsyncFnMut(Health)) -> Infallible {
        let mut subscriber = self.subscriber.clone();
        loop {
            let health = subscriber.snapshot().health(self.clock.now());
            tell(health).await;
            subscriber.changed().await;
        }
    }

    fn offer(&self) -> Offer {
        self.subscriber.clone().snapshot().offer(self.clock.now())
    }

    /// Asks for new credentials now.
    pub fn renew(&self) {
        self.refresh_requests.send_modify(|count| *count += 1);
    }

    /// Waits until a program asks this process to stop, on the admin listener. Pends for ever where there is none.
    pub async fn stop_asked(&self) {
        if self
            .stop_asked
            .clone()
            .wait_for(|asked| *asked)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Removes the files that this process has written. Best effort.
    pub async fn withdraw_files(self) {
        let removing = tokio::task::spawn_blocking(move || {
            for Kept {
                options, ownership, ..
            } in self.files
            {
                ownership.clear(&options);
            }
        });
        // A file system that hangs must not keep the process.
        let _ = tokio::time::timeout(REMOVAL, removing).await;
    }
}

/// Removing a file takes no time, unless its file system hangs.
const REMOVAL: Duration = Duration::from_secs(2);

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
    async fn who_waits_for_credentials_sleeps_through_what_brings_none() {
        let (publisher, subscriber, _) = store::channel(|_| "credentials".into());
        let handle = Handle {
            uri: "uri".to_owned().into(),
            container_uri: None,
            container_token_file: None,
            is_instance: false,
            subscriber,
            clock: Clock::simulated(noon(), true),
            files: Vec::new(),
            refresh_requests: Arc::new(watch::channel(0).0),
            stop_asked: watch::channel(false).1,
        };
        publisher.failed(Failure::new(Stage::Sts, "TimedOut", "slow"), noon());
        let mut waiting = pin!(handle.credentials());
        let mut times = 0;
        let few = poll_fn(|context| {
            times += 1;
            let polled = waiting.as_mut().poll(context).map(|()| true);
            if times > 10 {
                Poll::Ready(false)
            } else {
                polled
            }
        });
        let brought = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let later = noon().after(Duration::from_secs(3600));
            publisher.renewed(lease("a", later), later);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            is_over = few => assert!(is_over, "it was woken again and again for nothing"),
            () = brought => {}
        }
    }
}
