//! Certificates in PEM files.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Why a text holds no certificates; a sentence whose subject is the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is damaged, or something else.
    #[error("is not PEM")]
    NotPem,
    /// It is empty, or holds keys only.
    #[error("holds no certificate")]
    Empty,
}

/// Reads all certificates of a PEM text: at least one.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match read {
        Ok(read) if read.is_empty() => Err(Error::Empty),
        Ok(read) => Ok(read),
        // What the parser says may repeat the text, which may be a key.
        Err(_) => Err(Error::NotPem),
    }
}
