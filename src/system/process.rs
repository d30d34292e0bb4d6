//! The limits and protection of this process, its host name, and its orphaned children.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, WaitOptions, getpid, getrlimit, set_dumpable_behavior,
    setrlimit, umask, waitpid,
};
use rustix::thread::set_no_new_privs;

/// Makes the process undumpable: it writes no core dumps, and other processes of the same user cannot access its memory and
/// environment.
///
/// Children do not inherit this. Errors of the kernel are ignored.
pub fn forbid_dumps() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Forbids core dumps of children too, and makes new files private to this user. Also forbids children to gain privileges,
/// unless `runs_programs`, because the configuration may name programs that print credentials.
///
/// Must be called before a second thread starts. It is not for a process whose children need the original settings:
/// [`with_original_umask`] restores the umask, but the limit cannot be raised again. Errors of the kernel are ignored.
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
    // Such a program may be sudo, or have file capabilities.
    if !runs_programs {
        let _ = set_no_new_privs(true);
    }
}

/// Calls `start` with the umask that this process was started with.
///
/// Meanwhile this is the umask of all threads; they create every file with an explicit mode.
pub fn with_original_umask<T>(start: impl FnOnce() -> T) -> T {
    let Some(before) = UMASK.get() else {
        return start();
    };
    let private = umask(*before);
    let started = start();
    umask(private);
    started
}

/// Raises the limit of open files as far as it is useful and permitted, and returns the limit.
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

/// Returns the command line of process 1, which is that of the container within one; nothing if it cannot be read.
pub fn first_command_line() -> Vec<OsString> {
    let line = fs::read("/proc/1/cmdline").unwrap_or_default();
    let arguments = line.split(|byte| *byte == 0);
    let mut arguments: Vec<_> = arguments
        .map(|argument| OsString::from_vec(argument.to_vec()))
        .collect();
    // Each ends with the byte.
    arguments.pop();
    arguments
}

/// Protects a child from [`reap_orphans`] until its exit status has been read.
#[derive(Debug)]
pub struct AwaitedChild(i32);

impl AwaitedChild {
    /// Registers a child. Must be called right after its start, before the next `await`.
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

/// Reaps exited children that are not an [`AwaitedChild`], if this is process 1.
///
/// Process 1 of a container becomes the parent of processes whose parent has exited.
pub fn reap_orphans() {
    if !getpid().is_init() {
        return;
    }
    // The parent of orphans is the first thread, which also starts all children of this process.
    let listed = fs::read_to_string("/proc/1/task/1/children").unwrap_or_default();
    let ids = listed.split_ascii_whitespace();
    for id in ids.filter_map(|id| id.parse().ok()) {
        if !awaited().contains(&id) {
            // Has no effect on a child that still runs.
            let _ = waitpid(Pid::from_raw(id), WaitOptions::NOHANG);
        }
    }
}

fn awaited() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enough for every connection that the servers accept.
const USEFUL: u64 = 16_384;

/// A umask that gives other users no access.
const PRIVATE: Mode = Mode::RWXG.union(Mode::RWXO);

/// The umask that this process was started with; set once the process has changed its umask.
static UMASK: OnceLock<Mode> = OnceLock::new();
