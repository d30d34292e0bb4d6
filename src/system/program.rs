//! Programs, and what keeps one from starting.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};
use rustix::io::Errno;

use super::file::open_regular_at;
use super::remedy;

/// Why a program does not start.
#[derive(Debug)]
pub struct NotStarted {
    /// The reason, which continues a sentence.
    pub reason: String,
    /// What to do about it, if that does not depend on who starts the program.
    pub remedy: Option<String>,
}

/// Fails as the start of a program will, as far as that is certain beforehand.
pub fn check(program: &Path) -> io::Result<()> {
    check_file(program)?;
    // The kernel says itself what is wrong with a line that names none.
    let interpreter = interpreter(program).filter(|path| !path.as_os_str().is_empty());
    interpreter.map_or(Ok(()), |path| check_file(&path))
}

fn check_file(path: &Path) -> io::Result<()> {
    let is_directory = path.metadata()?.is_dir();
    // Some filters of system calls refuse the question itself.
    let is_denied = accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) == Err(Errno::ACCESS);
    if is_directory || is_denied {
        return Err(Errno::ACCESS.into());
    }
    Ok(())
}

/// Whether a file is there, or nobody can tell.
pub fn may_exist(path: &Path) -> bool {
    let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    path.metadata()
        .map_or_else(|error| !missing.contains(&error.kind()), |_| true)
}

/// Explains why a program did not start. Where a file that is there "does not exist", what is missing is its interpreter.
pub fn not_started(program: &Path, error: &io::Error) -> NotStarted {
    if let Some(remedy) = remedy::of_start(error) {
        return NotStarted {
            reason: error.to_string(),
            remedy: Some(remedy.to_owned()),
        };
    }
    let (reason, remedy) = match Errno::from_io_error(error) {
        Some(Errno::ACCESS) => denied(program, error),
        Some(Errno::NOENT | Errno::NOTDIR) if may_exist(program) => match interpreter(program) {
            Some(interpreter) if interpreter.as_os_str().as_bytes().ends_with(b"\r") => (
                "its first line ends in a carriage return, which counts as part of the interpreter's name".to_owned(),
                "save it with Unix line ends".to_owned(),
            ),
            Some(interpreter) => (
                format!("its interpreter {}, which its first line names, does not exist", interpreter.display()),
                "install that, or correct the line".to_owned(),
            ),
            None => (
                "the file is there, but not the dynamic loader that it was linked for, such as glibc's in an image with musl".to_owned(),
                "use a build for this system".to_owned(),
            ),
        },
        Some(Errno::NOEXEC) => (
            "it has neither a first line such as #!/bin/sh nor is it a program of this machine".to_owned(),
            "add the line, or use a build for this machine".to_owned(),
        ),
        _ => return NotStarted { reason: error.to_string(), remedy: None },
    };
    NotStarted {
        reason,
        remedy: Some(remedy),
    }
}

fn denied(program: &Path, error: &io::Error) -> (String, String) {
    let shown = program.display();
    let (reason, remedy) = match program.metadata() {
        Err(_) => (
            format!("this user may not search a directory above {shown} ({error})"),
            "permit it with chmod or chown".to_owned(),
        ),
        Ok(found) if found.is_dir() => (
            "it is a directory".to_owned(),
            "name a program in it".to_owned(),
        ),
        Ok(found) if found.permissions().mode() & EXECUTABLE == 0 => (
            "it is not executable".to_owned(),
            format!("make it so with chmod +x {shown}"),
        ),
        Ok(_) => match interpreter(program).filter(|_| check_file(program).is_ok()) {
            Some(interpreter) => (
                format!(
                    "this user may not execute its interpreter {}, which its first line names ({error})",
                    interpreter.display()
                ),
                "permit it, or correct the line".to_owned(),
            ),
            None => (
                format!("this user may not execute it ({error})"),
                "permit it with chmod or chown, or, if its file system is mounted with noexec, move it to another".to_owned(),
            ),
        },
    };
    (reason, remedy)
}

/// Returns the interpreter that the first line of a script names; it may be empty.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    let file = open_regular_at(CWD, program, OFlags::empty()).ok()?;
    file.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.split(|byte| *byte == b'\n').next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words = line.strip_prefix(b"#!")?.split(blank);
    let name = words.find(|word| !word.is_empty()).unwrap_or_default();
    Some(OsStr::from_bytes(name).into())
}

/// The longest first line of a script that the kernel reads, in bytes.
const FIRST_LINE: u64 = 256;

/// The bits of a mode that permit anybody to execute a file.
const EXECUTABLE: u32 = 0o111;
