//! Why a call did not reach its service: one code for each thing that a human would do about it.

use std::error::Error as StdError;
use std::io;

use chrono::DateTime;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, InvalidMessage};

use crate::credentials::timestamp;
use crate::failure::{Failure, OwnCode, Stage, chain};

/// Explains an error of the HTTP client on the way to `place`.
pub(super) fn failure(place: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let told = chain(&error);
    let code = code(&error, &told);
    let reason = reason(&error, code, &told);
    let message = format!("cannot call {place}: {reason}");
    Failure::new(Stage::Transport, code, message)
}

fn reason(error: &reqwest::Error, code: OwnCode, told: &str) -> String {
    if let Some(tls) = find::<rustls::Error>(error) {
        return tls_reason(tls);
    }
    // What is said last is the cause; the layers before it say only that there is one.
    let mut cause = told;
    while let Some(inner) = LAYERS.iter().find_map(|layer| cause.strip_prefix(layer)) {
        cause = inner;
    }
    match code {
        OwnCode::TimedOut if error.is_connect() => "no connection came about in time".to_owned(),
        OwnCode::TimedOut => "no answer came in time".to_owned(),
        OwnCode::DnsFailed => format!("no address is found for its name ({cause})"),
        OwnCode::ProxyFailed => match cause {
            "unsuccessful" => "the proxy refuses to connect".to_owned(),
            "proxy authorization required" => "the proxy wants a password".to_owned(),
            _ if told.contains("dns error") => {
                format!("no address is found for the name of the proxy ({cause})")
            }
            _ => format!("the proxy is not reached: {cause}"),
        },
        _ if cause == "tls handshake eof" => "it hung up during the TLS handshake".to_owned(),
        _ => cause.to_owned(),
    }
}

fn tls_reason(error: &rustls::Error) -> String {
    let at = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        DateTime::from_timestamp(seconds, 0).map_or_else(|| "a far day".to_owned(), timestamp)
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no authority that is trusted here has signed its certificate (UnknownIssuer)"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            let (end, now) = (at(not_after), at(time));
            format!("its certificate ended at {end}, and this machine's clock reads {now}")
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            time,
            not_before,
        }) => {
            let (start, now) = (at(not_before), at(time));
            format!("its certificate begins at {start}, and this machine's clock reads {now}")
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected,
            presented,
        }) => {
            let name = |name: &String| {
                let inner = name.strip_prefix("DnsName(\"");
                let inner = inner.and_then(|inner| inner.strip_suffix("\")"));
                inner.unwrap_or(name).to_owned()
            };
            let presented: Vec<String> = presented.iter().map(name).collect();
            let (expected, presented) = (expected.to_str(), presented.join(", "));
            format!("its certificate is for {presented}, not for {expected}")
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it answers without TLS".to_owned()
        }
        other => other.to_string(),
    }
}

fn code(error: &reqwest::Error, told: &str) -> OwnCode {
    if let Some(tls) = find::<rustls::Error>(error) {
        return tls_code(tls);
    }
    // Neither crate has a type for these two.
    if told.contains("tunnel") || told.contains("proxy") {
        return OwnCode::ProxyFailed;
    }
    if told.contains("dns error") {
        return OwnCode::DnsFailed;
    }
    if error.is_timeout() {
        return OwnCode::TimedOut;
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => OwnCode::ConnectionRefused,
        _ if error.is_connect() => OwnCode::ConnectFailed,
        _ => OwnCode::RequestFailed,
    }
}

fn tls_code(error: &rustls::Error) -> OwnCode {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => OwnCode::TlsUntrusted,
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => OwnCode::TlsOutdated,
        _ => OwnCode::TlsFailed,
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

/// How the layers of the HTTP client begin to say that the layer below has failed.
const LAYERS: [&str; 12] = [
    "error sending request: ",
    "error decoding response body: ",
    "request or response body error: ",
    "error reading a body from connection: ",
    "client error (Connect): ",
    "client error (SendRequest): ",
    "tunnel error: ",
    "failed to create underlying connection: ",
    "tcp connect error: ",
    "dns error: ",
    "error resolving DNS: ",
    "failed to lookup address information: ",
];
