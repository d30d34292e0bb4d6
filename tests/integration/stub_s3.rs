//! A stub of the S3-compatible interface of OSS with one bucket in it, which accepts only signatures made with
//! credentials that STS issued.
//!
//! Signatures are recomputed from the documentation of AWS (Signature Version 4 in the `Authorization` header),
//! independently of the crate. What OSS refuses of S3 is refused here too: path style, chunks and checksums. The bucket
//! stands in the host name, so clients come to the stub as their proxy, or where a file of hosts names it.

use std::sync::Mutex;

use axum::http::{HeaderName, StatusCode};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::signing::{hex, hmac_sha256};
pub(crate) use crate::stub_oss::{BUCKET, OBJECTS};
use crate::stubs::{Issued, Lookup, Reply, Request, Stub, decoded, encoded, now};

mod contents;

use contents::Objects;

/// The endpoint of the region, which clients put the bucket before.
pub(crate) const ENDPOINT: &str = "http://s3.oss-cn-hangzhou.aliyuncs.com";

/// Starts the stub, which uses `lookup` to find the secret of each `AccessKeyId`.
pub(crate) fn start(lookup: Lookup) -> Stub {
    let objects = Mutex::new(Objects::default());
    Stub::start(move |request| {
        let reply = acceptable(request)
            .and_then(|()| authenticated(request, &lookup, now()))
            .and_then(|()| objects.lock().unwrap().answer(request));
        reply.unwrap_or_else(refused)
    })
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
        }
    }

    fn forbidden(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }
}

/// Refuses requests that OSS does not support.
fn acceptable(request: &Request) -> Result<(), Refusal> {
    let host = request.header("host");
    // A proxy receives the host twice.
    if request
        .authority
        .as_deref()
        .is_some_and(|authority| authority != host)
    {
        let message = "The target names another host than the Host.";
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidRequest",
            message,
        ));
    }
    let (host, _) = host.split_once(':').unwrap_or((host, ""));
    let endpoint = ENDPOINT.trim_start_matches("http://");
    if host == endpoint {
        let message = "Please use virtual hosted style to access.";
        return Err(Refusal::forbidden("SecondLevelDomainForbidden", message));
    }
    if host != format!("{BUCKET}.{endpoint}") {
        let message = "The specified bucket does not exist.";
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchBucket", message));
    }
    let is_chunked = request.header("content-encoding").contains("aws-chunked")
        || request.headers.contains_key("x-amz-trailer")
        || request
            .header("x-amz-content-sha256")
            .starts_with("STREAMING-");
    if is_chunked {
        let message =
            "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value.";
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            message,
        ));
    }
    let mut names = request.headers.keys();
    let has_checksum = names.any(|name| {
        let name = name.as_str();
        name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm"
    });
    if request.method == "PUT" && has_checksum {
        let message = "A header you provided implies functionality that is not implemented.";
        return Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            message,
        ));
    }
    Ok(())
}

/// The parsed `Authorization` header.
struct Claim<'a> {
    access_key_id: &'a str,
    /// The date, the region, the service and `aws4_request`.
    scope: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

fn authenticated(request: &Request, lookup: &Lookup, now: DateTime<Utc>) -> Result<(), Refusal> {
    let claim = claim(request.header("authorization")).ok_or_else(|| {
        let message = "The Authorization header is invalid.";
        Refusal::new(StatusCode::BAD_REQUEST, "InvalidArgument", message)
    })?;
    let issued = lookup(claim.access_key_id).ok_or_else(|| {
        let message = "The OSS Access Key Id you provided does not exist in our records.";
        Refusal::forbidden("InvalidAccessKeyId", message)
    })?;
    fresh(request, &claim, now)?;
    if !is_complete(request, &claim)
        || signature(&issued.access_key_secret, request, &claim) != claim.signature
    {
        let message = "The request signature we calculated does not match the signature you provided. \
                       Check your key and signing method.";
        return Err(Refusal::forbidden("SignatureDoesNotMatch", message));
    }
    is_intact(request)?;
    token_valid(request.header("x-amz-security-token"), &issued, now)
}

fn claim(authorization: &str) -> Option<Claim<'_>> {
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let field = |name| {
        let mut fields = fields.split(',').map(str::trim);
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let (access_key_id, scope) = field("Credential")?.split_once('/')?;
    Some(Claim {
        access_key_id,
        scope,
        signed: field("SignedHeaders")?.split(';').collect(),
        signature: field("Signature")?,
    })
}

