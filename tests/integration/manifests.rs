//! `config/kubernetes`, rendered by kustomize: validated against two independent sets of Kubernetes' types, and for
//! consistency of its parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodTemplateSpec, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::Scratch;
use crate::toolchains::Language;

#[cfg(feature = "inject")]
mod chart;
#[cfg(feature = "inject")]
mod inject;
mod webhook;

/// The findings of Kubernetes' own libraries on a directory of manifests.
#[derive(Deserialize)]
struct Validated {
    objects: BTreeMap<String, Vec<Value>>,
    problems: Vec<String>,
}

/// Renders and validates every kustomization of a directory; returns `None` if Go is not installed.
fn validated(directory: &Path) -> Option<Validated> {
    let home = Scratch::new();
    let mut program = Language::Kubernetes.program("kubernetes", home.path())?;
    let output = program.arg("manifests").arg(directory).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kubernetes")
}

/// Returns the object of a kind in a rendered kustomization.
fn object(of: &str, kind: &str) -> Option<Value> {
    found(of, |object| object["kind"] == kind)
}

/// Returns the object of a kind and name in a rendered kustomization.
fn object_named(of: &str, kind: &str, name: &str) -> Option<Value> {
    found(of, |object| {
        object["kind"] == kind && object["metadata"]["name"] == name
    })
}

fn found(of: &str, matches: impl Fn(&Value) -> bool) -> Option<Value> {
    let objects = validated(&manifests())?.objects;
    let found = objects[of].iter().find(|object| matches(object));
    Some(found.expect("the object exists").clone())
}

#[test]
fn every_field_is_known_and_every_pod_meets_the_restricted_standard() {
    let Some(validated) = validated(&manifests()) else {
        return;
    };
    assert_eq!(validated.problems, [""; 0]);
    let names: Vec<&str> = validated.objects.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "classic",
            "job",
            "native",
            "native/metrics",
            "native/pod-monitor",
            "pytorchjob",
            "webhook",
            "webhook/ack",
            "webhook/cert-manager",
            "webhook/metrics",
            "webhook/network-policy",
            "webhook/pod-monitor"
        ]
    );
}

#[test]
fn every_object_survives_a_round_trip_through_the_api_types() {
    let Some(validated) = validated(&manifests()) else {
        return;
    };
    let all = validated.objects.values().flatten();
    let lost: Vec<String> = all
        .filter_map(|object| through_types(object).err())
        .collect();
    assert_eq!(lost, [""; 0]);
}

#[test]
fn both_validators_find_a_misspelt_field() {
    for (file, right, wrong) in [
        (
            "native/pod.yaml",
            "readOnlyRootFilesystem:",
            "readOnlyRootFileSystem:",
        ),
        ("webhook/webhook.yaml", "timeoutSeconds:", "timeOutSeconds:"),
        (
            "webhook/deployment.yaml",
            "whenUnsatisfiable:",
            "whenUnsatisfied:",
        ),
        (
            "webhook/deployment.yaml",
            "maxUnavailable: 1",
            "maxUnavailble: 1",
        ),
    ] {
        let scratch = Scratch::new();
        copy(&manifests(), scratch.path());
        let path = scratch.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(right), "{file} has no {right}");
        fs::write(&path, text.replace(right, wrong)).unwrap();
        let Some(validated) = validated(scratch.path()) else {
            return;
        };
        let name = wrong.split(':').next().unwrap();
        assert!(
            validated
                .problems
                .iter()
                .any(|problem| problem.contains(name)),
            "{:?}",
            validated.problems
        );
        let mut all = validated.objects.values().flatten();
        assert!(all.any(|object| through_types(object).is_err()), "{wrong}");
    }
}

#[test]
fn a_pod_beyond_the_restricted_standard_is_found() {
    let scratch = Scratch::new();
    copy(&manifests(), scratch.path());
    let path = scratch.join("native/pod.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("runAsNonRoot: true", "runAsNonRoot: false"),
    )
    .unwrap();
    let Some(validated) = validated(scratch.path()) else {
        return;
    };
    for name in ["native", "classic", "job", "pytorchjob"] {
        let is_found = |problem: &String| {
            problem.starts_with(&format!("{name}: ")) && problem.contains("runAsNonRoot")
        };
        assert!(
            validated.problems.iter().any(is_found),
            "{:?}",
            validated.problems
        );
    }
}

