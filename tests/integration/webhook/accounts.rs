//! Service accounts, read from a stub of the API server over TLS.

use std::sync::Mutex;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::stubs::{Reply, Stub};
use crate::tls::Front;

use super::*;

/// A stub of the API server, and the files with which the webhook connects to it.
struct Cluster {
    front: Front,
    answer: Arc<Mutex<Answer>>,
    /// The minor version of the API server.
    minor: Arc<Mutex<&'static str>>,
    /// The heads of the requests for accounts that have arrived.
    requests: Arc<Mutex<Vec<String>>>,
    scratch: Scratch,
}

#[derive(Clone)]
enum Answer {
    Status(u16, String),
    Silence,
}

impl Cluster {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(Mutex::new(Answer::Status(404, "{}".to_owned())));
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let minor = Arc::new(Mutex::new("34"));
        let (answers, heads) = (Arc::clone(&answer), Arc::clone(&requests));
        let minors = Arc::clone(&minor);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answers, heads) = (Arc::clone(&answers), Arc::clone(&heads));
                let minors = Arc::clone(&minors);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let mut answer = answers.lock().unwrap().clone();
                    if head.starts_with(b"GET /version ") {
                        let minor = *minors.lock().unwrap();
                        let body = json!({ "major": "1", "minor": minor });
                        answer = Answer::Status(200, body.to_string());
                    } else {
                        heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                    }
                    match answer {
                        Answer::Silence => std::future::pending().await,
                        Answer::Status(status, body) => {
                            let length = body.len();
                            let text = format!(
                                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}"
                            );
                            stream.write_all(text.as_bytes()).await.unwrap();
                        }
                    }
                });
            }
        });
        let front = Front::start(&behind).await;
        let scratch = Scratch::new();
        fs::write(scratch.join("ca.crt"), &front.ca).unwrap();
        let cluster = Self {
            front,
            answer,
            minor,
            requests,
            scratch,
        };
        cluster.rotate("first");
        cluster
    }

    fn rotate(&self, token: &str) {
        fs::write(
            self.scratch.join("token"),
            format!("planted-token-{token}\n"),
        )
        .unwrap();
    }

    fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = Answer::Status(status, body.to_owned());
    }

    fn has(&self, annotations: &Value) {
        let account = json!({
            "kind": "ServiceAccount",
            "apiVersion": "v1",
            "metadata": { "name": "default", "annotations": annotations },
        });
        self.answers(200, &account.to_string());
    }

    fn webhook(&self, args: &[&str]) -> Webhook {
        self.webhook_in(args, &[])
    }

    fn webhook_in(&self, args: &[&str], env: &[(&str, &str)]) -> Webhook {
        let url = format!("https://{}", self.front.address);
        let (token, ca) = (self.scratch.join("token"), self.scratch.join("ca.crt"));
        let own = [
            "--read-service-accounts",
            "--kubernetes-url",
            &url,
            "--kubernetes-token-file",
            token.to_str().unwrap(),
            "--kubernetes-ca-file",
            ca.to_str().unwrap(),
        ];
        Webhook::start_in(&[&DEFAULTS[..], &own, args].concat(), env)
    }

    /// Returns the head of the last request.
    fn last(&self) -> String {
        self.requests
            .lock()
            .unwrap()
            .last()
            .cloned()
            .unwrap_or_default()
    }
}

