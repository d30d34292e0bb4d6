//! The results of the probes, and their bodies.

use bytes::Bytes;
use serde::Serialize;

use crate::credentials::timestamp;
use crate::failure::Failure;
use crate::refresh::store::{Health, Phase};

use super::respond;

/// The result of a probe, and a body with the reason.
#[derive(Debug)]
pub struct ProbeResult {
    /// Whether the probe passes.
    pub passes: bool,
    /// The result in one word or two.
    pub status: &'static str,
    /// The body.
    pub body: Bytes,
}

/// Passes as long as the process responds: a restart would not fix a trust policy, and would lose valid credentials.
pub fn live() -> ProbeResult {
    ProbeResult {
        passes: true,
        status: "live",
        body: respond::to_json_line(&serde_json::json!({ "status": "live" })),
    }
}

/// Passes from the first credentials on; at once if there is no role.
pub fn startup(health: &Health) -> ProbeResult {
    let started = health.generation > 0 || health.phase == Phase::NoRole;
    result(health, (None, None), started, "started", "starting")
}

/// Passes while there are valid credentials and every file contains them, until the shutdown.
///
/// `file` is the failure of a file; `pending_file` is set while one is yet to be written. `state` is the failure of the
/// saved state, which is only reported: it is not needed before a restart.
pub fn ready(
    health: &Health,
    file: Option<&Failure>,
    pending_file: bool,
    state: Option<&Failure>,
    stopping: bool,
) -> ProbeResult {
    let valid = matches!(health.phase, Phase::Fresh | Phase::Failing | Phase::NoRole);
    let passes = valid && file.is_none() && !pending_file && !stopping;
    result(
        health,
        (file, state),
        passes,
        READY,
        if stopping { "stopping" } else { "not ready" },
    )
}

/// The status of a daemon that is ready.
pub const READY: &str = "ready";

/// Describes the health in one line for a person.
pub fn status(health: &Health) -> String {
    let until = health.expires_at.map(timestamp).unwrap_or_default();
    let reason = health.failure.as_deref();
    let reason = reason
        .map(|failure| format!(": {failure}"))
        .unwrap_or_default();
    match health.phase {
        Phase::NoRole => "This job has no role".to_owned(),
        Phase::Pending => format!("Waiting for the first credentials{reason}"),
        Phase::Fresh => format!("Serving credentials until {until}"),
        Phase::Failing => {
            format!("Serving credentials until {until}, but they cannot be renewed{reason}")
        }
        Phase::Expired => format!("The credentials are at their end and cannot be renewed{reason}"),
    }
}

fn result(
    health: &Health,
    (file, state): (Option<&Failure>, Option<&Failure>),
    passes: bool,
    passing: &'static str,
    failing: &'static str,
) -> ProbeResult {
    let failure = health.failure.as_deref();
    let status = if passes { passing } else { failing };
    let reported = Report {
        status,
        phase: health.phase.name(),
        expires_at: health.expires_at.map(timestamp),
        remaining_seconds: health.remaining.map(|duration| duration.as_secs()),
        served_by: health.served_by.as_deref(),
        renewals: health.generation,
        failures: health.failures,
        next_attempt_seconds: health.next_attempt_after.map(|duration| duration.as_secs()),
        stage: failure.or(file).map(|failure| failure.stage.name()),
        code: failure.or(file).map(|failure| failure.code.as_str()),
        message: failure.map(ToString::to_string),
        file_message: file.map(ToString::to_string),
        state_message: state.map(ToString::to_string),
    };
    ProbeResult {
        passes,
        status,
        body: respond::to_json_line(&reported),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    served_by: Option<&'a str>,
    renewals: u64,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(rename = "Code", skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_message: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::failure::Stage;

    fn health(phase: Phase, failed: bool) -> Health {
        let failure = Failure::new(Stage::Sts, "NoPermission", "AssumeRole was refused");
        Health {
            phase,
            expires_at: None,
            remaining: Some(Duration::from_secs(60)),
            lifetime: None,
            skew: None,
            renewal_at: None,
            generation: u64::from(!matches!(phase, Phase::Pending | Phase::NoRole)),
            served_by: None,
            failure: failed.then(|| Arc::new(failure)),
            failures: u32::from(failed),
            next_attempt_after: None,
            next_attempt_at: None,
        }
    }

    #[test]
    fn readiness_follows_the_phase_the_files_and_the_stop() {
        let failure = Failure::new(Stage::File, "FileNotWritten", "cannot write /x");
        for (phase, file, pending, stopping, passes) in [
            (Phase::NoRole, false, false, false, true),
            (Phase::NoRole, false, false, true, false),
            (Phase::Pending, false, false, false, false),
            (Phase::Fresh, false, false, false, true),
            (Phase::Failing, false, false, false, true),
            (Phase::Expired, false, false, false, false),
            (Phase::Fresh, true, false, false, false),
            (Phase::Fresh, false, true, false, false),
            (Phase::Fresh, false, false, true, false),
        ] {
            let result = ready(
                &health(phase, false),
                file.then_some(&failure),
                pending,
                Some(&failure),
                stopping,
            );
            assert_eq!(
                result.passes, passes,
                "{phase:?} {file} {pending} {stopping}"
            );
            let body = std::str::from_utf8(&result.body).unwrap();
            assert!(body.contains(r#""state_message":"cannot write"#), "{body}");
            assert_eq!(body.contains("FileNotWritten"), file, "{body}");
        }
    }

    #[test]
    fn liveness_and_startup_pass_after_an_expiration() {
        assert!(live().passes);
        assert!(startup(&health(Phase::Expired, true)).passes);
        assert!(startup(&health(Phase::NoRole, false)).passes);
        assert!(!startup(&health(Phase::Pending, true)).passes);
    }

    #[test]
    fn status_is_one_line_with_the_diagnosis() {
        for (phase, failed, begins) in [
            (Phase::NoRole, false, "This job has no role"),
            (Phase::Pending, false, "Waiting for the first credentials"),
            (Phase::Pending, true, "Waiting for the first credentials: "),
            (Phase::Fresh, false, "Serving credentials until "),
            (Phase::Failing, true, "Serving credentials until "),
            (Phase::Expired, true, "The credentials are at their end"),
        ] {
            let status = status(&health(phase, failed));
            assert!(status.starts_with(begins), "{status}");
            assert_eq!(status.contains("was refused; let the"), failed, "{status}");
            assert!(!status.contains('\n'), "{status}");
        }
    }

    #[test]
    fn failing_probe_contains_the_diagnosis() {
        let body = ready(&health(Phase::Pending, true), None, false, None, false).body;
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.contains(r#""Code":"NoPermission""#), "{body}");
        assert!(body.contains(r#""stage":"sts""#), "{body}");
        assert!(
            body.contains("AssumeRole was refused; let the role's trust policy"),
            "{body}"
        );
    }
}
