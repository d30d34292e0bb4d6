//! What becomes of a manifest of each kind of the table of controllers.

use std::fmt::Write as _;

use ram_sidecar::inject::controllers::CONTROLLERS;

use super::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn documents() -> Vec<String> {
    let text = fs::read_to_string(data("controllers.yaml")).unwrap();
    text.split("---\n").map(str::to_owned).collect()
}

/// Returns the value of a field at the start of a line.
fn field<'a>(document: &'a str, name: &str) -> &'a str {
    let mut lines = document.lines();
    lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_default()
}

/// Injects, and checks that a second injection changes nothing.
fn injected(document: &str, flags: &[&str]) -> Ended {
    let args = [&RRSA[..], flags].concat();
    let once = inject(&args, document);
    assert_eq!(once.code, Some(0), "{}", once.stderr);
    let again = inject(&args, &once.stdout);
    assert_eq!((again.code, &again.stdout), (Some(0), &once.stdout));
    once
}

/// `WRITE_MANIFESTS=1` writes the expected messages.
#[test]
fn every_kind_of_controller_gets_the_sidecar_or_the_reason_why_not() {
    let mut report = String::new();
    for document in documents() {
        let native = injected(&document, &[]);
        let sidecars = native.stdout.matches("- name: ram-sidecar\n").count();
        let (api, kind) = (field(&document, "apiVersion"), field(&document, "kind"));
        let _ = writeln!(report, "{api} {kind}: {sidecars} sidecars");
        let messages = native
            .stderr
            .replace(&format!(" with the role {}", RRSA[1]), "");
        for line in messages.lines() {
            let _ = writeln!(report, "  {line}");
        }
        // What is said of a classic sidecar only.
        let classic = injected(&document, &["--classic"]).stderr;
        let mut said: Vec<&str> = classic
            .lines()
            .flat_map(|line| line.split("; ").skip(1))
            .collect();
        said.retain(|sentence| !native.stderr.contains(sentence));
        said.sort_unstable();
        said.dedup();
        for sentence in said {
            let _ = writeln!(report, "  --classic: {sentence}");
        }
    }
    let path = data("controllers.txt");
    if environment("WRITE_MANIFESTS").is_some_and(|value| value == "1") {
        fs::write(&path, &report).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(report == expected, "the manifests become\n{report}");
}

#[test]
fn every_row_of_the_table_has_a_manifest() {
    let documents = documents();
    for controller in CONTROLLERS {
        let is_of = |document: &&String| {
            let api = field(document, "apiVersion");
            let is_api = api == controller.api
                || api
                    .split_once('/')
                    .is_some_and(|(group, _)| group == controller.api);
            is_api && controller.kinds.contains(&field(document, "kind"))
        };
        assert!(
            documents.iter().any(|document| is_of(&document)),
            "{controller:?}"
        );
    }
}

#[test]
fn kinds_of_the_same_name_in_other_groups_have_no_rules() {
    let ours = "apiVersion: batch/v1\nkind: Job\n";
    for (head, is_counted) in [
        (ours, true),
        ("apiVersion: example.com/v1\nkind: Job\n", false),
    ] {
        let rest = "metadata: {name: a}\nspec: {backoffLimit: 2, template: {spec: {restartPolicy: OnFailure, containers: [{name: a}]}}}\n";
        let stderr = injected(&format!("{head}{rest}"), &[]).stderr;
        assert_eq!(
            stderr.contains("once its running pods have 2 together"),
            is_counted,
            "{stderr}"
        );
    }
}

#[test]
fn a_trial_is_judged_by_its_own_kind() {
    let trial = "\
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: exp}
spec:
  trialTemplate:
    trialSpec:
      apiVersion: batch.volcano.sh/v1alpha1
      kind: Job
      spec:
        tasks:
        - topologyPolicy: best-effort
          template: {spec: {containers: [{name: a}]}}
        - maxRetry: 9
          template: {spec: {containers: [{name: a}]}}
";
    let Ended { stdout, stderr, .. } = injected(trial, &[]);
    assert_eq!(stdout.matches("- name: ram-sidecar\n").count(), 1);
    for needle in [
        "tasks[0].template: is unchanged, because its task",
        "all pods of a task have 9 together",
    ] {
        assert!(stderr.contains(needle), "{stderr}");
    }
}

#[test]
fn layers_that_flink_merges_by_name_get_the_sidecar() {
    let layers = documents();
    let layers = layers
        .iter()
        .find(|document| document.contains("name: layers"));
    let layers = layers.unwrap().replace("spec:\n  image", "spec:\n  flinkConfiguration: {kubernetes.operator.pod-template.merge-arrays-by-name: \"true\"}\n  image");
    assert_eq!(
        injected(&layers, &[])
            .stdout
            .matches("- name: ram-sidecar\n")
            .count(),
        1
    );
}
