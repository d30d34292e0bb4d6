//! The process protects its memory, and its children inherit the original umask and privileges.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::access::{has, is_root, output};
use crate::serving::{LISTEN, sandbox};
use crate::support::{Scratch, environment, eventually, required, under};

/// Every command that holds secrets, and whether its own children inherit the original state.
const COMMANDS: [(&str, bool); 4] = [
    ("serve", false),
    ("exec", true),
    ("check", false),
    ("get", false),
];

/// Writes its umask and privileges to files, and then waits until the file `started` is removed.
const PROGRAM: &str = r#"["sh", "-c", "umask > umask; grep NoNewPrivs /proc/self/status > privileges; touch started; while [ -e started ]; do sleep 0.1; done"]"#;

#[test]
fn another_process_of_the_same_user_reads_neither_memory_nor_environment() {
    let needed = !is_root() || has("setpriv");
    if !required("setpriv, for root", needed) {
        return;
    }
    for (name, _) in COMMANDS {
        let held = Held::by_program(name, &as_nobody());
        assert_eq!(held.open_to_its_user(), [""; 0], "{name}");
    }
    // Without this program in between, all of it is open to the same user.
    let mut open = Command::new("sh");
    open.args(["-c", "touch started; exec sleep 60"]);
    assert_eq!(Held::of(&open, &as_nobody()).open_to_its_user(), PRIVATE);
}

