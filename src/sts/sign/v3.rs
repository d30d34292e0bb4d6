//! The V3 signature, ACS3-HMAC-SHA256, over the query and the headers.
//!
//! Source: "V3 request structure and signature". The body is always empty here.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::credentials::{Keys, hex};

use super::{Parameters, Signed, Stamp, encoded};

/// Signs a request whose action, version and format are among its parameters.
pub(super) fn signed(host: &str, mut parameters: Parameters, keys: &Keys, stamp: &Stamp) -> Signed {
    let mut take = |name| parameters.remove(name).unwrap_or_default();
    let mut headers = vec![
        ("x-acs-action", take("Action")),
        (
            "x-acs-content-sha256",
            Zeroizing::new(hex(&Sha256::digest(b""))),
        ),
        ("x-acs-date", Zeroizing::new(stamp.timestamp.clone())),
        ("x-acs-signature-nonce", Zeroizing::new(stamp.nonce.clone())),
        ("x-acs-version", take("Version")),
    ];
    if let Some(token) = &keys.security_token {
        let token = Zeroizing::new(token.expose_secret().to_owned());
        headers.push(("x-acs-security-token", token));
    }
    let query = encoded(&parameters);
    // The HTTP client adds the host header itself, so it is signed and not returned.
    let mut all: Vec<(&str, &str)> = vec![("host", host)];
    all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
    all.sort_unstable();
    let canonical = canonical_request("POST", "/", &query, &all, b"");
    let authorization = authorization(keys, &all, &canonical);
    headers.push(("authorization", Zeroizing::new(authorization)));
    Signed {
        query: format!("?{}", *query),
        headers,
        form: None,
    }
}

/// Returns the canonical request. `headers` are sorted by their names, which are lower-case.
fn canonical_request(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Zeroizing<String> {
    let mut lines = Zeroizing::new(String::new());
    for (name, value) in headers {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{name}:{}", value.trim());
    }
    let payload = hex(&Sha256::digest(body));
    Zeroizing::new(format!(
        "{method}\n{path}\n{query}\n{}\n{}\n{payload}",
        *lines,
        names(headers)
    ))
}

fn authorization(keys: &Keys, headers: &[(&str, &str)], canonical: &str) -> String {
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    let key = keys.access_key_secret.expose_secret().as_bytes();
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(format!("{ALGORITHM}\n{digest}").as_bytes());
    format!(
        "{ALGORITHM} Credential={},SignedHeaders={},Signature={}",
        keys.access_key_id,
        names(headers),
        hex(&mac.finalize().into_bytes())
    )
}

fn names(headers: &[(&str, &str)]) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    names.join(";")
}

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::super::percent_encoded;
    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        kind: String,
        name: String,
        #[serde(default)]
        method: String,
        #[serde(default)]
        uri: String,
        #[serde(default)]
        query: BTreeMap<String, String>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
        #[serde(default)]
        access_key_id: String,
        secret: String,
        #[serde(default)]
        canonical_request: String,
        #[serde(default)]
        authorization: String,
    }

    #[test]
    fn signature_matches_every_v3_vector() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../../tests/data/signature-vectors.json"))
                .unwrap();
        let vectors: Vec<_> = vectors.into_iter().filter(|v| v.kind == "acs3").collect();
        assert_eq!(vectors.len(), 4);
        for mut vector in vectors {
            let payload = hex(&Sha256::digest(&vector.body));
            let name = "x-acs-content-sha256".to_owned();
            vector.headers.entry(name).or_insert(payload);
            let pair = |(name, value): (&String, &String)| {
                format!("{}={}", percent_encoded(name), percent_encoded(value))
            };
            let query: Vec<String> = vector.query.iter().map(pair).collect();
            let headers: Vec<(String, &str)> = vector
                .headers
                .iter()
                .map(|(name, value)| (name.to_lowercase(), value.as_str()))
                .collect();
            let mut headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), *value))
                .collect();
            headers.sort_unstable();
            let canonical = canonical_request(
                &vector.method,
                &vector.uri,
                &query.join("&"),
                &headers,
                vector.body.as_bytes(),
            );
            assert_eq!(*canonical, vector.canonical_request, "{}", vector.name);
            let keys = Keys {
                access_key_id: vector.access_key_id,
                access_key_secret: vector.secret.into(),
                security_token: None,
            };
            let made = authorization(&keys, &headers, &canonical);
            assert_eq!(made, vector.authorization, "{}", vector.name);
        }
    }
}
