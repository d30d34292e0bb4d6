//! The small readers: of tokens, names, files and tables. The first letter chooses one, the rest is its text.

#![no_main]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use ram_sidecar::credentials::{RoleArn, is_key_text};
use ram_sidecar::formats::format::FILES;
use ram_sidecar::http::response::Response;
use ram_sidecar::identity::{AccessKey, CredentialsUri, File, Identity, Value, claims};
use ram_sidecar::server::caller::{diag, table};
use ram_sidecar::server::imds_token::{Tokens, ttl};
use ram_sidecar::server::metadata::listing::{Resource, resource};
use ram_sidecar::server::token_file::TokenFile;
use ram_sidecar::sts::endpoint::Endpoint;
use ram_sidecar::time::duration;
use ram_sidecar_fuzz::{PLANTED, check_failure, check_keys, check_line, clock, run};

fuzz_target!(|data: &[u8]| {
    let Some((reader, data)) = data.split_first() else {
        return;
    };
    let text = std::str::from_utf8(data).ok();
    match (reader, text) {
        (b'c', Some(text)) => check_claims(text),
        (b't', _) => check_ttl(data),
        (b'k', _) => check_token(data),
        (b'p', Some(text)) => check_path(text),
        (b'e', _) => check_ends(data),
        (b'd', _) => check_diag(data),
        (b'n', Some(text)) => check_table(text),
        (b'u', Some(text)) => check_uri(text),
        (b's', Some(text)) => check_endpoint(text),
        (b'r', Some(text)) => check_role(text),
        (b'i', Some(text)) => check_duration(text),
        (b'h', _) => check_head(data),
        (b'f', _) => check_files(data),
        _ => {}
    }
});

/// A payload by itself is read as if it stood in a token.
fn check_claims(text: &str) {
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(text));
    for token in [token, text.to_owned()] {
        let Some(claims) = claims(&token.into()) else {
            continue;
        };
        for told in claims
            .audiences
            .iter()
            .chain([&claims.issuer, &claims.subject])
        {
            check_line(told, &[]);
        }
    }
}

fn check_ttl(text: &[u8]) {
    let expected = std::str::from_utf8(text).ok().and_then(|text| {
        let is_digits = text.chars().all(|c| c.is_ascii_digit());
        let seconds = text.parse::<u64>().ok()?;
        (is_digits && seconds > 0 && seconds <= 6 * 3600).then_some(Duration::from_secs(seconds))
    });
    assert_eq!(ttl(text), expected);
}

/// Only what was issued is good: a forged one would need the key.
fn check_token(text: &[u8]) {
    let (tokens, now) = (Tokens::new([7; 32]), Duration::from_secs(5000));
    if tokens.is_valid(text, now) {
        let end = URL_SAFE_NO_PAD.decode(text).expect("a good one is encoded");
        let end = end
            .first_chunk()
            .map(|end| Duration::from_millis(u64::from_be_bytes(*end)));
        let end = end.expect("a good one has an end");
        let left = end.saturating_sub(now);
        assert!(!left.is_zero());
        assert_eq!(tokens.issue(left, now).as_bytes(), text);
    }
}

fn check_path(path: &str) {
    let small = path.to_ascii_lowercase();
    let role = small.strip_prefix("/latest/meta-data/ram/security-credentials/");
    match resource(path) {
        Some(Resource::Token) => assert_eq!(small, "/latest/api/token"),
        Some(Resource::RoleName) => {
            assert!(role.map_or(small.ends_with("/ram/security-credentials"), str::is_empty));
        }
        Some(Resource::Role(name)) => assert_eq!(Some(name.to_ascii_lowercase().as_str()), role),
        Some(Resource::Key(_)) => {
            assert!(role.is_none() && small.starts_with("/latest/meta-data/"));
        }
        None => assert!(role.is_none_or(|role| role.contains('/'))),
    }
}

/// At most one format takes a file for its own, but for those that are alike.
fn check_ends(file: &[u8]) {
    let ends = FILES
        .iter()
        .filter(|(_, format)| format.expiration(file).is_some());
    let names: Vec<&str> = ends.map(|(name, _)| *name).collect();
    assert!(
        names.len() <= 1 || names == ["json", "json-camel"],
        "{names:?}"
    );
}

fn check_diag(answer: &[u8]) {
    if let Ok(Some(owner)) = diag::read(answer) {
        assert!(answer.len() >= 88, "{owner:?} out of nothing");
    }
}

