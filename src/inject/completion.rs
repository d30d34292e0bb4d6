//! Configures containers that were added to a pod after the sidecar, by a webhook that was called later.
//!
//! Everything is read from the pod: how the sidecar is reached, and which containers its annotations select.

use serde_json::Value;

use crate::config::parse;

use super::check::PORT;
use super::edit::Edit;
use super::field::{FIELDS, Field, FieldNames};
use super::json::{CONTAINER_LISTS, CONTAINERS, INIT_CONTAINERS, has_named, objects, text_of};
use super::sidecar::{ADDRESS, METADATA_ADDRESS, NAME};
use super::spec::{Endpoints, Key, Metadata, Selection};
use super::values::port;
use super::volumes::{CONTAINER_TOKEN, CREDENTIALS};
use super::{Error, app_container, messages};

/// Configures the containers that lack the sidecar's variables; returns the summary and the warnings.
pub(super) fn run(edit: &mut Edit) -> Result<(String, Vec<String>), Error> {
    let found = sidecar(&edit.pod)
        .and_then(|(list, index, sidecar)| Some((list, index, endpoints(&edit.pod, sidecar)?)));
    let (Some((place, index, endpoints)), Some(selection)) = (found, selection(&edit.pod)) else {
        return Ok((messages::already_injected(), Vec::new()));
    };
    let read_only = app_container::read_only(&edit.pod);
    let mut warnings = Vec::new();
    let mut configured = Vec::new();
    for list in CONTAINER_LISTS {
        let containers = edit.at(&format!("/spec/{list}")).as_array();
        let names = containers.into_iter().flatten().map(|container| {
            let is_new = !has_named(container, "env", app_container::URI);
            is_new.then(|| text_of(container, "name").to_owned())
        });
        let names: Vec<Option<String>> = names.collect();
        for (at, name) in names.iter().enumerate() {
            let Some(name) = name else { continue };
            // Init containers before the sidecar end before it starts.
            let is_too_early = list == INIT_CONTAINERS && (place == CONTAINERS || at < index);
            if is_too_early || [NAME, ADDRESS].contains(&name.as_str()) || !selection.selects(name)
            {
                continue;
            }
            let path = format!("/spec/{list}/{at}");
            warnings.extend(app_container::configure(
                edit, &path, &endpoints, &read_only,
            )?);
            configured.push(name.clone());
        }
    }
    let summary = if configured.is_empty() {
        messages::already_injected()
    } else {
        messages::completed(&configured)
    };
    Ok((summary, warnings))
}

/// Returns the list, the index and the value of the sidecar.
fn sidecar(pod: &Value) -> Option<(&'static str, usize, &Value)> {
    CONTAINER_LISTS.into_iter().find_map(|list| {
        let containers = pod["spec"][list].as_array()?;
        let index = containers
            .iter()
            .position(|container| text_of(container, "name") == NAME)?;
        Some((list, index, containers.get(index)?))
    })
}

/// Returns how the sidecar is reached; `None` if this program did not add it.
fn endpoints(pod: &Value, sidecar: &Value) -> Option<Endpoints> {
    let variable =
        |name: &str| objects(sidecar, "env").find(|entry| text_of(entry, "name") == name);
    let value = |name: &str| variable(name).map(|entry| text_of(entry, "value"));
    let has_volume = |name: &str| has_named(&pod["spec"], "volumes", name);
    let key = variable("RAM_SIDECAR_KEY")?;
    let key = match (
        text_of(key, "value"),
        &key["valueFrom"]["fieldRef"]["fieldPath"],
    ) {
        ("", path) if path == "metadata.uid" => Key::PodUid,
        ("", _) => return None,
        (text, _) => Key::Text(parse::key(text).ok()?),
    };
    let port = match value("RAM_SIDECAR_LISTEN") {
        Some(address) => port(address.strip_prefix("127.0.0.1:")?).ok()?,
        None => PORT,
    };
    has_volume(CREDENTIALS).then(|| Endpoints {
        key,
        port,
        container: has_volume(CONTAINER_TOKEN),
        metadata: value("RAM_SIDECAR_METADATA_LISTEN").map(|address| match address {
            METADATA_ADDRESS => Metadata::Address,
            _ => Metadata::Loopback,
        }),
    })
}

/// Returns the containers that the pod's annotations select; `None` if they are malformed.
fn selection(pod: &Value) -> Option<Selection> {
    let annotations = &pod["metadata"]["annotations"];
    if !annotations.is_object() && !annotations.is_null() {
        return None;
    }
    let list = |field: Field| {
        let names = names_of(field)
            .into_iter()
            .flat_map(FieldNames::annotations);
        let mut texts = names.map(|name| text_of(annotations, name));
        match texts.find(|text| !text.is_empty()) {
            Some(text) => parse::list(text).map(Some).ok(),
            None => Some(None),
        }
    };
    Some(Selection {
        skip: list(Field::SkipContainers)?.unwrap_or_default(),
        only: list(Field::OnlyContainers)?,
    })
}

/// Writes a selection that does not come from the pod's annotations into them, where later reviews find it.
pub(super) fn remember(edit: &mut Edit, selection: &Selection) -> Result<(), Error> {
    let fields = [
        (Field::SkipContainers, Some(&selection.skip)),
        (Field::OnlyContainers, selection.only.as_ref()),
    ];
    for (field, containers) in fields {
        let annotations = edit.at("/metadata/annotations");
        let is_map = annotations.is_object() || annotations.is_null();
        let (Some(containers), Some(names), true) = (containers, names_of(field), is_map) else {
            continue;
        };
        let is_set = names
            .annotations()
            .any(|name| !text_of(annotations, name).is_empty());
        // An empty annotation counts as unset, and stays as it is.
        let mut free = names
            .annotations()
            .filter(|name| annotations.get(name).is_none());
        if let (false, false, Some(name)) = (containers.is_empty(), is_set, free.next()) {
            edit.annotate(name, &containers.join(","))?;
        }
    }
    Ok(())
}

fn names_of(field: Field) -> Option<&'static FieldNames> {
    FIELDS.iter().find(|names| names.field == field)
}
