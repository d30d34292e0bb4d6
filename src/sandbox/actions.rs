//! The actions of STS 2015-04-01 that the sandbox implements.

mod parameters;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::credentials::timestamp;
use crate::sandbox::account::ledger::{Issued, Lifetime, Session};
use crate::sandbox::account::{Account, Role};
use crate::sandbox::actions::parameters::SessionRequest;
use crate::sandbox::auth::{self, Caller};
use crate::sandbox::http::request::{Call, Params, unknown_api};
use crate::sandbox::http::response::ApiError;
use crate::sandbox::oidc::Claims;
use crate::sandbox::policy::trust::{ConditionValues, PrincipalType};
use crate::sandbox::random::Random;

/// The circumstances of one call.
pub(crate) struct CallContext<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) random: &'a Random,
    /// Overrides `DurationSeconds`.
    pub(crate) lifetime: Option<Lifetime>,
    /// Whether roles trust nobody, whatever their policies say.
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
        return Err(ApiError::bad_request("InvalidParameter", message));
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
    let requested = SessionRequest::read(params)?;
    let external_id = parameters::external_id(params)?;
    let source_identity = parameters::source_identity(params)?;

    let (names, permitted, inherited) = match caller {
        Caller::Root => return Err(no_permission("Roles may not be assumed by root accounts.")),
        Caller::User => (
            vec![account.user.arn.clone()],
            account.user.may_assume,
            None,
        ),
        Caller::Session(issued) => {
            let permitted = account
                .role(&issued.role_arn)
                .is_some_and(|role| role.may_assume);
            let permitted = permitted && issued.permits("sts:AssumeRole", requested.role_arn);
            (
                vec![issued.role_arn.clone()],
                permitted,
                issued.source_identity.as_deref(),
            )
        }
    };
    if inherited.is_some() && source_identity.is_some() && inherited != source_identity {
        // A source identity persists through role chaining and cannot be changed.
        return Err(ApiError::malformed("SourceIdentity"));
    }
    let Some(role) = account.role(requested.role_arn) else {
        let message = "The specified Role not exists .";
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "EntityNotExist.Role",
            message,
        ));
    };
    let root = account.root_arn();
    let names: Vec<_> = names
        .iter()
        .map(String::as_str)
        .chain([root.as_str()])
        .collect();
    let conditions = external_id
        .map(|id| ("sts:ExternalId", vec![id]))
        .into_iter()
        .collect();
    let is_trusted =
        !context.is_denied && role.trust.trusts(PrincipalType::Ram, &names, &conditions);
    if !permitted || !is_trusted {
        let message = "You are not authorized to do this action. You should be authorized by RAM.";
        return Err(no_permission(message));
    }
    let lifetime = lifetime(role, &requested, context)?;
    let role_id = role.id.clone();
    let source = source_identity.or(inherited);
    let mut fields = issue(account, &requested, source, &role_id, lifetime, context);
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
        return Err(ApiError::oidc_token(
            "Invalid",
            "The OIDCToken can not empty.",
        ));
    };
    if !(4..=20_000).contains(&token.len()) {
        let message = "The Jwt content is invalid that cannot be recognized.";
        return Err(ApiError::oidc_token("Invalid", message));
    }
    if provider_arn != account.provider.arn {
        return Err(unauthenticated("No such OIDC Provider registered."));
    }
    let claims = account.provider.verify(token, context.now)?;
    let Some(role) = account.role(requested.role_arn) else {
        let message = format!("The role not exists: {}.", requested.role_arn);
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "EntityNotExist.Role",
            message,
        ));
    };
    let conditions = ConditionValues::from([
        ("oidc:iss", vec![claims.issuer.as_str()]),
        ("oidc:sub", vec![claims.subject.as_str()]),
        ("oidc:aud", claims.audiences()),
    ]);
    let trust = &role.trust;
    if context.is_denied || !trust.trusts(PrincipalType::Federated, &[provider_arn], &conditions) {
        return Err(unauthenticated("There is no permission"));
    }
    let lifetime = lifetime(role, &requested, context)?;
    let role_id = role.id.clone();
    let mut fields = issue(account, &requested, None, &role_id, lifetime, context);
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

fn lifetime(
    role: &Role,
    requested: &SessionRequest<'_>,
    context: &CallContext<'_>,
) -> Result<Lifetime, ApiError> {
    let duration = requested.duration(role.max_session)?;
    Ok(context.lifetime.unwrap_or(Lifetime::For(duration)))
}

fn issue(
    account: &mut Account,
    requested: &SessionRequest<'_>,
    source_identity: Option<&str>,
    role_id: &str,
    lifetime: Lifetime,
    context: &CallContext<'_>,
) -> Map<String, Value> {
    let name = requested.session_name;
    let policy = requested.policy;
    let session = Session {
        role_arn: requested.role_arn,
        name,
        source_identity,
        policy,
    };
    let issued = account
        .ledger
        .issue(&session, lifetime, context.now, context.random);
    let user = json!({
        "AssumedRoleId": format!("{role_id}:{name}"),
        "Arn": format!("{}/{name}", requested.role_arn),
    });
    Map::from_iter([
        ("AssumedRoleUser".to_owned(), user),
        ("Credentials".to_owned(), credentials(&issued)),
    ])
}

fn credentials(issued: &Issued) -> Value {
    json!({
        "AccessKeyId": issued.access_key_id,
        "AccessKeySecret": issued.access_key_secret.expose_secret(),
        "SecurityToken": issued.security_token.expose_secret(),
        "Expiration": timestamp(issued.expires_at),
    })
}

fn token_info(claims: &Claims) -> Value {
    let mut info = json!({
        "Subject": claims.subject,
        "Issuer": claims.issuer,
        "ClientIds": claims.audiences().join(","),
        "ExpirationTime": timestamp(claims.expires_at()),
        "VerificationInfo": "Success",
    });
    if let (Some(fields), Some(issued_at)) = (info.as_object_mut(), claims.issued_at()) {
        fields.insert("IssuanceTime".to_owned(), timestamp(issued_at).into());
    }
    info
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

/// All actions of STS but `AssumeRoleWithSAML`.
pub(crate) const ACTIONS: [&str; 3] = ["AssumeRole", "AssumeRoleWithOIDC", "GetCallerIdentity"];