fn check_table(text: &str) {
    let ends = ["127.0.0.1:41668", "127.0.0.1:7002"].map(|end| end.parse().expect("an address"));
    let [client, server]: [SocketAddr; 2] = ends;
    if let Some(owner) = table::find(text, client, server) {
        assert!(text.contains("0100007F:A2C4") && text.contains(&owner.uid.to_string()));
    }
}

fn check_uri(text: &str) {
    match CredentialsUri::parse(text) {
        Ok(uri) => assert!(uri.loopback_port().is_some() || !text.trim().starts_with("http:")),
        Err(reason) => {
            check_line(&reason, &[]);
            assert!(!reason.contains(PLANTED));
        }
    }
}

fn check_endpoint(text: &str) {
    match Endpoint::parse(text) {
        Ok(endpoint) => {
            let url = endpoint.url();
            assert!(url.starts_with("https://") || url.starts_with("http://"));
            assert_eq!(
                url.split_once("://")
                    .map(|(_, rest)| rest.trim_end_matches('/')),
                Some(endpoint.host())
            );
            check_line(endpoint.host(), &[]);
            let again = Endpoint::parse(url).expect("what was taken once");
            assert_eq!(again, endpoint);
        }
        Err(reason) => check_line(&reason, &[]),
    }
}

fn check_role(text: &str) {
    match RoleArn::parse(text) {
        Ok(arn) => {
            let made = format!("acs:ram::{}:role/{}", arn.account(), arn.name());
            assert_eq!(made, text);
            assert!(is_key_text(arn.as_str()));
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
}

fn check_duration(text: &str) {
    if let Ok(span) = duration::parse(text) {
        assert_eq!(span.subsec_nanos(), 0);
        let seconds = span.as_secs();
        assert_eq!(duration::parse(&format!("{seconds}s")), Ok(span));
    }
}

/// The head of an answer: a number of seconds is never forgotten.
fn check_head(data: &[u8]) {
    use axum::http::{HeaderMap, HeaderValue, header};

    let mut headers = HeaderMap::new();
    let mut lines = data.split(|byte| *byte == b'\n');
    for name in [header::DATE, header::RETRY_AFTER] {
        let value = lines
            .next()
            .and_then(|line| HeaderValue::from_bytes(line).ok());
        headers.extend(value.map(|value| (name, value)));
    }
    let answer = Response::new(503, &headers, Vec::new().into());
    let given = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    if let Some(seconds) = given.and_then(|text| text.trim().parse().ok()) {
        assert_eq!(answer.retry_after, Some(Duration::from_secs(seconds)));
    }
}

/// Mounted files: of a key, and of the token that AWS SDKs send.
fn check_files(content: &[u8]) {
    let path = PathBuf::from(format!("/dev/shm/ram-sidecar-fuzz-{}", std::process::id()));
    fs::write(&path, content).expect("/dev/shm can be written");
    let is_visible = |b: &u8| b.is_ascii_graphic() || *b == b' ';
    let is_token = (1..=4096).contains(&content.len())
        && content.iter().all(is_visible)
        && !content.starts_with(b" ")
        && !content.ends_with(b" ");
    match TokenFile::new(path.clone()) {
        Ok(_) => assert!(is_token),
        Err(reason) => {
            assert!(!is_token);
            check_line(&reason, &[]);
            assert!(!reason.contains(PLANTED));
        }
    }
    let file = || Value::File(File::new(path.clone()));
    let mut identity = Identity::AccessKey(AccessKey {
        id: file(),
        secret: file(),
        token: None,
    });
    let outcome = run(async { identity.resolve(&clock()).await });
    fs::remove_file(&path).expect("it was there");
    let text = std::str::from_utf8(content).unwrap_or_default().trim();
    // In an environment file, Docker keeps quotes as part of the value.
    let is_quoted = text.starts_with(['"', '\'']);
    let is_key = content.len() <= 20_000 && is_key_text(text) && !is_quoted;
    match outcome {
        Ok(resolved) => {
            let keys = resolved.proof.keys().expect("it has keys");
            check_keys(&keys);
            assert_eq!(keys.access_key_id, text);
        }
        Err(failure) => {
            assert!(!is_key);
            check_failure(&failure, &[]);
            assert!(!failure.to_string().contains(PLANTED));
        }
    }
}
