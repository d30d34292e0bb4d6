//! Decides admission reviews of pods, and renders the responses.

mod review;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::annotations::INJECT_LABEL;
use super::controllers::{self, Classic};
use super::json::{CONTAINER_LISTS, single_line, uses_host_network};
use super::{Annotations, Field, Injected, Request};
use super::{complete, completion, inject, is_injected, messages};
use crate::credentials::RoleArn;

pub use self::review::{CalledFor, Malformed, Review};

/// What to do with a pod that is to have the sidecar and cannot have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Deny its creation.
    Fail,
    /// Create it without the sidecar.
    Ignore,
}

/// The decision about a pod.
#[derive(Debug)]
pub struct Decision {
    /// What happens to the pod.
    pub outcome: Outcome,
    /// The role of its sidecar.
    pub role: Option<String>,
    /// What keeps the pod from having the sidecar.
    pub cause: Option<Cause>,
    /// Why the pod cannot have the sidecar.
    pub errors: Vec<String>,
    response: Map<String, Value>,
}

/// What keeps a pod from having the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The value of its label.
    Label,
    /// Its service account cannot be read.
    ServiceAccount,
    /// Annotations, or the flags of the webhook.
    Settings,
    /// The pod itself.
    Pod,
}

impl Cause {
    /// Returns the value of the label `reason` of the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::ServiceAccount => "service account",
            Self::Settings => "settings",
            Self::Pod => "pod",
        }
    }
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gets the sidecar.
    Injected,
    /// It is not a new pod, opts out, or already has the sidecar.
    LeftAlone,
    /// It cannot have the sidecar, and is created without it.
    Admitted,
    /// It cannot have the sidecar, and is not created.
    Denied,
}

impl Outcome {
    /// Returns the value of the log field `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::LeftAlone => "left alone",
            Self::Admitted => "admitted without",
            Self::Denied => "denied",
        }
    }
}

impl Review {
    /// Decides. `account` has the annotations of the pod's service account, or the reason why they are unknown.
    pub fn decide(
        &self,
        defaults: &Request,
        account: &Result<Annotations, String>,
        policy: Policy,
    ) -> Decision {
        let Some(pod) = self.pod_to_inject() else {
            let Some(value) = self.invalid_label() else {
                return self.allowed(Outcome::LeftAlone);
            };
            let error = messages::invalid_label(value);
            if self.called_for != CalledFor::Label {
                return self.failed(Cause::Label, &[error], policy);
            }
            let mut decision = self.allowed(Outcome::LeftAlone);
            decision.warn([error].iter());
            return decision;
        };
        if self.called_for == CalledFor::Label {
            return self.allowed(Outcome::LeftAlone);
        }
        if is_injected(pod) {
            return self.completed(pod, defaults, account, policy);
        }
        if self.called_for == CalledFor::Ack && Self::has_no_role(pod, defaults, account) {
            return self.allowed(Outcome::LeftAlone);
        }
        let injected = account
            .as_ref()
            .map_err(|reason| (Cause::ServiceAccount, vec![reason.clone()]))
            .and_then(|account| {
                let mut request = defaults.for_pod_and_account(pod, account);
                let classic = request.get(Field::Classic);
                let is_old = classic.is_some_and(|given| given.place == OLD_CLUSTER);
                if is_old {
                    check_old(pod).map_err(of_pod)?;
                }
                if uses_host_network(pod) && request.get(Field::Port).is_none() {
                    request.set(Field::Port, self.port().to_string(), "hostNetwork");
                }
                let spec = request
                    .check()
                    .map_err(|errors| (Cause::Settings, errors))?;
                check_size(pod).map_err(of_pod)?;
                let mut injected =
                    inject(pod, &spec).map_err(|error| of_pod(vec![error.to_string()]))?;
                if is_old {
                    let warning = format!("gets a classic sidecar, because {OLD_CLUSTER}");
                    injected.warnings.insert(0, warning);
                }
                Ok((injected, spec.role))
            });
        let (injected, role) = match injected {
            Ok(injected) => injected,
            Err((cause, errors)) => return self.failed(cause, &errors, policy),
        };
        self.patched(injected, role)
    }

    /// Chooses the first port of a pod that shares its node's ports with other pods.
    fn port(&self) -> u16 {
        let mut hasher = DefaultHasher::new();
        self.uid.hash(&mut hasher);
        let choices = u64::from((PORTS.end - PORTS.start) / PORTS_OF_A_POD);
        let choice = u16::try_from(hasher.finish() % choices).unwrap_or_default();
        PORTS.start + choice * PORTS_OF_A_POD
    }

    /// Configures the containers that other webhooks have added to a pod after the sidecar.
    fn completed(
        &self,
        pod: &Value,
        defaults: &Request,
        account: &Result<Annotations, String>,
        policy: Policy,
    ) -> Decision {
        if check_size(pod).is_err() {
            return self.allowed(Outcome::LeftAlone);
        }
        let request = match account {
            Ok(account) => defaults.for_pod_and_account(pod, account),
            Err(reason) if completion::is_due(pod) => {
                let errors = std::slice::from_ref(reason);
                return self.failed(Cause::ServiceAccount, errors, policy);
            }
            Err(_) => defaults.for_pod(pod),
        };
        match complete(pod, &request) {
            Ok(completed) if completed.operations.is_empty() => self.allowed(Outcome::LeftAlone),
            Ok(completed) => self.patched(completed, None),
            Err(error) => self.failed(Cause::Pod, &[error.to_string()], policy),
        }
    }

