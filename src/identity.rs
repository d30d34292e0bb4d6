//! Who we are: where the proof for STS comes from, one file a kind.
//!
//! There is one configured identity and no fallback. What lives in files is read anew for every attempt, because mounted
//! secrets and projected tokens rotate.

mod access_key;
mod oidc;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use tokio::task::JoinHandle;
use zeroize::{Zeroize as _, Zeroizing};

use crate::credentials::Keys;
use crate::failure::{Failure, Stage};

pub use self::access_key::AccessKey;
pub use self::oidc::Oidc;

/// A configured identity.
#[derive(Debug)]
pub enum Identity {
    /// An AccessKey, long-term or temporary.
    AccessKey(AccessKey),
    /// An OIDC token, as RRSA mounts it.
    Oidc(Oidc),
}

/// What convinces STS.
#[derive(Debug)]
pub enum Proof {
    /// Keys to sign with.
    Keys(Keys),
    /// A token of an OIDC provider that RAM knows.
    Token {
        /// `acs:ram::<account id>:oidc-provider/<name>`.
        provider_arn: String,
        /// The token.
        token: SecretString,
    },
}

impl Identity {
    /// Gathers the proof for one attempt.
    pub async fn proof(&mut self) -> Result<Proof, Failure> {
        match self {
            Self::AccessKey(access_key) => access_key.keys().await.map(Proof::Keys),
            Self::Oidc(oidc) => oidc.token().await,
        }
    }

    /// Returns the name of the kind, as `identity.type` spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AccessKey(_) => "access_key",
            Self::Oidc(_) => "oidc",
        }
    }
}

/// A file that holds one key or token.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// A reading that an earlier attempt has not waited for to the end.
    pending: Option<JoinHandle<Result<SecretString, Error>>>,
}

impl File {
    /// Names a file, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            pending: None,
        }
    }

    /// Reads the file, without the white space around its content. Cancel safe.
    async fn read(&mut self) -> Result<SecretString, Failure> {
        let path = self.path.clone();
        // What has come too late for its attempt may be out of date.
        self.pending.take_if(|pending| pending.is_finished());
        // A network file system may hang: one thread waits for it then, not one for each attempt.
        let pending = self
            .pending
            .get_or_insert_with(|| tokio::task::spawn_blocking(move || read_blocking(&path)));
        let outcome = pending.await;
        self.pending = None;
        let error = match outcome {
            Ok(Ok(secret)) => return Ok(secret),
            Ok(Err(error)) => error,
            Err(_) => Error::Read(io::Error::other("the reading thread ended")),
        };
        let code = match error {
            Error::Read(_) => "IdentityFileUnreadable",
            Error::Invalid(_) => "IdentityFileInvalid",
        };
        let message = format!("cannot use {}: {error}", self.path.display());
        Err(Failure::new(Stage::Identity, code, message))
    }
}

fn read_blocking(path: &Path) -> Result<SecretString, Error> {
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::Invalid("it is not a regular file"));
    }
    let mut text = Zeroizing::new(String::with_capacity(LIMIT + 1));
    std::fs::File::open(path)?
        .take(LIMIT as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Error::Invalid("it is not text"),
            _ => Error::Read(error),
        })?;
    if text.len() > LIMIT {
        text.zeroize();
        return Err(Error::Invalid("it is larger than any key or token"));
    }
    match text.trim() {
        "" => Err(Error::Invalid("it is empty")),
        value if !value.bytes().all(|b| b.is_ascii_graphic()) => Err(Error::Invalid(
            "it holds white space or characters that no key or token has",
        )),
        value => Ok(value.into()),
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Invalid(&'static str),
}

/// A value given outright, or by the path of a mounted file.
#[derive(Debug)]
pub enum Value {
    /// The value itself.
    Given(SecretString),
    /// The file that holds it.
    File(File),
}

impl Value {
    async fn read(&mut self) -> Result<SecretString, Failure> {
        match self {
            Self::Given(value) => Ok(value.clone()),
            Self::File(file) => file.read().await,
        }
    }
}

/// STS takes OIDC tokens of at most 20,000 characters.
const LIMIT: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_and_its_faults_are_named() {
        let directory = crate::testing::directory("identity");
        let path = directory.join("token");
        let mut file = File::new(path.clone());
        let big = "x".repeat(LIMIT + 1);
        let cases: [(&[u8], Result<&str, &str>); 7] = [
            (b"one", Ok("one")),
            (b" two\n", Ok("two")),
            (b"", Err("it is empty")),
            (b"\n\n", Err("it is empty")),
            (b"a b", Err("white space")),
            (b"\xff\xfe", Err("not text")),
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
