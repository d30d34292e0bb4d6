//! The webhook's manifests: which pods it is called for, and whether the API server reaches it.

#[cfg(feature = "inject")]
use std::fs;

use serde_json::{Value, json};

use super::{object, object_named};
#[cfg(feature = "inject")]
use crate::support::{Scratch, run_command};

/// Returns the names of the webhooks that are called for a pod with these labels of its namespace and its own.
fn called(configuration: &Value, namespace: &Value, pod: &Value) -> Vec<String> {
    let webhooks = configuration["webhooks"].as_array().unwrap().iter();
    let called = webhooks.filter(|webhook| {
        selects(&webhook["namespaceSelector"], namespace)
            && selects(&webhook["objectSelector"], pod)
    });
    let name = |webhook: &Value| {
        let name = webhook["name"].as_str().unwrap();
        name.split('.').next().unwrap().to_owned()
    };
    called.map(name).collect()
}

/// Whether a selector matches these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let fields = selector.as_object().unwrap();
    fields.iter().all(|(field, value)| match field.as_str() {
        "matchLabels" => {
            let mut required = value.as_object().unwrap().iter();
            required.all(|(key, value)| labels.get(key) == Some(value))
        }
        "matchExpressions" => value.as_array().unwrap().iter().all(|expression| {
            let label = labels.get(expression["key"].as_str().unwrap());
            if expression["operator"] == "Exists" {
                return label.is_some();
            }
            assert_eq!(expression["operator"], "NotIn");
            let values = expression["values"].as_array().unwrap();
            label.is_none_or(|label| !values.contains(label))
        }),
        _ => panic!("{field} is not known"),
    })
}

fn assert_called(of: &str, table: &[(Value, Value, &[&str])]) {
    let Some(configuration) = object(of, "MutatingWebhookConfiguration") else {
        return;
    };
    for (namespace, pod, expected) in table {
        let mut namespace = namespace.clone();
        let labels = namespace.as_object_mut().unwrap();
        // Kubernetes labels every namespace with its name.
        let name = labels.entry("kubernetes.io/metadata.name");
        name.or_insert_with(|| json!("default"));
        let called = called(&configuration, &namespace, pod);
        assert_eq!(called, *expected, "{pod} in {namespace}");
    }
}

#[test]
fn one_webhook_is_called_for_pods_that_opt_in_and_none_for_the_system() {
    let yes = || json!({"ram-sidecar/inject": "true"});
    let no = || json!({"ram-sidecar/inject": "false"});
    let odd = || json!({"ram-sidecar/inject": "yes"});
    let named =
        |name: &str| json!({"kubernetes.io/metadata.name": name, "ram-sidecar/inject": "true"});
    assert_called(
        "webhook",
        &[
            (json!({}), json!({}), &[]),
            (json!({}), json!({"app": "x"}), &[]),
            (json!({}), yes(), &["pod"]),
            (json!({}), no(), &[]),
            (yes(), json!({}), &["namespace"]),
            (yes(), yes(), &["pod"]),
            (yes(), no(), &[]),
            (no(), json!({}), &[]),
            (no(), yes(), &["pod"]),
            (json!({}), odd(), &["label"]),
            (no(), odd(), &["label"]),
            (yes(), odd(), &["namespace"]),
            (named("kube-system"), odd(), &[]),
            (named("kube-system"), yes(), &[]),
            (named("kube-public"), yes(), &[]),
            (named("kube-node-lease"), json!({}), &[]),
            (named("ram-sidecar"), json!({}), &[]),
            (
                json!({}),
                json!({"pod-identity.alibabacloud.com/injection": "on"}),
                &[],
            ),
        ],
    );
}

#[test]
fn labels_of_ack_opt_in_too_and_ram_sidecar_labels_take_precedence() {
    let on = || json!({"pod-identity.alibabacloud.com/injection": "on"});
    let off = || json!({"pod-identity.alibabacloud.com/injection": "off"});
    let yes = || json!({"ram-sidecar/inject": "true"});
    let both = |label: &str| json!({"pod-identity.alibabacloud.com/injection": "on", "ram-sidecar/inject": label});
    let system = json!({
        "kubernetes.io/metadata.name": "kube-system",
        "pod-identity.alibabacloud.com/injection": "on"
    });
    assert_called(
        "webhook/ack",
        &[
            (json!({}), json!({}), &[]),
            (json!({}), yes(), &["pod"]),
            (yes(), json!({}), &["namespace"]),
            (json!({}), on(), &["ack-pod"]),
            (json!({}), off(), &[]),
            (json!({}), both("true"), &["pod"]),
            (json!({}), both("false"), &[]),
            (on(), json!({}), &["ack-namespace"]),
            (on(), on(), &["ack-pod"]),
            (on(), off(), &[]),
            (on(), yes(), &["pod"]),
            (system.clone(), on(), &[]),
            (system, json!({}), &[]),
        ],
    );
}

