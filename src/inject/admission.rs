//! Decides admission reviews of pods, and renders the response.

mod review;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::annotations::INJECTION;
use super::json::line;
use super::{Annotations, Refusal, Request, inject};

pub use self::review::{Malformed, Review};

/// What to do with a pod that asks for the sidecar and cannot have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Denies its creation.
    Fail,
    /// Has it created without the sidecar.
    Ignore,
}

/// The decision about a pod.
#[derive(Debug)]
pub struct Decision {
    /// What happens to the pod.
    pub outcome: Outcome,
    /// The role of its sidecar.
    pub role: Option<String>,
    /// Everything that is wrong with it.
    pub mistakes: Vec<String>,
    response: Map<String, Value>,
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gets the sidecar.
    Injected,
    /// It is not a new pod, declines the sidecar, or has it already.
    LeftAlone,
    /// It cannot have the sidecar, and is created without it.
    Admitted,
    /// It cannot have the sidecar, and is not created.
    Denied,
}

impl Outcome {
    /// Returns its name.
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
    /// Decides. `account` holds the annotations of the pod's service account, or the reason why they are not known.
    pub fn decide(
        &self,
        defaults: &Request,
        account: &Result<Annotations, String>,
        policy: Policy,
    ) -> Decision {
        let Some(pod) = self.candidate() else {
            let mut decision = self.allowed(Outcome::LeftAlone);
            let unclear = self.unclear().map(|value| {
                format!("the label {INJECTION} is {value:?}, which declines the sidecar: write \"true\" or \"false\"")
            });
            decision.warn(unclear.iter());
            return decision;
        };
        let injected = account
            .as_ref()
            .map_err(|reason| vec![reason.clone()])
            .and_then(|account| defaults.for_pod_and_account(pod, account).check())
            .and_then(|spec| {
                check_size(pod)?;
                let injected = inject(pod, &spec).map_err(|Refusal(reason)| vec![reason])?;
                Ok((injected, spec.role))
            });
        let (injected, role) = match injected {
            Ok(injected) => injected,
            Err(mistakes) => return self.refused(&mistakes, policy),
        };
        let mut decision = self.allowed(Outcome::Injected);
        decision.role = role.map(|role| role.to_string());
        let patch = Value::Array(injected.operations).to_string();
        let patch = STANDARD.encode(patch);
        decision.set("patchType", "JSONPatch".into());
        decision.set("patch", patch.into());
        // The first note says what was done, which is not a warning.
        decision.warn(injected.notes.iter().skip(1));
        decision
    }

    fn allowed(&self, outcome: Outcome) -> Decision {
        let mut response = Map::new();
        response.insert("uid".to_owned(), self.uid().into());
        response.insert("allowed".to_owned(), true.into());
        Decision {
            outcome,
            role: None,
            mistakes: Vec::new(),
            response,
        }
    }

    fn refused(&self, mistakes: &[String], policy: Policy) -> Decision {
        let mistakes: Vec<String> = mistakes.iter().map(|text| line(text, LONGEST)).collect();
        let mut decision = match policy {
            Policy::Ignore => {
                let mut decision = self.allowed(Outcome::Admitted);
                let warnings = mistakes
                    .iter()
                    .map(|mistake| format!("not injected: {mistake}"));
                decision.warn(warnings);
                decision
            }
            Policy::Fail => {
                let mut decision = self.allowed(Outcome::Denied);
                let mistakes = mistakes.join("; ");
                let message = format!("the sidecar cannot be injected: {mistakes}");
                decision.set("allowed", false.into());
                let status = json!({ "code": UNPROCESSABLE, "message": line(&message, LONGEST) });
                decision.set("status", status);
                decision
            }
        };
        decision.mistakes = mistakes;
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
        let lines = texts.map(|text| line(&format!("ram-sidecar: {}", text.as_ref()), WARNING));
        let warnings: Vec<Value> = lines.take(WARNINGS).map(Value::from).collect();
        if !warnings.is_empty() {
            self.set("warnings", warnings.into());
        }
    }
}

/// Refuses pods with too many containers, because a small request must not make a large response.
fn check_size(pod: &Value) -> Result<(), Vec<String>> {
    let containers = |list: &str| pod["spec"].get(list)?.as_array().map(Vec::len);
    let count = ["containers", "initContainers"].map(|list| containers(list).unwrap_or_default());
    if count.iter().sum::<usize>() > MAX_CONTAINERS {
        return Err(vec![format!(
            "the pod has more than {MAX_CONTAINERS} containers; split it"
        )]);
    }
    Ok(())
}

const VERSION: &str = "admission.k8s.io/v1";

/// HTTP's status of a request that is understood and cannot be carried out.
const UNPROCESSABLE: u16 = 422;

/// Far more than any pod has: a node runs about a hundred pods.
const MAX_CONTAINERS: usize = 100;

/// Bytes of a warning. Source: the documentation of admission webhooks; the API server truncates longer ones.
const WARNING: usize = 256;

/// Number of warnings. Source: the same; the API server drops what exceeds 4096 characters in total.
const WARNINGS: usize = 4096 / WARNING;

/// Bytes of a refusal's message, which stands in a header; an event of Kubernetes shows as much.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests;
