//! One injection: leads the job's containers to the sidecar, and adds the sidecar with its volumes.

use serde_json::{Value, json};

use super::edit::Edit;
use super::json::{CONTAINERS, INIT, LISTS, has_container, has_named, objects, text_of};
use super::sidecar::ADDRESS;
use super::{Mode, Refusal, Spec, app_container, notes, resources, sidecar, volumes};

/// A pod that can have the sidecar, and what to inject.
pub(super) struct Injection<'a> {
    edit: &'a mut Edit,
    spec: &'a Spec,
    notes: Vec<String>,
}

impl<'a> Injection<'a> {
    /// Refuses pods that cannot have the sidecar.
    pub(super) fn new(edit: &'a mut Edit, spec: &'a Spec) -> Result<Self, Refusal> {
        check(&edit.pod, spec)?;
        Ok(Self {
            edit,
            spec,
            notes: Vec::new(),
        })
    }

    /// Changes the pod; returns the notes.
    pub(super) fn run(mut self) -> Result<Vec<String>, Refusal> {
        self.lead_containers()?;
        self.add_volumes()?;
        self.add_containers()?;
        if self.spec.metadata {
            self.open_port()?;
        }
        self.notes.extend(notes::remarks(&self.edit.pod, self.spec));
        Ok(self.notes)
    }

    /// Leads the job's containers to the sidecar.
    fn lead_containers(&mut self) -> Result<(), Refusal> {
        let mut led = Vec::new();
        let mut notes = Vec::new();
        let mut known = Vec::new();
        let read_only = app_container::read_only(&self.edit.pod);
        for list in LISTS {
            // A classic sidecar starts after them.
            let is_too_early = list == INIT && self.spec.mode == Mode::Classic;
            let containers = objects(&self.edit.pod["spec"], list);
            let names: Vec<String> = containers
                .map(|container| text_of(container, "name").to_owned())
                .collect();
            for (index, name) in names.iter().enumerate() {
                if is_too_early || !self.spec.concerns(name) {
                    continue;
                }
                let path = format!("/spec/{list}/{index}");
                let of_container =
                    app_container::lead(self.edit, &path, self.spec.metadata, &read_only);
                notes.extend(
                    of_container.map_err(|Refusal(reason)| {
                        Refusal(format!("container {name}: {reason}"))
                    })?,
                );
                led.push(name.clone());
            }
            known.extend(names);
        }
        let only = self.spec.only.iter().flatten();
        for name in self.spec.skip.iter().chain(only) {
            if !known.contains(name) {
                notes.push(format!("has no container {name} to skip or to choose"));
            }
        }
        self.notes.push(notes::summary(self.spec, &led));
        self.notes.append(&mut notes);
        Ok(())
    }

    fn add_volumes(&mut self) -> Result<(), Refusal> {
        for volume in volumes::volumes(self.spec) {
            let name = text_of(&volume, "name");
            let mut all = objects(&self.edit.pod["spec"], "volumes");
            let theirs = all.find(|theirs| text_of(theirs, "name") == name);
            let is_token = theirs.map(volumes::is_token);
            drop(all);
            match is_token {
                None => self.edit.append("/spec/volumes", &volume)?,
                // ACK's webhook has added it.
                Some(true) => {}
                Some(false) => self.notes.push(format!("keeps its own volume {name}")),
            }
        }
        Ok(())
    }

    fn add_containers(&mut self) -> Result<(), Refusal> {
        let spec = &self.edit.pod["spec"];
        let grace = spec["terminationGracePeriodSeconds"].as_u64();
        let resources = resources::resources(spec);
        if resources::has_cpu_limit(resources.as_ref()) {
            self.notes
                .push("keeps its QoS class Guaranteed: the sidecar has a CPU limit too".to_owned());
        }
        let sidecar = sidecar::sidecar(self.spec, grace.unwrap_or(GRACE), resources.clone());
        match self.spec.mode {
            Mode::Native => self.edit.prepend("/spec/initContainers", &sidecar)?,
            Mode::Classic => self.edit.append("/spec/containers", &sidecar)?,
        }
        if self.spec.metadata {
            let address = sidecar::address(self.spec, resources);
            self.edit.prepend("/spec/initContainers", &address)?;
        }
        Ok(())
    }

    /// Lets the sidecar listen on port 80, although it does not run as root.
    fn open_port(&mut self) -> Result<(), Refusal> {
        if has_named(self.edit.at("/spec/securityContext"), "sysctls", PORTS) {
            self.notes
                .push(format!("keeps its own {PORTS}, which must be at most 80"));
            return Ok(());
        }
        let sysctl = json!({ "name": PORTS, "value": "0" });
        self.edit.append("/spec/securityContext/sysctls", &sysctl)
    }
}

/// Refuses pods that cannot have the sidecar.
fn check(pod: &Value, spec: &Spec) -> Result<(), Refusal> {
    let refuse = |reason: &str| Err(Refusal(reason.to_owned()));
    let pod_spec = &pod["spec"];
    if !pod_spec.is_object() {
        return refuse("spec is not an object; correct it");
    }
    let os = [
        &pod_spec["os"]["name"],
        &pod_spec["nodeSelector"]["kubernetes.io/os"],
    ];
    if os.iter().any(|os| *os == "windows") {
        return refuse(
            "the pod is for Windows, and the sidecar is a program for Linux; leave the pod out",
        );
    }
    if spec.metadata && notes::is_on_host(pod) {
        return refuse(
            "with hostNetwork the whole node would lose the ECS metadata service; drop --metadata or hostNetwork",
        );
    }
    for list in LISTS {
        match &pod_spec[list] {
            Value::Null => {}
            Value::Array(items) if items.iter().all(Value::is_object) => {}
            Value::Array(_) => {
                return Err(Refusal(format!(
                    "{list} has an item that is not a container; correct it"
                )));
            }
            _ => return Err(Refusal(format!("{list} is not a list; correct it"))),
        }
    }
    if objects(pod_spec, CONTAINERS).next().is_none() {
        return refuse("spec.containers is empty; correct it");
    }
    if spec.metadata && has_container(pod, ADDRESS) {
        return Err(Refusal(format!(
            "it has a container {ADDRESS} but no sidecar; remove that container, or rename it"
        )));
    }
    Ok(())
}

impl Spec {
    /// Whether a container of that name is led to the sidecar.
    pub(super) fn concerns(&self, name: &str) -> bool {
        let is_in = |names: &[String]| names.iter().any(|given| given == name);
        !is_in(&self.skip) && self.only.as_ref().is_none_or(|only| is_in(only))
    }
}

/// Seconds. Source: the default of `terminationGracePeriodSeconds`.
const GRACE: u64 = 30;

/// A safe sysctl: it concerns the pod's own network.
const PORTS: &str = "net.ipv4.ip_unprivileged_port_start";
