//! The client of the tests of V3 requests, with a signer of its own.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::client::{Reply, escape, send};
use crate::credentials::{hex, timestamp};
use crate::sandbox::random::Random;
use crate::sandbox::{AccessKey, Sandbox};

/// One request with its common parameters in headers.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) form: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
}

/// Returns a valid call, not yet signed.
pub(crate) fn call(sandbox: &Sandbox, action: &str) -> Request {
    let request = Request {
        method: "POST",
        query: BTreeMap::new(),
        form: BTreeMap::new(),
        headers: BTreeMap::new(),
    }
    .with("host", "sts:8080")
    .with("x-acs-action", action)
    .with("x-acs-version", "2015-04-01")
    .with("x-acs-date", &timestamp(sandbox.clock().now().wall))
    .with("x-acs-signature-nonce", &Random::seeded().unwrap().uuid());
    if action == "GetCallerIdentity" {
        return request;
    }
    request
        .with_query("RoleArn", &sandbox.role_arn())
        .with_query("RoleSessionName", "session")
}

impl Request {
    pub(crate) fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.insert(header.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, header: &str) -> Self {
        self.headers.remove(header);
        self
    }

    pub(crate) fn with_query(mut self, name: &str, value: &str) -> Self {
        self.query.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn in_form(mut self) -> Self {
        self.form.append(&mut self.query);
        self.with("content-type", "application/x-www-form-urlencoded")
    }

    /// Signs the request with all its headers.
    pub(crate) fn signed_with(self, key: &AccessKey) -> Self {
        let digest = hex(&Sha256::digest(pairs(&self.form)));
        let request = self.with("x-acs-content-sha256", &digest);
        let lines: String = request.header_lines(":").replace("\r\n", "\n");
        let names = request
            .headers
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(";");
        let canonical_request = format!(
            "{}\n/\n{}\n{lines}\n{names}\n{digest}",
            request.method,
            pairs(&request.query)
        );
        let text = format!(
            "ACS3-HMAC-SHA256\n{}",
            hex(&Sha256::digest(canonical_request))
        );
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.secret.expose_secret().as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let id = &key.id;
        request.with(
            "authorization",
            &format!(
                "ACS3-HMAC-SHA256 Credential={id},SignedHeaders={names},Signature={signature}"
            ),
        )
    }

    pub(crate) async fn send(&self, sandbox: &Sandbox) -> Reply {
        let (method, query, body) = (self.method, pairs(&self.query), pairs(&self.form));
        let (headers, length) = (self.header_lines(": "), body.len());
        let raw = format!(
            "{method} /?{query} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        send(sandbox, raw.as_bytes()).await
    }

    fn header_lines(&self, colon: &str) -> String {
        let lines = self.headers.iter();
        lines
            .map(|(name, value)| [name, colon, value, "\r\n"].concat())
            .collect()
    }
}

fn pairs(params: &BTreeMap<String, String>) -> String {
    let pairs = params
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}
