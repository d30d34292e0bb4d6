//! The matrix of clients, each run as its row in `tests/clients/matrix/clients.toml` says: below `exec`, against stubs
//! that recompute its signatures, through two rotations.
//!
//! `CLIENTS=duckdb,polars` selects rows. With `UPDATE_DOCS=1` the outcome is recorded, and the page of the book shows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use self::row::{Row, rows};
use crate::namespace;
use crate::support::environment;
use crate::toolchains::{installed, matrix};

mod page;
mod row;
mod run;

pub(crate) use page::page;
pub(crate) use run::selected_clients;

#[test]
#[ignore = "takes minutes and packages of 500 MB: cargo test --test integration -- --ignored clients::matrix::"]
#[expect(clippy::print_stdout, reason = "versions and times are of interest")]
fn every_client_follows_two_rotations() {
    let rows = selected();
    // Packages can be installed only outside of the namespace.
    if !rows.iter().all(Row::prepare) {
        return;
    }
    let _ = fs::remove_file(report());
    namespace::passes_with_network_and_mounts("integration::clients", "matrix_in_its_own_network");

    let report = fs::read(report()).expect("the clients have run");
    let report: BTreeMap<String, Value> = serde_json::from_slice(&report).expect("JSON");
    let mut failures = Vec::new();
    for (name, outcome) in &report {
        println!("{name}: {outcome}");
        if outcome["error"].is_string() {
            failures.push(name);
        }
    }
    if environment("UPDATE_DOCS").is_some() {
        record(&report);
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn at_least_twenty_of_twenty_five_clients_have_run_as_they_are_pinned() {
    let runs = runs();
    let all = rows();
    let run: Vec<&Row> = all.iter().filter(|row| row.program.is_some()).collect();
    assert!(
        all.len() >= 25 && run.len() >= 20,
        "{} of {}",
        run.len(),
        all.len()
    );
    for row in run {
        let version = runs.get(&row.name).and_then(|run| run["version"].as_str());
        let version = version.unwrap_or_else(|| panic!("{} has not been run", row.name));
        if let Some(pinned) = row.pinned(&row.package) {
            assert_eq!(
                version, pinned,
                "{} has been run at another version",
                row.name
            );
        }
    }
}

/// Returns the rows that are run, and that `CLIENTS` does not exclude.
fn selected() -> Vec<Row> {
    let wanted = environment("CLIENTS").map(|names| names.to_string_lossy().into_owned());
    let is_wanted = |name: &str| {
        let mut names = wanted.iter().flat_map(|names| names.split(','));
        wanted.is_none() || names.any(|wanted| wanted == name)
    };
    let mut rows = rows();
    rows.retain(|row| row.program.is_some() && is_wanted(&row.name));
    assert!(!rows.is_empty(), "{wanted:?} selects no client");
    rows
}

/// Returns what the recorded runs came to, by the names of the clients.
fn runs() -> BTreeMap<String, Value> {
    let text = fs::read(runs_file()).expect("the file of the runs");
    serde_json::from_slice(&text).expect("JSON")
}

fn runs_file() -> PathBuf {
    matrix().join("runs.json")
}

fn record(report: &BTreeMap<String, Value>) {
    let mut runs = runs();
    for (name, outcome) in report {
        if outcome["error"].is_null() {
            let [version, date] = ["version", "date"].map(|field| outcome[field].clone());
            runs.insert(name.clone(), json!({"version": version, "date": date}));
        }
    }
    let names: Vec<String> = rows().into_iter().map(|row| row.name).collect();
    runs.retain(|name, _| names.contains(name));
    let text = serde_json::to_string_pretty(&runs).expect("JSON") + "\n";
    fs::write(runs_file(), text).expect("the directory is writable");
}

/// Returns the file by which the process in the namespace reports.
fn report() -> PathBuf {
    installed().join("report.json")
}
