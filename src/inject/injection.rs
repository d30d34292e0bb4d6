//! Adds the sidecar with its volumes to a pod, and configures the application's containers to use it.

use serde_json::{Value, json};

use super::edit::Edit;
use super::json::{CONTAINER_LISTS, CONTAINERS, INIT_CONTAINERS};
use super::json::{has_container, has_named, objects, text_of, title_of, uses_host_network};
use super::sidecar::{ADDRESS, MARKER};
use super::{Error, Metadata, Mode, Spec};
use super::{app_container, completion, messages, resources, scraping, sidecar, volumes};

/// Adds the sidecar to a pod; returns the summary and the warnings.
pub(super) fn run(edit: &mut Edit, spec: &Spec) -> Result<(String, Vec<String>), Error> {
    check(&edit.pod, spec)?;
    let mut injection = Injection {
        edit,
        spec,
        warnings: Vec::new(),
    };
    let summary = injection.configure_containers()?;
    injection.add_volumes()?;
    injection.add_containers()?;
    completion::mark(injection.edit, &spec.selection)?;
    if spec.metrics {
        let warnings = scraping::announce(injection.edit, &spec.endpoints)?;
        injection.warnings.extend(warnings);
    }
    if spec.endpoints.metadata == Some(Metadata::Address) {
        injection.allow_port_80()?;
    }
    let Injection { edit, warnings, .. } = injection;
    Ok((
        summary,
        [warnings, messages::warnings(&edit.pod, spec)].concat(),
    ))
}

struct Injection<'a> {
    edit: &'a mut Edit,
    spec: &'a Spec,
    warnings: Vec<String>,
}

impl Injection<'_> {
    /// Configures the application's containers to use the sidecar; returns the summary.
    fn configure_containers(&mut self) -> Result<String, Error> {
        let mut configured = Vec::new();
        let mut all = Vec::new();
        let read_only = app_container::read_only(&self.edit.pod);
        for list in CONTAINER_LISTS {
            // A classic sidecar starts after the init containers.
            let is_too_early = list == INIT_CONTAINERS && self.spec.mode == Mode::Classic;
            let containers = objects(&self.edit.pod["spec"], list);
            let names: Vec<String> = containers
                .map(|container| text_of(container, "name").to_owned())
                .collect();
            for (index, name) in names.iter().enumerate() {
                if is_too_early {
                    continue;
                }
                let path = format!("/spec/{list}/{index}");
                let title = title_of(name, index);
                let place = (path.as_str(), title.as_str());
                let endpoints = &self.spec.endpoints;
                let conflicts = app_container::port_conflicts(self.edit, place, endpoints);
                self.warnings.extend(conflicts);
                if !self.spec.selection.selects(name) {
                    continue;
                }
                let warnings = app_container::configure(self.edit, place, endpoints, &read_only);
                self.warnings
                    .extend(warnings.map_err(|error| Error::Container {
                        name: title.clone(),
                        error: Box::new(error),
                    })?);
                configured.push(title);
            }
            all.extend(names);
        }
        let selection = &self.spec.selection;
        let only = selection.only.iter().flatten();
        let skip = selection.skip.iter();
        let skip = skip.filter(|_| !selection.is_skip_of_account);
        for name in skip.chain(only) {
            if !all.contains(name) {
                self.warnings.push(format!(
                    "has no container {name}: correct the containers to skip or to select"
                ));
            }
        }
        Ok(messages::summary(self.spec, &configured))
    }

    fn add_volumes(&mut self) -> Result<(), Error> {
        for volume in volumes::all(self.spec, &self.edit.pod["spec"]) {
            let name = text_of(&volume, "name");
            let existing = objects(&self.edit.pod["spec"], "volumes")
                .find(|existing| text_of(existing, "name") == name)
                .map(volumes::is_token);
            match existing {
                None => self.edit.append("/spec/volumes", &volume)?,
                // ACK's webhook for RRSA has added it.
                Some(true) => {}
                Some(false) => self
                    .warnings
                    .push(format!("already has a volume {name}: unchanged")),
            }
        }
        Ok(())
    }

    fn add_containers(&mut self) -> Result<(), Error> {
        let spec = &self.edit.pod["spec"];
        let grace_period = spec["terminationGracePeriodSeconds"].as_u64();
        let grace_period = grace_period.unwrap_or(DEFAULT_GRACE_PERIOD);
        let resources = resources::resources(spec, &self.spec.resources);
        if resources.as_ref().is_some_and(resources::limits_cpu) {
            let warning = if resources::is_guaranteed(spec) {
                "keeps its QoS class Guaranteed: the sidecar has a CPU limit too"
            } else {
                "gives the sidecar a CPU limit too, because all other containers have one"
            };
            if self.spec.resources.limit_cpu.is_none() {
                self.warnings.push(warning.to_owned());
            }
        }
        let hidden = volumes::without_api_token(spec);
        let address = sidecar::address(self.spec, resources.clone(), hidden.clone());
        let sidecar = sidecar::sidecar(self.spec, grace_period, resources, hidden);
        match self.spec.mode {
            Mode::Native => self.edit.prepend("/spec/initContainers", &sidecar)?,
            Mode::Classic => self.edit.append("/spec/containers", &sidecar)?,
        }
        if self.spec.endpoints.metadata == Some(Metadata::Address) {
            self.edit.prepend("/spec/initContainers", &address)?;
        }
        Ok(())
    }

    /// Allows the sidecar, which does not run as root, to listen on port 80.
    fn allow_port_80(&mut self) -> Result<(), Error> {
        let context = self.edit.at("/spec/securityContext");
        if has_named(context, "sysctls", UNPRIVILEGED_PORT_START) {
            self.warnings.push(format!(
                "already sets {UNPRIVILEGED_PORT_START}: unchanged, it must be at most 80"
            ));
            return Ok(());
        }
        let sysctl = json!({ "name": UNPRIVILEGED_PORT_START, "value": "0" });
        self.edit.append("/spec/securityContext/sysctls", &sysctl)
    }
}

