//! Certificates in PEM files.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Why no certificates could be read from a PEM text. The message continues a sentence whose subject is the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not valid PEM.
    #[error("is not PEM")]
    NotPem,
    /// The text is empty, or contains only keys.
    #[error("contains no certificate")]
    Empty,
}

/// Reads all certificates of a PEM text; there is at least one.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match read {
        Ok(read) if read.is_empty() => Err(Error::Empty),
        Ok(read) => Ok(read),
        // The parser's error may quote the text, which may be a key.
        Err(_) => Err(Error::NotPem),
    }
}
