//! Holds the code to the order of modules that `src/lib.rs` declares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What is stricter than the order: these parts of the tree must not name those.
const RULES: &[(&[&str], &[&str])] = &[
    // Decisions get the time as an argument, and have no effects.
    (
        &[
            "chains",
            "formats",
            "refresh/schedule",
            "sts/endpoint",
            "sts/sign",
            "sts/wire",
        ],
        &["axum", "hyper", "reqwest", "tokio", "crate::time::clock"],
    ),
    // What serves or writes files knows nothing of what obtains.
    (
        &["files", "formats", "server"],
        &["crate::http", "crate::identity", "crate::sts"],
    ),
    // The loop knows a source, and not what is behind it.
    (
        &["refresh/mod", "refresh/schedule", "refresh/store"],
        &["crate::http", "crate::identity", "crate::sts"],
    ),
    // The embedded STS shares nothing with the client that it judges.
    (
        &["sandbox"],
        &[
            "crate::files",
            "crate::http",
            "crate::identity",
            "crate::refresh",
            "crate::sts",
        ],
    ),
    // Manifests are changed without effects.
    (
        &[
            "inject/admission",
            "inject/controllers",
            "inject/mod",
            "inject/sidecar",
            "inject/workload",
            "inject/yaml",
        ],
        &[
            "axum",
            "hyper",
            "reqwest",
            "tokio",
            "crate::daemon",
            "crate::http",
            "crate::server",
        ],
    ),
];

/// The only readers of the environment.
const ENVIRONMENT: &[&str] = &["cli", "main", "testing"];

#[test]
fn every_module_uses_only_modules_that_stand_above_it() {
    let order = order();
    assert_eq!(order.len(), 18, "{order:?}");
    let place = |name: &String| order.iter().position(|module| module == name);
    for source in sources() {
        if ["lib", "main", "testing"].contains(&source.name.as_str()) {
            continue;
        }
        let own = place(&source.module()[1])
            .unwrap_or_else(|| panic!("{} is not in lib.rs", source.name));
        for used in source.uses.iter().filter(|used| used[0] == "crate") {
            let other = place(&used[1])
                .unwrap_or_else(|| panic!("{} uses {}", source.name, used.join("::")));
            assert!(
                other <= own,
                "{} must not use {}",
                source.name,
                used.join("::")
            );
        }
    }
}

#[test]
fn stricter_rules_than_the_order_hold() {
    for (subjects, forbidden) in RULES {
        for subject in *subjects {
            let concerned: Vec<Source> = sources()
                .into_iter()
                .filter(|source| source.is_in(subject))
                .collect();
            assert!(!concerned.is_empty(), "{subject} does not exist");
            for (source, name) in concerned
                .iter()
                .flat_map(|source| forbidden.iter().map(move |name| (source, name)))
            {
                assert!(!source.uses(name), "{} must not use {name}", source.name);
            }
        }
    }
}

#[test]
fn only_the_command_line_reads_the_environment() {
    for source in sources() {
        if !ENVIRONMENT.iter().any(|reader| source.is_in(reader)) {
            for reader in [
                "env::var",
                "env::var_os",
                "env::vars",
                "env::vars_os",
                "std::env",
            ] {
                assert!(
                    !source.uses(reader),
                    "{} must not use {reader}",
                    source.name
                );
            }
        }
    }
}

/// A module and those within it count as one; of any two others, one uses the other at most, also by way of a third.
#[test]
fn no_files_form_a_circle() {
    let sources = sources();
    let modules: BTreeSet<Vec<String>> = sources.iter().map(Source::module).collect();
    let mut graph: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for source in &sources {
        let from = source.module();
        let uses = graph.entry(from.clone()).or_default();
        for used in &source.uses {
            // The last segments of a path are items.
            let to = (2..=used.len()).rev().map(|length| used[..length].to_vec());
            let to = to.into_iter().find(|path| modules.contains(path));
            uses.extend(to.filter(|to| !from.starts_with(to) && !to.starts_with(&from)));
        }
    }
    // What uses nothing that is left, or what nothing that is left uses, is in no circle.
    loop {
        let used: BTreeSet<_> = graph.values().flatten().cloned().collect();
        let left: BTreeSet<_> = graph
            .keys()
            .filter(|file| used.contains(*file))
            .cloned()
            .collect();
        let before = graph.len();
        graph.retain(|file, uses| {
            uses.retain(|used| left.contains(used));
            left.contains(file) && !uses.is_empty()
        });
        if graph.len() == before {
            break;
        }
    }
    let circles: Vec<String> = graph
        .iter()
        .map(|(file, uses)| {
            format!(
                "{} uses {}",
                file.join("::"),
                uses.iter()
                    .map(|used| used.join("::"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        })
        .collect();
    assert!(
        circles.is_empty(),
        "files in circles:
{}",
        circles.join(
            "
"
        )
    );
}

#[test]
fn no_native_tls_and_no_crate_with_an_advisory_stands_in_the_lock_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let lock = fs::read_to_string(root.join(file)).unwrap();
        for denied in ["aws-lc-sys", "native-tls", "openssl-sys", "rsa"] {
            let is_locked = lock.contains(&format!("name = \"{denied}\""));
            assert!(!is_locked, "{denied} in {file}");
        }
    }
}

#[test]
fn every_exception_of_the_dependencies_has_a_day_and_a_reason() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deny.toml");
    let rules: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let lists = [&rules["bans"]["skip"], &rules["advisories"]["ignore"]];
    for exception in lists.iter().flat_map(|list| list.as_array().unwrap()) {
        let reason = exception.get("reason").and_then(toml::Value::as_str);
        let (day, reason) = reason
            .and_then(|text| text.split_once(": "))
            .unwrap_or_default();
        assert!(day.parse::<chrono::NaiveDate>().is_ok(), "{exception:?}");
        assert!(!reason.is_empty(), "{exception:?}");
    }
}

