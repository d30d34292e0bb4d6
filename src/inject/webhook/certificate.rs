//! The server's certificate and key, which follow their files.
//!
//! Every handshake looks whether the files are still the same ones; that costs two calls to the kernel. A pair that cannot
//! be used never replaces one that can.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::http::pem;
use crate::system::file;

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
    /// What the files were when the pair was read; nothing if they have to be read again whatever they are.
    seen: Option<Seen>,
    /// Why what is in the files now is not taken.
    refused: Vec<String>,
}

/// What tells the content of the files from another: Kubernetes leads a name elsewhere, others write.
type Seen = [Option<(u64, u64, u64, i64, i64, i64, i64)>; 2];

impl Certificate {
    /// Reads the pair; fails with everything that is wrong with it.
    pub fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, Vec<String>> {
        let files = Files { certificate, key };
        let seen = files.seen();
        let pair = files.pair()?;
        Ok(Self {
            files,
            state: Mutex::new(State {
                pair: Arc::new(pair),
                seen: Some(seen),
                refused: Vec::new(),
            }),
        })
    }

    /// Returns the pair that is in the files, or the last one that could be used.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.files.seen();
        if state.seen == Some(seen) {
            return Arc::clone(&state.pair);
        }
        match self.files.pair_at_rest() {
            Ok(pair) => {
                // They may have been written without being changed.
                if pair.cert != state.pair.cert || !state.refused.is_empty() {
                    info!("The certificate and its key were read anew");
                }
                state.pair = Arc::new(pair);
                // From before the reading: a change since then is found at the next look.
                state.seen = Some(seen);
                state.refused.clear();
            }
            Err(reasons) => {
                state.seen = None;
                if state.refused != reasons {
                    let reason = reasons.join("; ");
                    warn!("The certificate in use is kept: {reason}");
                    state.refused = reasons;
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
    fn seen(&self) -> Seen {
        [&self.certificate, &self.key].map(|path| {
            let file = fs::metadata(path).ok()?;
            let (written, changed) = (
                (file.mtime(), file.mtime_nsec()),
                (file.ctime(), file.ctime_nsec()),
            );
            let (size, place) = (file.size(), (file.dev(), file.ino()));
            Some((
                place.0, place.1, size, written.0, written.1, changed.0, changed.1,
            ))
        })
    }

    /// Reads the pair, again if it was replaced meanwhile.
    fn pair_at_rest(&self) -> Result<CertifiedKey, Vec<String>> {
        let before = self.seen();
        let pair = self.pair();
        if pair.is_err() && self.seen() != before {
            return self.pair();
        }
        pair
    }

    fn pair(&self) -> Result<CertifiedKey, Vec<String>> {
        let (chain, key) = match (chain(&self.certificate), key(&self.key)) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
        };
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
        pair.map_err(|error| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            vec![match error {
                rustls::Error::InconsistentKeys(_) => format!(
                    "the key in {key} is not that of the certificate in {certificate}; replace both together"
                ),
                error => format!(
                    "cannot use the certificate in {certificate} with the key in {key}: {error}; issue both anew"
                ),
            }]
        })
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let remedy = "give a PEM file of the server's certificate, followed by those of its issuers";
    pem::certificates(&text).map_err(|error| format!("{} {error}; {remedy}", path.display()))
}

/// Reads a key. What is wrong with its text is not repeated: it may be the key.
fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        format!(
            "{} holds no private key; give a PEM file of one that has no password",
            path.display()
        )
    })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    file::read_regular(path, LIMIT).map_err(|error| {
        let path = path.display();
        format!("cannot read {path}: {error}; correct the path or the permissions")
    })
}

/// More than any chain.
const LIMIT: usize = 1024 * 1024;
