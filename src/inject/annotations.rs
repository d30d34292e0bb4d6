//! What a pod says itself: annotations, labels, and what ACK's webhook for RRSA has set up in it.

use serde_json::{Map, Value};

use super::json::{has_named, objects, text_of};
use super::request::{PLACES, Wanted, Word};
use super::sidecar::TOKEN;

/// Annotations by their names.
pub type Annotations = Map<String, Value>;

/// Whether a pod, or its namespace, asks for the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opted {
    /// It does.
    In,
    /// It asks for none.
    Out,
    /// It says nothing.
    Unsaid,
}

/// Reads the labels of an object: ours, and where there is none ACK's.
pub fn opted(labels: Option<&Value>) -> Opted {
    let label = |name: &str| labels?.get(name)?.as_str();
    match (label(INJECTION), label(ACK_INJECTION)) {
        (Some("true"), _) | (None, Some("on")) => Opted::In,
        (Some(_), _) | (None, Some(_)) => Opted::Out,
        (None, None) => Opted::Unsaid,
    }
}

impl Wanted {
    /// Returns what is wanted of a pod: its annotations say it first, then what its service account brought, then this.
    #[must_use]
    pub fn of_pod(&self, pod: &Value) -> Self {
        self.of_pod_and_account(pod, &Annotations::new())
    }

    /// Returns what is wanted of a pod whose service account has annotations too: they come after its own.
    #[must_use]
    pub fn of_pod_and_account(&self, pod: &Value, account: &Annotations) -> Self {
        let annotations = pod
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations"))
            .and_then(Value::as_object);
        let own = annotations.map(|annotations| annotated(annotations, "the annotation"));
        own.unwrap_or_default()
            .or(&annotated(account, "the service account's annotation"))
            .or(&carried(pod))
            .or(self)
    }
}

/// Reads annotations: ours, and where there is none ACK's.
fn annotated(annotations: &Annotations, place_of: &str) -> Wanted {
    let mut wanted = Wanted::default();
    for place in PLACES {
        let said = said(annotations, place.annotation).or_else(|| said(annotations, place.ack));
        if let Some((name, text)) = said {
            wanted.say(place.word, text, format!("{place_of} {name}"));
        }
    }
    for (name, reason) in unknown(annotations).take(MOST_UNKNOWN) {
        wanted.say_unknown(format!("{place_of} {name}: {reason}"));
    }
    wanted
}

/// Returns the annotations that begin as ours do and are none, and what to do about each.
///
/// What a misspelt one asks for must not be decided by something weaker.
fn unknown(annotations: &Annotations) -> impl Iterator<Item = (&str, String)> {
    let ours = || PLACES.iter().filter_map(|place| place.annotation);
    let names = annotations.keys().map(String::as_str);
    let unknown = names.filter(move |name| {
        name.starts_with(PREFIX) && !ours().any(|annotation| annotation == *name)
    });
    unknown.map(move |name| {
        let reason = if name == INJECTION {
            "it is a label of pods and namespaces; write it under metadata.labels".to_owned()
        } else {
            let ours: Vec<&str> = ours().collect();
            format!(
                "there is no such annotation; choose one of {}",
                ours.join(", ")
            )
        };
        (name, reason)
    })
}

fn said<'a>(
    annotations: &'a Annotations,
    name: Option<&'static str>,
) -> Option<(&'static str, &'a str)> {
    let name = name?;
    let text = annotations.get(name)?.as_str()?;
    (!text.is_empty()).then_some((name, text))
}

/// Reads what ACK's webhook for RRSA has set up from the settings of the service account.
fn carried(pod: &Value) -> Wanted {
    let mut wanted = Wanted::default();
    let Some(spec) = pod
        .get("spec")
        .filter(|spec| has_named(spec, "volumes", TOKEN))
    else {
        return wanted;
    };
    let containers = objects(spec, "containers").chain(objects(spec, "initContainers"));
    for container in containers {
        let value = |name: &str| {
            let variable =
                objects(container, "env").find(|entry| text_of(entry, "name") == name)?;
            Some(text_of(variable, "value")).filter(|value| !value.is_empty())
        };
        if value("ALIBABA_CLOUD_ROLE_ARN").is_none()
            || value("ALIBABA_CLOUD_OIDC_PROVIDER_ARN").is_none()
        {
            continue;
        }
        for (word, variable) in CARRIED {
            if let Some(value) = value(variable) {
                let name = text_of(container, "name");
                wanted.say(word, value, format!("{variable} of the container {name}"));
            }
        }
        break;
    }
    wanted
}

const CARRIED: [(Word, &str); 4] = [
    (Word::Role, "ALIBABA_CLOUD_ROLE_ARN"),
    (Word::OidcProviderArn, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN"),
    (Word::Region, "ALIBABA_CLOUD_STS_REGION"),
    (Word::Vpc, "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"),
];

/// What our annotations begin with.
const PREFIX: &str = "ram-sidecar/";

/// How many unknown annotations are told: small ones must not make a large answer.
const MOST_UNKNOWN: usize = 10;

pub(super) const INJECTION: &str = "ram-sidecar/inject";

const ACK_INJECTION: &str = "pod-identity.alibabacloud.com/injection";