/// Rejects pods that cannot have the sidecar.
fn check(pod: &Value, spec: &Spec) -> Result<(), Error> {
    let pod_spec = &pod["spec"];
    if !pod_spec.is_object() {
        return Err(Error::NotAnObject("spec".to_owned()));
    }
    let os = [
        &pod_spec["os"]["name"],
        &pod_spec["nodeSelector"]["kubernetes.io/os"],
    ];
    if os.iter().any(|os| *os == "windows") {
        return Err(Error::Windows);
    }
    if uses_host_network(pod) {
        match spec.endpoints.metadata {
            Some(Metadata::Address) => return Err(Error::NodeAddress),
            Some(Metadata::Loopback) => return Err(Error::NodeLoopback),
            None => {}
        }
    }
    for list in CONTAINER_LISTS {
        match &pod_spec[list] {
            Value::Null => {}
            Value::Array(items) if items.iter().all(Value::is_object) => {}
            Value::Array(_) => return Err(Error::NotAContainer(list)),
            _ => return Err(Error::NotAList(list.to_owned())),
        }
    }
    if objects(pod_spec, CONTAINERS).next().is_none() {
        return Err(Error::NoContainer);
    }
    if pod["metadata"]["annotations"].get(MARKER).is_some() {
        return Err(Error::Marker);
    }
    if spec.endpoints.metadata == Some(Metadata::Address) && has_container(pod, ADDRESS) {
        return Err(Error::AddressContainer);
    }
    Ok(())
}

/// Seconds. Source: the default of `terminationGracePeriodSeconds`.
const DEFAULT_GRACE_PERIOD: u64 = 30;

/// A safe sysctl: it applies to the pod's own network only.
const UNPRIVILEGED_PORT_START: &str = "net.ipv4.ip_unprivileged_port_start";
