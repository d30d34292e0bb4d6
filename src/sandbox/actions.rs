//! The actions of STS 2015-04-01 that the sandbox implements.

mod parameters;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::credentials::timestamp;
use crate::sandbox::account::ledger::Lifetime;
use crate::sandbox::account::{Account, Role};
use crate::sandbox::actions::parameters::SessionRequest;
use crate::sandbox::auth::{self, Caller};
use crate::sandbox::http::request::{Call, Params, unknown_api};
use crate::sandbox::http::response::{ApiError, refuse, refuse_token};
use crate::sandbox::oidc::Claims;
use crate::sandbox::policy::trust::{ConditionValues, PrincipalType};
use crate::sandbox::random::Random;

/// The time, the random numbers and the faults that apply to one call.
pub(crate) struct CallContext<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) random: &'a Random,
    /// Overrides `DurationSeconds`.
    pub(crate) lifetime: Option<Lifetime>,
    /// Whether every role refuses all callers, regardless of its trust policy.
    pub(crate) is_denied: bool,
}

/// Performs a call and returns the fields of the response.
pub(crate) fn perform(
    account: &mut Account,
    call: &Call,
    context: &CallContext<'_>,
) -> Result<Map<String, Value>, ApiError> {
    let action = call.params.require("Action")?;
    if !ACTIONS.contains(&action) {
        return Err(unknown_api());
    }
    if call.params.require("Version")? != "2015-04-01" {
        let message = "The specified parameter \"Action or Version\" is not valid.";
        return refuse("InvalidParameter", message);
    }
    if action == "AssumeRoleWithOIDC" {
        return assume_role_with_oidc(account, &call.params, context);
    }
    let caller = auth::authenticate(account, call, context.now)?;
    if action == "AssumeRole" {
        assume_role(account, &caller, &call.params, context)
    } else {
        get_caller_identity(account, &caller)
    }
}

fn assume_role(
    account: &mut Account,
    caller: &Caller,
    params: &Params,
    context: &CallContext<'_>,
) -> Result<Map<String, Value>, ApiError> {
    let mut requested = SessionRequest::read(params)?;
    let role_arn = requested.session.role_arn;
    let external_id = parameters::external_id(params)?;
    let source_identity = parameters::source_identity(params)?;

    let (caller_arn, is_permitted, inherited) = match caller {
        Caller::Root => return Err(no_permission("Roles may not be assumed by root accounts.")),
        Caller::User => (&account.user.arn, account.user.may_assume, None),
        Caller::Session(issued) => {
            let role = account.role(&issued.role_arn);
            let is_permitted = role.is_some_and(|role| role.may_assume)
                && issued.permits("sts:AssumeRole", role_arn);
            (
                &issued.role_arn,
                is_permitted,
                issued.source_identity.as_deref(),
            )
        }
    };
    if inherited.is_some() && source_identity.is_some() && inherited != source_identity {
        // A source identity persists through role chaining and cannot be changed.
        return Err(ApiError::malformed("SourceIdentity"));
    }
    let role = account
        .role(role_arn)
        .cloned()
        .ok_or_else(|| unknown_role("The specified Role not exists ."))?;
    let conditions = external_id
        .map(|id| ("sts:ExternalId", vec![id]))
        .into_iter()
        .collect();
    let names = [caller_arn.as_str(), &account.root_arn()];
    if context.is_denied
        || !is_permitted
        || !role.trust.trusts(PrincipalType::Ram, &names, &conditions)
    {
        let message = "You are not authorized to do this action. You should be authorized by RAM.";
        return Err(no_permission(message));
    }
    requested.session.source_identity = source_identity.or(inherited);
    let mut fields = issue(account, &role, &requested, context)?;
    if let Some(identity) = source_identity {
        fields.insert("SourceIdentity".to_owned(), identity.into());
    }
    Ok(fields)
}

