//! Every signal that can be caught, and who sent it: for a process that stands in for another.
//!
//! What a terminal sends reaches every process of the foreground group by itself, the other one included. What a process
//! sends has one addressee, and is to be passed on. Not among them are real-time signals, and those by which a terminal
//! stops whoever disturbs it: they may be meant for this process alone, which writes a log.

use std::io;

use rustix::process::{Pid, Signal, getpid, getsid};
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
    /// Starts to receive every signal but those that were ignored, because children are to inherit that, and the one that
    /// pauses a process.
    pub fn new() -> io::Result<Self> {
        let ignored = ignored();
        let is_relayed = |number: &i32| {
            !NOT_RELAYED.contains(number) && *number != SIGTSTP && !is_in(ignored, *number)
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

    /// Starts to receive the signal that pauses a process too, which then stands in for another.
    pub fn take_pauses(&self) -> io::Result<()> {
        if !is_in(self.ignored, SIGTSTP) {
            self.handle.add_signal(SIGTSTP)?;
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
        self.signal == Signal::TSTP
    }

    /// Whether it asks a process to end.
    pub fn is_end(self) -> bool {
        [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP].contains(&self.signal)
    }

    /// Whether it has to be passed on to the process `other`.
    pub fn is_for(self, other: Pid) -> bool {
        match self.sender {
            // It may have sent it itself, to its group. And what this process causes, by writing into a broken pipe for
            // instance, is nobody else's business.
            Some(sender) => sender != other.as_raw_pid() && sender != getpid().as_raw_pid(),
            // A terminal that goes away tells the leader of the session alone, and a timer that was set before this
            // program replaced another one is the other's.
            None => match self.signal {
                Signal::HUP | Signal::CONT => getsid(None).is_ok_and(|leader| leader == getpid()),
                Signal::ALARM => true,
                _ => false,
            },
        }
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

/// Faults of this process, what cannot be caught, what children cause, and what stops whoever disturbs a terminal.
const NOT_RELAYED: [i32; 9] = [
    SIGKILL, SIGSTOP, SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGCHLD, SIGTTIN, SIGTTOU,
];

/// Beyond it are the real-time signals.
const LAST: i32 = 31;

/// The thread does nothing but pass on a few numbers.
const STACK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_is_relayed_unless_the_other_process_received_it_itself() {
        let child = Pid::from_raw(77).unwrap();
        let ours = getpid().as_raw_pid();
        for (signal, sender, is_for_child) in [
            (Signal::INT, None, false),
            (Signal::INT, Some(77), false),
            (Signal::INT, Some(1), true),
            (Signal::PIPE, Some(ours), false),
            (Signal::ALARM, None, true),
        ] {
            let received = Received { signal, sender };
            assert_eq!(received.is_for(child), is_for_child, "{received:?}");
        }
    }
}
