//! `inject`: manifests in, the same manifests with the sidecar out.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::inject::Request;
use crate::inject::workload::{Report, inject_into};
use crate::inject::yaml;

/// What to read, and what to add.
#[derive(Debug)]
pub struct Options {
    /// Files; standard input where there is no path.
    pub files: Vec<Option<PathBuf>>,
    /// What was said on the command line.
    pub request: Request,
}

/// Manifests, and what there is to say about them.
#[derive(Debug)]
pub struct Output {
    /// YAML: all documents of all files, in order.
    pub manifest: String,
    /// A line each.
    pub notes: Vec<String>,
}

/// Why there are no manifests, all of it.
#[derive(Debug)]
pub struct Error {
    /// A sentence each.
    pub reasons: Vec<String>,
    /// Whether something could not even be read.
    pub is_of_reading: bool,
}

/// Reads all files, and adds the sidecar to every pod in them.
pub fn run(options: &Options) -> Result<Output, Error> {
    let mut told = Report::default();
    let mut reasons = Vec::new();
    let mut is_of_reading = false;
    let mut manifest = String::new();
    for path in &options.files {
        let name = path.as_ref().map_or_else(
            || "standard input".to_owned(),
            |path| path.display().to_string(),
        );
        let bytes = match bytes(path.as_ref()) {
            Ok(bytes) => bytes,
            Err(reason) => {
                is_of_reading = true;
                reasons.push(format!("cannot read {name}: {reason}"));
                continue;
            }
        };
        let documents = match yaml::read(&bytes) {
            Ok(documents) => documents,
            Err(mistake) => {
                reasons.push(format!("{name}, {mistake}"));
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
            inject_into(&mut document.value, &options.request, &mut told);
            if !manifest.is_empty() {
                manifest.push_str("---\n");
            }
            manifest.push_str(&yaml::write(&document.value));
        }
    }
    reasons.append(&mut told.mistakes);
    if !reasons.is_empty() {
        return Err(Error {
            reasons,
            is_of_reading,
        });
    }
    if told.pods == 0 {
        told.notes.push(
            "there is no pod and no template of pods in it, so that nothing was added".to_owned(),
        );
    }
    Ok(Output {
        manifest,
        notes: told.notes,
    })
}

fn bytes(path: Option<&PathBuf>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // One more, so that too much is noticed.
    let most = u64::try_from(yaml::LARGEST).unwrap_or(u64::MAX);
    let read = match path {
        Some(path) if path.is_dir() => {
            return Err("it is a directory; name its files, each with -f".to_owned());
        }
        Some(path) => File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)),
        None => io::stdin().lock().take(most + 1).read_to_end(&mut bytes),
    };
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}
