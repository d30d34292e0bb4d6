//! The actions of STS 2015-04-01 that the sandbox knows.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::credentials::timestamp;
use crate::sandbox::auth::oidc::Claims;
use crate::sandbox::auth::{self, Caller};
use crate::sandbox::http::parameters::{self, Asked};
use crate::sandbox::http::request::{Call, Params, unknown_api};
use crate::sandbox::http::response::Refusal;
use crate::sandbox::issue::{Issued, Lifetime, Session};
use crate::sandbox::policy::trust::{Context, Section};
use crate::sandbox::random::Random;
use crate::sandbox::world::{Role, World};

/// What surrounds one call.
pub(super) struct Scene<'a> {
    pub(super) now: DateTime<Utc>,
    pub(super) random: &'a Random,
    /// Overrides the duration that is asked for.
    pub(super) lifetime: Option<Lifetime>,
    /// Whether roles trust nobody, whatever their policies say.
    pub(super) is_denied: bool,
}

/// Performs a call and returns the fields of the answer.
pub(super) fn perform(
    world: &mut World,
    call: &Call,
    scene: &Scene<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let action = call.params.require("Action")?;
    if !ACTIONS.contains(&action) {
        return Err(unknown_api());
    }
    if call.params.require("Version")? != "2015-04-01" {
        let message = "The specified parameter \"Action or Version\" is not valid.";
        return Err(Refusal::bad("InvalidParameter", message));
    }
    if action == "AssumeRoleWithOIDC" {
        return assume_role_with_oidc(world, &call.params, scene);
    }
    let caller = auth::authenticate(world, call, scene.now)?;
    if action == "AssumeRole" {
        assume_role(world, &caller, &call.params, scene)
    } else {
        get_caller_identity(world, &caller)
    }
}

fn assume_role(
    world: &mut World,
    caller: &Caller,
    params: &Params,
    scene: &Scene<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let asked = Asked::read(params)?;
    let external_id = parameters::external_id(params)?;
    let source_identity = parameters::source_identity(params)?;

    let (names, permitted, inherited) = match caller {
        Caller::Root => return Err(no_permission("Roles may not be assumed by root accounts.")),
        Caller::User => (vec![world.user.arn.clone()], world.user.may_assume, None),
        Caller::Session(issued) => {
            let permitted = world
                .role(&issued.role_arn)
                .is_some_and(|role| role.may_assume);
            let permitted = permitted && issued.permits("sts:AssumeRole", asked.role_arn);
            (
                vec![issued.role_arn.clone()],
                permitted,
                issued.source_identity.as_deref(),
            )
        }
    };
    if inherited.is_some() && source_identity.is_some() && inherited != source_identity {
        // A source identity persists through role chaining and cannot be changed.
        return Err(Refusal::wrongly_formed("SourceIdentity"));
    }
    let Some(role) = world.role(asked.role_arn) else {
        let message = "The specified Role not exists .";
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "EntityNotExist.Role",
            message,
        ));
    };
    let root = world.root_arn();
    let names: Vec<_> = names
        .iter()
        .map(String::as_str)
        .chain([root.as_str()])
        .collect();
    let context = external_id
        .map(|id| ("sts:ExternalId", vec![id]))
        .into_iter()
        .collect();
    let is_trusted = !scene.is_denied && role.trust.trusts(Section::Ram, &names, &context);
    if !permitted || !is_trusted {
        let message = "You are not authorized to do this action. You should be authorized by RAM.";
        return Err(no_permission(message));
    }
    let lifetime = lifetime(role, &asked, scene)?;
    let role_id = role.id.clone();
    let source = source_identity.or(inherited);
    let mut fields = issue(world, &asked, source, &role_id, lifetime, scene);
    if let Some(identity) = source_identity {
        fields.insert("SourceIdentity".to_owned(), identity.into());
    }
    Ok(fields)
}

fn assume_role_with_oidc(
    world: &mut World,
    params: &Params,
    scene: &Scene<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let asked = Asked::read(params)?;
    let provider_arn = params.require("OIDCProviderArn")?;
    let Some(token) = params.get("OIDCToken") else {
        return Err(Refusal::token("Invalid", "The OIDCToken can not empty."));
    };
    if !(4..=20_000).contains(&token.len()) {
        let message = "The Jwt content is invalid that cannot be recognized.";
        return Err(Refusal::token("Invalid", message));
    }
    if provider_arn != world.provider.arn {
        return Err(unauthenticated("No such OIDC Provider registered."));
    }
    let claims = world.provider.verify(token, scene.now)?;
    let Some(role) = world.role(asked.role_arn) else {
        let message = format!("The role not exists: {}.", asked.role_arn);
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "EntityNotExist.Role",
            message,
        ));
    };
    let context = Context::from([
        ("oidc:iss", vec![claims.issuer.as_str()]),
        ("oidc:sub", vec![claims.subject.as_str()]),
        ("oidc:aud", claims.audiences()),
    ]);
    let trust = &role.trust;
    if scene.is_denied || !trust.trusts(Section::Federated, &[provider_arn], &context) {
        return Err(unauthenticated("There is no permission"));
    }
    let lifetime = lifetime(role, &asked, scene)?;
    let role_id = role.id.clone();
    let mut fields = issue(world, &asked, None, &role_id, lifetime, scene);
    fields.insert("OIDCTokenInfo".to_owned(), token_info(&claims));
    Ok(fields)
}

fn get_caller_identity(world: &World, caller: &Caller) -> Result<Map<String, Value>, Refusal> {
    let account = &world.account_id;
    let mut identity = match caller {
        Caller::Root => json!({
            "IdentityType": "Account",
            "Arn": world.root_arn(),
            "PrincipalId": account,
            "UserId": account,
        }),
        Caller::User => json!({
            "IdentityType": "RAMUser",
            "Arn": world.user.arn,
            "PrincipalId": world.user.id,
            "UserId": world.user.id,
        }),
        Caller::Session(issued) => {
            let role = world.role(&issued.role_arn).ok_or_else(auth::unknown_key)?;
            json!({
                "IdentityType": "AssumedRoleUser",
                "Arn": format!(
                    "acs:ram::{account}:assumed-role/{}/{}",
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
    fields.insert("AccountId".to_owned(), account.as_str().into());
    Ok(fields)
}

fn lifetime(role: &Role, asked: &Asked<'_>, scene: &Scene<'_>) -> Result<Lifetime, Refusal> {
    let wanted = asked.duration(role.max_session)?;
    Ok(scene.lifetime.unwrap_or(Lifetime::Lasts(wanted)))
}

fn issue(
    world: &mut World,
    asked: &Asked<'_>,
    source_identity: Option<&str>,
    role_id: &str,
    lifetime: Lifetime,
    scene: &Scene<'_>,
) -> Map<String, Value> {
    let name = asked.session_name;
    let policy = asked.policy;
    let session = Session {
        role_arn: asked.role_arn,
        name,
        source_identity,
        policy,
    };
    let issued = world
        .ledger
        .issue(&session, lifetime, scene.now, scene.random);
    let user = json!({
        "AssumedRoleId": format!("{role_id}:{name}"),
        "Arn": format!("{}/{name}", asked.role_arn),
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

fn no_permission(message: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "NoPermission", message)
}

fn unauthenticated(message: &str) -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "AuthenticationFail.NoPermission",
        message,
    )
}

/// The actions that exist here; `AssumeRoleWithSAML` does not.
pub(super) const ACTIONS: [&str; 3] = ["AssumeRole", "AssumeRoleWithOIDC", "GetCallerIdentity"];
