//! Runs the real binary, and supports tests of processes with captured output, deadlines and temporary directories.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{self, Reply};

/// The real binary under test, killed on drop.
///
/// It logs at the level `trace`. On drop, its output and all its responses other than credentials are searched for all
/// known secrets.
pub(crate) struct Daemon {
    process: Process,
    secrets: Mutex<Vec<String>>,
    /// The bodies of all responses other than credentials.
    bodies: Mutex<Vec<String>>,
}

impl Daemon {
    /// Starts `ram-sidecar serve …args` with a cleared environment plus `PATH` and `env`.
    pub(crate) fn spawn(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self {
            process: Process::start(command("serve", args, env)),
            secrets: Mutex::new(secrets(env)),
            bodies: Mutex::default(),
        }
    }

    /// Starts it like [`Self::spawn`], with the reading end of its standard output closed.
    pub(crate) fn spawn_without_stdout(args: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let process = Process::start_with(command("serve", args, &[]), writer.into());
        Self {
            process,
            secrets: Mutex::default(),
            bodies: Mutex::default(),
        }
    }

    /// Starts it like [`Self::spawn`], with a limit of open files.
    pub(crate) fn spawn_limited(files: u64, args: &[&str]) -> Self {
        let limit = format!("--nofile={files}:{files}");
        Self::spawn_under(&["prlimit", &limit], args, &[])
    }

    /// Starts it like [`Self::spawn`], through a program that executes it.
    pub(crate) fn spawn_under(starter: &[&str], args: &[&str], env: &[(&str, &str)]) -> Self {
        let outer = under(starter, &command("serve", args, env));
        Self {
            process: Process::start(outer),
            secrets: Mutex::new(secrets(env)),
            bodies: Mutex::default(),
        }
    }

    /// Waits for the URI of the credentials to be printed, and returns it.
    pub(crate) fn uri(&self) -> String {
        let printed = self.process.stdout.wait_for(START_DEADLINE, |lines| {
            lines
                .iter()
                .find_map(|line| line.strip_prefix(URI_PREFIX).map(str::to_owned))
        });
        printed.unwrap_or_else(|| panic!("no line {URI_PREFIX}… was printed; {}", self.stderr()))
    }

