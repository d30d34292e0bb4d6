//! The names that the upgrade guide promises to keep, as lines; taken from the reference, which is generated from the program.

use std::collections::BTreeSet;

use ram_sidecar::inject::FIELDS;
use ram_sidecar::server::seen::Caller;
use ram_sidecar::server::status::{
    Attempt, File, Listener, Reason, Report, Requests, Role, Validity,
};
use serde_json::Value;

use crate::documents::document;

/// Returns the interface of this version.
pub(super) fn current() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for row in rows("settings") {
        let [key, _, variable, default, _] = row.as_slice() else {
            panic!("{row:?}");
        };
        if !key.is_empty() {
            lines.insert(format!("key {key}"));
        }
        lines.insert(format!("variable {variable}"));
        if !default.is_empty() {
            lines.insert(format!("default {variable}={default}"));
        }
    }
    // It names the file of the keys, and is none.
    lines.insert("variable RAM_SIDECAR_CONFIG".to_owned());
    commands(&mut lines);
    for field in FIELDS {
        let annotations = [field.annotation, field.ack_annotation];
        lines.extend(
            annotations
                .into_iter()
                .flatten()
                .map(|name| format!("annotation {name}")),
        );
    }
    lines.extend(rows("errors").iter().map(|row| format!("code {}", row[0])));
    for row in rows("http") {
        lines.insert(format!("request {} {} {}", row[0], row[1], row[2]));
    }
    for row in rows("metrics") {
        lines.insert(format!("metric {} {}", row[0], row[1]));
        let labels = row[2].split(", ").filter(|label| !label.is_empty());
        lines.extend(labels.map(|label| format!("label {} {label}", row[0])));
    }
    let fields = rows("events").into_iter().filter(|row| row.len() == 2);
    lines.extend(fields.map(|row| format!("field {}", row[0])));
    for row in rows("faults") {
        let name = row[0].split(['[', '=']).next().unwrap();
        lines.insert(format!("fault {name}"));
    }
    keys(
        "status",
        &serde_json::to_value(report()).unwrap(),
        &mut lines,
    );
    lines
}

/// Returns a status that has all that one can have.
pub(super) fn report() -> Report {
    let file = File {
        failure: Some(Reason::default()),
        ..File::default()
    };
    Report {
        roles: vec![Role::default()],
        credentials: Some(Validity::default()),
        failure: Some(Reason::default()),
        attempts: vec![Attempt::default()],
        listeners: vec![Listener::default()],
        files: vec![file],
        requests: vec![Requests::default()],
        callers: vec![Caller::default()],
        ..Report::default()
    }
}

/// Adds the keys of a JSON value at any depth.
fn keys(place: &str, value: &Value, lines: &mut BTreeSet<String>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{place} {name}");
        keys(&place, inner, lines);
        lines.insert(place);
    }
    for inner in value.as_array().into_iter().flatten() {
        keys(place, inner, lines);
    }
}

/// Adds commands, their flags and their exit codes.
fn commands(lines: &mut BTreeSet<String>) {
    let page = document("docs/src/reference/commands.md");
    for section in page.split("\n## ").skip(1) {
        let (command, help) = section.split_once('\n').unwrap();
        lines.insert(format!("command {command}"));
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            let flag = line
                .split(' ')
                .find(|word| !word.is_empty())
                .unwrap_or_default();
            let long = line.split(' ').find(|word| word.starts_with("--"));
            if flag.starts_with('-') && line.find('-') < Some(7) {
                let long = long.unwrap().split('[').next().unwrap();
                lines.insert(format!("flag {command} {long}"));
            }
        }
        let codes = help
            .split_once("\nExit codes")
            .map_or("", |(_, codes)| codes);
        let codes = codes.split("\n\n").next().unwrap();
        let mut previous = "";
        for word in codes.split_whitespace() {
            let is_code = previous.ends_with([':', ',']) && word.parse::<u8>().is_ok();
            if is_code {
                lines.insert(format!("exit {command} {word}"));
            }
            previous = word;
        }
    }
}

/// Returns the rows of a page's tables, without marks of code.
fn rows(page: &str) -> Vec<Vec<String>> {
    let page = document(&format!("docs/src/reference/{page}.md"));
    let mut found = Vec::new();
    let mut is_head = true;
    for line in page.lines() {
        if line.starts_with("| ---") {
            is_head = false;
        } else if let Some(cells) = line.strip_prefix("| ") {
            if !is_head {
                let cells = cells.strip_suffix(" |").unwrap().split(" | ");
                found.push(cells.map(|cell| cell.replace('`', "")).collect());
            }
        } else {
            is_head = true;
        }
    }
    found
}
