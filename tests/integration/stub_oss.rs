//! A stub of OSS with two buckets in it, which accepts only signatures made with credentials that STS issued.
//!
//! Signatures are recomputed from the documentation of OSS (header signatures, V1 and V4), independently of the crate.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::stubs::{Issued, Lookup, REQUEST_ID, Reply, Request, Stub, decoded, now};

mod contents;
mod signature;

use contents::Target;
pub(crate) use contents::{BUCKET, OBJECTS, OTHER_BUCKET, OTHER_OBJECT, text};

/// Whether an `AccessKeyId` is permitted an action on a resource.
pub(crate) type Permits = Arc<dyn Fn(&str, &str, &str) -> bool + Send + Sync>;

/// Starts the stub, which uses `lookup` to find the secret of each `AccessKeyId` and permits every action.
pub(crate) fn start(lookup: Lookup) -> Stub {
    start_with_permissions(lookup, Arc::new(|_, _, _| true))
}

/// Starts the stub, which also checks each action with `permits`.
pub(crate) fn start_with_permissions(lookup: Lookup, permits: Permits) -> Stub {
    Stub::start(move |request| {
        let request = &by_path(request);
        let reply = authenticated(request, &lookup, now()).and_then(|access_key_id| {
            let target = Target::of(request);
            if permits(access_key_id, target.action(), &target.resource()) {
                target.answer(request)
            } else {
                let message = "You have no right to access this object because of bucket acl.";
                let (code, ec) = ("AccessDenied", "0003-00000001");
                Err(Refusal::forbidden(code, message, ec))
            }
        });
        reply.unwrap_or_else(refused)
    })
}

/// Puts the bucket of a host name before the path, which is where OSS signs it.
fn by_path(request: &Request) -> Request {
    let mut request = request.clone();
    let host = request.header("host");
    if let Some((bucket, _)) = host.split_once(VIRTUAL_HOST) {
        request.path = format!("/{bucket}{}", request.path);
    }
    request
}

/// What follows the bucket in the names of hosts that have one.
pub(crate) const VIRTUAL_HOST: &str = ".oss-cn-hangzhou.aliyuncs.com";

struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    /// The finer code, which OSS documents page by page.
    ec: &'static str,
    details: String,
}

impl Refusal {
    fn forbidden(code: &'static str, message: &'static str, ec: &'static str) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code,
            message,
            ec,
            details: String::new(),
        }
    }

    fn invalid(message: &'static str) -> Self {
        let code = "InvalidArgument";
        let details = String::new();
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            message,
            ec: "0002-00000201",
            details,
        }
    }
}

/// The parsed `Authorization` header.
enum Claim<'a> {
    V1 {
        access_key_id: &'a str,
        signature: &'a str,
    },
    V4 {
        access_key_id: &'a str,
        scope: &'a str,
        additional: Vec<&'a str>,
        signature: &'a str,
    },
}

/// Returns the `AccessKeyId` of a request that is signed as it must be.
fn authenticated<'a>(
    request: &'a Request,
    lookup: &Lookup,
    now: DateTime<Utc>,
) -> Result<&'a str, Refusal> {
    let authorization = request.header("authorization");
    if authorization.is_empty() {
        return Err(Refusal::forbidden(
            "AccessDenied",
            "Anonymous access is forbidden.",
            "0003-00000001",
        ));
    }
    let claim = claim(authorization)
        .ok_or_else(|| Refusal::invalid("The Authorization header is invalid."))?;
    let (Claim::V1 { access_key_id, .. } | Claim::V4 { access_key_id, .. }) = &claim;
    let issued = lookup(access_key_id).ok_or_else(|| {
        let message = "The OSS Access Key Id you provided does not exist in our records.";
        Refusal::forbidden("InvalidAccessKeyId", message, "0002-00000902")
    })?;
    fresh(request, now)?;
    signed(request, &claim, &issued)?;
    token_valid(request.header("x-oss-security-token"), &issued, now)?;
    Ok(access_key_id)
}

fn claim(authorization: &str) -> Option<Claim<'_>> {
    if let Some(rest) = authorization.strip_prefix("OSS ") {
        let (access_key_id, signature) = rest.split_once(':')?;
        return Some(Claim::V1 {
            access_key_id,
            signature,
        });
    }
    let fields = authorization.strip_prefix("OSS4-HMAC-SHA256 ")?;
    let field = |name| {
        let mut fields = fields.split(',').map(str::trim);
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let (access_key_id, scope) = field("Credential")?.split_once('/')?;
    let additional = field("AdditionalHeaders").map(|names| names.split(';').collect());
    Some(Claim::V4 {
        access_key_id,
        scope,
        additional: additional.unwrap_or_default(),
        signature: field("Signature")?,
    })
}