    /// Returns the lines of its standard output so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.process.stdout.seen.lock().unwrap().lines.clone()
    }

    /// Returns the address of the data listener, which it logs before it has credentials.
    pub(crate) fn data(&self) -> SocketAddr {
        self.address("Listening for requests for credentials")
    }

    /// Returns the address of the admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.address("Listening for probes")
    }

    /// Returns the address of the metadata listener.
    pub(crate) fn metadata(&self) -> SocketAddr {
        self.address(METADATA_MESSAGE)
    }

    /// Returns the name of the role that the metadata listener serves.
    pub(crate) fn metadata_role(&self) -> String {
        self.field(METADATA_MESSAGE, "role_name")
    }

    fn address(&self, message: &str) -> SocketAddr {
        self.field(message, "address").parse().expect("an address")
    }

    fn field(&self, message: &str, name: &str) -> String {
        let line = self.logged(message);
        let event: Value = serde_json::from_str(&line).expect("the log is JSON");
        event[name]
            .as_str()
            .expect("the event has the field")
            .to_owned()
    }

    /// Waits for a log line that contains `needle`, and returns it.
    pub(crate) fn logged(&self, needle: &str) -> String {
        let line = self.process.stderr.wait_for(START_DEADLINE, |lines| {
            lines.iter().find(|line| line.contains(needle)).cloned()
        });
        line.unwrap_or_else(|| panic!("`{needle}` is not logged; {}", self.stderr()))
    }

    /// Requests a path from the data listener.
    pub(crate) fn get(&self, path: &str) -> Reply {
        let reply = http::get(self.data(), path);
        self.record(&reply);
        reply
    }

    /// Requests the credentials at the default path from the data listener.
    pub(crate) fn credentials(&self) -> Reply {
        self.get("/api/v1/credentials/0")
    }

    /// Requests a probe from the admin listener.
    pub(crate) fn probe(&self, path: &str) -> Reply {
        let reply = http::get(self.admin(), path);
        self.record(&reply);
        reply
    }

    /// Sends bytes to the metadata listener.
    pub(crate) fn raw_metadata(&self, request: &str) -> Reply {
        let reply = http::raw(self.metadata(), request);
        self.record(&reply);
        reply
    }

    /// Sends bytes to the data listener.
    pub(crate) fn raw(&self, request: &str) -> Reply {
        let reply = http::raw(self.data(), request);
        self.record(&reply);
        reply
    }

    /// Adds a secret that must never be printed.
    pub(crate) fn plant(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// Records the secrets of credentials, and any other response, which must not contain a secret.
    fn record(&self, reply: &Reply) {
        match serde_json::from_str::<Value>(&reply.body) {
            Ok(json) if json["Code"] == "Success" => {
                for name in ["AccessKeySecret", "SecurityToken"] {
                    self.plant(json[name].as_str().expect("credentials are strings"));
                }
            }
            // The format of AWS SDKs.
            Ok(json) if json["SecretAccessKey"].is_string() => {
                for name in ["SecretAccessKey", "Token"] {
                    self.plant(json[name].as_str().expect("credentials are strings"));
                }
            }
            _ => self.bodies.lock().unwrap().push(reply.body.clone()),
        }
    }

    /// Returns the id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends the signal `name`: `HUP`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let signal = match name {
            "ALRM" => Signal::ALARM,
            "CONT" => Signal::CONT,
            "HUP" => Signal::HUP,
            "INT" => Signal::INT,
            "IO" => Signal::IO,
            "KILL" => Signal::KILL,
            "PROF" => Signal::PROF,
            "STOP" => Signal::STOP,
            "TERM" => Signal::TERM,
            "USR1" => Signal::USR1,
            "USR2" => Signal::USR2,
            "VTALRM" => Signal::VTALARM,
            "XCPU" => Signal::XCPU,
            "XFSZ" => Signal::XFSZ,
            _ => panic!("{name} is not a signal that tests send"),
        };
        let pid = i32::try_from(self.process.child.id())
            .ok()
            .and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a process id"), signal)
            .expect("the daemon is running");
    }

    /// Waits for the process to exit, and returns its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.process.ended()
    }

    /// Returns its log so far.
    pub(crate) fn stderr(&self) -> String {
        self.process.stderr()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Its whole output can be read once the process has exited.
        end(&mut self.process.child);
        if std::thread::panicking() {
            return;
        }
        self.process.stderr.wait_for(START_DEADLINE, |_| None::<()>);
        let mut output = self.bodies.lock().unwrap().join("\n");
        output.push_str(&self.stderr());
        // The URI is meant for the caller, with its secret path.
        let printed = self.stdout();
        output.extend(
            printed
                .iter()
                .filter(|line| !line.starts_with(URI_PREFIX))
                .map(String::as_str),
        );
        for secret in &*self.secrets.lock().unwrap() {
            assert!(
                !output.contains(secret),
                "a secret was printed: {secret}\n{output}"
            );
        }
        assert!(
            !output.contains("AccessKeySecret\":"),
            "credentials were printed\n{output}"
        );
    }
}

/// Runs `ram-sidecar serve …args` until it exits, and returns its exit code and its standard error.
pub(crate) fn run(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let Ended { code, stderr, .. } = run_command("serve", args, env);
    (code, stderr)
}

/// Runs `ram-sidecar check …args` until it exits, and returns its exit code and its standard output.
pub(crate) fn check(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let Ended {
        code,
        stdout,
        stderr,
    } = run_command("check", args, env);
    assert_eq!(stderr, "", "a report goes to standard output");
    (code, stdout)
}

