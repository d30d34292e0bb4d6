//! Mounted files that contain one key or token each.

use std::io;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use tokio::task::JoinHandle;

use crate::credentials::is_key_text;
use crate::failure::{Failure, LocalCode, Stage};
use crate::system::{file, remedy};

/// A file that contains one key or token.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// A read that an earlier attempt has not awaited to the end.
    pending: Option<JoinHandle<Result<SecretString, Error>>>,
}

impl File {
    /// Refers to a file, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            pending: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the key or token, without surrounding white space. Cancel safe.
    pub(super) async fn read(&mut self) -> Result<SecretString, Failure> {
        self.read_as(is_key_text, LIMIT).await
    }

    /// Reads a file of at most `limit` bytes, without surrounding white space, and validates it with `is_valid`. Cancel safe.
    pub(super) async fn read_as(
        &mut self,
        is_valid: fn(&str) -> bool,
        limit: usize,
    ) -> Result<SecretString, Failure> {
        let outcome = self.attempt(is_valid, limit).await;
        outcome.map_err(|error| self.failure(&error))
    }

    /// Reads like [`Self::read_as`], for a caller that explains the error. Cancel safe.
    pub(super) async fn attempt(
        &mut self,
        is_valid: fn(&str) -> bool,
        limit: usize,
    ) -> Result<SecretString, Error> {
        let path = self.path.clone();
        // A result that arrived after its attempt may be out of date.
        self.pending.take_if(|pending| pending.is_finished());
        // A network file system may hang: then one thread waits for it, rather than one for each attempt.
        let pending = self.pending.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || read_blocking(&path, is_valid, limit))
        });
        let outcome = pending.await;
        self.pending = None;
        outcome.unwrap_or_else(|_| {
            let error = io::Error::other("the reading thread ended");
            Err(Error::Read(error.into()))
        })
    }

    /// Explains why the file cannot be used.
    pub(super) fn failure(&self, error: &Error) -> Failure {
        let limit = match error {
            Error::Read(file::Error::Io(error)) => remedy::of(error),
            _ => None,
        };
        let code = match error {
            _ if limit.is_some() => LocalCode::LimitReached,
            Error::Read(file::Error::Io(_)) => LocalCode::IdentityFileUnreadable,
            Error::Read(_) | Error::Invalid(_) => LocalCode::IdentityFileInvalid,
        };
        let message = format!("cannot use {}: {error}", self.path.display());
        let mut failure = Failure::new(Stage::Identity, code, message);
        if let Some(remedy) = limit {
            failure.advice = remedy.into();
        }
        failure
    }
}

fn read_blocking(
    path: &Path,
    is_valid: fn(&str) -> bool,
    limit: usize,
) -> Result<SecretString, Error> {
    let content = file::read_regular(path, limit)?;
    let text = std::str::from_utf8(&content).map_err(|_| Error::Invalid("it is not UTF-8 text"))?;
    match text.trim() {
        "" => Err(Error::Invalid("it is empty")),
        value if value.starts_with(['"', '\'']) => Err(Error::Invalid("it is in quotes")),
        value if is_valid(value) => Ok(value.into()),
        _ => Err(Error::Invalid(
            "it contains white space or other characters that a key or token cannot have",
        )),
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Read(#[from] file::Error),
    #[error("{0}")]
    Invalid(&'static str),
}

/// A value in the configuration, or in a mounted file.
#[derive(Debug)]
pub enum Value {
    /// The value itself.
    Inline(SecretString),
    /// The file that contains it.
    File(File),
}

impl Value {
    pub(super) async fn read(&mut self) -> Result<SecretString, Failure> {
        match self {
            Self::Inline(value) => Ok(value.clone()),
            Self::File(file) => file.read().await,
        }
    }
}

/// The longest OIDC token that STS accepts, in characters.
const LIMIT: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[tokio::test]
    async fn file_is_read_every_time_and_invalid_content_is_explained() {
        let directory = crate::testing::directory("identity");
        let path = directory.join("token");
        let mut file = File::new(path.clone());
        let big = "x".repeat(LIMIT + 1);
        let cases: [(&[u8], Result<&str, &str>); 8] = [
            (b"one", Ok("one")),
            (b" two\n", Ok("two")),
            (b"", Err("it is empty")),
            (b"\n\n", Err("it is empty")),
            (b"a b", Err("white space")),
            (b"\xff\xfe", Err("not UTF-8 text")),
            (b"\"one\"\n", Err("it is in quotes")),
            (big.as_bytes(), Err("larger than")),
        ];
        for (content, expected) in cases {
            fs::write(&path, content).unwrap();
            match (file.read().await, expected) {
                (Ok(secret), Ok(value)) => assert_eq!(secret.expose_secret(), value),
                (Err(failure), Err(reason)) => {
                    assert_eq!(failure.code, "IdentityFileInvalid");
                    assert!(failure.to_string().contains(reason), "{failure}");
                }
                (got, _) => panic!("{expected:?}: {got:?}"),
            }
        }

        fs::remove_file(&path).unwrap();
        let failure = file.read().await.unwrap_err();
        assert_eq!(failure.code, "IdentityFileUnreadable");
        assert!(
            failure.to_string().contains(&*path.to_string_lossy()),
            "{failure}"
        );

        let failure = File::new(directory).read().await.unwrap_err();
        assert!(
            failure.to_string().contains("not a regular file"),
            "{failure}"
        );
    }
}
