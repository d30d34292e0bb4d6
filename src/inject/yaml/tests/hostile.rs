//! Input that is designed to be expensive.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{MAX_FILE_SIZE, MAX_WEIGHT, read};

#[test]
fn hostile_input_is_read_or_rejected_in_bounded_time() {
    let laughs: Vec<String> = (1..=20)
        .map(|level| {
            let below = level - 1;
            format!(
                "a{level}: &a{level} [{}]\n",
                vec![format!("*a{below}"); 9].join(", ")
            )
        })
        .collect();
    let laughs = format!("a0: &a0 ha\n{}", laughs.concat());
    let anchors: Vec<String> = (0..99).map(|level| format!("&a{level} [")).collect();
    let long = format!(
        "a: &a {}\nb: [{}]",
        "x".repeat(100_000),
        "*a, ".repeat(10_000)
    );
    let merges: Vec<String> = (1..=5000)
        .map(|level| format!("- &m{level}\n  <<: *m{}\n  k{level}: 1\n", level - 1))
        .collect();
    let merges = format!("- &m0 {{a: 1}}\n{}", merges.concat());
    let too_much = "it expands to more than a million values";
    let too_deep = "it is nested more than 100 levels deep";
    for (name, yaml, expected) in [
        ("laughs", laughs, too_much),
        ("a long text", long, too_much),
        ("merges", merges, too_much),
        ("lists", "- ".repeat(1 << 17), too_deep),
        ("brackets", "[".repeat(1 << 17), ""),
        ("braces", "{\"a\":".repeat(1 << 17), ""),
        ("braces of YAML", "{a: ".repeat(1 << 17), ""),
        (
            "elements",
            format!("[{}]", "1,".repeat(MAX_WEIGHT)),
            too_much,
        ),
        (
            "anchors",
            format!(
                "{}{}{}",
                anchors.concat(),
                "1,".repeat(20_000),
                "]".repeat(99)
            ),
            too_much,
        ),
        ("question marks", "? ".repeat(1 << 17), ""),
        ("quotes", "\"".repeat(1 << 17), ""),
        ("colons", ":".repeat(1 << 17), ""),
        ("dashes", "-\n".repeat(1 << 17), ""),
        ("documents", "---\n".repeat(1 << 17), "no error"),
        ("objects of JSON", "{}\n".repeat(MAX_WEIGHT + 1), too_much),
        (
            "size",
            " ".repeat(MAX_FILE_SIZE + 1),
            "the file has more than 16 MiB",
        ),
    ] {
        let begun = Instant::now();
        let error =
            read(yaml.as_bytes()).map_or_else(|error| error.to_string(), |_| "no error".to_owned());
        assert!(error.contains(expected), "{name}: {error}");
        let took = begun.elapsed();
        // A million steps take seconds on a busy machine; quadratic time would take days.
        assert!(took < Duration::from_secs(120), "{name}: {took:?}, {error}");
    }
}