/// The exit code and the output of a process.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `ram-sidecar name …args` until it exits.
pub(crate) fn run_command(name: &str, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut process = Process::start(command(name, args, env));
    let child = &mut process.child;
    let status = eventually("the process exits", || {
        child.try_wait().expect("it is a child process")
    });
    process.stderr.wait_for(START_DEADLINE, |_| None::<()>);
    process.stdout.wait_for(START_DEADLINE, |_| None::<()>);
    let stderr = process.stderr();
    let printed = process.stdout.seen.lock().unwrap().lines.join("\n");
    for secret in secrets(env) {
        assert!(
            !stderr.contains(&secret) && !printed.contains(&secret),
            "{stderr}\n{printed}"
        );
    }
    Ended {
        code: status.code(),
        stdout: printed,
        stderr,
    }
}

/// Returns the values of the variables whose names are those of secrets.
fn secrets(env: &[(&str, &str)]) -> Vec<String> {
    let is_secret = |name: &str| {
        ["_SECRET", "_TOKEN", "_KEY"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    env.iter()
        .filter(|(name, value)| is_secret(name) && value.len() > 3)
        .map(|(_, value)| (*value).to_owned())
        .collect()
}

/// Returns the command `ram-sidecar name …args`, which logs at the level `trace`, with a cleared environment plus `PATH`
/// and `env`.
pub(crate) fn command(name: &str, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ram-sidecar"));
    command.arg(name).args(args).env_clear();
    command.envs(environment("PATH").map(|path| ("PATH", path)));
    command
        .env("RAM_SIDECAR_LOG", "trace")
        .envs(env.iter().copied());
    command
}

/// Returns the failure that a JSON line of the log tells, in the words of responses: `error; advice (RequestId …)`.
pub(crate) fn sentence(line: &str) -> String {
    let event: Value = serde_json::from_str(line).expect("the log is JSON");
    let text = |name: &str| event[name].as_str().expect("a failure").to_owned();
    let id = event["request_id"].as_str();
    let id = id.map_or(String::new(), |id| format!(" (RequestId {id})"));
    format!("{}; {}{id}", text("error"), text("advice"))
}

/// Runs `ram-sidecar …arguments` on a terminal, which `script` provides, and returns all that it shows; nothing if there is no
/// `script`.
pub(crate) fn on_terminal(arguments: &str, env: &[(&str, &str)]) -> Option<String> {
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_ram-sidecar"));
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .output();
    required("script", output.is_ok()).then(|| String::from_utf8(output.unwrap().stdout).unwrap())
}

/// Returns a command that runs `inner`, through `starter` unless it is empty, with only the variables of `inner`.
pub(crate) fn under(starter: &[&str], inner: &Command) -> Command {
    let starter = starter.iter().map(AsRef::as_ref);
    let inner_args = std::iter::once(inner.get_program()).chain(inner.get_args());
    let mut args = starter.chain(inner_args);
    let mut outer = Command::new(args.next().expect("a program"));
    outer.args(args).env_clear();
    let variables = inner.get_envs();
    outer.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    outer
}

const METADATA_MESSAGE: &str = "Listening for the ECS metadata dialect";

const URI_PREFIX: &str = "ALIBABA_CLOUD_CREDENTIALS_URI=";

/// A child process whose output is read as it is written; killed on drop.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    responses: usize,
}

impl Process {
    /// Starts `command`.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with(command, Stdio::piped())
    }

    fn start_with(mut command: Command, stdout: Stdio) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map(Output::of).unwrap_or_default();
        let stderr = Output::of(child.stderr.take().expect("standard error is a pipe"));
        Self {
            child,
            stdin,
            stdout,
            stderr,
            responses: 0,
        }
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to exit, and returns its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = eventually("the process exits", || {
            child.try_wait().expect("it is a child process")
        });
        status.code()
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is a pipe");
        writeln!(stdin, "{line}").expect("the process reads its standard input");
    }

    /// Writes a line to its standard input, and returns the next line that it prints.
    pub(crate) fn ask(&mut self, question: &str) -> String {
        self.answer(Some(question), RESPONSE_DEADLINE)
            .unwrap_or_else(|error| panic!("`{question}`: {error}"))
    }

    /// Returns the next line that it prints in time, after a question if there is one.
    pub(crate) fn answer(
        &mut self,
        question: Option<&str>,
        deadline: Duration,
    ) -> Result<String, String> {
        if let (Some(question), Some(stdin)) = (question, &mut self.stdin) {
            // One that has ended prints no line.
            let _ = writeln!(stdin, "{question}");
        }
        let index = self.responses;
        self.responses += 1;
        let answer = self
            .stdout
            .wait_for(deadline, |lines| lines.get(index).cloned());
        answer.ok_or_else(|| format!("no answer; {}", self.stderr()))
    }

    /// Returns the lines of its standard output so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.seen.lock().unwrap().lines.clone()
    }

    /// Returns what it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.seen.lock().unwrap().lines.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills a child, unless it has exited. While coverage is measured, the child first gets time to write its counters.