    /// Whether nothing names a role for the pod, not even by mistake: ACK's own webhook then leaves it alone.
    fn has_no_role(pod: &Value, defaults: &Request, account: &Result<Annotations, String>) -> bool {
        account.as_ref().is_ok_and(|account| {
            let request = defaults.for_pod_and_account(pod, account);
            request.get(Field::Role).is_none()
                && request.requires_role()
                && request.errors.is_empty()
        })
    }

    fn patched(&self, injected: Injected, role: Option<RoleArn>) -> Decision {
        let mut decision = self.allowed(Outcome::Injected);
        decision.role = role.map(|role| role.to_string());
        let patch = Value::Array(injected.operations).to_string();
        let patch = STANDARD.encode(patch);
        decision.set("patchType", "JSONPatch".into());
        decision.set("patch", patch.into());
        decision.warn(injected.warnings.iter());
        decision
    }

    fn allowed(&self, outcome: Outcome) -> Decision {
        let mut response = Map::new();
        response.insert("uid".to_owned(), self.uid.clone().into());
        response.insert("allowed".to_owned(), true.into());
        Decision {
            outcome,
            role: None,
            cause: None,
            errors: Vec::new(),
            response,
        }
    }

    fn failed(&self, cause: Cause, errors: &[String], policy: Policy) -> Decision {
        let errors = errors
            .iter()
            .map(|text| single_line(text, MAX_MESSAGE_SIZE));
        let errors: Vec<String> = errors.collect();
        let mut decision = match policy {
            Policy::Ignore => {
                let mut decision = self.allowed(Outcome::Admitted);
                let warnings = errors.iter().map(|error| format!("not injected: {error}"));
                decision.warn(warnings);
                decision
            }
            Policy::Fail => {
                let mut decision = self.allowed(Outcome::Denied);
                let errors = errors.join("; ");
                let message = format!("the sidecar cannot be injected: {errors}");
                let message = single_line(&message, MAX_MESSAGE_SIZE);
                decision.set("allowed", false.into());
                let status = json!({ "code": UNPROCESSABLE, "message": message });
                decision.set("status", status);
                decision
            }
        };
        decision.cause = Some(cause);
        decision.errors = errors;
        decision
    }
}

impl Decision {
    /// Renders the response.
    pub fn review(self) -> Value {
        json!({ "apiVersion": VERSION, "kind": "AdmissionReview", "response": self.response })
    }

    fn set(&mut self, name: &str, value: Value) {
        self.response.insert(name.to_owned(), value);
    }

    fn warn(&mut self, texts: impl Iterator<Item: AsRef<str>>) {
        let lines = texts.map(|text| {
            let text = format!("ram-sidecar: {}", text.as_ref());
            single_line(&text, MAX_WARNING_SIZE)
        });
        let warnings: Vec<Value> = lines.take(MAX_WARNINGS).map(Value::from).collect();
        if !warnings.is_empty() {
            self.set("warnings", warnings.into());
        }
    }
}

/// Returns the defaults of a cluster without native sidecars.
pub fn of_old_cluster() -> Request {
    let mut request = Request::default();
    request.set(Field::Classic, "true", OLD_CLUSTER);
    request
}

fn of_pod(errors: Vec<String>) -> (Cause, Vec<String>) {
    (Cause::Pod, errors)
}

/// Rejects pods of jobs that could not stop a classic sidecar.
fn check_old(pod: &Value) -> Result<(), Vec<String>> {
    match controllers::owner(pod).map(|owner| owner.classic) {
        Some(Classic::Never(why)) => Err(vec![format!(
            "{OLD_CLUSTER}, and {why}; upgrade the cluster, or set the label {INJECT_LABEL}: \"false\""
        )]),
        _ => Ok(()),
    }
}

/// Rejects pods with too many containers, because a small request must not cause a large response.
fn check_size(pod: &Value) -> Result<(), Vec<String>> {
    let lists = CONTAINER_LISTS.iter();
    let counts = lists.filter_map(|list| pod["spec"].get(list)?.as_array().map(Vec::len));
    if counts.sum::<usize>() > MAX_CONTAINERS {
        return Err(vec![format!(
            "the pod has more than {MAX_CONTAINERS} containers; split it"
        )]);
    }
    Ok(())
}

/// Why a pod gets a classic sidecar that nobody asked for.
const OLD_CLUSTER: &str = "the cluster is older than Kubernetes 1.29";

/// The ports of pods with hostNetwork: below those of Services (30000) and those that Linux chooses itself (32768).
const PORTS: Range<u16> = 20_000..30_000;

/// The credentials, the probes and the metadata dialect.
const PORTS_OF_A_POD: u16 = 3;

const VERSION: &str = "admission.k8s.io/v1";

/// The HTTP status of a valid request that cannot be carried out.
const UNPROCESSABLE: u16 = 422;

/// Far more than any pod has: a node runs about a hundred pods.
const MAX_CONTAINERS: usize = 100;

/// Bytes of a warning. Source: the documentation of admission webhooks; the API server truncates longer ones.
const MAX_WARNING_SIZE: usize = 256;

/// Source: the same documentation; the API server drops what exceeds 4096 characters in total.
const MAX_WARNINGS: usize = 4096 / MAX_WARNING_SIZE;

/// Bytes of an error message, which becomes a header; an event of Kubernetes shows as much.
const MAX_MESSAGE_SIZE: usize = 1024;

#[cfg(test)]
mod tests;
