//! What the API server asks of the webhook, decided: an admission review in, an admission review out.

mod review;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::annotations::INJECTION;
use super::json::line;
use super::patch::patch;
use super::{Annotations, Refusal, Wanted, inject};

pub use self::review::{Malformed, Review};

/// What becomes of a pod that asks for the sidecar and cannot have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is not created.
    Fail,
    /// It is created without.
    Ignore,
}

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// What becomes of the pod.
    pub outcome: Outcome,
    /// The role that it got.
    pub role: Option<String>,
    /// Everything that is wrong with it.
    pub mistakes: Vec<String>,
    response: Map<String, Value>,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gets the sidecar.
    Injected,
    /// It is none of ours, does not want the sidecar, or has it.
    LeftAlone,
    /// It cannot have the sidecar, and is created without.
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
    /// Decides: `account` are the annotations of the pod's service account, or why they are not known.
    pub fn decide(
        &self,
        defaults: &Wanted,
        account: &Result<Annotations, String>,
        policy: Policy,
    ) -> Decision {
        let Some(pod) = self.wanting() else {
            let mut decision = self.allowed(Outcome::LeftAlone);
            let unclear = self.unclear().map(|value| {
                format!("the label {INJECTION} is {value:?}, which asks for no sidecar: write \"true\" or \"false\"")
            });
            decision.warn(unclear.iter());
            return decision;
        };
        let injected = account
            .as_ref()
            .map_err(|reason| vec![reason.clone()])
            .and_then(|account| defaults.of_pod_and_account(pod, account).checked())
            .and_then(|wish| {
                check_size(pod)?;
                let injected = inject(pod, &wish).map_err(|Refusal(reason)| vec![reason])?;
                Ok((injected, wish.role))
            });
        let (injected, role) = match injected {
            Ok(injected) => injected,
            Err(mistakes) => return self.refused(&mistakes, policy),
        };
        let mut decision = self.allowed(Outcome::Injected);
        decision.role = role.map(|role| role.to_string());
        let operations = Value::Array(patch(pod, &injected.pod));
        let patch = STANDARD.encode(operations.to_string());
        decision.say("patchType", "JSONPatch".into());
        decision.say("patch", patch.into());
        // The first says what was done, and that is no reason to warn.
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
        let mistakes: Vec<String> = mistakes.iter().map(|told| line(told, LONGEST)).collect();
        let told = mistakes.join("; ");
        let mut decision = match policy {
            Policy::Ignore => {
                let mut decision = self.allowed(Outcome::Admitted);
                let warnings = mistakes.iter().map(|told| format!("not injected: {told}"));
                decision.warn(warnings);
                decision
            }
            Policy::Fail => {
                let mut decision = self.allowed(Outcome::Denied);
                let message = format!("the sidecar cannot be injected: {told}");
                decision.say("allowed", false.into());
                let status = json!({ "code": UNPROCESSABLE, "message": line(&message, LONGEST) });
                decision.say("status", status);
                decision
            }
        };
        decision.mistakes = mistakes;
        decision
    }
}

impl Decision {
    /// Returns the answer.
    pub fn review(self) -> Value {
        json!({ "apiVersion": VERSION, "kind": "AdmissionReview", "response": self.response })
    }

    fn say(&mut self, name: &str, value: Value) {
        self.response.insert(name.to_owned(), value);
    }

    fn warn(&mut self, texts: impl Iterator<Item: AsRef<str>>) {
        let told = texts.map(|text| line(&format!("ram-sidecar: {}", text.as_ref()), WARNING));
        let warnings: Vec<Value> = told.take(WARNINGS).map(Value::from).collect();
        if !warnings.is_empty() {
            self.say("warnings", warnings.into());
        }
    }
}

/// What is added for each container must not make a small request a large answer.
fn check_size(pod: &Value) -> Result<(), Vec<String>> {
    let containers = |list: &str| pod["spec"].get(list)?.as_array().map(Vec::len);
    let count = ["containers", "initContainers"].map(|list| containers(list).unwrap_or_default());
    if count.iter().sum::<usize>() > MOST_CONTAINERS {
        return Err(vec![format!(
            "the pod has more than {MOST_CONTAINERS} containers; divide it"
        )]);
    }
    Ok(())
}

const VERSION: &str = "admission.k8s.io/v1";

/// HTTP's status for what is understood and cannot be done.
const UNPROCESSABLE: u16 = 422;

/// A node runs some hundred pods at the most.
const MOST_CONTAINERS: usize = 100;

/// Source: the documentation of admission webhooks. The API server cuts longer warnings off.
const WARNING: usize = 256;

/// Source: the same. It drops what is beyond 4096 characters of all warnings.
const WARNINGS: usize = 4096 / WARNING;

/// How much is told of a refusal, in a header; an event of Kubernetes shows as much.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests;
