//! The limits and protection of this process, its host name, and its orphaned children.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, WaitOptions, getpid, getrlimit, set_dumpable_behavior,
    setrlimit, umask, waitpid,
};
use rustix::thread::set_no_new_privs;

/// Makes the process undumpable: no core dumps, and no access to its memory and environment by other processes of the same
/// user.
///
/// Children do not inherit it. Best effort: where the kernel refuses, the process runs on.
pub fn forbid_dumps() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Forbids core dumps of children too, and makes new files private to this user; also forbids children to gain privileges,
/// unless `runs_programs`: programs are started for credentials.
///
/// Call it before there is a second thread. Not for a process whose children must start with the original settings: see
/// [`with_original_umask`] for the umask; the limit cannot be taken back. Best effort like [`forbid_dumps`].
pub fn protect(runs_programs: bool) {
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    let before = umask(PRIVATE);
    UMASK.get_or_init(|| before);
    // A program may be sudo, or have capabilities of its own.
    if !runs_programs {
        let _ = set_no_new_privs(true);
    }
}

/// Starts a program with the umask that this process was started with.
///
/// Other threads have that umask too meanwhile: every file is created with an explicit mode.
pub fn with_original_umask<T>(start: impl FnOnce() -> T) -> T {
    let Some(before) = UMASK.get() else {
        return start();
    };
    let ours = umask(*before);
    let started = start();
    umask(ours);
    started
}

/// Raises the limit of open files as far as it is useful and allowed, and returns it.
pub fn raise_open_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let useful = maximum.map_or(USEFUL, |maximum| maximum.min(USEFUL));
    let before = current.unwrap_or(USEFUL);
    let raised = Rlimit {
        current: Some(useful),
        maximum,
    };
    let after = if useful > before && setrlimit(Resource::Nofile, raised).is_ok() {
        useful
    } else {
        before
    };
    usize::try_from(after).unwrap_or(usize::MAX)
}

/// Returns the limit of open files.
pub fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(USEFUL);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Returns the host name; in a pod, that of the pod.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// A child whose exit status is awaited, as long as this value lives.
#[derive(Debug)]
pub struct AwaitedChild(i32);

impl AwaitedChild {
    /// Registers a child right after its start, before the next `await`.
    pub fn new(id: Option<u32>) -> Self {
        let id = id.and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        awaited().insert(id);
        Self(id)
    }
}

impl Drop for AwaitedChild {
    fn drop(&mut self) {
        awaited().remove(&self.0);
    }
}

/// Reaps exited children whose exit status nobody awaits, if this is process 1.
///
/// Process 1 of a container inherits the children of processes that have ended.
pub fn reap_orphans() {
    if !getpid().is_init() {
        return;
    }
    // The kernel gives orphans to the first thread, which also starts all our own children.
    let listed = std::fs::read_to_string("/proc/1/task/1/children").unwrap_or_default();
    let ids = listed.split_ascii_whitespace();
    for id in ids.filter_map(|id| id.parse().ok()) {
        if !awaited().contains(&id) {
            // Also one that lives: then there is nothing to collect.
            let _ = waitpid(Pid::from_raw(id), WaitOptions::NOHANG);
        }
    }
}

fn awaited() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enough for every connection the servers admit.
const USEFUL: u64 = 16_384;

/// Everything for this user, nothing for others.
const PRIVATE: Mode = Mode::RWXG.union(Mode::RWXO);

/// The umask that this process was started with, if it has changed that.
static UMASK: OnceLock<Mode> = OnceLock::new();
