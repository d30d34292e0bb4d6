//! Reads the annotations of service accounts from the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::http::client::{self, Call, Client, Outbound};
use crate::http::pem;
use crate::http::response::Response;
use crate::inject::{Annotations, is_object_name};
use crate::system::file;

/// How to reach the API server. The files are read again for each request, because tokens rotate.
#[derive(Debug)]
pub struct Accounts {
    /// `https://HOST:PORT` of the API server.
    pub url: String,
    /// The file of the token.
    pub token: PathBuf,
    /// The file of the CA that has issued the API server's certificate.
    pub ca: PathBuf,
}

/// Why the annotations of a service account are unknown, and what to change.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the service account {namespace}/{name}: {reason}")]
pub(super) struct Error {
    namespace: String,
    name: String,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("that is not a valid name; correct spec.serviceAccountName")]
    Name,
    #[error("cannot read the token {}: {error}; mount the token of the webhook's service account (automountServiceAccountToken), or correct --kubernetes-token-file", path.display())]
    Token { path: PathBuf, error: file::Error },
    #[error("cannot read the CA {}: {error}; correct --kubernetes-ca-file", path.display())]
    ReadCa { path: PathBuf, error: file::Error },
    #[error("{} {error}; correct --kubernetes-ca-file", path.display())]
    Ca { path: PathBuf, error: pem::Error },
    #[error(transparent)]
    Client(#[from] client::Error),
    /// Without the remedy of the failure, which is about STS.
    #[error("{0}")]
    Call(String),
    #[error("the response of the API server is not a service account")]
    NotAnAccount,
    #[error("the API server rejects the token in {}; mount the token of the webhook's service account", .0.display())]
    Unauthorized(PathBuf),
    #[error(
        "the API server forbids it; let the webhook's service account `get` the resource `serviceaccounts` in {0}, by a ClusterRole and a ClusterRoleBinding, or run without --read-service-accounts"
    )]
    Forbidden(String),
    #[error("the API server responds with status {0}")]
    Status(u16),
}

impl Accounts {
    /// Returns the annotations of a service account; none if there is no such account. Cancel safe.
    pub(super) async fn annotations(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Annotations, Error> {
        let annotations = self.request(namespace, name).await;
        annotations.map_err(|reason| Error {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            reason,
        })
    }

    async fn request(&self, namespace: &str, name: &str) -> Result<Annotations, Reason> {
        // Both become parts of a URL.
        if ![namespace, name].into_iter().all(is_object_name) {
            return Err(Reason::Name);
        }
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        read(&self.get(&path).await?, &self.token, namespace)
    }

    /// Returns the minor version of the API server, which every service account may read. Cancel safe.
    pub(super) async fn minor_version(&self) -> Result<u32, String> {
        let answer = self.get("/version").await;
        let answer = answer.map_err(|reason| reason.to_string())?;
        minor_version(&answer.body).ok_or_else(|| {
            format!(
                "the API server responds to /version with status {}, without a version",
                answer.status
            )
        })
    }

    async fn get(&self, path: &str) -> Result<Response, Reason> {
        let token = self.token()?;
        let client = Client::new(client::Options {
            // The API server is inside the cluster, proxies are outside.
            outbound: Outbound {
                roots: Some(self.roots()?),
                proxy: None,
            },
            connect: TIMEOUT,
            total: TIMEOUT,
        })?;
        let url = format!("{}{path}", self.url);
        let call = Call {
            method: Method::GET,
            url: &url,
            headers: &[("authorization", token)],
            form: None,
        };
        let answer = client.call(call).await;
        answer.map_err(|failure| Reason::Call(failure.message))
    }

    fn token(&self) -> Result<Zeroizing<String>, Reason> {
        let text = file::read_text(&self.token, MAX_TOKEN_SIZE).map_err(|error| Reason::Token {
            path: self.token.clone(),
            error,
        })?;
        Ok(Zeroizing::new(format!("Bearer {}", text.trim())))
    }

    fn roots(&self) -> Result<Vec<CertificateDer<'static>>, Reason> {
        let text = file::read_regular(&self.ca, MAX_CA_SIZE).map_err(|error| Reason::ReadCa {
            path: self.ca.clone(),
            error,
        })?;
        pem::certificates(&text).map_err(|error| Reason::Ca {
            path: self.ca.clone(),
            error,
        })
    }
}

