//! Authentication: verifies the signature, timestamp, nonce and security token of a call.
//!
//! STS does not document the order of its checks. Here: the form of a V3 signature, missing parameters, method and
//! version of an RPC signature, AccessKey, timestamp, signature, nonce, security token. How STS responds to a V3 request
//! without a date or a nonce is not documented either; here the error names the parameter of RPC.

mod v1;
pub(crate) mod v3;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::sandbox::account::ledger::Issued;
use crate::sandbox::account::{Account, KeyOwner};
use crate::sandbox::http::request::{self, Call, Params};
use crate::sandbox::http::response::{ApiError, refuse};

/// The identity that signed a call.
pub(crate) enum Caller {
    /// The account itself.
    Root,
    /// The RAM user.
    User,
    /// The session of a role.
    Session(Issued),
}

/// Verifies a call and records its nonce, and returns the identity that signed it.
pub(crate) fn authenticate(
    account: &mut Account,
    call: &Call,
    now: DateTime<Utc>,
) -> Result<Caller, ApiError> {
    let params = &call.params;
    let key_id = params.require("AccessKeyId")?;
    let nonce = params.require("SignatureNonce")?;
    let timestamp = params.require("Timestamp")?;
    if call.authorization.is_none() {
        check_scheme(params)?;
    }

    let (caller, secret) = key_owner(account, key_id)?;
    check_timestamp(timestamp, now)?;
    check_signature(call, &secret)?;
    if !account.nonces.use_up(key_id, nonce, now) {
        let message = "Specified signature nonce was used already.";
        return refuse("SignatureNonceUsed", message);
    }
    check_token(&caller, params.get("SecurityToken"), now)?;
    Ok(caller)
}

/// Verifies only the signature of a request, and returns its decoded parameters.
///
/// The id of the key, the timestamp, the nonce and the security token are not checked.
pub async fn verify_signature(
    request: Request<Body>,
    secret: &SecretString,
) -> Result<BTreeMap<String, String>, ApiError> {
    let call = request::read(request).await?;
    check_signature(&call, secret)?;
    Ok(call.params.all().clone())
}

/// Refuses a call that is not signed with `secret`.
fn check_signature(call: &Call, secret: &SecretString) -> Result<(), ApiError> {
    match &call.authorization {
        Some(authorization) => v3::check(call, authorization, secret),
        None => check_rpc_signature(call, secret),
    }
}

fn check_scheme(params: &Params) -> Result<(), ApiError> {
    params.require("Signature")?;
    if params.require("SignatureMethod")? != "HMAC-SHA1" {
        let message = "Specified signature method is not valid.";
        return refuse("InvalidSignatureMethod", message);
    }
    if params.require("SignatureVersion")? != "1.0" {
        // STS does not document this error; it has the form of other errors of STS.
        let message = "The specified parameter \"SignatureVersion\" is not valid.";
        return refuse("InvalidParameter", message);
    }
    Ok(())
}

fn check_rpc_signature(call: &Call, secret: &SecretString) -> Result<(), ApiError> {
    let signature = call.params.require("Signature")?;
    let signed = v1::string_to_sign(call.method.as_str(), call.params.all());
    if v1::is_signed(&signed, secret, signature) {
        return Ok(());
    }
    let message = format!(
        "Specified signature is not matched with our calculation. \
         server string to sign is:{signed}"
    );
    refuse("SignatureDoesNotMatch", &message)
}

fn key_owner(account: &Account, key_id: &str) -> Result<(Caller, SecretString), ApiError> {
    if let Some(issued) = account.ledger.find(key_id) {
        return Ok((
            Caller::Session(issued.clone()),
            issued.access_key_secret.clone(),
        ));
    }
    let Some(key) = account.keys.get(key_id) else {
        return Err(unknown_key());
    };
    if !key.active {
        let message = "Specified access key is disabled.";
        return refuse("InvalidAccessKeyId.Inactive", message);
    }
    let caller = match key.owner {
        KeyOwner::Root => Caller::Root,
        KeyOwner::User => Caller::User,
    };
    Ok((caller, key.secret.clone()))
}

pub(crate) fn unknown_key() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "InvalidAccessKeyId.NotFound",
        "Specified access key is not found.",
    )
}

fn check_timestamp(text: &str, now: DateTime<Utc>) -> Result<(), ApiError> {
    let parsed = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ");
    let Some(sent_at) = parsed.ok().filter(|_| text.len() == 20) else {
        let message = "Specified time stamp or date value is not well formatted.";
        return refuse("InvalidTimeStamp.Format", message);
    };
    if (now - sent_at.and_utc()).abs() > WINDOW {
        let message = "Specified time stamp or date value is expired.";
        return refuse("InvalidTimeStamp.Expired", message);
    }
    Ok(())
}

fn check_token(caller: &Caller, token: Option<&str>, now: DateTime<Utc>) -> Result<(), ApiError> {
    let Caller::Session(issued) = caller else {
        // A long-term key has no security token.
        return token.map_or(Ok(()), |_| mismatch());
    };
    let Some(token) = token else {
        let message = "SecurityToken is mandatory for this action.";
        return refuse("MissingSecurityToken", message);
    };
    if !token.starts_with("CAIS") || STANDARD.decode(token).is_err() {
        let message = "Specified SecurityToken is malformed.";
        return refuse("InvalidSecurityToken.Malformed", message);
    }
    let issued_token = issued.security_token.expose_secret().as_bytes();
    if !bool::from(issued_token.ct_eq(token.as_bytes())) {
        return mismatch();
    }
    if now >= issued.expires_at {
        let message = "Specified SecurityToken is expired.";
        return refuse("InvalidSecurityToken.Expired", message);
    }
    Ok(())
}

fn mismatch() -> Result<(), ApiError> {
    let message = "Specified SecurityToken mismatch with the AccessKey.";
    refuse("InvalidSecurityToken.MismatchWithAccessKey", message)
}

/// How far the timestamp of a request may differ from the clock of STS, in both directions.
const WINDOW: TimeDelta = TimeDelta::minutes(15);
