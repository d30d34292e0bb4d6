//! The check of a signature by itself, for whoever has a signer to compare with.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use secrecy::SecretString;

use crate::sandbox::auth;
use crate::sandbox::http::request;

/// Reads a request as the sandbox reads it, and returns its parameters, decoded, if it is signed with `secret`.
///
/// Neither the key's id nor the time, the nonce or the security token is judged.
///
/// Fails with the message of the refusal.
pub async fn verified(
    request: Request<Body>,
    secret: &SecretString,
) -> Result<BTreeMap<String, String>, String> {
    let refused = |refusal: crate::sandbox::http::response::Refusal| refusal.message;
    let call = request::read(request).await.map_err(refused)?;
    auth::check_signature(&call, secret).map_err(refused)?;
    Ok(call.params.all().clone())
}
