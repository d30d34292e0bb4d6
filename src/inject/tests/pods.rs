//! Pods of all shapes, drawn from seeds, and what must hold of each.

use super::drawn::{Dice, pod, wish};
use super::holds::holds;
use super::restricted::violations;
use crate::inject::{inject, yaml};

#[test]
fn whatever_the_pod_nothing_of_it_is_lost_and_a_second_time_changes_nothing() {
    for seed in 1..=1000 {
        let mut dice = Dice(seed);
        let is_restricted = dice.one_in(2);
        let before = pod(&mut dice, is_restricted);
        let wish = wish(&mut dice);
        let after = inject(&before, &wish).unwrap_or_else(|told| panic!("seed {seed}: {told}"));
        assert!(
            holds(&after.pod, &before),
            "seed {seed}: {before:#}\n{:#}",
            after.pod
        );
        let twice = inject(&after.pod, &wish).unwrap();
        assert_eq!(twice.pod, after.pod, "seed {seed}");
        let text = yaml::write(&after.pod);
        let again = yaml::read(text.as_bytes())
            .unwrap_or_else(|told| panic!("seed {seed}: {told}\n{text}"));
        assert_eq!(again[0].value, after.pod, "seed {seed}");
    }
}

#[test]
fn a_restricted_pod_stays_restricted_unless_it_gets_the_metadata_address() {
    let mut privileged = 0;
    for seed in 1..=1000 {
        let mut dice = Dice(seed);
        let before = pod(&mut dice, true);
        assert_eq!(violations(&before), Vec::<String>::new(), "seed {seed}");
        let wish = wish(&mut dice);
        let after = inject(&before, &wish).unwrap().pod;
        if wish.metadata {
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
fn each_led_container_can_read_the_file_and_finds_its_uid_before_it_is_used() {
    for seed in 1..=500 {
        let mut dice = Dice(seed);
        let before = pod(&mut dice, false);
        let wish = wish(&mut dice);
        let after = inject(&before, &wish).unwrap().pod;
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
                let is_ours = name.as_str().unwrap() != "data";
                assert!(
                    !is_ours || volumes.iter().any(|volume| volume["name"] == *name),
                    "seed {seed}: {name}"
                );
            }
        }
    }
}
