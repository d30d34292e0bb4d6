//! How the role is assumed: the session's name, its duration and its policy.

use crate::credentials::RoleSessionName;

use super::checker::{Checker, Reported};
use super::{Input, Session, role, settings};

/// Reads how to assume the role; `has_preset` is false with the embedded STS, which has its own role.
pub(super) fn read(
    checker: &mut Checker,
    input: &Input<'_>,
    has_preset: bool,
) -> Result<Session, Reported> {
    let name = name(checker, input);
    let duration = checker.value(&settings::ROLE_DURATION);
    let external_id = checker.optional(&settings::ROLE_EXTERNAL_ID);
    let source_identity = checker.optional(&settings::ROLE_SOURCE_IDENTITY);
    let policy = policy(checker, has_preset);
    Ok(Session {
        name: name?,
        duration: duration?,
        external_id: external_id?,
        source_identity: source_identity?,
        policy: policy?,
    })
}

fn policy(checker: &mut Checker, has_preset: bool) -> Result<Option<String>, Reported> {
    if has_preset && let Some(policy) = role::preset_policy(checker)? {
        return Ok(Some(policy));
    }
    let (inline, file) = (&settings::ROLE_POLICY, &settings::ROLE_POLICY_FILE);
    let single = checker.keep_one(inline, file, "a session policy");
    let (inline, file) = (checker.optional(inline), checker.optional(file));
    single?;
    Ok(inline?.or(file?))
}

/// Reads the name of the session, or derives one.
pub(super) fn name(checker: &mut Checker, input: &Input<'_>) -> Result<RoleSessionName, Reported> {
    if let Some(name) = checker.optional(&settings::ROLE_SESSION_NAME)? {
        return Ok(name);
    }
    let pod = input.text("POD_NAME");
    let name = pod.as_deref().unwrap_or(&input.host_name);
    Ok(RoleSessionName::derive(name))
}
