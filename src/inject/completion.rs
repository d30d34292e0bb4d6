//! Configures containers that were added to a pod after the sidecar, by a webhook that was called later.
//!
//! How the sidecar is reached is read from the pod, and what the injection decided from an annotation, without which nothing
//! is changed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::parse;

use super::edit::Edit;
use super::field::Field;
use super::json::{CONTAINER_LISTS, CONTAINERS, INIT_CONTAINERS};
use super::json::{has_named, objects, text_of, title_of};
use super::reached::{endpoints, sidecar};
use super::sidecar::{ADDRESS, MARKER, NAME};
use super::spec::{Endpoints, Selection};
use super::{Error, Request, app_container, clients, messages, mpi, values};

/// Configures the later containers that are selected today and were by the injection; returns the summary and the warnings.
///
/// `today` is the selection of a request, `None` if it is malformed.
pub(super) fn run(
    edit: &mut Edit,
    today: Option<&Selection>,
) -> Result<(String, Vec<String>), Error> {
    // Also annotations that the request does not accept.
    let annotated = selection(&Request::default().for_pod(&edit.pod));
    let (Some((place, index, endpoints, decided)), Some(today), Some(annotated)) =
        (found(&edit.pod), today, annotated)
    else {
        return Ok((messages::already_injected(), Vec::new()));
    };
    let read_only = app_container::read_only(&edit.pod);
    let mut warnings = Vec::new();
    let policy = format!("/spec/{INIT_CONTAINERS}/{index}/restartPolicy");
    if place == INIT_CONTAINERS && edit.at(&policy).is_null() {
        edit.set(&policy, &"Always".into())?;
        warnings.push(messages::restored());
    }
    let mut configured = Vec::new();
    let later = later(&edit.pod, (place, index), &decided.containers);
    let injected = Selection {
        skip: decided.skip,
        only: decided.only,
        ..Selection::default()
    };
    let selections = [&injected, &annotated, today];
    for (path, name, title) in later {
        let place = (path.as_str(), title.as_str());
        warnings.extend(app_container::port_conflicts(edit, place, &endpoints));
        if selections.iter().all(|selection| selection.selects(&name)) {
            warnings.extend(app_container::configure(
                edit, place, &endpoints, &read_only,
            )?);
            configured.push(title);
        }
    }
    let summary = if edit.operations.is_empty() {
        messages::already_injected()
    } else {
        messages::completed(&configured)
    };
    Ok((summary, warnings))
}

/// Whether a pod has containers to configure, unless a selection excludes them.
pub(super) fn is_due(pod: &Value) -> bool {
    found(pod).is_some_and(|(place, index, _, decided)| {
        !later(pod, (place, index), &decided.containers).is_empty()
    })
}

/// Returns the place of a sidecar that this program added, how it is reached, and what the injection decided.
fn found(pod: &Value) -> Option<(&'static str, usize, Endpoints, Decided)> {
    let decided = decided(pod)?;
    let (list, index, sidecar) = sidecar(pod)?;
    Some((list, index, endpoints(pod, sidecar)?, decided))
}

/// Returns the paths, the names and the titles of the containers that can reach the sidecar, lack its variables, and are not `known`.
fn later(
    pod: &Value,
    (place, index): (&str, usize),
    known: &BTreeSet<String>,
) -> Vec<(String, String, String)> {
    let mut later = Vec::new();
    for list in CONTAINER_LISTS {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        for (at, container) in containers.enumerate() {
            let name = text_of(container, "name");
            // Init containers before the sidecar end before it starts.
            let is_too_early = list == INIT_CONTAINERS && (place == CONTAINERS || at < index);
            let is_known = [NAME, ADDRESS].contains(&name)
                || known.contains(name)
                || has_named(container, "env", clients::URI);
            if !is_too_early && !is_known {
                let path = format!("/spec/{list}/{at}");
                later.push((path, name.to_owned(), title_of(name, at)));
            }
        }
    }
    later
}

/// Returns what a request asks of the sidecar of a pod, which does not change any more.
pub(super) fn unheeded(pod: &Value, request: &Request) -> Vec<String> {
    let found = sidecar(pod).and_then(|(_, _, sidecar)| Some((sidecar, endpoints(pod, sidecar)?)));
    let Some((sidecar, Endpoints { key, port, .. })) = found else {
        return Vec::new();
    };
    let by_port = request.get(Field::Port);
    let by_port = by_port.filter(|given| values::port(&given.text) != Ok(port));
    let by_key = request.get(Field::Key);
    let by_key = by_key.filter(|given| {
        values::key(&given.text).as_ref() != Ok(&key) && !mpi::has_default(request)
    });
    let port = by_port.map(|given| messages::kept(&format!("port {port}"), &given.place));
    let key = by_key.map(|given| messages::kept("key", &given.place));
    let flags = [
        (Field::Metrics, "ports", "ports"),
        (Field::Readiness, "readinessProbe", "probes"),
    ];
    let flags = flags.into_iter().filter_map(|(flag, field, what)| {
        let given = request.get(flag)?;
        let is_kept = parse::boolean(&given.text) != Ok(!sidecar[field].is_null());
        is_kept.then(|| messages::kept(what, &given.place))
    });
    port.into_iter().chain(key).chain(flags).collect()
}

/// What an injection decided about the containers of a pod.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    /// The containers that the pod had.
    containers: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skip: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    only: Option<Vec<String>>,
}

/// Returns what the injection decided; `None` if this program did not add the sidecar.
fn decided(pod: &Value) -> Option<Decided> {
    serde_json::from_str(pod["metadata"]["annotations"][MARKER].as_str()?).ok()
}

/// Writes the decisions of an injection into the annotations of the pod, where later ones find them.
pub(super) fn mark(edit: &mut Edit, selection: &Selection) -> Result<(), Error> {
    let lists = CONTAINER_LISTS.iter();
    let names = lists.flat_map(|list| objects(&edit.pod["spec"], list));
    let names = names.map(|container| text_of(container, "name"));
    let names = names.filter(|name| ![NAME, ADDRESS].contains(name));
    let decided = Decided {
        containers: names.map(str::to_owned).collect(),
        skip: selection.skip.clone(),
        only: selection.only.clone(),
    };
    edit.annotate(MARKER, &json!(decided).to_string())
}

/// Returns the containers that a request selects; `None` if it is malformed.
pub(super) fn selection(request: &Request) -> Option<Selection> {
    let list = |field: Field| match request.get(field) {
        Some(given) => parse::list(&given.text).map(Some).ok(),
        None => Some(None),
    };
    Some(Selection {
        skip: list(Field::SkipContainers)?.unwrap_or_default(),
        only: list(Field::OnlyContainers)?,
        ..Selection::default()
    })
}
