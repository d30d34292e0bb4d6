//! What a program prints: the protocol of the SDKs' process providers and of aliyun-cli's `External` mode.
//!
//! Its standard output is a secret and never told, whatever it holds. Its standard error is told when it fails, without
//! whatever looks like a secret.

mod redact;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::failure::{Failure, OwnCode, Stage};
use crate::system::process::{AwaitedChild, reap_orphans, with_original_umask};
use crate::time::clock::Clock;
use crate::time::moment::Moment;

use super::Proof;
use super::document::Document;

/// The program.
#[derive(Debug)]
pub struct Process {
    /// The program and its arguments; no shell is involved unless it is the program. Never empty.
    pub command: Vec<String>,
    /// How long it may take. It is killed then, with all that it started.
    pub timeout: Duration,
}

impl Process {
    pub(super) async fn proof(&self, clock: &Clock) -> Result<Proof, Failure> {
        let asked_at = clock.now();
        let output = self.run().await?;
        self.understood(&output, asked_at)
    }

    /// Reads what the program has printed, which was started at `asked_at`.
    pub fn understood(&self, output: &[u8], asked_at: Moment) -> Result<Proof, Failure> {
        let name = self.name();
        let document = Document::read(output).map_err(|reason| {
            let message = format!("{name} ended well, but its output cannot be used: {reason}");
            Failure::new(Stage::Identity, OwnCode::ProcessOutputUnusable, message)
        })?;
        document.proof(asked_at, None, name)
    }

    async fn run(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // What earlier runs have left behind.
        reap_orphans();
        let name = self.name();
        let arguments = self.command.get(1..).unwrap_or_default();
        let mut command = Command::new(name);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = with_original_umask(|| command.spawn()).map_err(|error| {
            let message = format!("cannot start {name}: {error}");
            Failure::new(Stage::Identity, OwnCode::ProcessNotStarted, message)
        })?;
        let _awaited = AwaitedChild::new(child.id());
        let group = Group(child.id());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let mut told = Vec::new();
        let finished = async {
            let output = read(out, OUTPUT_LIMIT);
            let complaint = drain(err, &mut told);
            // A program that prints without end complains without end, perhaps: it is not heard out.
            let (output, ()) = tokio::try_join!(output, complaint)?;
            let status = child.wait().await?;
            Ok::<_, io::Error>((output, status))
        };
        let outcome = tokio::time::timeout(self.timeout, finished).await;
        drop(group);
        let told = complaint(&told);
        let told = if told.is_empty() {
            String::new()
        } else {
            format!("; it said: {told}")
        };
        let failed = |code: OwnCode, what: String| {
            Err(Failure::new(
                Stage::Identity,
                code,
                format!("{name} {what}{told}"),
            ))
        };
        match outcome {
            Err(_) => {
                let seconds = self.timeout.as_secs();
                failed(
                    OwnCode::ProcessTimedOut,
                    format!("did not end within {seconds} seconds"),
                )
            }
            Ok(Err(error)) => failed(
                OwnCode::ProcessOutputUnusable,
                format!("could not be read: {error}"),
            ),
            Ok(Ok((_, status))) if !status.success() => {
                failed(OwnCode::ProcessFailed, ending(status))
            }
            Ok(Ok((output, _))) => Ok(output),
        }
    }

    fn name(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }
}

/// Reads to the end, up to `limit` bytes; more is an error at once.
async fn read(
    pipe: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    // At its full size from the start: a growing vector would leave unwiped copies behind.
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

/// Reads to the end, and keeps the beginning. What cannot be read any more is not missed.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        let room = COMPLAINT_LIMIT.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..length.min(room)]);
    }
    Ok(())
}

/// Makes what a program has said on its standard error fit to be shown, as far as it was kept.
pub fn complaint(told: &[u8]) -> String {
    redact::shown(&String::from_utf8_lossy(whole_words(told)))
}

/// Leaves out a last word that was cut off: the half of a key does not look like one.
fn whole_words(told: &[u8]) -> &[u8] {
    let end = if told.len() < COMPLAINT_LIMIT {
        told.len()
    } else {
        let space = told.iter().rposition(u8::is_ascii_whitespace);
        space.unwrap_or_default()
    };
    told.get(..end).unwrap_or_default()
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended strangely".to_owned(),
    }
}

/// The program and all that it started, killed on drop.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let group = self.0.and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group.and_then(Pid::from_raw) {
            // Usually all of it has ended by now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Far more than any credentials.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// As much as makes a sentence.
const COMPLAINT_LIMIT: usize = 2048;
