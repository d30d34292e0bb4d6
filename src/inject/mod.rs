//! Adds the sidecar to pods: a pod in, a pod out, and sentences about what was done.
//!
//! Nothing of the pod's is changed or lost: fields are added, items are put into lists. A pod that has the sidecar already is
//! left as it is.

pub mod admission;
mod annotations;
mod app_container;
mod check;
pub mod command;
mod json;
pub mod patch;
mod request;
mod resources;
mod sidecar;
mod spec;
mod values;
pub mod webhook;
pub mod workload;
pub mod yaml;

use serde_json::{Map, Value, json};

use self::json::{has_named, list, name_of, object, text_of};
use self::sidecar::{ADDRESS, NAME};

pub use self::annotations::{Annotations, Opted, opted};
pub use self::request::{PLACES, Place, Said, Wanted, Word};
pub use self::spec::{Identity, Mode, Wish};
pub(crate) use self::values::is_object_name;

/// A pod with the sidecar, and what there is to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// `metadata` and `spec`, as they were given.
    pub pod: Value,
    /// Sentences without a final stop: what was done first, and then what else its owner should know.
    pub notes: Vec<String>,
}

/// Why a pod cannot have the sidecar, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Adds the sidecar to a pod, or to a pod template: an object with `metadata` and `spec`.
pub fn inject(pod: &Value, wish: &Wish) -> Result<Injected, Refusal> {
    let mut pod = pod.clone();
    if is_injected(&pod) {
        let notes = vec![already()];
        return Ok(Injected { pod, notes });
    }
    let spec = pod.get_mut("spec").and_then(Value::as_object_mut);
    let Some(spec) = spec else {
        return Err(Refusal("spec is no object; correct it".to_owned()));
    };
    let notes = Injection::new(spec, wish)?.run()?;
    Ok(Injected { pod, notes })
}

/// Whether a pod has the sidecar already.
pub fn is_injected(pod: &Value) -> bool {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    LISTS.iter().any(|list| has_named(spec, list, NAME))
}

fn already() -> String {
    format!("has a container {NAME} already, and is left as it is")
}

struct Injection<'a> {
    spec: &'a mut Map<String, Value>,
    wish: &'a Wish,
    notes: Vec<String>,
}

