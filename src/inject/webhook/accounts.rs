//! What a service account says, asked of the API server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::http::client::{self, Call, Outbound};
use crate::http::pem;
use crate::http::response::Answer;
use crate::inject::{Annotations, is_object_name};
use crate::system::file;

/// Where to ask, and as whom. The files are read anew for each question, because tokens rotate.
#[derive(Debug)]
pub struct Accounts {
    /// `https://HOST:PORT` of the API server.
    pub url: String,
    /// The file of the token.
    pub token: PathBuf,
    /// The file of the CA that vouches for the API server.
    pub ca: PathBuf,
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its own name.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Accounts {
    /// Returns the annotations of a service account, none if there is no such account; fails with a sentence. Cancel safe.
    pub async fn annotations(&self, account: &Name) -> Result<Annotations, String> {
        let outcome = self.asked(account).await;
        outcome.map_err(|reason| format!("cannot read the service account {account}: {reason}"))
    }

    async fn asked(&self, account: &Name) -> Result<Annotations, String> {
        let Name { namespace, name } = account;
        // They stand in an address.
        if ![namespace, name]
            .into_iter()
            .all(|name| is_object_name(name))
        {
            return Err("that is no name of one; correct spec.serviceAccountName".to_owned());
        }
        let token = self.token()?;
        let client = Outbound::new(client::Options {
            roots: Some(self.roots()?),
            // The API server is in the cluster, and a proxy outside.
            direct: true,
            connect: TIME,
            total: TIME,
        });
        let client = client.map_err(|error| error.to_string())?;
        let url = format!(
            "{}/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
            self.url
        );
        let call = Call {
            method: Method::GET,
            url: &url,
            headers: &[("authorization", token)],
            form: None,
        };
        // The advice of a failure is about STS.
        let answer = client.call(call).await;
        let answer = answer.map_err(|failure| failure.message)?;
        read(&answer, &self.token.display().to_string(), namespace)
    }

    fn token(&self) -> Result<Zeroizing<String>, String> {
        let text = std::fs::read_to_string(&self.token).map(Zeroizing::new);
        let text = text.map_err(|error| {
            let path = self.token.display();
            format!("cannot read the token {path}: {error}; mount the webhook's own service account token (automountServiceAccountToken), or correct --kubernetes-token-file")
        })?;
        Ok(Zeroizing::new(format!("Bearer {}", text.trim())))
    }

    fn roots(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let path = self.ca.display();
        let text = file::read_regular(&self.ca, LIMIT).map_err(|error| {
            format!("cannot read the CA {path}: {error}; correct --kubernetes-ca-file")
        })?;
        pem::certificates(&text)
            .map_err(|error| format!("{path} {error}; correct --kubernetes-ca-file"))
    }
}

fn read(answer: &Answer, token: &str, namespace: &str) -> Result<Annotations, String> {
    match answer.status {
        200 => {
            let account: Account = serde_json::from_slice(&answer.body)
                .map_err(|_| "the API server answers with something else".to_owned())?;
            Ok(account.metadata.annotations.unwrap_or_default())
        }
        404 => Ok(Annotations::new()),
        401 => Err(format!(
            "the API server does not take the token of {token}; mount the one of the webhook's own service account"
        )),
        403 => Err(format!(
            "the API server forbids it; let the webhook's service account `get` the resource `serviceaccounts` in {namespace}, by a ClusterRole and a ClusterRoleBinding, or do without --read-service-accounts"
        )),
        status => Err(format!("the API server answers with status {status}")),
    }
}

#[derive(Deserialize)]
struct Account {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    annotations: Option<Annotations>,
}

/// Half of what the API server itself waits for the webhook by default.
const TIME: Duration = Duration::from_secs(5);

/// More than any bundle of authorities.
const LIMIT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<Annotations, String> {
        let answer = Answer {
            status,
            date: None,
            retry_after: None,
            request_id: None,
            body: Zeroizing::new(body.as_bytes().to_vec()),
        };
        read(&answer, "/token", "ns")
    }

    #[test]
    fn every_answer_is_annotations_or_what_to_change() {
        let one =
            r#"{"kind":"ServiceAccount","metadata":{"annotations":{"a/b":"c"}},"secrets":[]}"#;
        let annotations = Annotations::from_iter([("a/b".to_owned(), "c".into())]);
        assert_eq!(answered(200, one), Ok(annotations));
        for none in [r#"{"metadata":{}}"#, r#"{"metadata":{"annotations":null}}"#] {
            assert_eq!(answered(200, none), Ok(Annotations::new()));
        }
        assert_eq!(answered(404, "{}"), Ok(Annotations::new()));
        for (status, body, expected) in [
            (200, "<html>", "answers with something else"),
            (200, r#"{"metadata":{"annotations":"a"}}"#, "something else"),
            (401, "{}", "does not take the token of /token; mount"),
            (
                403,
                "{}",
                "`get` the resource `serviceaccounts` in ns, by a ClusterRole",
            ),
            (302, "", "answers with status 302"),
            (500, "", "answers with status 500"),
        ] {
            let told = answered(status, body).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn no_name_leads_to_another_address() {
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
