//! The containers of manifests.

use std::path::PathBuf;

use crate::chains::{Client, Environment};
use crate::cli::Error;
use crate::inject::command;

use super::report::Report;

/// Explains the containers of files; `-` is standard input.
pub(super) fn report<'a>(
    files: impl Iterator<Item = &'a PathBuf>,
    clients: &[&'static Client],
    is_selected: bool,
) -> Result<Report, Error> {
    let files = files.map(|path| (path.as_os_str() != "-").then(|| path.clone()));
    let files: Vec<Option<PathBuf>> = files.collect();
    if files.iter().filter(|file| file.is_none()).count() > 1 {
        let reason = "-f -: standard input can be read once; drop all but one";
        return Err(Error::Usage(reason.into()));
    }
    let found = command::explain(&files, clients).map_err(|error| match error {
        command::Error::Read(_) => Error::System(error.into()),
        command::Error::Manifest(_) => Error::Data(error.into()),
    })?;
    if found.is_empty() {
        let reason = "the input has neither a pod nor a pod template; give the output of kubectl get pod -o yaml";
        return Err(Error::Data(reason.into()));
    }
    let mut report = Report::new(is_selected, Environment::Manifest);
    for container in found {
        report.add(&container.title, &container.explained, &[]);
        report.notes.extend(container.notes);
    }
    Ok(report)
}