fn assume_role_with_oidc(
    account: &mut Account,
    params: &Params,
    context: &CallContext<'_>,
) -> Result<Map<String, Value>, ApiError> {
    let requested = SessionRequest::read(params)?;
    let provider_arn = params.require("OIDCProviderArn")?;
    let Some(token) = params.get("OIDCToken") else {
        return refuse_token("Invalid", "The OIDCToken can not empty.");
    };
    if !(4..=20_000).contains(&token.len()) {
        let message = "The Jwt content is invalid that cannot be recognized.";
        return refuse_token("Invalid", message);
    }
    if provider_arn != account.provider.arn {
        return Err(unauthenticated("No such OIDC Provider registered."));
    }
    let claims = account.provider.verify(token, context.now)?;
    let role_arn = requested.session.role_arn;
    let role = account
        .role(role_arn)
        .cloned()
        .ok_or_else(|| unknown_role(&format!("The role not exists: {role_arn}.")))?;
    let audiences = claims.audiences.values().iter().map(String::as_str);
    let conditions = ConditionValues::from([
        ("oidc:iss", vec![claims.issuer.as_str()]),
        ("oidc:sub", vec![claims.subject.as_str()]),
        ("oidc:aud", audiences.collect()),
    ]);
    let trust = &role.trust;
    if context.is_denied || !trust.trusts(PrincipalType::Federated, &[provider_arn], &conditions) {
        return Err(unauthenticated("There is no permission"));
    }
    let mut fields = issue(account, &role, &requested, context)?;
    fields.insert("OIDCTokenInfo".to_owned(), token_info(&claims));
    Ok(fields)
}

fn get_caller_identity(account: &Account, caller: &Caller) -> Result<Map<String, Value>, ApiError> {
    let account_id = &account.id;
    let mut identity = match caller {
        Caller::Root => json!({
            "IdentityType": "Account",
            "Arn": account.root_arn(),
            "PrincipalId": account_id,
            "UserId": account_id,
        }),
        Caller::User => json!({
            "IdentityType": "RAMUser",
            "Arn": account.user.arn,
            "PrincipalId": account.user.id,
            "UserId": account.user.id,
        }),
        Caller::Session(issued) => {
            let role = account
                .role(&issued.role_arn)
                .ok_or_else(auth::unknown_key)?;
            json!({
                "IdentityType": "AssumedRoleUser",
                "Arn": format!(
                    "acs:ram::{account_id}:assumed-role/{}/{}",
                    role.name, issued.session_name
                ),
                "PrincipalId": format!("{}:{}", role.id, issued.session_name),
                "RoleId": role.id,
            })
        }
    };
    let mut fields = identity
        .as_object_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    fields.insert("AccountId".to_owned(), account_id.as_str().into());
    Ok(fields)
}

/// Issues credentials for a role that the caller may assume.
fn issue(
    account: &mut Account,
    role: &Role,
    requested: &SessionRequest<'_>,
    context: &CallContext<'_>,
) -> Result<Map<String, Value>, ApiError> {
    let duration = requested.duration(role.max_session)?;
    let lifetime = context.lifetime.unwrap_or(Lifetime::For(duration));
    let session = &requested.session;
    let issued = account
        .ledger
        .issue(session, lifetime, context.now, context.random);
    let user = json!({
        "AssumedRoleId": format!("{}:{}", role.id, session.name),
        "Arn": format!("{}/{}", session.role_arn, session.name),
    });
    let credentials = json!({
        "AccessKeyId": issued.access_key_id,
        "AccessKeySecret": issued.access_key_secret.expose_secret(),
        "SecurityToken": issued.security_token.expose_secret(),
        "Expiration": timestamp(issued.expires_at),
    });
    Ok(Map::from_iter([
        ("AssumedRoleUser".to_owned(), user),
        ("Credentials".to_owned(), credentials),
    ]))
}

fn token_info(claims: &Claims) -> Value {
    let mut info = json!({
        "Subject": claims.subject,
        "Issuer": claims.issuer,
        "ClientIds": claims.audiences.values().join(","),
        "ExpirationTime": timestamp(claims.expires_at.0),
        "VerificationInfo": "Success",
    });
    if let (Some(fields), Some(issued_at)) = (info.as_object_mut(), claims.issued_at) {
        fields.insert("IssuanceTime".to_owned(), timestamp(issued_at.0).into());
    }
    info
}

fn unknown_role(message: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "EntityNotExist.Role", message)
}

fn no_permission(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "NoPermission", message)
}

fn unauthenticated(message: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "AuthenticationFail.NoPermission",
        message,
    )
}

/// All actions of STS except `AssumeRoleWithSAML`.
pub(crate) const ACTIONS: [&str; 3] = ["AssumeRole", "AssumeRoleWithOIDC", "GetCallerIdentity"];
