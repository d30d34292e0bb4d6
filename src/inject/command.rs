//! `inject`: manifests in, the same manifests with the sidecar out.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::inject::Request;
use crate::inject::workload::{Report, inject_into};
use crate::inject::yaml;

/// The files to read, and the sidecar to add.
#[derive(Debug)]
pub struct Options {
    /// Files; standard input where there is no path.
    pub files: Vec<Option<PathBuf>>,
    /// What the flags request.
    pub request: Request,
}

/// The manifests with the sidecar, and notes about them.
#[derive(Debug)]
pub struct Output {
    /// YAML: all documents of all files, in order.
    pub manifest: String,
    /// A line each.
    pub notes: Vec<String>,
}

/// Why there are no manifests: a sentence for each mistake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read; beside that, there may be mistakes in manifests.
    #[error("{}", list(.0))]
    Read(Vec<String>),
    /// Manifests have mistakes.
    #[error("{}", list(.0))]
    Manifest(Vec<String>),
}

/// Reads all files, and adds the sidecar to every pod in them.
pub fn run(options: &Options) -> Result<Output, Error> {
    let mut report = Report::default();
    let mut reasons = Vec::new();
    let mut is_unread = false;
    let mut manifest = String::new();
    for path in &options.files {
        let name = path.as_ref().map_or_else(
            || "standard input".to_owned(),
            |path| path.display().to_string(),
        );
        let bytes = match bytes(path.as_ref()) {
            Ok(bytes) => bytes,
            Err(reason) => {
                is_unread = true;
                reasons.push(format!("cannot read {name}: {reason}"));
                continue;
            }
        };
        let documents = match yaml::read(&bytes) {
            Ok(documents) => documents,
            Err(error) => {
                reasons.push(format!("{name}, {error}"));
                continue;
            }
        };
        for mut document in documents {
            if !document.value.is_object() {
                let line = document.line;
                reasons.push(format!(
                    "{name}, line {line}: the document is no object; each one is an object of Kubernetes, or empty"
                ));
                continue;
            }
            inject_into(&mut document.value, &options.request, &mut report);
            if !manifest.is_empty() {
                manifest.push_str("---\n");
            }
            manifest.push_str(&yaml::write(&document.value));
        }
    }
    reasons.append(&mut report.mistakes);
    if !reasons.is_empty() {
        return Err(if is_unread {
            Error::Read(reasons)
        } else {
            Error::Manifest(reasons)
        });
    }
    if report.pods == 0 {
        report.notes.push(
            "there is no pod and no template of pods in it, so that nothing was added".to_owned(),
        );
    }
    Ok(Output {
        manifest,
        notes: report.notes,
    })
}

/// Returns one mistake as it is, and several in a list.
pub fn list(mistakes: &[String]) -> String {
    match mistakes {
        [one] => one.clone(),
        several => format!("{} mistakes:\n  {}", several.len(), several.join("\n  ")),
    }
}

/// Reads a file, or standard input, up to one byte more than a manifest may have.
fn bytes(path: Option<&PathBuf>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more, so that too much is noticed.
    let most = u64::try_from(yaml::LARGEST).unwrap_or(u64::MAX);
    match path {
        Some(path) if path.is_dir() => {
            let reason = "it is a directory; name its files, each with -f";
            return Err(io::Error::other(reason));
        }
        Some(path) => File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)),
        None => io::stdin().lock().take(most + 1).read_to_end(&mut bytes),
    }?;
    Ok(bytes)
}
