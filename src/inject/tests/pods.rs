//! Random pods, and the invariants of their injection.

use serde_json::Value;

use super::patched;
use super::preserved::is_preserved;
use super::random::{Random, pod, spec};
use super::restricted::violations;
use crate::inject::{Metadata, inject, yaml};

#[test]
fn injection_loses_nothing_of_any_pod_and_a_second_one_changes_nothing() {
    for seed in 1..=1000 {
        let mut random = Random(seed);
        let is_restricted = random.one_in(2);
        let before = pod(&mut random, is_restricted);
        let spec = spec(&mut random);
        let after = inject(&before, &spec).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(
            is_preserved(&before, &after.pod),
            "seed {seed}: {before:#}\n{:#}",
            after.pod
        );
        let twice = inject(&after.pod, &spec).unwrap();
        assert_eq!(twice.pod, after.pod, "seed {seed}");
        assert_eq!(twice.operations, Vec::<Value>::new(), "seed {seed}");
        let text = yaml::write(&after.pod);
        let again = yaml::read(text.as_bytes())
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        assert_eq!(again[0].value, after.pod, "seed {seed}");
    }
}

#[test]
fn the_operations_turn_any_pod_into_the_injected_pod() {
    for seed in 1..=1000 {
        let mut random = Random(seed);
        let is_restricted = random.one_in(2);
        let before = pod(&mut random, is_restricted);
        let spec = spec(&mut random);
        let after = inject(&before, &spec).unwrap();
        assert_eq!(
            patched(&before, &after.operations),
            after.pod,
            "seed {seed}: {before:#} {:#?}",
            after.operations
        );
    }
}

#[test]
fn a_restricted_pod_stays_restricted_unless_it_gets_the_metadata_address() {
    let mut privileged = 0;
    for seed in 1..=1000 {
        let mut random = Random(seed);
        let before = pod(&mut random, true);
        assert_eq!(violations(&before), Vec::<String>::new(), "seed {seed}");
        let spec = spec(&mut random);
        let after = inject(&before, &spec).unwrap().pod;
        if spec.endpoints.metadata == Some(Metadata::Address) {
            privileged += 1;
            assert!(!violations(&after).is_empty(), "seed {seed}");
        } else {
            assert_eq!(
                violations(&after),
                Vec::<String>::new(),
                "seed {seed}: {after:#}"
            );
        }
    }
    assert!(privileged > 100, "{privileged}");
}

#[test]
fn each_configured_container_has_its_volumes_and_defines_its_uid_before_using_it() {
    for seed in 1..=500 {
        let mut random = Random(seed);
        let before = pod(&mut random, false);
        let spec = spec(&mut random);
        let after = inject(&before, &spec).unwrap().pod;
        let spec = &after["spec"];
        let volumes = spec["volumes"].as_array().unwrap();
        for container in ["containers", "initContainers"]
            .iter()
            .filter_map(|list| spec[*list].as_array())
            .flatten()
        {
            let env = container["env"].as_array().into_iter().flatten();
            let names: Vec<&str> = env.filter_map(|entry| entry["name"].as_str()).collect();
            let position = |name: &str| names.iter().position(|other| *other == name);
            let uri = container["env"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|entry| {
                    entry["value"]
                        .as_str()
                        .is_some_and(|value| value.ends_with("$(RAM_SIDECAR_POD_UID)"))
                });
            if let Some(uri) = uri {
                assert!(position("RAM_SIDECAR_POD_UID") < position(uri["name"].as_str().unwrap()));
            }
            let mut once = names.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), names.len(), "seed {seed}: {names:?}");
            for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                let name = &mount["name"];
                let is_added = name.as_str().unwrap() != "data";
                assert!(
                    !is_added || volumes.iter().any(|volume| volume["name"] == *name),
                    "seed {seed}: {name}"
                );
            }
        }
    }
}
