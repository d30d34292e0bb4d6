//! The settings of the webhook.

use crate::support::run_command;

use super::*;

#[test]
fn all_errors_are_reported_at_once() {
    let scratch = Scratch::new();
    let absent = scratch.join("absent");
    let absent = absent.to_str().unwrap();
    let args = [
        "--tls-cert",
        absent,
        "--tls-key",
        absent,
        "--failure-policy",
        "Perhaps",
        "--read-service-accounts",
        "--drain",
        "5",
        "--role",
        "a role",
        "--identity",
        "process",
        "--env",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET=planted-password",
    ];
    let variables = [
        ("RAM_SIDECAR_WEBHOOK_LISTEN", "localhost"),
        ("RAM_SIDECAR_WEBHOOK_VPC", "perhaps"),
        ("RAM_SIDECAR_LOG", "loud"),
    ];
    let ended = run_command("webhook", &args, &variables);
    assert_eq!(ended.code, Some(78));
    let stderr = ended.stderr;
    for place in [
        "RAM_SIDECAR_WEBHOOK_LISTEN: `localhost` has no port",
        "--tls-cert, --tls-key: cannot read ",
        "--failure-policy: `Perhaps` is not a policy; choose Fail or Ignore",
        "--read-service-accounts: this process does not run in a pod",
        "--drain: `5` has no unit",
        "--role: `a role` is not a role",
        "--identity: `process` is not an identity of a pod",
        "--env: ALIBABA_CLOUD_ACCESS_KEY_SECRET is a secret",
        "RAM_SIDECAR_WEBHOOK_VPC: `perhaps`",
        "RAM_SIDECAR_LOG: `loud`",
    ] {
        assert!(stderr.contains(place), "{place}\n{stderr}");
    }
    assert!(
        stderr.starts_with("ram-sidecar: 11 configuration errors:"),
        "{stderr}"
    );
    assert!(!stderr.contains(PLANTED));
}

#[test]
fn the_api_server_url_is_https_from_the_cluster_or_a_flag() {
    let files = Files::new();
    files.replace(&Authority::new().issue(NAME));
    let (certificate, key) = (files.certificate(), files.key());
    let fixed = [
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--drain",
        "wrong, so that it does not start",
        "--read-service-accounts",
    ];
    let report = |more: &[&str], variables: &[(&str, &str)]| {
        let ended = run_command("webhook", &[&fixed[..], more].concat(), variables);
        assert_eq!(ended.code, Some(78));
        ended.stderr
    };
    for url in [
        "http://10.0.0.1:6443",
        "10.0.0.1:6443",
        "https://a:b@c",
        "https://c/path",
        "https://c?q",
    ] {
        let reported = report(&["--kubernetes-url", url], &[]);
        assert!(
            reported.contains("--kubernetes-url: it is "),
            "{url}: {reported}"
        );
    }
    for host in ["10.0.0.1", "fd00::1"] {
        let variables = [
            ("KUBERNETES_SERVICE_HOST", host),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ];
        let reported = report(&[], &variables);
        assert!(
            reported.starts_with("ram-sidecar: 1 configuration error:"),
            "{reported}"
        );
    }
    // Kubernetes describes the webhook's own Service too, by variables of which one has the name of a setting.
    let service = [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "443"),
        ("RAM_SIDECAR_WEBHOOK_SERVICE_HOST", "10.0.0.2"),
        ("RAM_SIDECAR_WEBHOOK_SERVICE_PORT", "443"),
        ("RAM_SIDECAR_WEBHOOK_PORT", "tcp://10.0.0.2:443"),
        ("RAM_SIDECAR_WEBHOOK_PORT_443_TCP", "tcp://10.0.0.2:443"),
    ];
    let reported = report(&[], &service);
    assert!(
        reported.starts_with("ram-sidecar: 1 configuration error:"),
        "{reported}"
    );
    let wrong = [
        ("KUBERNETES_SERVICE_HOST", "a b"),
        ("KUBERNETES_SERVICE_PORT", "443"),
    ];
    assert!(
        report(&[], &wrong)
            .contains("KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT: it is not an address")
    );
}

#[test]
fn a_port_in_use_is_reported_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let files = Files::new();
    files.replace(&Authority::new().issue(NAME));
    let (certificate, key) = (files.certificate(), files.key());
    let args = [
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
        "--listen",
        &address,
    ];
    let ended = run_command("webhook", &args, &[]);
    assert_eq!(ended.code, Some(71));
    assert!(
        ended.stderr.contains(&address) && ended.stderr.contains("--listen"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_equals_its_flag_and_the_flag_wins() {
    let authority = Authority::new();
    let files = Files::new();
    files.replace(&authority.issue(NAME));
    let (certificate, key) = (files.certificate(), files.key());
    let variables = [
        ("RAM_SIDECAR_WEBHOOK_LISTEN", "127.0.0.1:0"),
        (
            "RAM_SIDECAR_WEBHOOK_TLS_CERT",
            certificate.to_str().unwrap(),
        ),
        ("RAM_SIDECAR_WEBHOOK_TLS_KEY", key.to_str().unwrap()),
        ("RAM_SIDECAR_WEBHOOK_IDENTITY", "ecs_ram_role"),
        ("RAM_SIDECAR_WEBHOOK_ROLE", "acs:ram::1:role/variable"),
        ("RAM_SIDECAR_WEBHOOK_IMAGE", "registry/ram-sidecar:1"),
        ("RAM_SIDECAR_WEBHOOK_CLASSIC", "true"),
    ];
    let args = [
        "--role",
        "acs:ram::1:role/flag",
        "--env",
        "HTTPS_PROXY=http://proxy:3128",
    ];
    let webhook = Webhook {
        process: Process::start(command("webhook", &args, &variables)),
        authority,
        files,
    };
    let pod = pod();
    let injected = patched(&pod, &webhook.client().review(&pod).await);
    let sidecar = &injected["spec"]["containers"][1];
    assert_eq!(sidecar["image"], "registry/ram-sidecar:1");
    let variables = sidecar["env"].as_array().unwrap();
    for (name, value) in [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/flag"),
        ("RAM_SIDECAR_IDENTITY", "ecs_ram_role"),
        ("HTTPS_PROXY", "http://proxy:3128"),
    ] {
        assert!(
            variables.contains(&json!({ "name": name, "value": value })),
            "{name}"
        );
    }
}
