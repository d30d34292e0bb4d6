//! The tasks: at work until they are told to leave.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span, info};

use crate::daemon::source;

use super::Error;

/// The work of an [`App`](super::App).
#[derive(Debug)]
pub struct Engine {
    pub(super) servers: Tasks,
    pub(super) tasks: Tasks,
    pub(super) stop: watch::Sender<bool>,
    pub(super) close: watch::Sender<bool>,
    pub(super) drain: Duration,
    pub(super) _guard: source::Guard,
}

impl Engine {
    /// Waits until something has ended that never should. Cancel safe.
    pub async fn ended(&mut self) -> Error {
        let ended = tokio::select! {
            ended = self.tasks.ended() => ended,
            ended = self.servers.ended() => ended,
        };
        Error::Ended(ended)
    }

    /// Serves on for the drain, or until nobody needs it because `finished` has come, finishes the requests that are under
    /// way, and ends; at once when `impatient` does.
    pub async fn leave(
        mut self,
        finished: impl Future<Output = ()>,
        impatient: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let span = self.tasks.span.clone();
        let leaving = async {
            info!(drain_seconds = self.drain.as_secs(), "Stopping");
            self.stop.send_replace(true);
            let leave = async {
                tokio::select! {
                    () = tokio::time::sleep(self.drain) => {}
                    () = finished => {}
                }
                self.close.send_replace(true);
                self.servers.all_ended().await;
            };
            tokio::select! {
                () = leave => {}
                () = impatient => {}
                ended = self.tasks.ended() => return Err(Error::Ended(ended)),
            }
            info!("Stopped");
            Ok(())
        };
        leaving.instrument(span).await
    }
}

/// Named tasks, each marked by the span.
#[derive(Debug)]
pub(super) struct Tasks {
    set: JoinSet<&'static str>,
    span: Span,
}

impl Tasks {
    pub(super) fn new(span: Span) -> Self {
        Self {
            set: JoinSet::new(),
            span,
        }
    }

    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let named = async move {
            task.await;
            name
        };
        self.set.spawn(named.instrument(self.span.clone()));
    }

    pub(super) fn spawn_endless(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Infallible> + Send + 'static,
    ) {
        self.spawn(name, async move { match task.await {} });
    }

    /// Waits until one has ended.
    async fn ended(&mut self) -> &'static str {
        match self.set.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) => "a task that panicked",
            None => std::future::pending().await,
        }
    }

    async fn all_ended(&mut self) {
        while self.set.join_next().await.is_some() {}
    }
}
