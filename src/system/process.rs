//! The limits and protection of this process, its host name, and its orphaned children.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, WaitOptions, getpid, getrlimit, set_dumpable_behavior,
    setrlimit, umask, waitpid,
};
use rustix::thread::set_no_new_privs;

use super::{file, remedy};

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

/// Why a program did not start.
#[derive(Debug)]
pub struct NotStarted {
    /// The reason, which continues a sentence.
    pub reason: String,
    /// What to do about it, if that does not depend on who starts the program.
    pub remedy: Option<String>,
}

/// Explains why a program did not start. Where a file that is there "does not exist", what is missing is its interpreter.
pub fn not_started(program: &Path, error: &io::Error) -> NotStarted {
    let told = |reason: &str, remedy: &str| NotStarted {
        reason: reason.to_owned(),
        remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
    };
    let reason = error.to_string();
    if let Some(remedy) = remedy::of_start(error) {
        return told(&reason, remedy);
    }
    // A name without a slash is looked for in PATH.
    let is_path = program.as_os_str().as_bytes().contains(&b'/');
    let Some(found) = program.metadata().ok().filter(|_| is_path) else {
        return told(&reason, "");
    };
    let shown = program.display();
    let start = start_of(program);
    let line = start.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_prefix(b"#!").map(String::from_utf8_lossy);
    let interpreter = line.as_deref().map(|line| {
        let interpreter = line.split_ascii_whitespace().next();
        interpreter.unwrap_or_default()
    });
    match (Errno::from_io_error(error), line.as_deref(), interpreter) {
        (Some(Errno::ACCESS), ..) if found.is_dir() => told("it is a directory", ""),
        (Some(Errno::ACCESS), ..) if found.mode() & 0o111 == 0 => told(
            "it is not executable",
            &format!("make it so with chmod +x {shown}"),
        ),
        (Some(Errno::ACCESS), ..) => told(
            &reason,
            "let this user execute it and its interpreter: their modes, the directories above them and the options of the mount (noexec) decide",
        ),
        (Some(Errno::NOENT), Some(line), _) if line.ends_with('\r') => told(
            "its first line ends in a carriage return, which counts as part of the interpreter's name",
            "save it with Unix line ends",
        ),
        (Some(Errno::NOENT), _, Some(interpreter)) => told(
            &format!("its interpreter {interpreter}, which its first line names, does not exist"),
            "install that, or correct the line",
        ),
        (Some(Errno::NOENT), ..) => told(
            "the file is there, but not the dynamic loader that it was linked for, such as glibc's in an image with musl",
            "use a build for this image",
        ),
        (Some(Errno::NOEXEC), ..) if start.starts_with(b"\x7fELF") => told(
            &format!("it is a program, but not for this machine ({})", machine()),
            "use a build for this machine",
        ),
        (Some(Errno::NOEXEC), None, _) => told(
            "it neither begins with #! nor is a program of this machine",
            "begin it with a line such as #!/bin/sh",
        ),
        _ => told(&reason, ""),
    }
}

/// Returns the name of this machine's architecture.
fn machine() -> String {
    let names = rustix::system::uname();
    names.machine().to_string_lossy().into_owned()
}

/// Returns what the kernel reads of a file to find out how to run it; nothing if it cannot be read.
fn start_of(file: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    // Not a pipe, which would wait for its writer.
    if let Ok(file) = file::open_regular_at(CWD, file, OFlags::empty()) {
        let _ = file.take(FIRST_LINE).read_to_end(&mut start);
    }
    start
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
    let listed = std::fs::read_to_string("/proc/1/task/1/children").unwrap_or_default();
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

/// The longest first line of a script that the kernel reads, in bytes.
const FIRST_LINE: u64 = 256;

/// Enough for every connection that the servers accept.
const USEFUL: u64 = 16_384;

/// A umask that gives other users no access.
const PRIVATE: Mode = Mode::RWXG.union(Mode::RWXO);

/// The umask that this process was started with; set once the process has changed its umask.
static UMASK: OnceLock<Mode> = OnceLock::new();
