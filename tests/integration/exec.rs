//! `exec`: what a command sees, and what is seen of it from outside.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Process, environment};
use crate::toolchains::tool;

pub(crate) mod clients;
mod endings;
pub(crate) mod init;
mod leftovers;
mod sight;
mod signals;
mod stopping;
mod terminal;

/// Makes `ram-sidecar exec …settings -- …words`, in an empty environment but for `PATH`.
fn exec(settings: &[&str], words: &[&str]) -> Command {
    let mut command = plain(&[EXECUTABLE, "exec"]);
    command.args(settings).arg("--").args(words);
    command
}

/// Makes the same with the embedded STS.
fn sandboxed(words: &[&str]) -> Command {
    exec(&["--sandbox"], words)
}

/// Makes a command without `exec`, to compare.
fn plain(words: &[&str]) -> Command {
    // A shell that runs these tests in the background has them ignore what a keyboard sends, and that is inherited.
    let mut command = Command::new("env");
    command.arg("--default-signal").args(words).env_clear();
    command.envs(environment("PATH").map(|path| ("PATH", path)));
    command
}

/// Runs to the end, and returns the exit code, and what was printed and complained.
fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program is there");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    (status.code(), text(stdout), text(stderr))
}

/// Returns the interpreter itself; what the name leads to may be a script.
fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let found = PYTHON.get_or_init(|| {
        let mut python = tool("python3")?;
        let output = python.args(["-c", "import sys; print(sys.executable)"]);
        let output = output.output().expect("python runs");
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    });
    found.as_deref()
}

fn program(name: &str) -> String {
    format!("{}/tests/clients/python/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A `child.py` below `exec`.
struct Job {
    exec: Process,
    child: Pid,
}

impl Job {
    /// Starts one; nothing without Python.
    fn start(settings: &[&str], arguments: &[&str]) -> Option<Self> {
        let child = program("child.py");
        let words = [&[python()?, "-B", &child], arguments].concat();
        Some(Self::of(exec(settings, &words)))
    }

    /// Starts a command that ends up as a `child.py`, and waits until that is ready.
    fn of(command: Command) -> Self {
        let mut exec = Process::start(command);
        // An empty question has no answer, but the first line stands in its place.
        let ready = answer(&mut exec, "");
        let id = ready.strip_prefix("ready ").map(str::parse);
        let id = id.and_then(Result::ok).and_then(Pid::from_raw);
        Self {
            exec,
            child: id.expect("a process id"),
        }
    }

    fn ask(&mut self, question: &str) -> String {
        answer(&mut self.exec, question)
    }

    fn assert_served(&mut self) {
        assert!(self.ask("fetch").starts_with("STS."));
    }

    /// Returns how often the signal arrived, when whatever was on its way has.
    fn received(&mut self, name: &str) -> Value {
        for _ in 0..3 {
            // Served by the same thread that passes signals on.
            self.assert_served();
        }
        self.signals()[name].clone()
    }

    fn signals(&mut self) -> Value {
        serde_json::from_str(&self.ask("signals")).expect("JSON")
    }

    fn end(mut self, code: i32) {
        self.exec.tell(&format!("end {code}"));
        assert_eq!(self.exec.ended(), Some(code), "{}", self.exec.stderr());
    }

    fn signal(&self, signal: Signal) {
        kill(self.exec.id(), signal);
    }
}

fn answer(process: &mut Process, question: &str) -> String {
    let line = process.ask(question);
    let answer = line
        .strip_prefix("<<")
        .and_then(|line| line.strip_suffix(">>"));
    answer.expect("an answer").to_owned()
}

fn kill(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    kill_process(id.expect("a process id"), signal).expect("the process runs");
}

fn text(path: &Path) -> &str {
    path.to_str()
        .expect("the target directory has a plain name")
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_ram-sidecar");