#[test]
fn every_dependency_is_pinned_by_its_content_and_of_the_public_registry() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let packages: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    assert!(packages.len() > 50, "only {} packages", packages.len());
    let own_name = format!("name = \"{}\"", env!("CARGO_PKG_NAME"));
    for package in packages {
        if package.contains(&own_name) {
            continue;
        }
        let source = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        let is_pinned = package.contains(source) && package.contains("checksum = \"");
        assert!(is_pinned, "{package}");
    }
    // This crate has no build script.
    assert!(!root.join("build.rs").exists());
}

/// The modules in the order in which `src/lib.rs` declares them.
fn order() -> Vec<String> {
    let library = fs::read_to_string(root().join("lib.rs")).unwrap();
    let declared = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    declared
        .map(|name| name.trim_end_matches(';').to_owned())
        .collect()
}

/// A file of `src` without comments and tests.
struct Source {
    /// The path below `src`, without its extension.
    name: String,
    /// What it uses, segment by segment: that of this crate begins with `crate`.
    uses: Vec<Vec<String>>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).unwrap().with_extension("");
        let name = name.to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        // Tests stand last in a file and may use anything.
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let code = code.split("#[cfg(test)]\npub(crate) mod ").next().unwrap();
        let code: Vec<&str> = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let mut source = Self {
            name,
            uses: Vec::new(),
        };
        let mut uses = Vec::new();
        let code = code.join("\n");
        let mut rest = code.as_str();
        while let Some(at) = rest.find(is_of_a_name) {
            rest = expand(&rest[at..], &[], &mut uses);
        }
        source.uses = uses.into_iter().map(|path| source.resolve(path)).collect();
        source
    }

    /// The segments of the module that the file holds.
    fn module(&self) -> Vec<String> {
        let segments = self.name.split('/').filter(|segment| *segment != "mod");
        ["crate"]
            .into_iter()
            .chain(segments)
            .map(str::to_owned)
            .collect()
    }

    fn resolve(&self, mut path: Vec<String>) -> Vec<String> {
        let mut module = self.module();
        while path[0] == "super" {
            module.pop();
            path.remove(0);
            if path.first().is_none_or(|next| next != "super") {
                module.extend(path);
                return module;
            }
        }
        if path[0] == "self" {
            module.extend(path.into_iter().skip(1));
            return module;
        }
        path
    }

    fn is_in(&self, place: &str) -> bool {
        self.name == place || self.name.starts_with(&format!("{place}/"))
    }

    /// Whether it uses something whose path begins with this one.
    fn uses(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split("::").collect();
        self.uses
            .iter()
            .any(|used| used.len() >= path.len() && used.iter().zip(&path).all(|(a, b)| a == b))
    }
}

/// Reads the path at the start of the text, whose groups become paths of their own; returns what comes after it.
fn expand<'a>(text: &'a str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    let mut rest = text;
    loop {
        let end = rest.find(|c| !is_of_a_name(c)).unwrap_or(rest.len());
        if end > 0 {
            path.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) if next.starts_with(is_of_a_name) => rest = next,
            Some(next) if next.starts_with('{') => {
                rest = &next[1..];
                while !rest.starts_with('}') {
                    rest = expand(rest, &path, found)
                        .trim_start_matches(|c: char| !is_of_a_name(c) && c != '}');
                }
                return &rest[1..];
            }
            _ => break,
        }
    }
    if path.len() > prefix.len() && path.len() > 1 {
        found.push(path);
    }
    rest.strip_prefix("::").unwrap_or(rest)
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|name| name == "tests");
            if path.is_dir() && !is_test {
                directories.push(path);
            } else if !is_test {
                found.push(Source::read(&path));
            }
        }
    }
    found
}
