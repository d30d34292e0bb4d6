//! Metrics on the pod's address, and the readiness probe.

use super::*;
use crate::inject::workload::{Report, inject_into};

fn flags() -> Request {
    request(&[(Field::Metrics, "true"), (Field::Readiness, "true")]).or(&rrsa())
}

#[test]
fn a_pod_opens_no_port_and_has_no_readiness_probe_unless_it_asks_for_them() {
    let pod = injected(&pod(), &rrsa()).pod;
    let sidecar = &pod["spec"]["initContainers"][0];
    assert!(sidecar.get("ports").is_none() && sidecar.get("readinessProbe").is_none());
    assert!(!sidecar.to_string().contains("ADMIN_LISTEN"));
    let metadata = &pod["metadata"];
    assert!(!metadata.to_string().contains("prometheus"));
}

#[test]
fn metrics_are_on_the_address_of_the_pod_and_the_credentials_are_not() {
    for (fields, port, listen) in [
        (&[][..], 7003, None),
        (&[(Field::Port, "7012")], 7013, Some("127.0.0.1:7012")),
        (&[(Field::Classic, "true")], 7003, None),
    ] {
        let Injected { pod, warnings, .. } = injected(&pod(), &request(fields).or(&flags()));
        assert_eq!(warnings, [""; 0]);
        let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
        let mut containers = lists.into_iter().flatten().flatten();
        let sidecar = containers.find(|it| it["name"] == "ram-sidecar").unwrap();
        assert_eq!(
            sidecar["ports"],
            json!([{ "name": "metrics", "containerPort": port }])
        );
        let admin = format!("0.0.0.0:{port}");
        assert_eq!(variable(sidecar, "RAM_SIDECAR_ADMIN_LISTEN"), admin);
        let env = sidecar["env"].as_array().unwrap().iter();
        let found = env.clone().find(|it| it["name"] == "RAM_SIDECAR_LISTEN");
        assert_eq!(found.and_then(|it| it["value"].as_str()), listen);
        let metadata = &pod["metadata"];
        let of_prometheus = ["scrape", "port", "path"]
            .map(|name| metadata["annotations"][format!("prometheus.io/{name}")].clone());
        assert_eq!(of_prometheus, ["true", &port.to_string(), "/metrics"]);
    }
}

#[test]
fn what_leads_scrapers_to_the_application_stays_unchanged() {
    let own = json!({ "prometheus.io/scrape": "false", "a": "b" });
    let mut before = pod();
    before["metadata"]["annotations"] = own;
    before["spec"]["containers"][0]["ports"] = json!([{ "name": "metrics", "containerPort": 9 }]);
    let Injected { pod, warnings, .. } = injected(&before, &flags());
    let annotations = pod["metadata"]["annotations"].as_object().unwrap();
    let names: Vec<&String> = annotations.keys().collect();
    assert_eq!(names, ["prometheus.io/scrape", "a", "ram-sidecar/injected"]);
    assert_eq!(
        warnings,
        [
            "container main has a port metrics too: what selects ports by this name scrapes both, let it select the container too",
            "has the annotation prometheus.io/scrape already, so it gets none for the sidecar's metrics at the port 7003: let a PodMonitor select the port metrics",
        ]
    );
}

#[test]
fn annotations_that_are_not_an_object_stay_unchanged() {
    let mut before = pod();
    before["metadata"] = json!({ "annotations": "a" });
    assert_eq!(
        injected(&before, &flags()).pod["metadata"],
        before["metadata"]
    );
}

#[test]
fn metrics_on_the_network_of_the_node_are_reported() {
    let mut before = pod();
    before["spec"]["hostNetwork"] = json!(true);
    let request = request(&[(Field::Port, "20010")]).or(&flags());
    let warnings = injected(&before, &request).warnings;
    assert_eq!(
        warnings[1],
        "shares the node's network: whoever reaches the node reads the metrics and the probes at the port 20011, limit who does, or leave out --metrics (ram-sidecar/metrics)"
    );
}

#[test]
fn readiness_is_probed_in_the_container_whose_output_the_events_show() {
    let pod = injected(&pod(), &flags()).pod;
    let readiness = &pod["spec"]["initContainers"][0]["readinessProbe"];
    let command = json!(["/ram-sidecar", "health", "ready"]);
    assert_eq!(readiness["exec"]["command"], command);
    // The command gives up after 2 s, and says why.
    assert!(readiness["timeoutSeconds"].as_u64().unwrap() > 2);
}

#[test]
fn a_sidecar_keeps_its_ports_and_probes_and_says_so() {
    for (first, second, kept) in [
        (rrsa(), flags(), &["ports", "probes"][..]),
        (flags(), flags(), &[]),
        (flags(), rrsa(), &[]),
        (
            flags(),
            request(&[(Field::Readiness, "false")]),
            &["probes"],
        ),
    ] {
        let mut document = pod();
        document["kind"] = json!("Pod");
        inject_into(&mut document, &first, &mut Report::default());
        let once = document.clone();
        let mut report = Report::default();
        inject_into(&mut document, &second, &mut report);
        assert_eq!(document, once);
        let expected = kept.iter().map(|what| {
            let flag = if *what == "ports" { "metrics" } else { "readiness" };
            format!("Pod/trainer: keeps the {what} of its sidecar, so --{flag} has no effect: inject into the manifest without the sidecar to change it")
        });
        assert_eq!(report.messages[1..], expected.collect::<Vec<String>>());
    }
}
