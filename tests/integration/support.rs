//! The real binary under test, and what tests of processes need: their output, deadlines, directories.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The real binary under test, killed on drop.
pub(crate) struct Daemon {
    process: Process,
}

impl Daemon {
    /// Starts `ram-sidecar serve …args` with a cleared environment plus `PATH` and `env`.
    pub(crate) fn spawn(args: &[&str], env: &[(&str, &str)]) -> Self {
        let binary = environment("RAM_SIDECAR_TEST_BINARY")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_ram-sidecar").into());
        let mut command = Command::new(binary);
        command.arg("serve").args(args);
        command
            .env_clear()
            .envs(environment("PATH").map(|path| ("PATH", path)));
        command.envs(env.iter().copied());
        Self {
            process: Process::start(command),
        }
    }

    /// Returns the address at which it serves, waiting for it to be printed.
    pub(crate) fn uri(&self) -> String {
        let prefix = "ALIBABA_CLOUD_CREDENTIALS_URI=";
        let printed = self.process.stdout.wait_for(START_DEADLINE, |lines| {
            lines
                .iter()
                .find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
        });
        printed.unwrap_or_else(|| panic!("no line {prefix}… was printed; {}", self.stderr()))
    }

    /// Sends the signal `name`: `HUP`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let signal = match name {
            "HUP" => Signal::HUP,
            "TERM" => Signal::TERM,
            _ => panic!("{name} is no signal that tests send"),
        };
        let pid = i32::try_from(self.process.child.id())
            .ok()
            .and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a process id"), signal).expect("the daemon runs");
    }

    /// Returns everything that it logged so far.
    pub(crate) fn stderr(&self) -> String {
        self.process.stderr()
    }
}

/// A child process whose output is read as it comes, killed on drop.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    answers: usize,
}

impl Process {
    /// Starts `command`.
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = Output::of(child.stdout.take().expect("standard output is a pipe"));
        let stderr = Output::of(child.stderr.take().expect("standard error is a pipe"));
        Self {
            child,
            stdin,
            stdout,
            stderr,
            answers: 0,
        }
    }

    /// Writes a line to its standard input and returns the line that it prints in answer.
    pub(crate) fn ask(&mut self, question: &str) -> String {
        let stdin = self.stdin.as_mut().expect("standard input is a pipe");
        writeln!(stdin, "{question}").expect("the process reads its standard input");
        let index = self.answers;
        self.answers += 1;
        let answer = self
            .stdout
            .wait_for(ANSWER_DEADLINE, |lines| lines.get(index).cloned());
        answer.unwrap_or_else(|| panic!("no answer to `{question}`; {}", self.stderr()))
    }

    /// Returns what it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.seen.lock().unwrap().lines.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Output {
    seen: Mutex<Seen>,
    grown: Condvar,
}

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    is_complete: bool,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Arc<Self> {
        let output = Arc::<Self>::default();
        let writer = Arc::clone(&output);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.seen.lock().unwrap().lines.push(line);
                writer.grown.notify_all();
            }
            writer.seen.lock().unwrap().is_complete = true;
            writer.grown.notify_all();
        });
        output
    }

    /// Waits until `wanted` finds something; gives up when there is no more output, or after `deadline`.
    fn wait_for<T>(
        &self,
        deadline: Duration,
        wanted: impl Fn(&[String]) -> Option<T>,
    ) -> Option<T> {
        let seen = self.seen.lock().unwrap();
        let is_waiting = |seen: &mut Seen| !seen.is_complete && wanted(&seen.lines).is_none();
        let (seen, _) = self
            .grown
            .wait_timeout_while(seen, deadline, is_waiting)
            .unwrap();
        wanted(&seen.lines)
    }
}

/// An empty directory, removed on drop.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a directory of its own.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("scratch-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // A process of the same number may have been killed before it could clean up.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the target directory is writable");
        Self(path)
    }

    /// Returns the path of `name` in the directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until `condition` gives a value.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let polls = START_DEADLINE.as_millis() / POLL.as_millis();
    for _ in 0..polls {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep(POLL);
    }
    panic!("{what}: not within {START_DEADLINE:?}");
}

/// Reads a variable of the environment in which the tests run.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment what to run, and where"
)]
pub(crate) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

const POLL: Duration = Duration::from_millis(20);

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A client imports its SDK first, on a machine that may be busy with other tests.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