fn fresh(request: &Request, claim: &Claim<'_>, now: DateTime<Utc>) -> Result<(), Refusal> {
    let date = request.header("x-amz-date");
    let sent_at = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ");
    let is_fresh = sent_at.is_ok_and(|at| (now - at.and_utc()).abs() <= MAXIMUM_SKEW);
    let is_of_that_day = claim.scope.split('/').next() == date.split('T').next();
    if is_fresh && is_of_that_day {
        return Ok(());
    }
    let message = "The difference between the request time and the current time is too large.";
    Err(Refusal::forbidden("RequestTimeTooSkewed", message))
}

/// Whether the signature covers what it must: the host, the type of the content, and every header of AWS.
fn is_complete(request: &Request, claim: &Claim<'_>) -> bool {
    let mut names = request.headers.keys().map(HeaderName::as_str);
    names.all(|name| {
        let must = ["host", "content-type"].contains(&name) || name.starts_with("x-amz-");
        !must || claim.signed.contains(&name)
    }) && claim.signed.is_sorted()
        && claim.scope.ends_with("/cn-hangzhou/s3/aws4_request")
}

fn is_intact(request: &Request) -> Result<(), Refusal> {
    let declared = request.header("x-amz-content-sha256");
    if declared == "UNSIGNED-PAYLOAD" || declared == hex(&Sha256::digest(&request.body)) {
        return Ok(());
    }
    let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    Err(Refusal::new(
        StatusCode::BAD_REQUEST,
        "XAmzContentSHA256Mismatch",
        message,
    ))
}

fn token_valid(token: &str, issued: &Issued, now: DateTime<Utc>) -> Result<(), Refusal> {
    if token != issued.security_token {
        let message = "The security token you provided is invalid.";
        return Err(Refusal::forbidden("InvalidSecurityToken", message));
    }
    if now >= issued.expires_at {
        let message = "The security token you provided has expired.";
        return Err(Refusal::forbidden("SecurityTokenExpired", message));
    }
    Ok(())
}

fn signature(secret: &str, request: &Request, claim: &Claim<'_>) -> String {
    let digest = hex(&Sha256::digest(canonical_request(request, claim)));
    let string_to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{}\n{digest}",
        request.header("x-amz-date"),
        claim.scope
    );
    let secret = format!("AWS4{secret}").into_bytes();
    let key = claim
        .scope
        .split('/')
        .fold(secret, |key, step| hmac_sha256(&key, step));
    hex(&hmac_sha256(&key, &string_to_sign))
}

fn canonical_request(request: &Request, claim: &Claim<'_>) -> String {
    let mut parameters: Vec<(String, String)> = request
        .parameters()
        .iter()
        .map(|(key, value)| (encoded(key, ""), encoded(value, "")))
        .collect();
    parameters.sort();
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let headers: Vec<String> = claim
        .signed
        .iter()
        .map(|name| format!("{name}:{}\n", request.header(name).trim()))
        .collect();
    format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        request.method,
        encoded(&decoded(&request.path), "/"),
        parameters.join("&"),
        headers.concat(),
        claim.signed.join(";"),
        request.header("x-amz-content-sha256"),
    )
}

fn refused(refusal: Refusal) -> Reply {
    let Refusal {
        status,
        code,
        message,
    } = refusal;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>",
    );
    Reply {
        status,
        content_type: "application/xml",
        body: body.into(),
        rejection: Some(code.to_owned()),
        ..Reply::default()
    }
}