fn read(answer: &Response, token: &Path, namespace: &str) -> Result<Annotations, Reason> {
    match answer.status {
        200 => {
            let account: Account =
                serde_json::from_slice(&answer.body).map_err(|_| Reason::NotAnAccount)?;
            Ok(account.metadata.annotations.unwrap_or_default())
        }
        404 => Ok(Annotations::new()),
        401 => Err(Reason::Unauthorized(token.to_owned())),
        403 => Err(Reason::Forbidden(namespace.to_owned())),
        status => Err(Reason::Status(status)),
    }
}

/// Reads a version, whose minor part may have a suffix such as `28+`.
fn minor_version(body: &[u8]) -> Option<u32> {
    let version: Version = serde_json::from_slice(body).ok()?;
    let digits = version.minor.find(|c: char| !c.is_ascii_digit());
    let minor = version.minor.get(..digits.unwrap_or(version.minor.len()))?;
    (version.major == "1").then(|| minor.parse().ok())?
}

#[derive(Deserialize)]
struct Version {
    major: String,
    minor: String,
}

#[derive(Deserialize)]
struct Account {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    annotations: Option<Annotations>,
}

/// Half of the API server's own default timeout for webhooks.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Many times the size of a token.
const MAX_TOKEN_SIZE: usize = 64 * 1024;

/// Bytes: more than any CA bundle has.
const MAX_CA_SIZE: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_response(status: u16, body: &str) -> Result<Annotations, String> {
        let answer = Response {
            status,
            date: None,
            retry_after: None,
            request_id: None,
            body: Zeroizing::new(body.as_bytes().to_vec()),
        };
        read(&answer, Path::new("/token"), "ns").map_err(|reason| reason.to_string())
    }

    #[test]
    fn every_response_yields_annotations_or_an_error_with_a_remedy() {
        let one =
            r#"{"kind":"ServiceAccount","metadata":{"annotations":{"a/b":"c"}},"secrets":[]}"#;
        let annotations = Annotations::from_iter([("a/b".to_owned(), "c".into())]);
        assert_eq!(read_response(200, one), Ok(annotations));
        for none in [r#"{"metadata":{}}"#, r#"{"metadata":{"annotations":null}}"#] {
            assert_eq!(read_response(200, none), Ok(Annotations::new()));
        }
        assert_eq!(read_response(404, "{}"), Ok(Annotations::new()));
        for (status, body, expected) in [
            (
                200,
                "<html>",
                "response of the API server is not a service account",
            ),
            (
                200,
                r#"{"metadata":{"annotations":"a"}}"#,
                "is not a service account",
            ),
            (401, "{}", "rejects the token in /token; mount"),
            (
                403,
                "{}",
                "`get` the resource `serviceaccounts` in ns, by a ClusterRole",
            ),
            (302, "", "responds with status 302"),
            (500, "", "responds with status 500"),
        ] {
            let error = read_response(status, body).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn minor_versions_are_read_whatever_a_provider_appends() {
        for (body, expected) in [
            (
                r#"{"major":"1","minor":"28","gitVersion":"v1.28.9"}"#,
                Some(28),
            ),
            (r#"{"major":"1","minor":"29+"}"#, Some(29)),
            (r#"{"major":"1","minor":""}"#, None),
            (r#"{"major":"2","minor":"1"}"#, None),
            (r#"{"kind":"Status"}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(minor_version(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn names_that_would_change_the_url_are_not_object_names() {
        for name in ["default", "a", "0.b-c", &"a".repeat(253)] {
            assert!(is_object_name(name), "{name}");
        }
        for name in [
            "",
            "a/b",
            "..",
            ".",
            "a..b",
            "-a",
            "a-",
            "a.-b",
            "a-.b",
            "a b",
            "a?b",
            "a#b",
            "a%2fb",
            "A",
            "é",
            &"a".repeat(254),
        ] {
            assert!(!is_object_name(name), "{name}");
        }
    }
}