fn role(pod: &Value, response: &Value) -> Value {
    let injected = patched(pod, response);
    let env = injected["spec"]["initContainers"][0]["env"].clone();
    let env = env.as_array().unwrap().clone();
    let found = env.iter().find(|v| v["name"] == "ALIBABA_CLOUD_ROLE_ARN");
    found.unwrap()["value"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_of_the_account_are_used_and_the_token_is_reread() {
    let cluster = Cluster::start().await;
    let webhook = cluster.webhook(&[]);
    let client = webhook.client();
    let mut pod = pod();

    // There is no such account, or it has no annotations.
    assert_eq!(
        role(&pod, &client.review(&pod).await),
        "acs:ram::1:role/job"
    );
    let head = cluster.last();
    assert!(
        head.starts_with("GET /api/v1/namespaces/team/serviceaccounts/default HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("authorization: Bearer planted-token-first\r\n"),
        "{head}"
    );

    cluster.rotate("second");
    cluster.has(&json!({ "pod-identity.alibabacloud.com/role-name": "annotated" }));
    pod["spec"]["serviceAccountName"] = "trainer".into();
    assert_eq!(
        role(&pod, &client.review(&pod).await),
        "acs:ram::1:role/annotated"
    );
    let head = cluster.last();
    assert!(
        head.starts_with("GET /api/v1/namespaces/team/serviceaccounts/trainer "),
        "{head}"
    );
    assert!(head.contains("Bearer planted-token-second\r\n"), "{head}");

    pod["metadata"]["annotations"] = json!({ "ram-sidecar/role": "own" });
    assert_eq!(
        role(&pod, &client.review(&pod).await),
        "acs:ram::1:role/own"
    );

    // For a pod that is left alone, the API server is not called.
    let before = cluster.requests.lock().unwrap().len();
    pod["metadata"]["labels"] = json!({ "ram-sidecar/inject": "false" });
    client.review(&pod).await;
    assert_eq!(cluster.requests.lock().unwrap().len(), before);
    assert!(!webhook.process.stderr().contains("planted-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clusters_get_classic_sidecars_except_where_nothing_could_stop_one() {
    let cluster = Cluster::start().await;
    let mut job = pod();
    job["spec"]["restartPolicy"] = "Never".into();
    let owned = |api: &str, kind: &str| {
        let mut pod = job.clone();
        let owner =
            json!({ "apiVersion": api, "kind": kind, "name": "a", "uid": "u", "controller": true });
        pod["metadata"]["ownerReferences"] = json!([owner]);
        pod
    };
    for (minor, is_classic) in [
        ("28", true),
        ("28+", true),
        ("29", false),
        ("unknown", false),
    ] {
        *cluster.minor.lock().unwrap() = minor;
        let webhook = cluster.webhook(&[]);
        let pod = owned("batch/v1", "Job");
        let response = webhook.client().review(&pod).await;
        let containers = patched(&pod, &response)["spec"]["containers"].clone();
        let has_classic = containers.to_string().contains("\"ram-sidecar\"");
        assert_eq!(has_classic, is_classic, "{minor}");
        let warnings = response["warnings"].to_string();
        for needle in [
            "the cluster is older than Kubernetes 1.29",
            "/stop` at the end",
        ] {
            assert_eq!(warnings.contains(needle), is_classic, "{minor}: {warnings}");
        }
        let workflow = owned("argoproj.io/v1alpha1", "Workflow");
        let response = webhook.client().review(&workflow).await;
        assert_eq!(response["allowed"], !is_classic, "{minor}");
        if is_classic {
            let message = response["status"]["message"].as_str().unwrap();
            assert!(
                message.contains("Argo waits for a classic sidecar"),
                "{message}"
            );
            // What somebody asks for is done.
            let mut asked = pod.clone();
            asked["metadata"]["annotations"] = json!({ "ram-sidecar/classic": "false" });
            let response = webhook.client().review(&asked).await;
            let init = patched(&asked, &response)["spec"]["initContainers"].clone();
            assert_eq!(init[0]["restartPolicy"], "Always");
        }
        let is_unknown = webhook.process.stderr().contains("version is unknown");
        assert_eq!(is_unknown, minor == "unknown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_annotations_of_an_account_deny_the_pod_and_name_the_remedy() {
    let cluster = Cluster::start().await;
    let (default, wide) = (
        cluster.webhook(&[]),
        cluster.webhook(&[
            "--account-annotations",
            "image",
            "--image-prefix",
            "registry/",
        ]),
    );
    for (name, value) in [
        ("image", "registry/evil:1"),
        ("metadata", "true"),
        ("identity", "ecs_ram_role"),
        ("secret", "keys"),
        ("oidc-provider-arn", "acs:ram::2:oidc-provider/evil"),
        ("classic", "true"),
    ] {
        let annotation = format!("ram-sidecar/{name}");
        cluster.has(&json!({ &annotation: value }));
        let response = default.client().review(&pod()).await;
        assert_eq!(response["allowed"], false, "{name}");
        assert_eq!(
            response["status"]["message"],
            format!(
                "the sidecar cannot be injected: the service account's annotation {annotation}: the webhook does not accept it from service accounts; set it on the pod, or let the webhook's --account-annotations name it"
            )
        );
        let response = wide.client().review(&pod()).await;
        assert_eq!(response["allowed"], name == "image", "{name}");
    }
    cluster.has(&json!({ "ram-sidecar/image": "elsewhere/evil:1" }));
    let response = wide.client().review(&pod()).await;
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("accepts only images below registry/"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_called_directly_despite_proxy_variables() {
    let cluster = Cluster::start().await;
    cluster.has(&json!({ "pod-identity.alibabacloud.com/role-name": "annotated" }));
    let proxy = Stub::start(|request| Reply {
        status: StatusCode::FORBIDDEN,
        content_type: "text/plain",
        rejection: Some(format!("{:?} was requested", request.authority)),
        ..Reply::default()
    });
    let url = proxy.endpoint();
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let webhook = cluster.webhook_in(&[], &names.map(|name| (name, url.as_str())));
    assert_eq!(
        role(&pod(), &webhook.client().review(&pod()).await),
        "acs:ram::1:role/annotated"
    );
    assert_eq!(proxy.rejections(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_account_follows_the_failure_policy_and_names_the_remedy() {
    let cluster = Cluster::start().await;
    let (fail, ignore) = (
        cluster.webhook(&[]),
        cluster.webhook(&["--failure-policy", "ignore"]),
    );
    let mut named = pod();
    named["spec"]["serviceAccountName"] = "../../../secrets/x".into();
    let restore = || {
        cluster.rotate("first");
        fs::write(cluster.scratch.join("ca.crt"), &cluster.front.ca).unwrap();
        cluster.has(&json!({}));
    };
    let other = Authority::new();
    let other = other.certify("x", &KeyPair::generate().unwrap());
    let rows: [(&dyn Fn(), &Value, &str); 9] = [
        (
            &|| cluster.answers(403, "{}"),
            &pod(),
            "let the webhook's service account `get` the resource `serviceaccounts` in team",
        ),
        (&|| cluster.answers(401, "{}"), &pod(), "rejects the token"),
        (
            &|| cluster.answers(500, "planted-password"),
            &pod(),
            "responds with status 500",
        ),
        (
            &|| cluster.answers(200, "planted-password"),
            &pod(),
            "is not a service account",
        ),
        (
            &|| fs::remove_file(cluster.scratch.join("token")).unwrap(),
            &pod(),
            "automountServiceAccountToken",
        ),
        (
            &|| fs::remove_file(cluster.scratch.join("ca.crt")).unwrap(),
            &pod(),
            "correct --kubernetes-ca-file",
        ),
        (
            &|| fs::write(cluster.scratch.join("ca.crt"), "").unwrap(),
            &pod(),
            "contains no certificate",
        ),
        (
            &|| fs::write(cluster.scratch.join("ca.crt"), &other).unwrap(),
            &pod(),
            "certificate",
        ),
        (&|| {}, &named, "is not a valid name"),
    ];
    for (break_cluster, pod, cause) in rows {
        restore();
        break_cluster();
        let response = fail.client().review(pod).await;
        assert_eq!(response["allowed"], false, "{cause}");
        let message = response["status"]["message"].as_str().unwrap();
        assert!(
            message.contains("cannot read the service account team/") && message.contains(cause),
            "{message}"
        );
        assert!(!message.contains(PLANTED));
        let response = ignore.client().review(pod).await;
        assert_eq!(
            (&response["allowed"], response.get("patch")),
            (&true.into(), None),
            "{cause}"
        );
    }
    assert!(!fail.process.stderr().contains("planted-"));
    restore();
    assert_eq!(fail.client().review(&pod()).await["allowed"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_api_server_times_out_within_a_review_and_delays_no_other() {
    let cluster = Cluster::start().await;
    let webhook = cluster.webhook(&[]);
    let client = webhook.client();
    *cluster.answer.lock().unwrap() = Answer::Silence;
    let began = Instant::now();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.review(&pod()).await })
        })
        .collect();
    eventually("all requests have arrived", || {
        (cluster.requests.lock().unwrap().len() == 20).then_some(())
    });
    // Other reviews go on.
    let mut out = pod();
    out["metadata"]["labels"] = json!({ "ram-sidecar/inject": "false" });
    assert_eq!(client.review(&out).await["allowed"], true);
    assert_eq!(client.get("/live").await.status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    for waiting in waiting {
        let response = waiting.await.unwrap();
        assert_eq!(response["allowed"], false);
    }
    // The API server waits ten seconds by default.
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}
