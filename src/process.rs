//! The limits of this process, and its name.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Keeps memory out of core dumps and away from debuggers of the same user.
///
/// Best effort: where the kernel refuses, the process runs on.
pub fn protect() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
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

/// Returns the host name; in a pod, that of the pod.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Enough for every connection the servers admit.
const USEFUL: u64 = 16_384;
