//! Credentials that a program prints, by the protocol of the SDKs' process providers and of aliyun-cli's `External` mode.
//!
//! Standard output is a secret, and never logged. Standard error is quoted when the program fails, without anything that
//! looks like a secret.

mod redact;
mod search;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureClass, LocalCode, Stage};
use crate::system::process::{AwaitedChild, reap_orphans, with_original_umask};
use crate::system::program::{self, NotStarted};
use crate::system::remedy;
use crate::time::clock::Clock;
use crate::time::moment::Moment;

use super::Proof;
use super::document::Document;

pub use self::search::NotFound;

/// A program that prints credentials.
#[derive(Debug)]
pub struct Process {
    /// The program and its arguments, run without a shell. Never empty.
    pub command: Vec<String>,
    /// How it is run.
    pub launch: Launch,
}

/// How programs that print credentials are found and run.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The directories of programs without a path: `PATH`.
    pub search_path: OsString,
    /// The variables that programs do not inherit.
    pub hidden: Vec<String>,
    /// The timeout, after which the program and its process group are killed.
    pub timeout: Duration,
}

impl Process {
    /// Refuses a program that the working directory would decide on.
    pub fn check(&self) -> Result<(), NotFound> {
        match search::find(self.name(), &self.launch.search_path) {
            // It may be installed later.
            Ok(_) | Err(NotFound::Nowhere) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) async fn proof(&self, clock: &Clock) -> Result<Proof, Failure> {
        let requested_at = clock.now();
        let output = self.run().await?;
        self.parse_output(&output, requested_at)
    }

    /// Parses the output of the program, which was started at `requested_at`.
    pub fn parse_output(&self, output: &[u8], requested_at: Moment) -> Result<Proof, Failure> {
        let name = self.name();
        let document = Document::parse(output).map_err(|reason| {
            let message = format!("{name} succeeded, but its output cannot be used: {reason}");
            Failure::new(Stage::Identity, LocalCode::ProcessOutputUnusable, message)
        })?;
        document.proof(requested_at, None, name)
    }

    async fn run(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // Earlier runs may have left orphans behind.
        reap_orphans();
        let name = self.name();
        let arguments = self.command.get(1..).unwrap_or_default();
        let not_started =
            |message| Failure::new(Stage::Identity, LocalCode::ProcessNotStarted, message);
        let program = search::find(name, &self.launch.search_path)
            .map_err(|reason| not_started(format!("cannot start {name}: it {reason}")))?;
        let mut command = Command::new(&program);
        for name in &self.launch.hidden {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = with_original_umask(|| command.spawn()).map_err(|error| {
            let NotStarted { reason, remedy } = program::not_started(&program, &error);
            let mut failure = not_started(format!("cannot start {name}: {reason}"));
            if remedy::of_start(&error).is_some() {
                failure.class = FailureClass::Transient;
            }
            if let Some(remedy) = remedy {
                failure.advice = remedy.into();
            }
            failure
        })?;
        let _awaited = AwaitedChild::new(child.id());
        let group = Group(child.id());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let mut errors = Vec::new();
        let finished = async {
            let output = read(out, OUTPUT_LIMIT);
            let drained = drain(err, &mut errors);
            // Output above its limit ends the attempt at once, even while standard error is open.
            let (output, ()) = tokio::try_join!(output, drained)?;
            let status = child.wait().await?;
            Ok::<_, io::Error>((output, status))
        };
        let outcome = tokio::time::timeout(self.launch.timeout, finished).await;
        drop(group);
        let mut errors = error_output(&errors);
        if !errors.is_empty() {
            errors = format!("; its error output: {errors}");
        }
        let failed = |code, reason: String| {
            let message = format!("{name} {reason}{errors}");
            Err(Failure::new(Stage::Identity, code, message))
        };
        match outcome {
            Err(_) => {
                let reason = format!("did not end within {} s", self.launch.timeout.as_secs());
                failed(LocalCode::ProcessTimedOut, reason)
            }
            Ok(Err(error)) => {
                let reason = format!("could not be read: {error}");
                failed(LocalCode::ProcessOutputUnusable, reason)
            }
            Ok(Ok((_, status))) if !status.success() => {
                failed(LocalCode::ProcessFailed, ending(status))
            }
            Ok(Ok((output, _))) => Ok(output),
        }
    }

    fn name(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }
}

/// Reads to the end; fails as soon as there are more than `limit` bytes.
async fn read(
    pipe: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    // Allocated in full: a growing vector would leave copies behind that are not wiped.
    let mut output = Zeroizing::new(Vec::with_capacity(limit + 1));
    if let Some(pipe) = pipe {
        pipe.take(limit as u64 + 1).read_to_end(&mut output).await?;
    }
    if output.len() > limit {
        return Err(io::Error::other(format!(
            "it printed more than {limit} bytes"
        )));
    }
    Ok(output)
}

/// Reads to the end, and stores the first bytes in `start`. A read error counts as the end.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, start: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        let room = ERROR_OUTPUT_LIMIT.saturating_sub(start.len());
        start.extend_from_slice(&chunk[..length.min(room)]);
    }
    Ok(())
}

/// Redacts the standard error of a program, of which at most `ERROR_OUTPUT_LIMIT` bytes were read.
pub fn error_output(bytes: &[u8]) -> String {
    redact::redacted(&String::from_utf8_lossy(whole_words(bytes)))
}

/// Leaves out a last word that may be truncated: half a key does not look like a key.
fn whole_words(bytes: &[u8]) -> &[u8] {
    let end = if bytes.len() < ERROR_OUTPUT_LIMIT {
        bytes.len()
    } else {
        let space = bytes.iter().rposition(u8::is_ascii_whitespace);
        space.unwrap_or_default()
    };
    bytes.get(..end).unwrap_or_default()
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended for an unknown reason".to_owned(),
    }
}

/// The process group of the program, killed on drop.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let group = self.0.and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group.and_then(Pid::from_raw) {
            // Usually the group has ended already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Far more than any credentials.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// Enough for a few sentences.
const ERROR_OUTPUT_LIMIT: usize = 2048;
