//! Why a call did not reach its service: one code for each thing that a human would do about it.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;

use crate::failure::{Failure, Stage, chain};

/// Explains an error of the HTTP client. The URL is left out but for its host.
pub(super) fn failure(error: reqwest::Error) -> Failure {
    let host = error
        .url()
        .and_then(|url| url.host_str())
        .unwrap_or("the service")
        .to_owned();
    let error = error.without_url();
    let told = chain(&error);
    let code = code(&error, &told);
    let message = format!("cannot call {host}: {told}");
    Failure::new(Stage::Transport, code, message)
}

fn code(error: &reqwest::Error, told: &str) -> &'static str {
    if let Some(tls) = find::<rustls::Error>(error) {
        return tls_code(tls);
    }
    // Neither crate has a type for these two.
    if told.contains("tunnel") || told.contains("proxy") {
        return "ProxyFailed";
    }
    if told.contains("dns error") {
        return "DnsFailed";
    }
    if error.is_timeout() {
        return "TimedOut";
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "ConnectionRefused",
        _ if error.is_connect() => "ConnectFailed",
        _ => "RequestFailed",
    }
}

fn tls_code(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => "TlsUntrusted",
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "TlsOutdated",
        _ => "TlsFailed",
    }
}

/// Finds the last cause of a type: an `io::Error` may hold another error, which its `source` passes over.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let held = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let deeper = match held {
        Some(held) => find(held),
        None => error.source().and_then(find),
    };
    deeper.or_else(|| error.downcast_ref())
}
