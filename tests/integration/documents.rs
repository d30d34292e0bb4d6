//! The documents agree with the program.

mod blocks;
mod events;
mod reference;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ram_sidecar::config::settings::SETTINGS;

use crate::support::{Scratch, run};

pub(crate) fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_example_names_every_key_with_its_default() {
    let example = document("config/ram-sidecar.toml");
    let mut section = String::new();
    let mut named = Vec::new();
    for line in example.lines() {
        if let Some(name) = line.trim_start_matches('#').strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        }
        // Settings without a default are commented out with one hash and no blank, prose has a blank.
        let active = line.strip_prefix('#').unwrap_or(line);
        if let Some((name, value)) = active.split_once(" = ") {
            if name.contains(' ') || section.starts_with('[') {
                continue;
            }
            named.push((
                format!("{section}.{name}"),
                value.trim_matches('"').to_owned(),
                line.starts_with('#'),
            ));
        }
    }
    for setting in SETTINGS
        .iter()
        .filter(|setting| setting.in_file && setting.key != "file")
    {
        let Some((_, value, is_comment)) = named.iter().find(|(key, _, _)| key == setting.key)
        else {
            panic!("{} is not in the example", setting.key);
        };
        match setting.default {
            Some(default) => assert_eq!(
                (value.as_str(), *is_comment),
                (default, false),
                "{}",
                setting.key
            ),
            None => assert!(
                is_comment,
                "{} has no default, so it is commented out",
                setting.key
            ),
        }
    }
    for (key, ..) in &named {
        assert!(
            SETTINGS.iter().any(|setting| setting.key == key),
            "{key} is not a setting"
        );
    }
    assert!(example.contains("#[[file]]"));
}

#[test]
fn the_example_is_accepted_with_and_without_its_comments() {
    let scratch = Scratch::new();
    let example = document("config/ram-sidecar.toml");
    let file = scratch.join("ram-sidecar.toml");
    fs::write(&file, &example).unwrap();
    let (code, output) = run(&["--config", file.to_str().unwrap()], &[]);
    assert_eq!(code, Some(78));
    // An empty environment has no role and no identity; the file itself has no fault.
    assert_eq!(output.lines().count(), 3, "{output}");

    let uncommented: Vec<&str> = example
        .lines()
        .filter(|line| !line.starts_with("# ") && *line != "#")
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .collect();
    let uncommented = uncommented.join(
        "
",
    );
    fs::write(&file, uncommented).unwrap();
    let (_, output) = run(&["--config", file.to_str().unwrap()], &[]);
    assert!(
        !output.contains("unknown key") && !output.contains("is not TOML"),
        "{output}"
    );
}

/// Returns the code blocks, and the comments above them that say how they are tested.
fn blocks(document: &str) -> Vec<&str> {
    let mut blocks: Vec<&str> = document.split("\n```").skip(1).step_by(2).collect();
    let marks = document.lines().filter(|line| line.starts_with("<!-- "));
    blocks.extend(marks);
    blocks
}

#[test]
fn chinese_readme_has_the_code_and_the_links_of_the_english_one() {
    let [english, chinese] = ["README.md", "README.zh-CN.md"].map(document);
    assert!(blocks(&english).len() > 20);
    assert_eq!(blocks(&chinese), blocks(&english));
    let links = |text: &str| {
        let targets = text.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split(')').next());
        let targets = targets.filter(|target| !target.starts_with("README"));
        targets.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(links(&chinese), links(&english));
    let commands = |text: &str| {
        let spans = text.split('`').skip(1).step_by(2);
        let spans = spans.filter(|span| span.starts_with("ram-sidecar ") || span.starts_with('-'));
        spans.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(commands(&chinese), commands(&english));
}

#[test]
fn readme_is_short() {
    for name in ["README.md", "README.zh-CN.md"] {
        let size = document(name).len();
        assert!(size <= 10 * 1024, "{name} has {size} bytes");
    }
}

#[test]
fn every_test_that_a_table_names_is_there() {
    let mut count = 0;
    for name in [
        "SECURITY.md",
        "docs/src/contracts/clients.md",
        "docs/src/contracts/sts.md",
        "tests/README.md",
    ] {
        let text = document(name);
        let quoted = text.split('`').skip(1).step_by(2);
        for (file, test) in quoted.filter_map(|name| name.split_once(".rs::")) {
            assert_test(name, file, test);
            count += 1;
        }
    }
    assert!(count > 100, "only {count} were found");
}

/// Asserts that `file`, without its extension, has the `test` that a document names.
fn assert_test(document_name: &str, file: &str, test: &str) {
    let code = document(&format!("{file}.rs"));
    let lines: Vec<&str> = code.lines().map(str::trim_start).collect();
    let signature = format!("{test}() {{");
    let begins = |line: &&str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ") == Some(signature.as_str())
    };
    let at = lines.iter().position(begins);
    let at = at.unwrap_or_else(|| panic!("{document_name}: there is no {test} in {file}.rs"));
    // Between the attribute and the function there may be others.
    let mut above = lines[..at].iter().rev();
    let attributes = above.by_ref().take_while(|line| line.starts_with('#'));
    let is_test = attributes
        .filter_map(|line| line.strip_prefix("#["))
        .any(|line| line.starts_with("test]") || line.starts_with("tokio::test"));
    assert!(
        is_test,
        "{document_name}: {test} in {file}.rs is not a test"
    );
}
