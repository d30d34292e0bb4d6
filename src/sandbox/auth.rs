//! Authentication: who signed this call.
//!
//! STS does not document the order of its checks. Here: the form of a V3 signature, parameters that are missing, method
//! and version of an RPC signature, AccessKey, timestamp, signature, nonce, security token. What it answers to a V3
//! request without a date or a nonce is not documented either; here they are missing under their names in RPC.

pub(super) mod oidc;
pub(super) mod oidc_token;
mod v1;
pub(super) mod v3;
pub(super) mod verify;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::sandbox::http::request::{Call, Params};
use crate::sandbox::http::response::Refusal;
use crate::sandbox::issue::Issued;
use crate::sandbox::world::{Owner, World};

/// Who signed a call.
pub(super) enum Caller {
    /// The account itself.
    Root,
    /// The RAM user.
    User,
    /// The session of a role.
    Session(Issued),
}

/// Finds out who signed a call, and uses up its nonce.
pub(super) fn authenticate(
    world: &mut World,
    call: &Call,
    now: DateTime<Utc>,
) -> Result<Caller, Refusal> {
    let params = &call.params;
    let key_id = params.require("AccessKeyId")?;
    let nonce = params.require("SignatureNonce")?;
    let timestamp = params.require("Timestamp")?;
    if call.acs3.is_none() {
        check_scheme(params)?;
    }

    let (caller, secret) = key_owner(world, key_id)?;
    check_timestamp(timestamp, now)?;
    check_signature(call, &secret)?;
    if !world.nonces.use_up(key_id, nonce, now) {
        let message = "Specified signature nonce was used already.";
        return Err(Refusal::bad("SignatureNonceUsed", message));
    }
    check_token(&caller, params.get("SecurityToken"), now)?;
    Ok(caller)
}

/// Refuses a call that is not signed with `secret`.
pub(super) fn check_signature(call: &Call, secret: &SecretString) -> Result<(), Refusal> {
    match &call.acs3 {
        Some(signed) => signed.check(secret),
        None => check_rpc_signature(call, secret),
    }
}

fn check_scheme(params: &Params) -> Result<(), Refusal> {
    params.require("Signature")?;
    if params.require("SignatureMethod")? != "HMAC-SHA1" {
        let message = "Specified signature method is not valid.";
        return Err(Refusal::bad("InvalidSignatureMethod", message));
    }
    if params.require("SignatureVersion")? != "1.0" {
        // What STS answers is not documented; this has the form of its other answers.
        let message = "The specified parameter \"SignatureVersion\" is not valid.";
        return Err(Refusal::bad("InvalidParameter", message));
    }
    Ok(())
}

fn check_rpc_signature(call: &Call, secret: &SecretString) -> Result<(), Refusal> {
    let signature = call.params.require("Signature")?;
    let signed = v1::string_to_sign(call.method.as_str(), call.params.all());
    if v1::is_signed(&signed, secret, signature) {
        return Ok(());
    }
    let message = format!(
        "Specified signature is not matched with our calculation. \
         server string to sign is:{signed}"
    );
    Err(Refusal::bad("SignatureDoesNotMatch", message))
}

fn key_owner(world: &World, key_id: &str) -> Result<(Caller, SecretString), Refusal> {
    if let Some(issued) = world.ledger.find(key_id) {
        return Ok((
            Caller::Session(issued.clone()),
            issued.access_key_secret.clone(),
        ));
    }
    let Some(key) = world.keys.get(key_id) else {
        return Err(unknown_key());
    };
    if !key.active {
        let message = "Specified access key is disabled.";
        return Err(Refusal::bad("InvalidAccessKeyId.Inactive", message));
    }
    let caller = match key.owner {
        Owner::Root => Caller::Root,
        Owner::User => Caller::User,
    };
    Ok((caller, key.secret.clone()))
}

pub(super) fn unknown_key() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "InvalidAccessKeyId.NotFound",
        "Specified access key is not found.",
    )
}

fn check_timestamp(text: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
    let parsed = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ");
    let Some(sent_at) = parsed.ok().filter(|_| text.len() == 20) else {
        return Err(Refusal::bad(
            "InvalidTimeStamp.Format",
            "Specified time stamp or date value is not well formatted.",
        ));
    };
    if (now - sent_at.and_utc()).abs() > WINDOW {
        return Err(Refusal::bad(
            "InvalidTimeStamp.Expired",
            "Specified time stamp or date value is expired.",
        ));
    }
    Ok(())
}

fn check_token(caller: &Caller, token: Option<&str>, now: DateTime<Utc>) -> Result<(), Refusal> {
    let Caller::Session(issued) = caller else {
        // A long-term key has no token that could match.
        return token.map_or(Ok(()), |_| Err(mismatch()));
    };
    let Some(token) = token else {
        let message = "SecurityToken is mandatory for this action.";
        return Err(Refusal::bad("MissingSecurityToken", message));
    };
    if !token.starts_with("CAIS") || STANDARD.decode(token).is_err() {
        let message = "Specified SecurityToken is malformed.";
        return Err(Refusal::bad("InvalidSecurityToken.Malformed", message));
    }
    let own = issued.security_token.expose_secret().as_bytes();
    if !bool::from(own.ct_eq(token.as_bytes())) {
        return Err(mismatch());
    }
    if now >= issued.expires_at {
        let message = "Specified SecurityToken is expired.";
        return Err(Refusal::bad("InvalidSecurityToken.Expired", message));
    }
    Ok(())
}

fn mismatch() -> Refusal {
    let message = "Specified SecurityToken mismatch with the AccessKey.";
    Refusal::bad("InvalidSecurityToken.MismatchWithAccessKey", message)
}

/// How far a request's timestamp may be from the clock of STS, to either side.
const WINDOW: TimeDelta = TimeDelta::minutes(15);
