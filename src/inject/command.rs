//! `inject`: reads manifests, and returns them with the sidecar.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use serde_json::Value;

use crate::chains::Client;
use crate::inject::workload::{Report, explain_all, inject_into};
use crate::inject::yaml;
use crate::inject::{Container, Request};

/// The files to read, and the sidecar to add.
#[derive(Debug)]
pub struct Options {
    /// Files; `None` is standard input.
    pub files: Vec<Option<PathBuf>>,
    /// The request that the flags make.
    pub request: Request,
}

/// The manifests with the sidecar, and messages about them.
#[derive(Debug)]
pub struct Output {
    /// YAML: all documents of all files, in order.
    pub manifest: String,
    /// A line each.
    pub messages: Vec<String>,
}

/// Why no manifests are returned: a sentence for each error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read; manifests may have errors too.
    #[error("{}", list(.0))]
    Read(Vec<String>),
    /// Manifests have errors.
    #[error("{}", list(.0))]
    Manifest(Vec<String>),
}

/// Reads all files, and adds the sidecar to every pod in them.
pub fn run(options: &Options) -> Result<Output, Error> {
    let mut report = Report::default();
    let mut errors = Vec::new();
    let mut manifest = String::new();
    let is_readable = each_document(&options.files, &mut errors, |mut document| {
        inject_into(&mut document, &options.request, &mut report);
        if !manifest.is_empty() {
            manifest.push_str("---\n");
        }
        manifest.push_str(&yaml::write(&document));
    });
    errors.append(&mut report.errors);
    outcome(is_readable, errors)?;
    let mut messages = report.messages;
    if report.pods == 0 {
        messages
            .push("the input has neither a pod nor a pod template: nothing was added".to_owned());
    }
    Ok(Output { manifest, messages })
}

/// Reads all files, and explains what the clients of every container in them will use.
pub fn explain(
    files: &[Option<PathBuf>],
    clients: &[&'static Client],
) -> Result<Vec<Container>, Error> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let is_readable = each_document(files, &mut errors, |document| {
        found.extend(explain_all(&document, clients));
    });
    outcome(is_readable, errors)?;
    Ok(found)
}

fn outcome(is_readable: bool, errors: Vec<String>) -> Result<(), Error> {
    match (is_readable, errors.is_empty()) {
        (false, _) => Err(Error::Read(errors)),
        (true, false) => Err(Error::Manifest(errors)),
        (true, true) => Ok(()),
    }
}

/// Calls `take` with each object in the files, and adds an error for what is none; returns whether all could be read.
fn each_document(
    files: &[Option<PathBuf>],
    errors: &mut Vec<String>,
    mut take: impl FnMut(Value),
) -> bool {
    let mut is_readable = true;
    for path in files {
        let name = path.as_ref().map_or_else(
            || "standard input".to_owned(),
            |path| path.display().to_string(),
        );
        let bytes = match read(path.as_ref()) {
            Ok(bytes) => bytes,
            Err(error) => {
                is_readable = false;
                errors.push(format!("cannot read {name}: {error}"));
                continue;
            }
        };
        let documents = yaml::read(&bytes).unwrap_or_else(|error| {
            errors.push(format!("{name}, {error}"));
            Vec::new()
        });
        for document in documents {
            if document.value.is_object() {
                take(document.value);
                continue;
            }
            let line = document.line;
            errors.push(format!(
                "{name}, line {line}: the document is not an object; write a Kubernetes object, or remove the document"
            ));
        }
    }
    is_readable
}

/// Returns one error unchanged, and several as a list.
pub fn list(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        several => format!("{} errors:\n  {}", several.len(), several.join("\n  ")),
    }
}

/// Reads a file, or standard input, up to one byte more than [`yaml::read`] accepts.
fn read(path: Option<&PathBuf>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(yaml::MAX_FILE_SIZE).map_or(u64::MAX, |size| size + 1);
    match path {
        Some(path) if path.is_dir() => {
            let reason = "it is a directory; name its files, each with -f";
            return Err(io::Error::other(reason));
        }
        Some(path) => File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
        None => io::stdin().lock().take(limit).read_to_end(&mut bytes),
    }?;
    Ok(bytes)
}
