//! Signals of the daemon: TERM and INT stop it, HUP renews the credentials.

pub mod relay;

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use signal_hook::consts::{SIGALRM, SIGIO, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ};
use tokio::signal::unix::{self, SignalKind};

/// Lets a write beyond the limit on the size of files fail with an error, instead of ending the process by a signal.
///
/// Programs that are started later have the default again, because it is caught and not ignored. Errors are ignored.
pub fn survive_file_size_limit() {
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// Lets signals pass that have no meaning here and would end the process. Errors are ignored.
fn survive_others() {
    // As the kernel numbers them on x86-64 and 64-bit Arm; the C library keeps the first two real-time signals to itself.
    const SIGSTKFLT: i32 = 16;
    const SIGPWR: i32 = 30;
    const REAL_TIME: RangeInclusive<i32> = 34..=64;

    let named = [
        SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGIO, SIGSTKFLT, SIGPWR,
    ];
    for signal in named.into_iter().chain(REAL_TIME) {
        let _ = signal_hook::flag::register(signal, Arc::default());
    }
}

/// Receives the signals that stop the daemon or renew its credentials. Works as process 1 of a container.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Shut down gracefully; the second such signal exits immediately.
    Stop,
    /// Renew the credentials now.
    Renew,
}

impl Signals {
    /// Starts listening, and lets signals without a meaning pass. QUIT still ends the process. Must be called within a runtime.
    pub fn new() -> io::Result<Self> {
        survive_others();
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
