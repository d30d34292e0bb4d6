//! The Helm chart agrees with the program. What Helm makes of it is verified by `tests/cluster`.

use std::collections::BTreeMap;
use std::path::Path;

use ram_sidecar::inject::yaml;
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

fn schema() -> Value {
    let schema = include_str!("../../../config/helm/ram-sidecar/values.schema.json");
    serde_json::from_str(schema).unwrap()
}

#[test]
fn the_values_of_the_chart_have_every_flag_of_the_webhook() {
    let help = run_command("webhook", &["--help"], &[]).stdout;
    let lines = help.lines().map(str::trim_start);
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

    let schema = schema();
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

#[test]
fn the_guide_installs_the_chart_with_values_that_exist() {
    let guide = include_str!("../../../docs/src/guides/helm.md");
    let block = |language: &str| {
        let (_, rest) = guide.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0
    };
    let values = yaml::read(block("yaml").as_bytes())
        .unwrap()
        .remove(0)
        .value;
    assert_known("", &values, &schema());

    let mut commands = block("sh").lines();
    let install = commands.next().unwrap();
    let directory = install.strip_prefix("helm install ram-sidecar ");
    let (directory, flags) = directory.unwrap().split_once(' ').unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(
        root.join(directory).join("Chart.yaml").is_file(),
        "{directory}"
    );
    assert_eq!(
        flags,
        "--namespace ram-sidecar --create-namespace --values values.yaml"
    );
    // The other commands are those without Helm.
    assert_eq!(
        commands.next(),
        Some("kubectl label namespace ram-sidecar pod-security.kubernetes.io/enforce=restricted")
    );
    let webhook = include_str!("../../../docs/src/guides/webhook.md");
    for command in commands {
        assert!(webhook.contains(&format!("\n{command}\n")), "{command}");
    }
}

/// Panics if the schema has no value of this name.
fn assert_known(name: &str, value: &Value, schema: &Value) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = format!("{name}.{key}");
        let schema = &schema["properties"][key];
        assert!(!schema.is_null(), "{name}");
        assert_known(&name, value, schema);
    }
}
