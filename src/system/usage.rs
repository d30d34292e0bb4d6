//! What this process uses of its machine.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::process;

/// What this process uses. What the kernel does not tell is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// The time of the processor, of all threads.
    pub processor: Duration,
    /// The resident memory, in bytes.
    pub resident: Option<u64>,
    /// The address space, in bytes.
    pub address_space: Option<u64>,
    /// The number of open files.
    pub open_files: Option<u64>,
    /// The limit of open files.
    pub open_files_limit: u64,
}

impl Usage {
    /// Reads `/proc/self`, which takes a fraction of a millisecond.
    pub fn now() -> Self {
        let processor = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        // The directory that is read is open itself.
        let open_files = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as u64 - 1);
        Self {
            processor: Duration::try_from(processor).unwrap_or_default(),
            resident: bytes(&status, "VmRSS:"),
            address_space: bytes(&status, "VmSize:"),
            open_files: open_files.ok(),
            open_files_limit: process::open_files() as u64,
        }
    }
}

/// Finds a size, which `proc_pid_status(5)` gives in units of 1024 bytes.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines();
    let size = lines.find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something_of_everything() {
        let usage = Usage::now();
        assert!(usage.resident > Some(1 << 20) && usage.address_space >= usage.resident);
        assert!(usage.open_files >= Some(3) && usage.open_files < Some(usage.open_files_limit));
        assert!(usage.processor > Duration::ZERO);
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_none() {
        assert_eq!(
            bytes("Name:\tx\nVmRSS:\t    5300 kB\n", "VmRSS:"),
            Some(5300 * 1024)
        );
        for status in ["", "VmRSS:\n", "VmRSS: many kB", "VmRSS: 5300"] {
            assert_eq!(bytes(status, "VmRSS:"), None);
        }
    }
}
