//! Signals: TERM and INT stop, HUP renews.

pub mod relay;

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// The signals this process listens to. Works as process 1 of a container.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Stop, gracefully; at once if it is the second.
    Stop,
    /// Renew the credentials now.
    Renew,
}

impl Signals {
    /// Starts listening. Must be called within a runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.hangup.recv() => Request::Renew,
        }
    }
}
