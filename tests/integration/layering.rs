//! Holds the code to the table of layers in `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules of this crate that it must not use. The first match counts.
const FORBIDDEN: &[(&str, &[&str])] = &[
    // Words.
    ("answer", ANY),
    ("credentials", ANY),
    ("duration", ANY),
    ("moment", ANY),
    ("principal", ANY),
    ("failure", ANY),
    // Decisions: no effects, no clock, no runtime.
    ("diagnosis", EFFECTS),
    ("schedule", EFFECTS),
    ("view", EFFECTS),
    ("sts/sign", EFFECTS),
    ("sts/wire", EFFECTS),
    ("sts/endpoint", EFFECTS),
    ("identity/document", EFFECTS),
    ("state/binding", EFFECTS),
    ("state/document", EFFECTS),
    ("identity/process/redact", EFFECTS),
    ("identity/profile/config", EFFECTS),
    ("serve/session", EFFECTS_BUT_SERVE),
    (
        "serve/guard",
        &[
            "app", "cli", "clock", "config", "hyper", "identity", "outbound", "refresh", "reqwest",
            "sandbox", "sink", "source", "sts", "tokio",
        ],
    ),
    // It knows what the daemon's settings are called, and how they are read.
    ("inject", EFFECTS_BUT_WORDS),
    // State.
    (
        "clock",
        &[
            "app", "cli", "config", "identity", "outbound", "refresh", "sandbox", "serve", "sink",
            "snapshot", "source", "sts", "view",
        ],
    ),
    (
        "snapshot",
        &[
            "app", "cli", "clock", "config", "identity", "outbound", "refresh", "sandbox", "serve",
            "sink", "source", "sts", "view",
        ],
    ),
    // Effects.
    (
        "serve",
        &[
            "app", "cli", "config", "identity", "outbound", "refresh", "sandbox", "source", "sts",
        ],
    ),
    (
        "sink",
        &[
            "app", "cli", "config", "identity", "outbound", "refresh", "sandbox", "serve",
            "source", "sts",
        ],
    ),
    (
        "state",
        &[
            "app", "cli", "config", "identity", "outbound", "refresh", "sandbox", "serve",
            "source", "sts",
        ],
    ),
    (
        "outbound",
        &[
            "app", "cli", "config", "identity", "refresh", "sandbox", "serve", "sink", "source",
            "sts",
        ],
    ),
    (
        "identity",
        &[
            "app", "cli", "config", "refresh", "sandbox", "serve", "sink", "source", "sts",
        ],
    ),
    (
        "sts",
        &[
            "app", "cli", "config", "identity", "refresh", "sandbox", "serve", "sink", "source",
        ],
    ),
    (
        "source",
        &[
            "app", "cli", "config", "refresh", "sandbox", "serve", "sink",
        ],
    ),
    (
        "refresh",
        &[
            "reqwest", "axum", "app", "cli", "config", "identity", "outbound", "sandbox", "serve",
            "sink", "view",
        ],
    ),
    ("signal", ANY),
    ("telemetry", ANY),
    ("process", ANY),
    // The embedded STS shares nothing with the client that it verifies.
    (
        "sandbox",
        &[
            "app", "cli", "config", "identity", "outbound", "refresh", "sink", "source", "sts",
        ],
    ),
];

const ANY: &[&str] = &[
    "app", "cli", "clock", "config", "identity", "outbound", "refresh", "sandbox", "schedule",
    "serve", "sink", "snapshot", "source", "sts", "view",
];

const EFFECTS: &[&str] = &[
    "app",
    "axum::Router",
    "cli",
    "clock",
    "config",
    "hyper",
    "identity",
    "outbound",
    "refresh",
    "reqwest",
    "sandbox",
    "serve",
    "sink",
    "source",
    "tokio",
];

/// A decision that lives among the servers.
const EFFECTS_BUT_SERVE: &[&str] = &[
    "app", "axum", "cli", "clock", "config", "hyper", "identity", "outbound", "refresh", "reqwest",
    "sandbox", "sink", "source", "sts", "tokio",
];

/// A decision above the settings and the identities, whose words it checks.
const EFFECTS_BUT_WORDS: &[&str] = &[
    "app", "axum", "cli", "clock", "command", "hyper", "outbound", "refresh", "reqwest", "sandbox",
    "serve", "sink", "source", "sts", "tokio",
];

#[test]
fn nothing_flows_upward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    for path in sources(&root) {
        let module = path.strip_prefix(&root).unwrap().with_extension("");
        let module = module.to_str().unwrap();
        if module.ends_with("tests") || module.contains("tests/") {
            continue;
        }
        let belongs = |name: &str| module == name || module.starts_with(&format!("{name}/"));
        let Some((name, forbidden)) = FORBIDDEN.iter().find(|(name, _)| belongs(name)) else {
            assert!(
                [
                    "app", "cli", "command", "config", "lib", "main", "testing", "upstream"
                ]
                .iter()
                .any(|top| belongs(top)),
                "{module} has no layer"
            );
            continue;
        };
        let text = fs::read_to_string(&path).unwrap();
        // Tests stand last in a file and may use anything.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for line in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for upward in forbidden.iter().filter(|upward| *upward != name) {
                let uses = line.contains(&format!("crate::{upward}::"))
                    || line.contains(&format!("use {upward}::"))
                    || (line.contains("use crate::{") && line.contains(upward))
                    || (["axum", "hyper", "reqwest", "tokio"].contains(upward)
                        && line.contains(&format!("{upward}::")));
                assert!(!uses, "{module} must not use {upward}: {line}");
            }
        }
        checked += 1;
    }
    assert!(checked > 30, "only {checked} modules were checked");
}

#[test]
fn no_native_tls_stands_in_the_lock_file() {
    let lock =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    for denied in ["aws-lc-sys", "native-tls", "openssl-sys"] {
        assert!(!lock.contains(&format!("name = \"{denied}\"")), "{denied}");
    }
}

#[test]
fn every_dependency_is_pinned_by_its_content_and_of_the_public_registry() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let packages: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    assert!(packages.len() > 50, "only {} packages", packages.len());
    let ours = format!("name = \"{}\"", env!("CARGO_PKG_NAME"));
    for package in packages {
        if package.contains(&ours) {
            continue;
        }
        let source = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        let is_pinned = package.contains(source) && package.contains("checksum = \"");
        assert!(is_pinned, "{package}");
    }
    // Nothing of ours runs while it is built.
    assert!(!root.join("build.rs").exists());
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}
