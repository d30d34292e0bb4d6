//! What is in the buckets of the stub, and how it is listed and read.

use std::fmt::Write as _;

use axum::http::StatusCode;

use super::{Refusal, xml};
use crate::stubs::{Reply, Request, decoded, encoded};

/// The name of the bucket that most tests are about.
pub(crate) const BUCKET: &str = "examplebucket";

/// The names of the objects in it, in the order of a listing.
pub(crate) const OBJECTS: [&str; 5] = [
    "a b.txt",
    "data/1.bin",
    "data/2+3.bin",
    "naïve.txt",
    "z&<>.txt",
];

/// The name of a bucket that a job may have no access to.
pub(crate) const OTHER_BUCKET: &str = "otherbucket";

/// The name of the object in that bucket.
pub(crate) const OTHER_OBJECT: &str = "private.txt";

/// Returns the content of an object.
pub(crate) fn text(bucket: &str, key: &str) -> String {
    format!("This is {key} of {bucket}.")
}

/// What a request is about: a bucket or, with a key, an object.
pub(super) struct Target {
    bucket: String,
    key: String,
}

impl Target {
    pub(super) fn of(request: &Request) -> Self {
        let path = decoded(&request.path);
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }
    }

    /// Returns the action that RAM must permit.
    pub(super) fn action(&self) -> &'static str {
        if self.key.is_empty() {
            "oss:ListObjects"
        } else {
            "oss:GetObject"
        }
    }

    /// Returns the resource on which RAM must permit it.
    pub(super) fn resource(&self) -> String {
        let Self { bucket, key } = self;
        if key.is_empty() {
            format!("acs:oss:*:{OWNER}:{bucket}")
        } else {
            format!("acs:oss:*:{OWNER}:{bucket}/{key}")
        }
    }

    /// Lists the bucket, or reads the object.
    pub(super) fn answer(&self, request: &Request) -> Result<Reply, Refusal> {
        let keys: &[&str] = match self.bucket.as_str() {
            BUCKET => &OBJECTS,
            OTHER_BUCKET => &[OTHER_OBJECT],
            _ => {
                let message = "The specified bucket does not exist.";
                return Err(not_found("NoSuchBucket", message, "0015-00000101"));
            }
        };
        if self.key.is_empty() {
            return Ok(list(&self.bucket, keys, request));
        }
        if !keys.contains(&self.key.as_str()) {
            let message = "The specified key does not exist.";
            return Err(not_found("NoSuchKey", message, "0026-00000001"));
        }
        let text = text(&self.bucket, &self.key);
        Ok(Reply::object(request, &text.into()))
    }
}

fn list(bucket: &str, keys: &[&str], request: &Request) -> Reply {
    let is_v2 = request.parameter("list-type").as_deref() == Some("2");
    let (from, to) = if is_v2 {
        ("continuation-token", "NextContinuationToken")
    } else {
        ("marker", "NextMarker")
    };
    let after = request.parameter(from).unwrap_or_default();
    let page_size = request
        .parameter("max-keys")
        .and_then(|text| text.parse().ok());
    let page_size: usize = page_size.unwrap_or(100);
    let rest: Vec<&str> = keys
        .iter()
        .copied()
        .filter(|name| *name > after.as_str())
        .collect();
    let page = &rest[..rest.len().min(page_size)];
    let is_truncated = page.len() < rest.len();

    let encoding = request.parameter("encoding-type").unwrap_or_default();
    let written = |name: &str| match encoding.as_str() {
        "url" => encoded(name, ""),
        _ => xml(name),
    };
    let mut body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>{bucket}</Name>\
         <MaxKeys>{page_size}</MaxKeys><KeyCount>{}</KeyCount><EncodingType>{encoding}</EncodingType><IsTruncated>{is_truncated}</IsTruncated>",
        page.len()
    );
    if let Some(last) = page.last().filter(|_| is_truncated) {
        write!(body, "<{to}>{}</{to}>", written(last)).expect("a String takes any text");
    }
    for name in page {
        write!(
            body,
            "<Contents><Key>{}</Key><LastModified>2024-05-21T10:39:29.000Z</LastModified>\
             <ETag>\"5B3C1A2E053D763E1B002CC607C5A0FE\"</ETag><Type>Normal</Type><Size>{}</Size>\
             <StorageClass>Standard</StorageClass></Contents>",
            written(name),
            text(bucket, name).len()
        )
        .expect("a String takes any text");
    }
    body += "</ListBucketResult>";
    Reply::accepted("application/xml", body)
}

fn not_found(code: &'static str, message: &'static str, ec: &'static str) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        code,
        message,
        ec,
        details: String::new(),
    }
}

/// The account that the buckets belong to.
const OWNER: &str = "1234567890123456";
