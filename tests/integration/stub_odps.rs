//! A stub of MaxCompute with one project in it, which accepts only signatures made with credentials that STS issued.
//!
//! Signatures are recomputed here from what the service expects (V2 and V4), independently of the crate.

use std::collections::BTreeMap;

use axum::http::{HeaderName, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};

use crate::signing::{hmac_sha1_base64, v4_key};
use crate::stubs::{Issued, Lookup, REQUEST_ID, Reply, Request, Stub, decoded, now};

/// The project's name.
pub(crate) const PROJECT: &str = "example_project";

/// The names of the project's tables.
pub(crate) const TABLES: [&str; 3] = ["events", "labels", "samples_2024"];

/// What the endpoint's path begins with; it does not take part in the signature.
pub(crate) const PREFIX: &str = "/api";

/// Starts the stub, which uses `lookup` to find the secret of each `AccessKeyId`.
pub(crate) fn start(lookup: Lookup) -> Stub {
    Stub::start(move |request| {
        let reply = authenticated(request, &lookup, now()).and_then(|()| answer(request));
        reply.unwrap_or_else(refused)
    })
}

#[derive(Clone, Copy)]
struct Refusal {
    status: StatusCode,
    /// The class of error, by which pyodps chooses the exception.
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    fn unauthorized(message: &'static str) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "Unauthorized",
            message,
        }
    }
}

/// The parsed `Authorization` header.
struct Claim<'a> {
    access_key_id: &'a str,
    /// The date, the region, `odps` and `aliyun_v4_request` of a V4 signature; nothing in V2.
    scope: Option<&'a str>,
    signature: &'a str,
}

fn authenticated(request: &Request, lookup: &Lookup, now: DateTime<Utc>) -> Result<(), Refusal> {
    let claim = claim(request.header("authorization")).ok_or(Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "InvalidParameter",
        message: "ODPS-0410021:Invalid authorization header",
    })?;
    fresh(request, now)?;
    let issued = lookup(claim.access_key_id).ok_or_else(|| {
        Refusal::unauthorized("ODPS-0410051:Invalid credentials - accessKeyId not found")
    })?;
    if signature(
        &issued.access_key_secret,
        &claim,
        &canonical_string(request),
    ) != claim.signature
    {
        let message = "ODPS-0410042:Invalid signature value - User signature does not match";
        return Err(Refusal::unauthorized(message));
    }
    token_valid(request.header("authorization-sts-token"), &issued, now)
}

fn claim(authorization: &str) -> Option<Claim<'_>> {
    let (credential, signature) = authorization.strip_prefix("ODPS ")?.split_once(':')?;
    let (access_key_id, scope) = match credential.split_once('/') {
        Some((access_key_id, scope)) => (access_key_id, Some(scope)),
        None => (credential, None),
    };
    Some(Claim {
        access_key_id,
        scope,
        signature,
    })
}

fn fresh(request: &Request, now: DateTime<Utc>) -> Result<(), Refusal> {
    let sent_at = DateTime::parse_from_rfc2822(request.header("date"));
    let is_fresh = sent_at.is_ok_and(|at| (now - at.to_utc()).abs() <= MAXIMUM_SKEW);
    let refusal = Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "AuthenticationRequestExpired",
        message: "ODPS-0410031:Authentication request expired",
    };
    if is_fresh { Ok(()) } else { Err(refusal) }
}

fn token_valid(token: &str, issued: &Issued, now: DateTime<Utc>) -> Result<(), Refusal> {
    if token != issued.security_token {
        return Err(Refusal::unauthorized(
            "ODPS-0410051:Invalid credentials - STS token is invalid",
        ));
    }
    if now >= issued.expires_at {
        return Err(Refusal::unauthorized(
            "ODPS-0410051:Invalid credentials - STS token is expired",
        ));
    }
    Ok(())
}

fn canonical_string(request: &Request) -> String {
    let parameters: BTreeMap<String, String> = request.parameters().into_iter().collect();
    let mut signed: BTreeMap<&str, &str> = ["content-md5", "content-type", "date"]
        .into_iter()
        .chain(
            request
                .headers
                .keys()
                .map(HeaderName::as_str)
                .filter(|name| is_extension(name)),
        )
        .map(|name| (name, request.header(name)))
        .collect();
    for (key, value) in &parameters {
        if is_extension(key) {
            signed.insert(key, value);
        }
    }
    let mut lines = vec![request.method.clone()];
    lines.extend(signed.iter().map(|(name, value)| {
        if is_extension(name) {
            format!("{name}:{value}")
        } else {
            (*value).to_owned()
        }
    }));
    let path = request.path.strip_prefix(PREFIX).unwrap_or(&request.path);
    let query: Vec<String> = parameters
        .iter()
        .map(|(key, value)| {
            if value.is_empty() {
                key.clone()
            } else {
                format!("{key}={value}")
            }
        })
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    lines.push(format!("{}{mark}{}", decoded(path), query.join("&")));
    lines.join("\n")
}

fn is_extension(name: &str) -> bool {
    name.starts_with("x-odps-")
}

fn signature(secret: &str, claim: &Claim<'_>, canonical_string: &str) -> String {
    let key = match claim.scope {
        None => secret.as_bytes().to_vec(),
        Some(scope) => v4_key(secret, scope),
    };
    hmac_sha1_base64(&key, canonical_string)
}

/// Answers the three requests that pyodps makes to list tables.
fn answer(request: &Request) -> Result<Reply, Refusal> {
    let path = request.path.strip_prefix(PREFIX).unwrap_or_default();
    if path == "/logview/host" {
        return Ok(Reply::accepted("text/plain", "http://127.0.0.1".to_owned()));
    }
    if path == "/tenants" {
        let tenant = r#"{"Tenant":{"Name":"example","TenantId":"1","Parameters":{}}}"#;
        return Ok(Reply::accepted("application/json", tenant.to_owned()));
    }
    if path == format!("/projects/{PROJECT}") {
        let project = format!("<Project><Name>{PROJECT}</Name><State>AVAILABLE</State></Project>");
        return Ok(Reply::accepted("application/xml", project));
    }
    if path == format!("/projects/{PROJECT}/tables") {
        return Ok(Reply::accepted("application/xml", tables(request)));
    }
    Err(Refusal {
        status: StatusCode::NOT_FOUND,
        code: "NoSuchObject",
        message: "ODPS-0420111:Object not found",
    })
}

/// Returns the first table on the first page and the others on the second.
fn tables(request: &Request) -> String {
    let (marker, page) = match request.parameter("marker").as_deref() {
        None | Some("") => (TABLES[0], &TABLES[..1]),
        Some(_) => ("", &TABLES[1..]),
    };
    let rows: Vec<String> = page
        .iter()
        .map(|name| format!("<Table><Name>{name}</Name><Type>MANAGED_TABLE</Type></Table>"))
        .collect();
    let rows = rows.concat();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Tables><Marker>{marker}</Marker><MaxItems>1000</MaxItems>{rows}</Tables>",
    )
}

fn refused(refusal: Refusal) -> Reply {
    let Refusal {
        status,
        code,
        message,
    } = refusal;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message><![CDATA[{message}]]></Message>\
         <RequestId>{REQUEST_ID}</RequestId><HostId>127.0.0.1</HostId></Error>",
    );
    Reply {
        status,
        content_type: "application/xml",
        body: body.into(),
        rejection: Some(message.to_owned()),
        ..Reply::default()
    }
}

const MAXIMUM_SKEW: TimeDelta = TimeDelta::minutes(15);
