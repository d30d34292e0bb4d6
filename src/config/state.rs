//! Where a successor of the daemon finds its state.

use std::path::PathBuf;

use crate::files::writer;

use super::checker::Checker;

impl Checker {
    /// Reads where the state is kept, if it is, where none of the files may be.
    pub(super) fn state(&mut self, files: &[writer::Options]) -> Option<PathBuf> {
        let path = self.value("state.file", path)?;
        if files.iter().any(|file| file.path == path) {
            let (origin, path) = (self.origin("state.file"), path.display());
            self.problems.push(format!(
                "{origin}: {path} is a file for credentials too (--file); name another one"
            ));
        }
        Some(path)
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(format!("`{text}` is not absolute; write it from the root"));
    }
    if path.file_name().is_none() || text.ends_with('/') {
        return Err(format!(
            "`{text}` names no file; name one in that directory"
        ));
    }
    Ok(path)
}