fn fresh(request: &Request, now: DateTime<Utc>) -> Result<(), Refusal> {
    let sent_at = match request.header("x-oss-date") {
        "" => http_date(request.header("date")),
        date => iso_date(date).or_else(|| http_date(date)),
    };
    let sent_at = sent_at.ok_or_else(|| {
        let message = "OSS authentication requires a valid Date.";
        Refusal::forbidden("AccessDenied", message, "0002-00000224")
    })?;
    if (now - sent_at).abs() > MAXIMUM_SKEW {
        let message = "The difference between the request time and the current time is too large.";
        return Err(Refusal::forbidden(
            "RequestTimeTooSkewed",
            message,
            "0002-00000504",
        ));
    }
    Ok(())
}

fn signed(request: &Request, claim: &Claim<'_>, issued: &Issued) -> Result<(), Refusal> {
    let secret = &issued.access_key_secret;
    let resource = decoded(&request.path);
    let (string_to_sign, expected, provided) = match claim {
        Claim::V1 { signature, .. } => {
            let text = signature::v1_string_to_sign(request, &resource);
            let expected = signature::v1(secret, &text);
            (text, expected, *signature)
        }
        Claim::V4 {
            scope,
            additional,
            signature,
            ..
        } => {
            let text = signature::v4_string_to_sign(request, &resource, scope, additional);
            let expected = signature::v4(secret, scope, &text);
            (text, expected, *signature)
        }
    };
    if expected == provided {
        return Ok(());
    }
    let message = "The request signature we calculated does not match the signature you provided. \
                   Check your key and signing method.";
    let mut refusal = Refusal::forbidden("SignatureDoesNotMatch", message, "0002-00000040");
    refusal.details = format!(
        "<SignatureProvided>{}</SignatureProvided><StringToSign>{}</StringToSign>",
        xml(provided),
        xml(&string_to_sign),
    );
    Err(refusal)
}

fn token_valid(token: &str, issued: &Issued, now: DateTime<Utc>) -> Result<(), Refusal> {
    if token != issued.security_token {
        let message = "The security token you provided is invalid.";
        let ec = if token.is_empty() {
            "0002-00000003"
        } else {
            "0002-00000006"
        };
        return Err(Refusal::forbidden("InvalidSecurityToken", message, ec));
    }
    if now >= issued.expires_at {
        let message = "The security token you provided has expired.";
        return Err(Refusal::forbidden(
            "SecurityTokenExpired",
            message,
            "0002-00000007",
        ));
    }
    Ok(())
}

fn refused(refusal: Refusal) -> Reply {
    let Refusal {
        status,
        code,
        message,
        ec,
        details,
    } = refusal;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>{REQUEST_ID}</RequestId><HostId>127.0.0.1</HostId>{details}<EC>{ec}</EC></Error>",
    );
    Reply {
        status,
        content_type: "application/xml",
        // A response to HEAD has no body.
        headers: vec![
            ("x-oss-ec", ec.to_owned()),
            ("x-oss-err", STANDARD.encode(&body)),
        ],
        body: body.into(),
        rejection: Some(code.to_owned()),
    }
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|at| at.to_utc())
}

fn iso_date(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ")
        .ok()
        .map(|at| at.and_utc())
}

/// Escapes text for XML.
pub(crate) fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const MAXIMUM_SKEW: TimeDelta = TimeDelta::minutes(15);

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    fn request(method: &str, query: &str, headers: &[(&'static str, &'static str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| {
            (
                name.parse().expect("a header name"),
                value.parse().expect("a header value"),
            )
        });
        Request {
            method: method.to_owned(),
            path: String::new(),
            query: query.to_owned(),
            headers: headers.collect::<HeaderMap>(),
            ..Request::default()
        }
    }

    #[test]
    fn stale_date_is_refused() {
        let at = DateTime::from_timestamp(1_702_743_657, 0).unwrap();
        let request = request("GET", "", &[("x-oss-date", "20231216T162057Z")]);
        assert!(fresh(&request, at + TimeDelta::minutes(14)).is_ok());
        let refusal = fresh(&request, at + TimeDelta::minutes(16)).unwrap_err();
        assert_eq!(refusal.code, "RequestTimeTooSkewed");
    }

    #[test]
    fn both_spellings_of_the_oss_headers_are_read() {
        let compact = "OSS4-HMAC-SHA256 Credential=ak/d/r/oss/aliyun_v4_request,AdditionalHeaders=a;b,Signature=s";
        let spaced = "OSS4-HMAC-SHA256 Credential=ak/d/r/oss/aliyun_v4_request, Signature=s, AdditionalHeaders=a;b";
        for text in [compact, spaced] {
            let Some(Claim::V4 {
                access_key_id,
                scope,
                additional,
                signature,
            }) = claim(text)
            else {
                panic!("{text} is a V4 claim");
            };
            assert_eq!((access_key_id, signature), ("ak", "s"));
            assert_eq!(scope, "d/r/oss/aliyun_v4_request");
            assert_eq!(additional, ["a", "b"]);
        }
        assert!(claim("Bearer x").is_none());
    }
}
