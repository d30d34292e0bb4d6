//! Receives signals with their senders, for a process that relays them to its child.
//!
//! A terminal sends its signals to every process of the foreground group, including the child. A process sends a signal to one
//! process only, so that it must be relayed. Real-time signals are not relayed, nor are TTIN and TTOU, by which a terminal
//! stops a background process that uses it: they may be caused by the log of this process.

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
    /// The signal.
    pub signal: Signal,
    /// The id of the process that sent it; `None` if the kernel did, for instance on behalf of a terminal.
    pub sender: Option<i32>,
}

/// Receives signals from its creation on.
#[derive(Debug)]
pub struct Relay {
    received: mpsc::UnboundedReceiver<Received>,
    handle: Handle,
    ignored: u64,
}

impl Relay {
    /// Starts to receive signals, except TSTP and those that this process was started to ignore: its children must inherit
    /// that.
    pub fn new() -> io::Result<Self> {
        let ignored = ignored();
        let is_relayed = |number: &i32| {
            !NOT_RELAYED.contains(number) && *number != SIGTSTP && !contains(ignored, *number)
        };
        let numbers = (1..=LAST).filter(is_relayed);
        let mut signals = SignalsInfo::<WithOrigin>::new(numbers)?;
        let handle = signals.handle();
        let (sender, received) = mpsc::unbounded_channel();
        // A separate thread, because the iterator blocks; it runs until the process exits.
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

    /// Starts to receive TSTP too, once there is a child to relay it to.
    pub fn receive_pauses(&self) -> io::Result<()> {
        if !contains(self.ignored, SIGTSTP) {
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
    /// Whether the signal pauses a process until it is continued.
    pub fn is_pause(self) -> bool {
        self.signal == Signal::TSTP
    }

    /// Whether the signal requests a process to exit.
    pub fn is_termination(self) -> bool {
        [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP].contains(&self.signal)
    }

    /// Whether the signal must be relayed to `child`.
    pub fn is_for(self, child: Pid) -> bool {
        match self.sender {
            // The child may have sent the signal to its process group. This process may have caused it, for instance by
            // writing into a broken pipe.
            Some(sender) => sender != child.as_raw_pid() && sender != getpid().as_raw_pid(),
            // When a terminal is closed, only the leader of the session gets a signal. A timer was set by the program that
            // this one replaced, for the program that it now runs as a child.
            None => match self.signal {
                Signal::HUP | Signal::CONT => getsid(None).is_ok_and(|leader| leader == getpid()),
                Signal::ALARM => true,
                _ => false,
            },
        }
    }
}

/// Returns the set of ignored signals, with one bit per signal; empty if it cannot be read.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let set = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    // Rust ignores SIGPIPE in this process, but restores the default action in its children.
    set.unwrap_or_default() & !(1 << (Signal::PIPE.as_raw() - 1))
}

fn contains(set: u64, number: i32) -> bool {
    set >> (number - 1) & 1 == 1
}

/// Signals that cannot be caught, report an error of this process or an event of its children, or stop a process that uses
/// the terminal in the background.
const NOT_RELAYED: [i32; 9] = [
    SIGKILL, SIGSTOP, SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGCHLD, SIGTTIN, SIGTTOU,
];

/// The last signal before the real-time signals.
const LAST: i32 = 31;

/// The stack of a thread that only sends a few numbers.
const STACK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_is_relayed_unless_the_child_received_it_directly() {
        let child = Pid::from_raw(77).unwrap();
        let this_process = getpid().as_raw_pid();
        for (signal, sender, is_for_child) in [
            (Signal::INT, None, false),
            (Signal::INT, Some(77), false),
            (Signal::INT, Some(1), true),
            (Signal::PIPE, Some(this_process), false),
            (Signal::ALARM, None, true),
        ] {
            let received = Received { signal, sender };
            assert_eq!(received.is_for(child), is_for_child, "{received:?}");
        }
    }
}
