//! What is in the bucket of the stub, and how it is listed, read and written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use axum::body::Bytes;
use axum::http::StatusCode;

use super::{BUCKET, OBJECTS, Refusal};
use crate::stub_oss::{text, xml};
use crate::stubs::{ETAG, Reply, Request, decoded, encoded};

/// The objects of the bucket, by their names.
pub(super) struct Objects(BTreeMap<String, Bytes>);

impl Default for Objects {
    fn default() -> Self {
        Self(
            OBJECTS
                .iter()
                .map(|key| ((*key).to_owned(), text(BUCKET, key).into()))
                .collect(),
        )
    }
}

impl Objects {
    /// Lists the bucket, or stores, returns or removes an object.
    pub(super) fn answer(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let key = decoded(request.path.trim_start_matches('/'));
        match (request.method.as_str(), key.as_str()) {
            ("GET" | "HEAD", "") => Ok(Reply::accepted("application/xml", self.listing(request))),
            ("PUT", key) if !key.is_empty() => {
                self.0.insert(key.to_owned(), request.body.clone());
                let mut reply = Reply::accepted("application/xml", "");
                reply.headers.push(("etag", ETAG.to_owned()));
                Ok(reply)
            }
            ("GET" | "HEAD", key) => {
                let content = self.0.get(key).ok_or_else(|| {
                    let message = "The specified key does not exist.";
                    Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey", message)
                })?;
                Ok(Reply::object(request, content))
            }
            _ => {
                let message = "The specified method is not allowed against this resource.";
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Err(Refusal::new(status, "MethodNotAllowed", message))
            }
        }
    }

    fn listing(&self, request: &Request) -> String {
        let parameter = |name| request.parameter(name).unwrap_or_default();
        let size: usize = parameter("max-keys").parse().unwrap_or(1000);
        let start = parameter("continuation-token");
        let start: usize = start
            .strip_suffix(AWKWARD)
            .and_then(|start| start.parse().ok())
            .unwrap_or_default();
        let (prefix, delimiter) = (parameter("prefix"), parameter("delimiter"));
        let is_encoded = parameter("encoding-type") == "url";
        let written = |name: &str| {
            if is_encoded {
                encoded(name, "/")
            } else {
                xml(name)
            }
        };

        // A name that has the delimiter behind the prefix stands for all that begin like it.
        let shown: BTreeSet<&str> = self
            .0
            .keys()
            .filter(|key| key.starts_with(&prefix))
            .map(|key| {
                let end = (!delimiter.is_empty()).then(|| key[prefix.len()..].find(&delimiter));
                let end = end.flatten().map(|at| prefix.len() + at + delimiter.len());
                &key[..end.unwrap_or(key.len())]
            })
            .collect();
        let page: Vec<&str> = shown.iter().copied().skip(start).take(size).collect();
        let end = start + page.len();
        let is_truncated = end < shown.len();

        let mut body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>{BUCKET}</Name><Prefix>{}</Prefix>\
             <MaxKeys>{size}</MaxKeys><KeyCount>{}</KeyCount><IsTruncated>{is_truncated}</IsTruncated>",
            written(&prefix),
            page.len(),
        );
        if is_encoded {
            body += "<EncodingType>url</EncodingType>";
        }
        if is_truncated {
            write!(
                body,
                "<NextContinuationToken>{end}{AWKWARD}</NextContinuationToken>"
            )
            .expect("a String takes any text");
        }
        for name in page {
            let entry = match self.0.get(name) {
                Some(content) => format!(
                    "<Contents><Key>{}</Key><LastModified>2024-05-21T10:39:29.000Z</LastModified>\
                     <ETag>{}</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                    written(name),
                    xml(ETAG),
                    content.len(),
                ),
                None => format!(
                    "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                    written(name)
                ),
            };
            body += &entry;
        }
        body + "</ListBucketResult>"
    }
}

/// What every continuation token ends in: each of these is encoded in a query.
const AWKWARD: &str = "/+= ~";
