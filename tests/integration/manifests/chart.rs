//! The Helm chart agrees with the program. What Helm makes of it is verified by `tests/cluster`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::run_command;

/// The flags that the chart itself decides: where the certificate and the token are mounted, and the port.
const FIXED: [&str; 7] = [
    "help",
    "kubernetes-ca-file",
    "kubernetes-token-file",
    "kubernetes-url",
    "listen",
    "tls-cert",
    "tls-key",
];

#[test]
fn the_values_of_the_chart_have_every_flag_of_the_webhook() {
    let help = run_command("webhook", &["--help"], &[]).stdout;
    let lines = help.lines().map(|line| line.trim_start());
    let flags = lines.filter_map(|line| line.trim_start_matches("-h, ").strip_prefix("--"));
    let kinds = flags.map(|flag| {
        let name = flag.split([' ', '[']).next().unwrap();
        let kind = match flag.strip_prefix(name).unwrap() {
            "" | "[=<BOOL>]" => "boolean",
            value if value.ends_with(",…>") => "array",
            " <NAME=VALUE>" => "object",
            _ => "value",
        };
        (name.to_owned(), kind)
    });
    let mut flags: BTreeMap<String, &str> = kinds.collect();
    for name in FIXED {
        assert!(flags.remove(name).is_some(), "--{name}");
    }

    let schema = include_str!("../../../config/helm/ram-sidecar/values.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let properties = &schema["properties"]["flags"]["properties"];
    let kinds = properties.as_object().unwrap().iter().map(|(name, value)| {
        let kind = value["type"]
            .as_str()
            .filter(|kind| ["boolean", "array", "object"].contains(kind));
        (name.clone(), kind.unwrap_or("value"))
    });
    assert_eq!(
        kinds.collect::<BTreeMap<_, _>>(),
        flags,
        "flags in config/helm/ram-sidecar/values.schema.json, and those of the webhook"
    );
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = include_str!("../../../config/helm/ram-sidecar/Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        chart.contains(&format!("\nversion: {version}\n")),
        "{chart}"
    );
    assert!(
        chart.contains(&format!("\nappVersion: \"{version}\"\n")),
        "{chart}"
    );
}
