//! Every message of the daemon when it has no credentials, for review.
//!
//! `tests/data/diagnoses.txt` holds one block for each situation: its title, the code, and the 503's `Message`.
//! Placeholders replace what differs from run to run. `UPDATE_GOLDEN=1 cargo test --test integration diagnoses`
//! writes the file; review each change as an operator at night would read it.

use std::fmt::Write as _;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use ram_sidecar::failure;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use crate::support::{Daemon, environment};

mod access_key;
mod answers;
mod documented;
mod network;
mod normal;
mod oidc;

/// A situation in plain words, and the daemon's diagnosis of it.
struct Case {
    title: String,
    diagnosis: Pin<Box<dyn Future<Output = Diagnosis> + Send>>,
}

/// The code and the message that the daemon reports.
#[derive(Debug, PartialEq)]
struct Diagnosis {
    code: String,
    sentence: String,
}

fn case(
    title: impl Into<String>,
    diagnosis: impl Future<Output = Diagnosis> + Send + 'static,
) -> Case {
    let (title, diagnosis) = (title.into(), Box::pin(diagnosis));
    Case { title, diagnosis }
}

impl Diagnosis {
    /// Asks for credentials, once the first attempt has failed.
    fn of(daemon: Daemon) -> Self {
        block_in_place(move || {
            daemon.logged("No credentials");
            let reply = daemon.credentials();
            assert_eq!(reply.status, 503, "{reply:?}");
            let diagnosis = Self::normal(reply.text("Code"), &reply.text("Message"));
            drop(daemon);
            diagnosis
        })
    }

    /// Reads the diagnosis from the log, where the next attempt succeeds.
    fn of_first_failure(daemon: Daemon) -> Self {
        block_in_place(move || {
            let line = daemon.logged("No credentials");
            drop(daemon);
            let event: Value = serde_json::from_str(&line).expect("the log is JSON");
            let code = event["code"].as_str().expect("a failure");
            Self::normal(code.to_owned(), &crate::support::sentence(&line))
        })
    }

    fn normal(code: String, sentence: &str) -> Self {
        let sentence = normal::sentence(sentence);
        Self { code, sentence }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_diagnosis_matches_the_reviewed_text() {
    let cases = [
        access_key::cases(),
        oidc::cases(),
        documented::cases(),
        answers::cases(),
        network::cases(),
    ];
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let running: Vec<_> = cases
        .into_iter()
        .flatten()
        .map(|Case { title, diagnosis }| {
            let places = Arc::clone(&places);
            let diagnosis = async move {
                let _place = places.acquire_owned().await.unwrap();
                diagnosis.await
            };
            (title, tokio::spawn(diagnosis))
        })
        .collect();
    let mut blocks = Vec::new();
    for (title, diagnosis) in running {
        let diagnosis = diagnosis
            .await
            .unwrap_or_else(|error| panic!("{title}: {error}"));
        blocks.push(block(&title, &diagnosis));
    }
    compare(&blocks);
}

#[test]
fn every_code_of_sts_the_transport_and_the_response_is_reviewed() {
    let reviewed = fs::read_to_string(golden()).unwrap();
    let codes: Vec<&str> = blocks(&reviewed)
        .map(|block| block.lines().nth(1).expect("a code"))
        .collect();
    for entry in failure::entries() {
        if PROVED_ELSEWHERE
            .iter()
            .any(|start| entry.code.starts_with(start))
        {
            continue;
        }
        // The first entry that matches is the one that explains a code.
        let explains = |code: &str| {
            let first = failure::entries().find(|first| first.matches(code));
            first.is_some_and(|first| first.code == entry.code)
        };
        assert!(
            codes.iter().any(|code| explains(code)),
            "{} is not in diagnoses.txt",
            entry.code
        );
    }
}

fn compare(blocks_now: &[String]) {
    let now = blocks_now.join("\n");
    if environment("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(golden(), format!("{HEADING}\n{now}")).expect("the tree is writable");
        return;
    }
    let reviewed = fs::read_to_string(golden()).unwrap_or_default();
    let reviewed: Vec<&str> = blocks(&reviewed).collect();
    let mut differences = String::new();
    let blocks_now: Vec<&str> = blocks_now
        .iter()
        .map(|block| &block[MARK.len()..])
        .collect();
    for block in &blocks_now {
        let title = block.lines().next();
        let known = reviewed.iter().find(|known| known.lines().next() == title);
        if known.is_none_or(|known| known.trim_end() != block.trim_end()) {
            let known = known.copied().unwrap_or("(nothing)\n");
            write!(differences, "reviewed:\n{known}\ntold:\n{block}\n").unwrap();
        }
    }
    for known in &reviewed {
        let title = known.lines().next();
        if blocks_now.iter().all(|block| block.lines().next() != title) {
            write!(differences, "reviewed, but reported no longer:\n{known}\n").unwrap();
        }
    }
    assert!(
        differences.is_empty(),
        "UPDATE_GOLDEN=1 takes these into tests/data/diagnoses.txt:\n\n{differences}"
    );
}

fn block(title: &str, diagnosis: &Diagnosis) -> String {
    let mut block = format!("{MARK}{title}\n{}\n", diagnosis.code);
    let mut width = 0;
    for word in diagnosis.sentence.split(' ') {
        let needed = word.chars().count();
        if width > 0 && width + 1 + needed > WIDTH {
            block.push('\n');
            width = 0;
        } else if width > 0 {
            block.push(' ');
            width += 1;
        }
        block.push_str(word);
        width += needed;
    }
    block.push('\n');
    block
}

/// Returns the blocks of the golden file, without the marks before their titles.
fn blocks(file: &str) -> impl Iterator<Item = &str> {
    file.split("\n# ").skip(1)
}

fn golden() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", "diagnoses.txt"]
        .iter()
        .collect()
}

/// Prefixes of the codes that the tests of identities and files cover.
const PROVED_ELSEWHERE: [&str; 9] = [
    "Identity",
    "Metadata",
    "Profile",
    "CredentialsUri",
    "Process",
    "RoleNotPassed",
    "FileNotWritten",
    "RandomnessFailed",
    "LimitReached",
];

const HEADING: &str =
    "What the daemon tells when it has no credentials: the situation, the code, the sentence.
Written by `UPDATE_GOLDEN=1 cargo test --test integration diagnoses`; every change is to be read.
";

/// Begins a block.
const MARK: &str = "# ";

/// The width in columns, so that a reviewer can compare versions side by side.
const WIDTH: usize = 118;

/// Cases that run at once: most wait for the daemon, which holds a request for four seconds after a transient failure.
const AT_ONCE: usize = 24;
