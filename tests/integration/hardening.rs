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

/// Every command that has secrets, and whether it keeps the original umask and privileges for its children.
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
    let can_switch_user = !is_root() || has("setpriv");
    if !required("setpriv, for root", can_switch_user) {
        return;
    }
    for (name, _) in COMMANDS {
        let process = SecretProcess::by_program(name, &as_nobody());
        assert_eq!(process.open_to_its_user(), [""; 0], "{name}");
    }
    // An unprotected process of the same user is open.
    let mut unprotected = Command::new("sh");
    unprotected.args(["-c", "touch started; exec sleep 60"]);
    assert_eq!(
        SecretProcess::of(&unprotected, &as_nobody()).open_to_its_user(),
        PRIVATE
    );
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
    // PTRACE_SEIZE, which ends with the tracer.
    let seize = "import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
done = libc.ptrace(0x4206, int(sys.argv[1]), None, None)
print(os.strerror(ctypes.get_errno()) if done else 'traced')";
    let traced = |process: &SecretProcess| {
        let id = process.child.id().to_string();
        let ran = output(&[&python[..], &[seize, &id]].concat());
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    for (name, _) in COMMANDS {
        let process = SecretProcess::by_program(name, &as_nobody());
        assert_eq!(traced(&process), "Operation not permitted", "{name}");
    }
    let mut unprotected = Command::new("sh");
    unprotected.args(["-c", "touch started; exec sleep 60"]);
    assert_eq!(
        traced(&SecretProcess::of(&unprotected, &as_nobody())),
        "traced"
    );
}

#[test]
fn crash_leaves_no_core_dump_even_with_an_unlimited_size() {
    let unlimited = ["prlimit", "--core=unlimited:unlimited"];
    let mut other = Command::new("sh");
    other.args(["-c", "touch started; exec sleep 60"]);
    if !required(
        "root, or no limit on core dumps",
        is_root() || has_unlimited_cores(),
    ) {
        return;
    }
    let leaves_cores = SecretProcess::of(&other, &unlimited)
        .crashed()
        .core_dumped();
    if !required("a kernel that writes core dumps", leaves_cores) {
        return;
    }
    for (name, _) in COMMANDS {
        let status = SecretProcess::by_program(name, &unlimited).crashed();
        assert_eq!(status.signal(), Some(Signal::ILL.as_raw()), "{name}");
        assert!(!status.core_dumped(), "{name}");
    }
}

#[test]
fn files_are_private_to_the_user_while_the_program_has_the_original_umask() {
    let before = ["sh", "-c", "umask 026; exec \"$@\"", "sh"];
    for (name, is_unchanged) in COMMANDS {
        let process = SecretProcess::by_program(name, &before);
        let expected = BTreeSet::from([if is_unchanged { "0026" } else { "0077" }.into()]);
        // The program runs a moment before the process has its own umask again.
        eventually(name, || (process.status("Umask") == expected).then_some(()));
        assert_eq!(process.output("umask"), "0026", "{name}");
    }
}

#[test]
fn program_for_credentials_may_gain_privileges() {
    for (name, _) in COMMANDS {
        let process = SecretProcess::by_program(name, &[]);
        assert_eq!(process.output("privileges"), "NoNewPrivs:\t0", "{name}");
    }
    let scratch = Scratch::new();
    let file = scratch.join("config.json");
    let program = r#"{"current":"p","profiles":[{"name":"p","mode":"External","process_command":"sh -c 'touch started; sleep 30'"}]}"#;
    fs::write(&file, program).unwrap();
    let variables = [("ALIBABA_CLOUD_CONFIG_FILE", file.to_str().unwrap())];
    let identity = ["--identity", "profile"];
    let process = SecretProcess::of(&ram_sidecar("serve", &identity, &variables), &[]);
    assert_eq!(process.status("NoNewPrivs"), BTreeSet::from(["0".into()]));
}

#[test]
fn no_thread_can_gain_privileges_without_a_program_for_credentials() {
    for (name, is_unchanged) in COMMANDS {
        // STS accepts connections and never responds. Each command has its own: earlier connections may still be queued.
        let sts = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", sts.local_addr().unwrap());
        let variables = [
            ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job"),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI0123456789"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "0123456789abcdef"),
            ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
        ];
        let (process, _connection) =
            SecretProcess::requesting(&sts, &ram_sidecar(name, &[], &variables));
        let expected = if is_unchanged { "0" } else { "1" };
        let all = process.status("NoNewPrivs");
        assert_eq!(all, BTreeSet::from([expected.into()]), "{name}");
    }
    let daemon = sandbox(&[], &[]);
    daemon.uri();
    let all = thread_status(daemon.id(), "NoNewPrivs");
    assert_eq!(all, BTreeSet::from(["1".into()]));
}

/// A running process that has secrets. On drop, it is killed and its directory is removed.
struct SecretProcess {
    child: Child,
    scratch: Scratch,
}

impl SecretProcess {
    /// Starts a ram-sidecar whose identity is a program, and waits until the program runs.
    fn by_program(name: &str, starter: &[&str]) -> Self {
        let variables = [("RAM_SIDECAR_COMMAND", PROGRAM)];
        Self::of(
            &ram_sidecar(name, &["--identity", "process"], &variables),
            starter,
        )
    }

    /// Starts a process through `starter` in a temporary directory, and waits for the file `started` there.
    fn of(command: &Command, starter: &[&str]) -> Self {
        let process = Self::start(command, starter);
        eventually("the process is running", || {
            process.scratch.join("started").exists().then_some(())
        });
        process
    }

    /// Starts a ram-sidecar, and waits until it connects to `sts`. It waits for a response while the connection is open.
    fn requesting(sts: &TcpListener, command: &Command) -> (Self, TcpStream) {
        let process = Self::start(command, &[]);
        sts.set_nonblocking(true).expect("a socket");
        let (connection, _) = eventually("it connects to STS", || sts.accept().ok());
        (process, connection)
    }

    fn start(command: &Command, starter: &[&str]) -> Self {
        let scratch = Scratch::new();
        // The process may run as another user.
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
            child: child.expect("the program exists"),
            scratch,
        }
    }

    /// Reads a file that its program wrote.
    fn output(&self, name: &str) -> String {
        let message = fs::read_to_string(self.scratch.join(name)).expect("the program wrote it");
        message.trim().to_owned()
    }

    /// Returns the distinct values of a field of `/proc/…/status` in its threads.
    fn status(&self, name: &str) -> BTreeSet<String> {
        thread_status(self.child.id(), name)
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

impl Drop for SecretProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Files of a process that the kernel opens only to processes that may trace it.
const PRIVATE: [&str; 5] = ["environ", "mem", "maps", "auxv", "fd"];

/// Returns a command of ram-sidecar that has secrets.
fn ram_sidecar(name: &str, settings: &[&str], variables: &[(&str, &str)]) -> Command {
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

/// Returns a starter that switches to an unprivileged user if the tests run as root, which may read everything.
pub(crate) fn as_nobody() -> Vec<&'static str> {
    let words = ["setpriv", "--reuid=65534", "--regid=65534"];
    let more = ["--clear-groups", "--inh-caps=-all"];
    if is_root() {
        [&words[..], &more].concat()
    } else {
        Vec::from(["env"])
    }
}

fn has_unlimited_cores() -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    limit.maximum.is_none()
}

fn thread_status(id: u32, name: &str) -> BTreeSet<String> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
    // A thread may end in the meantime.
    let texts = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let value = |text: String| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    texts.filter_map(value).collect()
}
