//! This version works with what released ones have left behind: `tests/data/releases`, a directory for each version.
//!
//! It is held to those between which nothing may change: of the same first number, and of the same second one before 1.0.0.

mod freezing;
mod interface;
mod running;
mod saved;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ram_sidecar::inject::yaml;
use ram_sidecar::server::status::Report;
use serde_json::Value;

use crate::documents::document;
use crate::inject::{flags, inject};

const VERSION: &str = env!("CARGO_PKG_VERSION");

const GUIDE: &str = "docs/src/guides/upgrade-and-remove.md";

/// A version, as it was released or will be.
struct Release {
    directory: PathBuf,
}

impl Release {
    fn of(version: &str) -> Self {
        let releases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/releases");
        Self {
            directory: releases.join(version),
        }
    }

    fn text(&self, name: &str) -> String {
        let path = self.directory.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| {
            let path = path.display();
            panic!("{path}: {error}; tests/data/releases/README.md says how to make it")
        })
    }

    fn interface(&self) -> BTreeSet<String> {
        let text = self.text("interface.txt");
        text.lines().map(str::to_owned).collect()
    }

    /// Returns the manifests that are in clusters, by their paths.
    fn manifests(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.directory.join("manifests")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let texts = paths.map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.display().to_string(), text)
        });
        texts.collect()
    }
}

/// Returns the releases that this version is held to, itself among them.
fn releases() -> Vec<Release> {
    let own = Release::of(VERSION);
    let entries = fs::read_dir(own.directory.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let held: Vec<String> = names
        .filter(|name| series(name) == series(VERSION))
        .collect();
    assert!(
        held.iter().any(|name| name == VERSION),
        "{VERSION} is not frozen: tests/data/releases/README.md says how"
    );
    held.iter().map(|name| Release::of(name)).collect()
}

/// Returns the numbers of a version within which nothing may change.
fn series(version: &str) -> Vec<&str> {
    let numbers = version.split('.');
    numbers
        .take(if version.starts_with("0.") { 2 } else { 1 })
        .collect()
}

/// Returns the containers of ram-sidecar in the pods of manifests, each with the pod.
fn sidecars(manifests: &str) -> Vec<(Value, Value)> {
    let documents = yaml::read(manifests.as_bytes()).unwrap();
    let mut found = Vec::new();
    for object in documents.into_iter().map(|document| document.value) {
        let template = object.pointer("/spec/template/spec");
        let pod = template.unwrap_or_else(|| &object["spec"]);
        let lists = ["initContainers", "containers"].map(|name| pod[name].as_array());
        let containers = lists.into_iter().flatten().flatten();
        let own = containers.filter(|container| {
            let image = container["image"].as_str();
            image.is_some_and(|image| image.starts_with("ram-sidecar:"))
        });
        found.extend(own.map(|container| (container.clone(), pod.clone())));
    }
    found
}

fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).collect()
}

/// Returns what a container needs of its program, as lines of an interface: variables and flags.
fn needs(container: &Value) -> BTreeSet<String> {
    let variables = container["env"].as_array().into_iter().flatten();
    let variables = variables.filter_map(|variable| variable["name"].as_str());
    let own = variables.filter(|name| {
        ["RAM_SIDECAR_", "ALIBABA_"]
            .iter()
            .any(|start| name.starts_with(start))
    });
    let mut needs: BTreeSet<String> = own.map(|name| format!("variable {name}")).collect();
    let mut commands = vec![texts(&container["args"])];
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let words = texts(&container[probe]["exec"]["command"]);
        // The first word is the program.
        commands.push(words.into_iter().skip(1).collect());
    }
    for words in commands {
        let Some((command, words)) = words.split_first() else {
            continue;
        };
        needs.insert(format!("command {command}"));
        let flags = words.iter().filter(|word| word.starts_with("--"));
        needs.extend(flags.map(|flag| {
            let name = flag.split('=').next().unwrap();
            format!("flag {command} {name}")
        }));
    }
    needs
}

#[test]
fn nothing_that_a_release_offers_is_gone() {
    let current = interface::current();
    for release in releases() {
        let gone: Vec<_> = release.interface().difference(&current).cloned().collect();
        let directory = release.directory.display();
        assert!(
            gone.is_empty(),
            "{directory} promises, and this version lacks {gone:#?}: keep them, or see tests/data/releases/README.md if that is not released"
        );
    }
}

#[test]
fn the_status_of_an_earlier_daemon_is_understood() {
    for release in releases() {
        let read = serde_json::from_str::<Report>(&release.text("status.json"));
        assert!(read.is_ok(), "{}: {read:?}", release.directory.display());
    }
}

/// A later webhook may have to add a sidecar of an earlier version, whose program ends when it does not know a flag.
#[test]
fn what_inject_adds_is_understood_by_the_sidecars_of_every_release() {
    let outputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/inject");
    let mut needed = BTreeSet::new();
    for entry in fs::read_dir(outputs).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(".out.yaml") {
            let text = fs::read_to_string(path).unwrap();
            let added = sidecars(&text);
            needed.extend(added.iter().flat_map(|(container, _)| needs(container)));
        }
    }
    assert!(needed.len() > 20, "{needed:?}");
    let guide = document(GUIDE);
    for release in releases() {
        let interface = release.interface();
        let directory = release.directory.display();
        for need in needed.difference(&interface) {
            let name = need.rsplit(' ').next().unwrap();
            assert!(
                guide.contains(&format!("`{name}`")),
                "{directory} lacks `{need}`: {GUIDE} must say from which version on a sidecar knows it"
            );
        }
    }
}

#[test]
fn frozen_manifests_need_nothing_that_is_gone_and_are_left_as_they_are() {
    let current = interface::current();
    for release in releases() {
        let mut injected = 0;
        for (path, text) in release.manifests() {
            let found = sidecars(&text);
            assert!(!found.is_empty(), "{path} has no sidecar");
            for (container, _) in found {
                let gone: Vec<_> = needs(&container).difference(&current).cloned().collect();
                assert!(gone.is_empty(), "{path} needs {gone:?}");
            }
            if text.starts_with("# inject") {
                let ended = inject(&flags(&text), &text);
                assert_eq!(ended.code, Some(0), "{path}: {}", ended.stderr);
                let (_, manifest) = text.split_once('\n').unwrap();
                assert_eq!(ended.stdout, manifest, "{path}");
                injected += 1;
            }
        }
        assert!(injected > 3, "{}", release.directory.display());
    }
}