fn end(child: &mut Child) {
    let is_running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.filter(|_| environment(COVERAGE).is_some());
    // A second signal ends the drain.
    for _ in 0..2 {
        let Some(pid) = pid.filter(|_| is_running(child)) else {
            break;
        };
        let _ = kill_process(pid, Signal::TERM);
        for _ in 0..COVERAGE_POLLS {
            if !is_running(child) {
                break;
            }
            std::thread::sleep(POLL);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[derive(Default)]
struct Output {
    seen: Mutex<Captured>,
    changed: Condvar,
}

#[derive(Default)]
struct Captured {
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
                writer.changed.notify_all();
            }
            writer.seen.lock().unwrap().is_complete = true;
            writer.changed.notify_all();
        });
        output
    }

    /// Waits until `find` returns a value, the output ends or `deadline` has passed.
    fn wait_for<T>(&self, deadline: Duration, find: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let seen = self.seen.lock().unwrap();
        let is_waiting = |seen: &mut Captured| !seen.is_complete && find(&seen.lines).is_none();
        let (seen, _) = self
            .changed
            .wait_timeout_while(seen, deadline, is_waiting)
            .unwrap();
        find(&seen.lines)
    }
}

/// A temporary directory, removed on drop.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Creates an empty directory below the target directory.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("scratch-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // An earlier process with the same id may have been killed before it could clean up.
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

/// Returns a loopback address where nothing listens, and where nothing starts to listen but what the caller gives it to.
///
/// Its port is below those that Linux assigns by itself (`ip_local_port_range`, from 32768), so no parallel test gets it
/// for a listener at port 0 or for a connection.
pub(crate) fn unused_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Processes of tests that run at the same time start at different ports.
        let start = u16::try_from(std::process::id() % 200).expect("below 200") * 100;
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Waits until `condition` returns a value; panics with `what` after 30 seconds.
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

/// Returns `is_available`; if it is false, prints that the test is skipped for lack of `what`, and fails under `CI=true`.
#[expect(clippy::print_stderr, reason = "a skipped test must be visible")]
pub(crate) fn required(what: &str, is_available: bool) -> bool {
    if !is_available {
        eprintln!("SKIPPED: {what} not found");
        let is_ci = environment("CI").is_some_and(|value| value == "true");
        assert!(!is_ci, "CI must not skip: {what} not found");
    }
    is_available
}

/// Reads a variable of the environment of the tests.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment configures which tests run, and where"
)]
pub(crate) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

const POLL: Duration = Duration::from_millis(20);

/// A variable that `.ci/coverage` sets. Instrumented programs write their counters when they exit.
const COVERAGE: &str = "LLVM_PROFILE_FILE";

/// One and a half seconds.
const COVERAGE_POLLS: u32 = 75;

const START_DEADLINE: Duration = Duration::from_secs(30);

/// Long enough for a client to import its SDK on a machine that is busy with other tests.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(60);
