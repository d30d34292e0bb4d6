//! The tasks of a daemon, and its shutdown.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span, info};

use crate::daemon::source::EmbeddedSts;

use super::Error;

/// The running tasks of an [`App`](super::App).
#[derive(Debug)]
pub struct Tasks {
    pub(super) servers: TaskSet,
    pub(super) others: TaskSet,
    pub(super) stop: watch::Sender<bool>,
    pub(super) close: watch::Sender<bool>,
    pub(super) drain: Duration,
    pub(super) _embedded_sts: Option<EmbeddedSts>,
}

impl Tasks {
    /// Waits until a task has ended unexpectedly. Cancel safe.
    pub async fn ended(&mut self) -> Error {
        let ended = tokio::select! {
            ended = self.others.ended() => ended,
            ended = self.servers.ended() => ended,
        };
        Error::Ended(ended)
    }

    /// Shuts down: serves until the drain is over or `finished` completes, then finishes the requests in progress.
    ///
    /// Returns at once when `abort` completes.
    pub async fn shut_down(
        mut self,
        finished: impl Future<Output = ()>,
        abort: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let span = self.others.span.clone();
        let shutdown = async {
            info!(drain_seconds = self.drain.as_secs(), "Stopping");
            self.stop.send_replace(true);
            let draining = async {
                tokio::select! {
                    () = tokio::time::sleep(self.drain) => {}
                    () = finished => {}
                }
                self.close.send_replace(true);
                self.servers.all_ended().await;
            };
            tokio::select! {
                () = draining => {}
                () = abort => {}
                ended = self.others.ended() => return Err(Error::Ended(ended)),
            }
            info!("Stopped");
            Ok(())
        };
        shutdown.instrument(span).await
    }
}

/// Named tasks, which all log within one span.
#[derive(Debug)]
pub(super) struct TaskSet {
    set: JoinSet<&'static str>,
    span: Span,
}

impl TaskSet {
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