#[test]
fn the_certificate_has_the_name_by_which_the_api_server_calls() {
    const OF: &str = "webhook/cert-manager";
    let get = |kind| object(OF, kind);
    let (Some(configuration), Some(service), Some(deployment), Some(certificate)) = (
        get("MutatingWebhookConfiguration"),
        get("Service"),
        get("Deployment"),
        // The other certificate is that of the authority.
        object_named(OF, "Certificate", "ram-sidecar-webhook"),
    ) else {
        return;
    };
    let meta = &service["metadata"];
    for webhook in configuration["webhooks"].as_array().unwrap() {
        let address = &webhook["clientConfig"]["service"];
        assert_eq!(address["name"], meta["name"]);
        assert_eq!(address["namespace"], meta["namespace"]);
        let path = address["path"].as_str().unwrap();
        assert!(path.starts_with("/inject"), "{path}");
        // The default port is 443.
        assert_eq!(address["port"], Value::Null);
        assert_eq!(service["spec"]["ports"][0]["port"], 443);
    }
    let template = &deployment["spec"]["template"];
    assert_eq!(service["spec"]["selector"], template["metadata"]["labels"]);
    let port = &template["spec"]["containers"][0]["ports"][0];
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);

    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let host = format!("{}.{}.svc", text(&meta["name"]), text(&meta["namespace"]));
    assert_eq!(certificate["spec"]["dnsNames"], json!([host]));
    let volume = &template["spec"]["volumes"][0];
    assert_eq!(
        certificate["spec"]["secretName"],
        volume["secret"]["secretName"]
    );
    let issued = &certificate["metadata"];
    assert_eq!(
        configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"],
        format!("{}/{}", text(&issued["namespace"]), text(&issued["name"]))
    );
}

#[test]
fn the_webhook_may_read_service_accounts_and_nothing_else() {
    let Some(role) = object("webhook", "ClusterRole") else {
        return;
    };
    assert_eq!(
        role["rules"],
        json!([{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]}])
    );
}

#[test]
fn a_second_apply_keeps_the_strategy_of_the_deployment() {
    let Some(deployment) = object("webhook", "Deployment") else {
        return;
    };
    // `kubectl apply` patches the strategy with `$retainKeys`, which lists the keys of the manifest.
    let strategy = &deployment["spec"]["strategy"];
    assert_eq!(
        *strategy,
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}})
    );
}

#[test]
fn each_webhook_is_called_at_the_path_of_its_pods() {
    let Some(configuration) = object("webhook/ack", "MutatingWebhookConfiguration") else {
        return;
    };
    let webhooks = configuration["webhooks"].as_array().unwrap().iter();
    let paths = webhooks.map(|webhook| {
        let name = webhook["name"].as_str().unwrap();
        let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
        let calls_again = webhook["reinvocationPolicy"] == "IfNeeded";
        (name.split('.').next().unwrap(), path, calls_again)
    });
    let paths: Vec<(&str, &str, bool)> = paths.collect();
    assert_eq!(
        paths,
        [
            ("pod", "/inject", true),
            ("namespace", "/inject", true),
            ("label", "/inject/label", false),
            ("ack-pod", "/inject/ack", true),
            ("ack-namespace", "/inject/ack", true),
        ]
    );
    let label = &configuration["webhooks"][2];
    assert_eq!(label["failurePolicy"], "Ignore");
}

#[test]
fn sidecars_have_the_image_of_the_webhook() {
    let Some(deployment) = object("webhook", "Deployment") else {
        return;
    };
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let image = container["image"].as_str().unwrap();
    assert_eq!(container["args"][1], format!("--image={image}"));
}

#[cfg(feature = "inject")]
#[test]
fn the_commands_of_the_guide_select_a_pod_and_name_its_role() {
    let guide = include_str!("../../../docs/src/guides/webhook.md");
    let commands = guide
        .lines()
        .filter_map(|line| line.strip_prefix("kubectl "));
    let commands: Vec<&str> = commands.collect();
    let [install, annotate, label] = commands[..] else {
        panic!("the guide has other commands: {commands:?}");
    };
    let directory = install.strip_prefix("apply -k config/kubernetes/").unwrap();
    let pair = |command: &str, object: &str| {
        let pair = command
            .strip_prefix(object)
            .and_then(|rest| rest.split_once('='));
        let (key, value) = pair.unwrap_or_else(|| panic!("{command}"));
        json!({ key: value })
    };
    let labels = pair(label, "label namespace default ");
    assert_called(directory, &[(labels, json!({}), &["namespace"])]);

    // `inject` reads from a pod the annotations that the webhook reads from a service account too.
    let annotations = pair(annotate, "annotate serviceaccount job ");
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "job", "annotations": annotations },
        "spec": { "containers": [{ "name": "job", "image": "job" }] },
    });
    let scratch = Scratch::new();
    let file = scratch.join("pod.json");
    fs::write(&file, pod.to_string()).unwrap();
    let provider = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c0123456789";
    let args = [
        "-f",
        file.to_str().unwrap(),
        "--image",
        "sidecar",
        "--oidc-provider-arn",
        provider,
    ];
    let injected = run_command("inject", &args, &[]);
    assert!(
        injected
            .stdout
            .contains("acs:ram::1234567890123456:role/job"),
        "{}",
        injected.stderr
    );
}

#[test]
fn the_network_policy_selects_the_webhook_and_admits_to_its_port_only() {
    const OF: &str = "webhook/network-policy";
    let (Some(policy), Some(deployment)) = (object(OF, "NetworkPolicy"), object(OF, "Deployment"))
    else {
        return;
    };
    let template = &deployment["spec"]["template"];
    let spec = &policy["spec"];
    assert_eq!(policy["metadata"]["namespace"], "ram-sidecar");
    assert_eq!(
        spec["podSelector"]["matchLabels"],
        template["metadata"]["labels"]
    );
    assert_eq!(spec["policyTypes"], json!(["Ingress"]));
    let rules = spec["ingress"].as_array().unwrap();
    assert_eq!(rules.len(), 1);
    let port = &template["spec"]["containers"][0]["ports"][0]["name"];
    assert_eq!(
        rules[0]["ports"],
        json!([{"port": port, "protocol": "TCP"}])
    );
    let monitoring = json!({"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}});
    assert_eq!(
        rules[0]["from"][1],
        json!({"namespaceSelector": monitoring})
    );
}
