//! Tells Prometheus where the metrics of the sidecar are: by annotations, beside the named port.

use serde_json::Value;

use super::edit::Edit;
use super::json::{CONTAINER_LISTS, objects, text_of, title_of};
use super::sidecar::{NAME, PORT_NAME};
use super::{Endpoints, Error};

/// Adds the annotations to a pod; returns warnings of what scrapers could mistake.
pub(super) fn announce(edit: &mut Edit, endpoints: &Endpoints) -> Result<Vec<String>, Error> {
    let port = endpoints.admin_port();
    let mut warnings = same_port_names(&edit.pod["spec"]);
    // One pod has one set of annotations, and half of another set would send scrapers to the wrong port.
    let annotations = edit.at("/metadata/annotations").as_object();
    let mut names = annotations.into_iter().flatten().map(|(name, _)| name);
    if let Some(own) = names.find(|name| name.starts_with(ANNOTATIONS)) {
        warnings.push(format!(
            "has the annotation {own} already, so it gets none for the sidecar's metrics at the port {port}: let a PodMonitor select the port {PORT_NAME}"
        ));
    } else {
        let values = [
            ("scrape", "true"),
            ("port", &port.to_string()),
            ("path", "/metrics"),
        ];
        for (name, value) in values {
            edit.annotate(&format!("{ANNOTATIONS}{name}"), value)?;
        }
    }
    Ok(warnings)
}

/// Warns of ports of the application that have the same name.
fn same_port_names(spec: &Value) -> Vec<String> {
    let containers = CONTAINER_LISTS.iter().flat_map(|list| {
        let containers = objects(spec, list).enumerate();
        containers.filter(|(_, container)| text_of(container, "name") != NAME)
    });
    let has_port = |container: &Value| {
        objects(container, "ports").any(|port| text_of(port, "name") == PORT_NAME)
    };
    let titles = containers
        .filter(|(_, container)| has_port(container))
        .map(|(index, container)| title_of(text_of(container, "name"), index));
    titles
        .map(|title| format!("container {title} has a port {PORT_NAME} too: what selects ports by this name scrapes both, let it select the container too"))
        .collect()
}

/// How the annotations begin that Prometheus' own example configuration reads.
const ANNOTATIONS: &str = "prometheus.io/";
