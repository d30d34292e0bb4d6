//! STS: its endpoints, its certificates, and how requests are signed.

use rustls::pki_types::CertificateDer;

use crate::http::pem;
use crate::sts::endpoint::Endpoint;
use crate::sts::sign::Signature;
use crate::system::file;

use super::{accept, list, one_of};

/// Reads endpoints. The error does not repeat the text, which may contain a password.
pub(crate) fn endpoints(text: &str) -> Result<Vec<Endpoint>, String> {
    let given = list(text)?;
    let is_one = given.len() == 1;
    let parse = |(index, text): (usize, &String)| {
        let which = if is_one {
            "it".to_owned()
        } else {
            format!("entry {}", index + 1)
        };
        Endpoint::parse(text).map_err(|reason| format!("{which} is not an STS endpoint: {reason}"))
    };
    given.iter().enumerate().map(parse).collect()
}

pub(crate) fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let remedy = "set the path of a PEM file of CA certificates";
    let text = file::read_regular(path.as_ref(), CERTIFICATES_LIMIT).map_err(|error| {
        let remedy = file::remedy(&error, remedy);
        format!("cannot read certificates from {path}: {error}; {remedy}")
    })?;
    pem::certificates(&text).map_err(|error| format!("{path} {error}; {remedy}"))
}

pub(crate) fn signature(text: &str) -> Result<Signature, String> {
    let signatures = [("v1", Signature::V1), ("v3", Signature::V3)];
    one_of(text, "a signature", &signatures)
}

pub(crate) fn region(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    accept(text, !text.is_empty() && text.bytes().all(fits), || {
        format!("`{text}` is not a region; write it like cn-hangzhou")
    })
}

/// Several times as many bytes as the certificates of all public authorities have.
const CERTIFICATES_LIMIT: usize = 4 << 20;