const MAXIMUM_SKEW: TimeDelta = TimeDelta::minutes(15);

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.collect(),
            ..Request::default()
        }
    }

    // Source: "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk", the
    // examples of the API reference of Amazon S3.
    #[test]
    fn documented_signatures_are_reproduced() {
        let host = ("host", "examplebucket.s3.amazonaws.com");
        let at = ("x-amz-date", "20130524T000000Z");
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let empty = ("x-amz-content-sha256", nothing);
        for (method, target, headers, expected) in [
            (
                "GET",
                "/test.txt",
                &[host, ("range", "bytes=0-9"), empty, at][..],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "PUT",
                "/test%24file.text",
                &[
                    ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                    host,
                    (
                        "x-amz-content-sha256",
                        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                    ),
                    at,
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ],
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                "GET",
                "/?lifecycle",
                &[host, empty, at],
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "GET",
                "/?max-keys=2&prefix=J",
                &[host, empty, at],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let signed: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
            let claim = Claim {
                access_key_id: "AKIAIOSFODNN7EXAMPLE",
                scope: "20130524/us-east-1/s3/aws4_request",
                signed,
                signature: expected,
            };
            let request = request(method, target, headers);
            let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
            assert_eq!(signature(secret, &request, &claim), expected, "{target}");
        }
    }

    #[test]
    fn request_that_oss_does_not_support_is_refused() {
        let endpoint = "s3.oss-cn-hangzhou.aliyuncs.com";
        let bucket = &*format!("{BUCKET}.{endpoint}");
        let with_port = &*format!("{bucket}:8080");
        for (method, host, authority, header, expected) in [
            ("GET", bucket, Some(bucket), ("x", ""), None),
            ("PUT", bucket, Some(bucket), ("x", ""), None),
            (
                "GET",
                bucket,
                Some(bucket),
                ("x-amz-checksum-mode", "ENABLED"),
                None,
            ),
            ("GET", bucket, None, ("x", ""), None),
            ("GET", with_port, None, ("x", ""), None),
            (
                "GET",
                bucket,
                Some(endpoint),
                ("x", ""),
                Some("InvalidRequest"),
            ),
            (
                "GET",
                endpoint,
                Some(endpoint),
                ("x", ""),
                Some("SecondLevelDomainForbidden"),
            ),
            (
                "GET",
                "other.example",
                Some("other.example"),
                ("x", ""),
                Some("NoSuchBucket"),
            ),
            (
                "PUT",
                bucket,
                Some(bucket),
                ("content-encoding", "gzip,aws-chunked"),
                Some("InvalidArgument"),
            ),
            (
                "PUT",
                bucket,
                Some(bucket),
                ("x-amz-trailer", "x-amz-checksum-crc32"),
                Some("InvalidArgument"),
            ),
            (
                "PUT",
                bucket,
                Some(bucket),
                ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
                Some("InvalidArgument"),
            ),
            (
                "PUT",
                bucket,
                Some(bucket),
                ("x-amz-checksum-crc32", "sOO8/Q=="),
                Some("NotImplemented"),
            ),
        ] {
            let mut request = request(method, "/x", &[("host", host), header]);
            request.authority = authority.map(ToOwned::to_owned);
            let refusal = acceptable(&request).err();
            assert_eq!(
                refusal.map(|refusal| refusal.code),
                expected,
                "{method} {host} {header:?}"
            );
        }
    }

    #[test]
    fn unsigned_mandatory_header_is_refused() {
        let scope = "20130524/cn-hangzhou/s3/aws4_request";
        let signed = |names: &'static str, scope| Claim {
            access_key_id: "x",
            scope,
            signed: names.split(';').collect(),
            signature: "",
        };
        let request = request(
            "GET",
            "/",
            &[("host", "x"), ("x-amz-security-token", "t"), ("accept", "")],
        );
        for (names, scope, expected) in [
            ("host;x-amz-security-token", scope, true),
            ("accept;host;x-amz-security-token", scope, true),
            ("host", scope, false),
            ("x-amz-security-token", scope, false),
            ("x-amz-security-token;host", scope, false),
            (
                "host;x-amz-security-token",
                "20130524/cn-hangzhou/oss/aws4_request",
                false,
            ),
        ] {
            assert_eq!(
                is_complete(&request, &signed(names, scope)),
                expected,
                "{names}"
            );
        }
    }

    #[test]
    fn body_other_than_the_signed_one_is_refused() {
        let digest = hex(&Sha256::digest("signed"));
        let mut request = request("PUT", "/x", &[("x-amz-content-sha256", &digest)]);
        request.body = "signed".into();
        assert!(is_intact(&request).is_ok());
        request.body = "swapped".into();
        let refusal = is_intact(&request).unwrap_err();
        assert_eq!(refusal.code, "XAmzContentSHA256Mismatch");
    }

    #[test]
    fn stale_date_and_scope_of_another_day_are_refused() {
        let at = DateTime::from_timestamp(1_369_353_600, 0).unwrap();
        let request = request("GET", "/", &[("x-amz-date", "20130524T000000Z")]);
        let claim = |scope| Claim {
            access_key_id: "x",
            scope,
            signed: Vec::new(),
            signature: "",
        };
        for (minutes, scope, is_fresh) in [
            (14, "20130524/cn-hangzhou/s3/aws4_request", true),
            (16, "20130524/cn-hangzhou/s3/aws4_request", false),
            (0, "20130523/cn-hangzhou/s3/aws4_request", false),
        ] {
            let judged = fresh(&request, &claim(scope), at + TimeDelta::minutes(minutes));
            assert_eq!(judged.is_ok(), is_fresh, "{minutes} {scope}");
        }
    }
}