#[test]
fn another_process_of_the_same_user_cannot_trace_it() {
    // The first match in the path may not be executable by every user.
    let runs = |python: &&str| {
        let words = [*python, "-c", "import ctypes"];
        (!is_root() || has("setpriv"))
            && output(&[&as_nobody()[..], &words].concat())
                .status
                .success()
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(runs);
    let what = "python3 for every user, and setpriv for root";
    if !required(what, python.is_some()) {
        return;
    }
    let python = [&as_nobody()[..], &[python.unwrap(), "-c"]].concat();
    // PTRACE_SEIZE, which the end of the tracer undoes.
    let seize = "import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
done = libc.ptrace(0x4206, int(sys.argv[1]), None, None)
print(os.strerror(ctypes.get_errno()) if done else 'traced')";
    let traced = |held: &Held| {
        let id = held.child.id().to_string();
        let ran = output(&[&python[..], &[seize, &id]].concat());
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    for (name, _) in COMMANDS {
        let held = Held::by_program(name, &as_nobody());
        assert_eq!(traced(&held), "Operation not permitted", "{name}");
    }
    let mut open = Command::new("sh");
    open.args(["-c", "touch started; exec sleep 60"]);
    assert_eq!(traced(&Held::of(&open, &as_nobody())), "traced");
}

#[test]
fn crash_leaves_no_core_dump_even_with_an_unlimited_size() {
    let unlimited = ["prlimit", "--core=unlimited:unlimited"];
    let mut other = Command::new("sh");
    other.args(["-c", "touch started; exec sleep 60"]);
    if !required("root or no limit of cores", is_root() || has_cores()) {
        return;
    }
    let leaves_cores = Held::of(&other, &unlimited).crashed().core_dumped();
    if !required("a kernel that dumps cores", leaves_cores) {
        return;
    }
    for (name, _) in COMMANDS {
        let status = Held::by_program(name, &unlimited).crashed();
        assert_eq!(status.signal(), Some(Signal::ILL.as_raw()), "{name}");
        assert!(!status.core_dumped(), "{name}");
    }
}

#[test]
fn files_are_private_to_the_user_while_the_program_has_the_original_umask() {
    let before = ["sh", "-c", "umask 026; exec \"$@\"", "sh"];
    for (name, is_transparent) in COMMANDS {
        let held = Held::by_program(name, &before);
        let own = if is_transparent { "0026" } else { "0077" };
        assert_eq!(held.status("Umask"), BTreeSet::from([own.into()]), "{name}");
        assert_eq!(held.output("umask"), "0026", "{name}");
    }
}

#[test]
fn program_for_credentials_may_gain_privileges() {
    for (name, _) in COMMANDS {
        let held = Held::by_program(name, &[]);
        assert_eq!(held.output("privileges"), "NoNewPrivs:\t0", "{name}");
    }
    let scratch = Scratch::new();
    let file = scratch.join("config.json");
    let program = r#"{"current":"p","profiles":[{"name":"p","mode":"External","process_command":"sh -c 'touch started; sleep 30'"}]}"#;
    fs::write(&file, program).unwrap();
    let variables = [("ALIBABA_CLOUD_CONFIG_FILE", file.to_str().unwrap())];
    let identity = ["--identity", "profile"];
    let held = Held::of(&ours("serve", &identity, &variables), &[]);
    assert_eq!(held.status("NoNewPrivs"), BTreeSet::from(["0".into()]));
}

#[test]
fn no_thread_can_gain_privileges_without_a_program_for_credentials() {
    for (name, is_transparent) in COMMANDS {
        // It takes connections, and never answers. One each: of those that came before, more may wait.
        let sts = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", sts.local_addr().unwrap());
        let variables = [
            ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job"),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI0123456789"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "0123456789abcdef"),
            ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
        ];
        let (held, _connection) = Held::asking(&sts, &ours(name, &[], &variables));
        let expected = if is_transparent { "0" } else { "1" };
        let all = held.status("NoNewPrivs");
        assert_eq!(all, BTreeSet::from([expected.into()]), "{name}");
    }
    let daemon = sandbox(&[], &[]);
    daemon.uri();
    let all = of_threads(daemon.id(), "NoNewPrivs");
    assert_eq!(all, BTreeSet::from(["1".into()]));
}

/// A process at work that holds secrets, killed on drop with its directory.
struct Held {
    child: Child,
    scratch: Scratch,
}

impl Held {
    /// Starts one of ours whose identity is a program, and waits until that runs.
    fn by_program(name: &str, starter: &[&str]) -> Self {
        let variables = [("RAM_SIDECAR_COMMAND", PROGRAM)];
        Self::of(&ours(name, &["--identity", "process"], &variables), starter)
    }

    /// Starts a process in a directory of its own, by a program that becomes it, and waits for the file `started` there.
    fn of(command: &Command, starter: &[&str]) -> Self {
        let held = Self::start(command, starter);
        eventually("it is at work", || {
            held.scratch.join("started").exists().then_some(())
        });
        held
    }

    /// Starts one of ours, and waits until it asks `sts`, which has it wait while the connection is kept.
    fn asking(sts: &TcpListener, command: &Command) -> (Self, TcpStream) {
        let held = Self::start(command, &[]);
        sts.set_nonblocking(true).expect("a socket");
        let (connection, _) = eventually("it asks", || sts.accept().ok());
        (held, connection)
    }

    fn start(command: &Command, starter: &[&str]) -> Self {
        let scratch = Scratch::new();
        // For whichever user it becomes.
        rustix::fs::chmod(scratch.path(), rustix::fs::Mode::from(0o777)).unwrap();
        let mut outer = under(starter, command);
        outer.envs(environment("PATH").map(|path| ("PATH", path)));
        let child = outer
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            child: child.expect("the program is there"),
            scratch,
        }
    }

    /// Reads a file that its program wrote.
    fn output(&self, name: &str) -> String {
        let message = fs::read_to_string(self.scratch.join(name)).expect("the program wrote it");
        message.trim().to_owned()
    }

    /// Returns what its threads have by a name, each value once.
    fn status(&self, name: &str) -> BTreeSet<String> {
        of_threads(self.child.id(), name)
    }

    /// Returns which private files of `/proc` another process of its user can open.
    fn open_to_its_user(&self) -> Vec<&'static str> {
        let is_open = |name: &&&str| {
            let path = format!("/proc/{}/{name}", self.child.id());
            let script = "exec 3< \"$1\" && ls \"$1\" > /dev/null";
            let opened = [&as_nobody()[..], &["sh", "-c", script, "sh", &path]].concat();
            output(&opened).status.success()
        };
        PRIVATE.iter().filter(is_open).copied().collect()
    }

    /// Crashes it with a signal that has no handler.
    fn crashed(mut self) -> ExitStatus {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), Signal::ILL).expect("it runs");
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have been crashed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Files of a process that the kernel opens only to processes that may trace it.
const PRIVATE: [&str; 5] = ["environ", "mem", "maps", "auxv", "fd"];

/// Makes a command of ours that is to hold secrets.
fn ours(name: &str, settings: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ram-sidecar"));
    command.arg(name).args(settings);
    match name {
        "serve" => command.args(LISTEN),
        "exec" => command.args(["--", "true"]),
        _ => &mut command,
    };
    command.envs(variables.iter().copied());
    command
}

/// Runs a program as an unprivileged user if the tests run as root, which may read everything.
fn as_nobody() -> Vec<&'static str> {
    let words = ["setpriv", "--reuid=65534", "--regid=65534"];
    let more = ["--clear-groups", "--inh-caps=-all"];
    if is_root() {
        [&words[..], &more].concat()
    } else {
        Vec::from(["env"])
    }
}

fn has_cores() -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    limit.maximum.is_none()
}

fn of_threads(id: u32, name: &str) -> BTreeSet<String> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
    // A thread may end meanwhile.
    let texts = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let value = |text: String| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    texts.filter_map(value).collect()
}
