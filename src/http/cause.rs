//! Why a call did not reach its service: one code for each remedy.

use std::error::Error as StdError;
use std::io;

use chrono::DateTime;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, InvalidMessage};

use crate::credentials::timestamp;
use crate::failure::{Failure, LocalCode, Stage, error_chain};
use crate::http::names::{self, Own};
use crate::http::proxy::Proxy;
use crate::system::remedy;

/// Explains an error of the HTTP client during a call to `host`, which goes through `proxy` if there is one.
pub(super) fn failure(host: &str, proxy: Option<&Proxy>, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let limit = find::<io::Error>(&error).and_then(|error| Some((remedy::of(error)?, error)));
    let own = find::<names::Error>(&error).and_then(|error| match error {
        names::Error::Own(own) => Some(own),
        _ => None,
    });
    let mut advice = None;
    let (code, reason) = match (find::<rustls::Error>(&error), own, limit) {
        (Some(rustls::Error::FailedToGetRandomBytes), ..) => (
            LocalCode::RandomnessFailed,
            "there are no random numbers for TLS".to_owned(),
        ),
        (Some(error), ..) => explain_tls(error),
        (_, Some(Own::Random(reason)), _) => (LocalCode::RandomnessFailed, reason.clone()),
        (_, Some(Own::Limit { reason, remedy }), _) => {
            advice = Some((*remedy).to_owned());
            (LocalCode::LimitReached, reason.clone())
        }
        (.., Some((remedy, error))) => {
            advice = Some(remedy.to_owned());
            (LocalCode::LimitReached, error.to_string())
        }
        _ => explain(&error, proxy),
    };
    let message = format!("cannot call {host}: {reason}");
    let mut failure = Failure::new(Stage::Transport, code, message);
    if let Some(proxy) = proxy {
        advice = advice.or_else(|| Some(failure.advice.replace("HTTPS_PROXY", proxy.variable())));
    }
    if let Some(advice) = advice {
        failure.advice = advice.into();
    }
    failure
}

fn explain(error: &reqwest::Error, proxy: Option<&Proxy>) -> (LocalCode, String) {
    let text = error_chain(error);
    // The cause comes last; the layers above it report only that the layer below has failed.
    let mut cause = text.as_str();
    while let Some(inner) = LAYERS.iter().find_map(|layer| cause.strip_prefix(layer)) {
        cause = inner;
    }
    let is_unresolved = find::<names::Error>(error).is_some();
    // The crates have no error type for proxies.
    if let Some(proxy) = proxy
        && (text.contains("tunnel") || text.contains("proxy"))
    {
        let (at, is_user_sent) = (proxy.address(), proxy.has_password());
        let reason = match cause {
            // It has answered with something else than HTTP 200.
            "unsuccessful" => format!("the proxy {at} refused to connect, or is not an HTTP proxy"),
            "proxy authorization required" if is_user_sent => {
                format!("the proxy {at} refused the user and password that were sent")
            }
            "proxy authorization required" => format!("the proxy {at} requires a password"),
            "unexpected end of file" => {
                format!("the proxy {at} closed the connection without an answer")
            }
            _ if is_unresolved => {
                format!("the proxy {at} is unreachable: its name cannot be resolved ({cause})")
            }
            _ => format!("the proxy {at} is unreachable: {cause}"),
        };
        return (LocalCode::ProxyFailed, reason);
    }
    if is_unresolved {
        let reason = format!("its name cannot be resolved ({cause})");
        return (LocalCode::DnsFailed, reason);
    }
    if let Some(proxy) = proxy
        && error.is_timeout()
        && error.is_connect()
    {
        let reason = format!("connecting through the proxy {} timed out", proxy.address());
        return (LocalCode::ProxyFailed, reason);
    }
    if error.is_timeout() {
        let reason = if error.is_connect() {
            "connecting timed out"
        } else {
            "no response within the timeout"
        };
        return (LocalCode::TimedOut, reason.to_owned());
    }
    let code = match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => LocalCode::ConnectionRefused,
        _ if error.is_connect() => LocalCode::ConnectFailed,
        _ => LocalCode::RequestFailed,
    };
    let reason = match cause {
        "tls handshake eof" => "it closed the connection during the TLS handshake",
        "connection closed before message completed"
        | "end of file before message length reached" => {
            "it closed the connection before the end of its answer"
        }
        cause if cause.starts_with("invalid HTTP") => "its answer is not HTTP",
        cause => cause,
    };
    (code, reason.to_owned())
}

fn explain_tls(error: &rustls::Error) -> (LocalCode, String) {
    let at = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        DateTime::from_timestamp(seconds, 0).map_or_else(|| "a distant date".to_owned(), timestamp)
    };
    let certificate = match error {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return (LocalCode::TlsFailed, "it answers without TLS".to_owned());
        }
        other => return (LocalCode::TlsFailed, other.to_string()),
    };
    match certificate {
        CertificateError::UnknownIssuer => (
            LocalCode::TlsUntrusted,
            "its certificate is not signed by a trusted authority (UnknownIssuer)".to_owned(),
        ),
        CertificateError::ExpiredContext { time, not_after } => {
            let (end, now) = (at(not_after), at(time));
            let reason =
                format!("its certificate expired at {end}, and this machine's clock reads {now}");
            (LocalCode::TlsOutdated, reason)
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let (start, now) = (at(not_before), at(time));
            let reason = format!(
                "its certificate is not valid before {start}, and this machine's clock reads {now}"
            );
            (LocalCode::TlsOutdated, reason)
        }
        CertificateError::Expired | CertificateError::NotValidYet => {
            (LocalCode::TlsOutdated, error.to_string())
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let name = |name: &String| {
                let inner = name.strip_prefix("DnsName(\"");
                let inner = inner.and_then(|inner| inner.strip_suffix("\")"));
                inner.unwrap_or(name).to_owned()
            };
            let presented: Vec<String> = presented.iter().map(name).collect();
            let (expected, presented) = (expected.to_str(), presented.join(", "));
            let reason = format!("its certificate is for {presented}, not for {expected}");
            (LocalCode::TlsFailed, reason)
        }
        _ => (LocalCode::TlsFailed, error.to_string()),
    }
}

/// Finds the innermost cause of a type. An `io::Error` may wrap another error, which its `source` skips.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let deeper = match wrapped {
        Some(wrapped) => find(wrapped),
        None => error.source().and_then(find),
    };
    deeper.or_else(|| error.downcast_ref())
}

/// The prefixes by which the layers of the HTTP client report that the layer below has failed.
const LAYERS: [&str; 13] = [
    "error sending request: ",
    "error decoding response body: ",
    "request or response body error: ",
    "error reading a body from connection: ",
    "client error (Connect): ",
    "client error (SendRequest): ",
    "tunnel error: ",
    "failed to create underlying connection: ",
    "io error establishing tunnel: ",
    "tcp open error: ",
    "tcp connect error: ",
    "dns error: ",
    "error resolving DNS: ",
];
