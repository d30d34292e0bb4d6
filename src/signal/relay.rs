//! Every signal that can be caught, and who sent it: for a process that stands in for another.
//!
//! What a terminal sends reaches every process of the foreground group by itself, the other one included. What a process
//! sends has one addressee, and is to be passed on. Real-time signals are not among them.

use std::io;

use rustix::process::{Pid, Signal};
use signal_hook::consts::{
    SIGBUS, SIGCHLD, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use tokio::sync::mpsc;

/// A signal that this process received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// The process that sent it; none if it was the kernel, for a terminal for instance.
    pub sender: Option<i32>,
}

/// Receives signals from now on.
#[derive(Debug)]
pub struct Relay {
    received: mpsc::UnboundedReceiver<Received>,
    handle: Handle,
    ignored: u64,
}

impl Relay {
    /// Starts to receive every signal but those that were ignored, because children are to inherit that, and those that
    /// pause a process.
    pub fn new() -> io::Result<Self> {
        let ignored = ignored();
        let is_relayed = |number: &i32| {
            !NOT_RELAYED.contains(number) && !PAUSES.contains(number) && !is_in(ignored, *number)
        };
        let numbers = (1..=LAST).filter(is_relayed);
        let mut signals = SignalsInfo::<WithOrigin>::new(numbers)?;
        let handle = signals.handle();
        let (sender, received) = mpsc::unbounded_channel();
        // Its own thread, because the iterator blocks; it ends with the process.
        std::thread::Builder::new()
            .name("signals".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                for origin in signals.forever() {
                    let Some(signal) = Signal::from_named_raw(origin.signal) else {
                        continue;
                    };
                    let received = Received {
                        signal,
                        sender: origin.process.map(|process| process.pid),
                    };
                    if sender.send(received).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            received,
            handle,
            ignored,
        })
    }

    /// Starts to receive the signals that pause a process too, which then stands in for another.
    pub fn take_pauses(&self) -> io::Result<()> {
        let wanted = PAUSES
            .iter()
            .filter(|number| !is_in(self.ignored, **number));
        for number in wanted {
            self.handle.add_signal(*number)?;
        }
        Ok(())
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Received {
        match self.received.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

impl Received {
    /// Whether it asks a process to stop for a while, to be continued later.
    pub fn is_pause(self) -> bool {
        PAUSES.contains(&self.signal.as_raw())
    }

    /// Whether it asks a process to end.
    pub fn is_end(self) -> bool {
        [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP].contains(&self.signal)
    }

    /// Whether it has to be passed on to the process `other`, which may have sent it itself.
    pub fn is_for(self, other: Pid) -> bool {
        self.sender
            .is_some_and(|sender| sender != other.as_raw_pid())
    }
}

/// Reads the set of ignored signals, a bit each; empty where it cannot be read.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let set = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    // Rust ignores SIGPIPE for itself, and gives its children the default again.
    set.unwrap_or_default() & !(1 << (Signal::PIPE.as_raw() - 1))
}

fn is_in(set: u64, number: i32) -> bool {
    set >> (number - 1) & 1 == 1
}

/// What a terminal sends to pause its foreground group, or those who disturb it.
const PAUSES: [i32; 3] = [SIGTSTP, SIGTTIN, SIGTTOU];

/// Faults of this process, what cannot be caught, and what children cause.
const NOT_RELAYED: [i32; 7] = [SIGKILL, SIGSTOP, SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGCHLD];

/// Beyond it are the real-time signals.
const LAST: i32 = 31;

/// The thread does nothing but pass on a few numbers.
const STACK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_passed_on_unless_it_reached_the_other_process_anyway() {
        let child = Pid::from_raw(77).unwrap();
        for (sender, is_for_child) in [(None, false), (Some(77), false), (Some(1), true)] {
            let signal = Signal::INT;
            assert_eq!(Received { signal, sender }.is_for(child), is_for_child);
        }
    }
}
