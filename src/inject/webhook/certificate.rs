//! The server's certificate and key, reloaded when their files change.
//!
//! Every handshake checks whether the files have changed, which costs two system calls. An unusable pair never replaces a
//! usable one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::http::pem;
use crate::system::file;

/// Why a pair cannot be used, and what to change.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot read {}: {error}; correct the path or the permissions", path.display())]
    Read { path: PathBuf, error: file::Error },
    #[error("{} {error}; give a PEM file of the server's certificate, followed by those of its issuers", path.display())]
    Chain { path: PathBuf, error: pem::Error },
    /// Without the parser's error, which may contain the key.
    #[error("{} has no private key; give a PEM file of a key without a password", .0.display())]
    Key(PathBuf),
    #[error("the key in {} does not belong to the certificate in {}; replace both together", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("cannot use the certificate in {} with the key in {}: {error}; issue both again", certificate.display(), key.display())]
    Unusable {
        certificate: PathBuf,
        key: PathBuf,
        error: rustls::Error,
    },
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Debug)]
struct State {
    pair: Arc<CertifiedKey>,
    /// The version of the files that was read; `None` if they must be read again.
    version: Option<Version>,
    /// Why the current content of the files is not used.
    errors: Vec<String>,
}

/// Device, inode, size, mtime and ctime of both files: Kubernetes replaces a symbolic link, others write to the file.
type Version = [Option<((u64, u64, u64), (i64, i64, i64, i64))>; 2];

impl Certificate {
    /// Reads the pair; fails with all errors.
    pub fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, Vec<Error>> {
        let files = Files { certificate, key };
        let version = files.version();
        let pair = files.pair()?;
        Ok(Self {
            files,
            state: Mutex::new(State {
                pair: Arc::new(pair),
                version: Some(version),
                errors: Vec::new(),
            }),
        })
    }

    /// Returns when the certificate ends that was read last.
    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        not_after(state.pair.cert.first()?)
    }

    /// Returns the pair in the files, or the last usable one if that is unusable.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.files.version();
        if state.version == Some(version) {
            return Arc::clone(&state.pair);
        }
        match self.files.stable_pair() {
            Ok(pair) => {
                // The files may have been written with the same content.
                if pair.cert != state.pair.cert || !state.errors.is_empty() {
                    info!("The certificate and its key were reloaded");
                }
                state.pair = Arc::new(pair);
                // The version before the files were read: the next check detects a change since then.
                state.version = Some(version);
                state.errors.clear();
            }
            Err(errors) => {
                state.version = None;
                let reasons: Vec<String> = errors.iter().map(Error::to_string).collect();
                if state.errors != reasons {
                    warn!(
                        error = reasons.join("; "),
                        "Keeping the current certificate"
                    );
                    state.errors = reasons;
                }
            }
        }
        Arc::clone(&state.pair)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Files {
    fn version(&self) -> Version {
        [&self.certificate, &self.key].map(|path| {
            let file = fs::metadata(path).ok()?;
            let (mtime, ctime) = (file.mtime(), file.ctime());
            Some((
                (file.dev(), file.ino(), file.size()),
                (mtime, file.mtime_nsec(), ctime, file.ctime_nsec()),
            ))
        })
    }

    /// Reads the pair; reads it again if it is unusable and was replaced meanwhile.
    fn stable_pair(&self) -> Result<CertifiedKey, Vec<Error>> {
        let before = self.version();
        let pair = self.pair();
        if pair.is_err() && self.version() != before {
            return self.pair();
        }
        pair
    }

    fn pair(&self) -> Result<CertifiedKey, Vec<Error>> {
        let (chain, key) = match (chain(&self.certificate), key(&self.key)) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
        };
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
        pair.map_err(|error| {
            let (certificate, key) = (self.certificate.clone(), self.key.clone());
            vec![match error {
                rustls::Error::InconsistentKeys(_) => Error::Mismatch { certificate, key },
                error => Error::Unusable {
                    certificate,
                    key,
                    error,
                },
            }]
        })
    }
}

/// Returns the end of a certificate's validity. Only the verifier reads it, and tells it of one that has ended.
fn not_after(certificate: &CertificateDer<'_>) -> Option<DateTime<Utc>> {
    let any_root = webpki_roots::TLS_SERVER_ROOTS.iter().take(1).cloned();
    let roots: RootCertStore = any_root.collect();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots.into(), ring::default_provider().into());
    let name = ServerName::try_from("any.invalid").ok()?;
    let never = UnixTime::since_unix_epoch(Duration::from_secs(END_OF_TIME));
    let outcome = verifier
        .build()
        .ok()?
        .verify_server_cert(certificate, &[], &name, &[], never);
    match outcome {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after,
            ..
        })) => DateTime::from_timestamp(not_after.as_secs().try_into().ok()?, 0),
        _ => None,
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    pem::certificates(&read(path)?).map_err(|error| Error::Chain {
        path: path.to_owned(),
        error,
    })
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| Error::Key(path.to_owned()))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    file::read_regular(path, MAX_SIZE).map_err(|error| Error::Read {
        path: path.to_owned(),
        error,
    })
}

/// The last second of the year 9999, after which no certificate can end (RFC 5280).
const END_OF_TIME: u64 = 253_402_300_800;

/// Bytes: more than any certificate chain has.
const MAX_SIZE: usize = 1024 * 1024;
