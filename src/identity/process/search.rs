//! Finds a program as a shell does, but never by way of the working directory, which another user may control.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

/// Why a program is not run. The message continues a sentence whose subject is the program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// Its name contains a directory, but not from the root.
    #[error(
        "is a relative path, which leads elsewhere from each working directory; write its path from the root"
    )]
    RelativeProgram,
    /// A relative directory of `PATH` comes before those that have it.
    #[error(
        "is not found before the relative directory {0:?} of PATH, which leads elsewhere from each working directory; write its path from the root, or remove that directory from PATH"
    )]
    RelativeDirectory(String),
    /// It is in none.
    #[error("is in no directory of PATH; write its path from the root")]
    Nowhere,
}

/// Returns the path of a program: its own, or that of the first directory of `search_path` that has it.
pub(super) fn find(program: &str, search_path: &OsStr) -> Result<PathBuf, NotFound> {
    if program.starts_with('/') {
        return Ok(program.into());
    }
    if program.contains('/') {
        return Err(NotFound::RelativeProgram);
    }
    for directory in search_path.as_bytes().split(|byte| *byte == b':') {
        let directory = Path::new(OsStr::from_bytes(directory));
        if !directory.is_absolute() {
            // An empty one is the working directory.
            let shown = directory.display().to_string();
            return Err(NotFound::RelativeDirectory(shown));
        }
        let path = directory.join(program);
        if is_program(&path) {
            return Ok(path);
        }
    }
    Err(NotFound::Nowhere)
}

fn is_program(path: &Path) -> bool {
    path.is_file() && accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_refused_and_names_are_searched_up_to_a_relative_directory() {
        let relative = |directory: &str| NotFound::RelativeDirectory(directory.to_owned());
        for (program, search_path, expected) in [
            ("/bin/sh", "", Ok("/bin/sh")),
            // What cannot be run fails at its start.
            ("/nowhere/sh", ".", Ok("/nowhere/sh")),
            ("./sh", "/bin", Err(NotFound::RelativeProgram)),
            ("../bin/sh", "/bin", Err(NotFound::RelativeProgram)),
            ("bin/sh", "/bin", Err(NotFound::RelativeProgram)),
            ("sh", "/bin", Ok("/bin/sh")),
            ("sh", "/nowhere:/bin:.", Ok("/bin/sh")),
            ("sh", ".:/bin", Err(relative("."))),
            ("sh", "/nowhere:bin:/bin", Err(relative("bin"))),
            ("sh", ":/bin", Err(relative(""))),
            ("sh", "/nowhere::/bin", Err(relative(""))),
            ("sh", "", Err(relative(""))),
            ("sh", "/nowhere", Err(NotFound::Nowhere)),
            // Neither a directory nor a file that nobody can run is a program.
            ("bin", "/usr", Err(NotFound::Nowhere)),
            ("passwd", "/etc", Err(NotFound::Nowhere)),
        ] {
            let found = find(program, OsStr::new(search_path));
            let expected = expected.map(PathBuf::from);
            assert_eq!(found, expected, "{program} in {search_path}");
        }
    }
}