#[test]
fn the_jobs_have_the_pod_of_the_native_example() {
    let (Some(pod), Some(job), Some(torch)) = (
        object("native", "Pod"),
        object("job", "Job"),
        object("pytorchjob", "PyTorchJob"),
    ) else {
        return;
    };
    assert_eq!(job["spec"]["template"]["spec"], pod["spec"]);
    let mut expected = pod["spec"].clone();
    expected["containers"][0]["name"] = json!("pytorch");
    for replica in ["Master", "Worker"] {
        let spec = &torch["spec"]["pytorchReplicaSpecs"][replica]["template"]["spec"];
        assert_eq!(spec, &expected, "{replica}");
    }
}

#[test]
fn the_classic_sidecar_differs_from_the_native_one_by_place_drain_and_who_may_stop_it() {
    let (Some(native), Some(classic)) = (object("native", "Pod"), object("classic", "Pod")) else {
        return;
    };
    let mut expected = native["spec"]["initContainers"][0].clone();
    let fields = expected.as_object_mut().unwrap();
    assert_eq!(fields.remove("restartPolicy"), Some(json!("Always")));
    let spec = &classic["spec"];
    let grace = spec["terminationGracePeriodSeconds"].as_u64().unwrap();
    // It needs two seconds of the grace period for itself.
    let drain = json!({"name": "RAM_SIDECAR_DRAIN", "value": format!("{}s", grace - 2)});
    // The job that stops it may have another user.
    let stop = json!({"name": "RAM_SIDECAR_ADMIN_STOP", "value": "anyone"});
    expected["env"]
        .as_array_mut()
        .unwrap()
        .extend([drain, stop]);
    assert_eq!(spec["containers"][1], expected);
    assert_eq!(spec["initContainers"], Value::Null);
    assert_eq!(spec["volumes"], native["spec"]["volumes"]);
}

#[test]
fn all_images_are_of_this_version() {
    let Some(validated) = validated(&manifests()) else {
        return;
    };
    let image = format!("ram-sidecar:{}", env!("CARGO_PKG_VERSION"));
    for (name, objects) in validated.objects {
        let text = Value::from(objects).to_string();
        let named = text.matches("ram-sidecar:").count();
        assert!(named > 0, "{name}");
        assert_eq!(text.matches(&image).count(), named, "{name}");
    }
}

/// Decodes and encodes an object; fails if the result differs.
fn through_types(object: &Value) -> Result<(), String> {
    let kind = object["kind"].as_str().unwrap();
    match kind {
        "ClusterRole" => through::<ClusterRole>(object),
        "ClusterRoleBinding" => through::<ClusterRoleBinding>(object),
        "Deployment" => through::<Deployment>(object),
        "Job" => through::<Job>(object),
        "MutatingWebhookConfiguration" => through::<MutatingWebhookConfiguration>(object),
        "Namespace" => through::<Namespace>(object),
        "NetworkPolicy" => through::<NetworkPolicy>(object),
        "Pod" => through::<Pod>(object),
        "PodDisruptionBudget" => through::<PodDisruptionBudget>(object),
        "Service" => through::<Service>(object),
        "ServiceAccount" => through::<ServiceAccount>(object),
        // Types of other projects, in which only the pods are Kubernetes' own.
        "PyTorchJob" => {
            let replicas = object["spec"]["pytorchReplicaSpecs"].as_object().unwrap();
            let mut templates = replicas.values().map(|replica| &replica["template"]);
            templates.try_for_each(through::<PodTemplateSpec>)
        }
        "Certificate" | "Issuer" | "PodMonitor" => Ok(()),
        _ => Err(format!("the kind {kind} is unknown")),
    }
}

fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let decoded: T = serde_json::from_value(object.clone())
        .map_err(|error| format!("{object} is rejected: {error}"))?;
    let again = serde_json::to_value(decoded).unwrap();
    if again == *object {
        Ok(())
    } else {
        Err(format!("{object} becomes {again}"))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            self::copy(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), copy).unwrap();
        }
    }
}