impl<'a> Injection<'a> {
    /// Refuses pods that cannot have the sidecar.
    fn new(spec: &'a mut Map<String, Value>, wish: &'a Wish) -> Result<Self, Refusal> {
        let refuse = |told: &str| Err(Refusal(told.to_owned()));
        let is_text = |value: Option<&Value>, text: &str| value.is_some_and(|value| value == text);
        let os = spec.get("os").and_then(|os| os.get("name"));
        let nodes = spec.get("nodeSelector");
        let selected = nodes.and_then(|nodes| nodes.get("kubernetes.io/os"));
        if is_text(os, "windows") || is_text(selected, "windows") {
            return refuse(
                "it is a pod for Windows, and the sidecar is a program for Linux; leave it out",
            );
        }
        if wish.metadata && is_on_host(spec) {
            return refuse(
                "with hostNetwork it would take the node's own way to the ECS metadata service; drop --metadata or hostNetwork",
            );
        }
        if list(spec, "containers")?.is_empty() {
            return refuse("spec.containers is empty; correct it");
        }
        for field in LISTS {
            let items = spec.get(field).and_then(Value::as_array);
            let mut items = items.into_iter().flatten();
            if items.any(|item| !item.is_object()) {
                return Err(Refusal(format!(
                    "{field} holds what is no container; correct it"
                )));
            }
        }
        Ok(Self {
            spec,
            wish,
            notes: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Vec<String>, Refusal> {
        self.lead_containers()?;
        self.add_volumes()?;
        self.add_containers()?;
        if self.wish.metadata {
            self.open_port()?;
        }
        self.tell();
        Ok(self.notes)
    }

    /// Leads the job's containers to the sidecar.
    fn lead_containers(&mut self) -> Result<(), Refusal> {
        let mut led = Vec::new();
        let mut notes = Vec::new();
        let mut known = Vec::new();
        let read_only = app_container::read_only(self.spec);
        for field in LISTS {
            if self.spec.get(field).is_none_or(Value::is_null) {
                continue;
            }
            // A classic sidecar starts after them.
            let is_too_early = field == INIT && self.wish.mode == Mode::Classic;
            for container in list(self.spec, field)?
                .iter_mut()
                .filter_map(Value::as_object_mut)
            {
                let name = name_of(container).to_owned();
                known.push(name.clone());
                if is_too_early || !self.wish.concerns(&name) {
                    continue;
                }
                let told = app_container::lead(container, self.wish.metadata, &read_only);
                notes.extend(
                    told.map_err(|Refusal(told)| Refusal(format!("container {name}: {told}")))?,
                );
                led.push(name);
            }
        }
        let only = self.wish.only.iter().flatten();
        for name in self.wish.skip.iter().chain(only) {
            if !known.contains(name) {
                notes.push(format!("has no container {name} to skip or to choose"));
            }
        }
        self.notes.push(self.summary(&led));
        self.notes.append(&mut notes);
        Ok(())
    }

    fn summary(&self, led: &[String]) -> String {
        let mode = match self.wish.mode {
            Mode::Native => "a native sidecar",
            Mode::Classic => "a classic sidecar",
        };
        let role = match (&self.wish.role, &self.wish.identity) {
            (Some(role), _) => format!("the role {role}"),
            (None, Identity::Sandbox) => {
                "an embedded STS, whose credentials are valid nowhere".to_owned()
            }
            (None, _) => "the identity's own credentials".to_owned(),
        };
        let led = match led {
            [] => "for no container".to_owned(),
            [one] => format!("for the container {one}"),
            several => format!("for the containers {}", several.join(", ")),
        };
        format!("gets {mode} with {role}, {led}")
    }

    fn add_volumes(&mut self) -> Result<(), Refusal> {
        let volumes = list(self.spec, "volumes")?;
        for volume in sidecar::volumes(self.wish) {
            let name = text_of(&volume, "name");
            let theirs = volumes
                .iter()
                .find(|theirs| text_of(theirs, "name") == name);
            match theirs {
                None => volumes.push(volume),
                // Of ACK's webhook.
                Some(theirs) if sidecar::is_token(theirs) => {}
                Some(_) => self.notes.push(format!("keeps its own volume {name}")),
            }
        }
        Ok(())
    }

    fn has_container(&self, name: &str) -> bool {
        let lists = LISTS
            .iter()
            .filter_map(|list| self.spec.get(*list)?.as_array());
        lists
            .flatten()
            .any(|container| text_of(container, "name") == name)
    }

    fn add_containers(&mut self) -> Result<(), Refusal> {
        let grace = self.spec.get("terminationGracePeriodSeconds");
        let grace = grace.and_then(Value::as_u64).unwrap_or(GRACE);
        let resources = resources::resources(self.spec);
        if resources::limits_processor(resources.as_ref()) {
            self.notes.push(
                "keeps the class Guaranteed: the sidecar has a limit of the processor too"
                    .to_owned(),
            );
        }
        let sidecar = sidecar::sidecar(self.wish, grace, resources.clone());
        let mut first = Vec::new();
        if self.wish.metadata {
            if self.has_container(ADDRESS) {
                return Err(Refusal(format!(
                    "it has a container {ADDRESS} but none {NAME}; remove it, or give it another name"
                )));
            }
            first.push(sidecar::address(self.wish, resources));
        }
        match self.wish.mode {
            Mode::Native => first.push(sidecar),
            Mode::Classic => list(self.spec, "containers")?.push(sidecar),
        }
        if !first.is_empty() {
            list(self.spec, INIT)?.splice(0..0, first);
        }
        Ok(())
    }

    /// Lets the sidecar, which is no root, listen on port 80.
    fn open_port(&mut self) -> Result<(), Refusal> {
        let context = object(self.spec, "securityContext")?;
        let sysctls = list(context, "sysctls")?;
        if sysctls
            .iter()
            .any(|sysctl| text_of(sysctl, "name") == PORTS)
        {
            self.notes
                .push(format!("keeps its own {PORTS}, which must be at most 80"));
        } else {
            sysctls.push(json!({ "name": PORTS, "value": "0" }));
        }
        Ok(())
    }

    fn tell(&mut self) {
        if self.wish.metadata {
            self.notes.push(format!("needs a namespace with the privileged Pod Security level, because {ADDRESS} has the capability NET_ADMIN"));
        }
        if is_on_host(self.spec) {
            self.notes.push("shares the node's network: no other pod of this node may use its ports 7002 and 7003".to_owned());
        }
        if self.has_container("istio-proxy") {
            self.notes.push("has istio-proxy beside it: where Istio's CNI plugin redirects what containers send before that has started, let the pod's annotation traffic.sidecar.istio.io/excludeOutboundPorts name 443, by which STS is reached".to_owned());
        }
        if self.wish.mode == Mode::Classic {
            self.tell_of_classic();
        }
    }

    fn tell_of_classic(&mut self) {
        let init = self.spec.get(INIT).and_then(Value::as_array);
        let names = init.into_iter().flatten().map(|init| text_of(init, "name"));
        let early: Vec<&str> = names
            .filter(|name| *name != ADDRESS && self.wish.concerns(name))
            .collect();
        if !early.is_empty() {
            self.notes.push(format!(
                "has init containers that get nothing, because a classic sidecar starts after them: {}",
                early.join(", ")
            ));
        }
        let policy = self.spec.get("restartPolicy");
        if policy.is_some_and(|policy| policy != "Always") {
            self.notes.push("ends only when the sidecar does: let the job's container end with `curl -X POST http://127.0.0.1:7003/stop`".to_owned());
        }
    }
}

impl Wish {
    /// Whether a container of that name is led to the sidecar.
    fn concerns(&self, name: &str) -> bool {
        let is_of = |names: &[String]| names.iter().any(|given| given == name);
        !is_of(&self.skip) && self.only.as_ref().is_none_or(|only| is_of(only))
    }
}

fn is_on_host(spec: &Map<String, Value>) -> bool {
    spec.get("hostNetwork") == Some(&Value::Bool(true))
}

const INIT: &str = "initContainers";

/// Where containers are.
const LISTS: [&str; 2] = [INIT, "containers"];

/// Source: the default of `terminationGracePeriodSeconds`.
const GRACE: u64 = 30;

/// A safe sysctl: it belongs to the pod's network alone.
const PORTS: &str = "net.ipv4.ip_unprivileged_port_start";

#[cfg(test)]
mod tests;
