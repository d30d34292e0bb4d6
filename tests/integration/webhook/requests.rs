//! Requests and responses of the webhook, and its shutdown.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_the_sidecar_and_one_line_in_the_log() {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let pod = pod();
    let response = client.review(&pod).await;
    assert_eq!(response["allowed"], true);
    let injected = patched(&pod, &response);
    let sidecar = &injected["spec"]["initContainers"][0];
    assert_eq!(
        (&sidecar["name"], &sidecar["restartPolicy"]),
        (&"ram-sidecar".into(), &"Always".into())
    );
    // Nothing of the job is lost.
    let variables = injected["spec"]["containers"][0]["env"].as_array().unwrap();
    assert_eq!(variables[0]["value"], PLANTED);
    assert!(
        variables
            .iter()
            .any(|v| v["name"] == "ALIBABA_CLOUD_CREDENTIALS_URI")
    );

    let again = client.review(&injected).await;
    assert_eq!(again, json!({ "uid": UID, "allowed": true }));

    let reviewed = |line: &&str| line.contains("A pod was reviewed");
    let lines = eventually("both are logged", || {
        let stderr = webhook.process.stderr();
        let lines = stderr.lines().filter(reviewed);
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (lines.len() == 2).then_some(lines)
    });
    let fields = |line: &Value| {
        ["namespace", "name", "role", "outcome"]
            .map(|name| line[name].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(
        fields(&lines[0]),
        ["team", "trainer-", "acs:ram::1:role/job", "injected"]
    );
    assert_eq!(fields(&lines[1]), ["team", "trainer-", "-", "left alone"]);
    assert!(!webhook.process.stderr().contains(PLANTED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_possible_sidecar_is_denied_or_created_as_configured() {
    let mut pod = pod();
    pod["metadata"]["annotations"] =
        json!({ "ram-sidecar/role": "no role", "ram-sidecar/duration": "1s" });
    let fail = Webhook::start(&DEFAULTS);
    let response = fail.client().review(&pod).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("ram-sidecar/role") && message.contains("ram-sidecar/duration"),
        "{message}"
    );
    let line = fail.logged("A pod was reviewed");
    assert!(
        line.contains("\"outcome\":\"denied\"") && line.contains("ram-sidecar/role"),
        "{line}"
    );

    let ignore = Webhook::start(&[&DEFAULTS[..], &["--failure-policy", "Ignore"]].concat());
    let response = ignore.client().review(&pod).await;
    assert_eq!(
        (&response["allowed"], response.get("patch")),
        (&true.into(), None)
    );
    assert_eq!(response["warnings"].as_array().unwrap().len(), 2);
    ignore.logged("admitted without");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_says_for_which_pods_the_api_server_calls() {
    let webhook = Webhook::start(&DEFAULTS[..2]);
    let client = webhook.client();
    let review = |path: &str, label: Value| {
        let mut pod = pod();
        pod["metadata"]["labels"] = label;
        let posted = posted(&review(&pod));
        let request = posted.replacen("POST /inject?", &format!("POST {path}?"), 1);
        let client = &client;
        async move {
            let reply = client.raw(request.as_bytes()).await.unwrap();
            let answer: Value = serde_json::from_str(&reply.body).unwrap();
            answer["response"].clone()
        }
    };
    let odd = || json!({ "ram-sidecar/inject": "yes" });
    // This pod has no role.
    let of_ack = review("/inject/ack", json!({})).await;
    assert_eq!(of_ack, json!({ "uid": UID, "allowed": true }));
    assert_eq!(review("/inject", json!({})).await["allowed"], false);
    let denied = review("/inject", odd()).await;
    assert_eq!(denied["allowed"], false);
    let warned = review("/inject/label", odd()).await;
    assert_eq!(
        (&warned["allowed"], warned.get("patch")),
        (&true.into(), None)
    );
    let warning = warned["warnings"][0].as_str().unwrap();
    assert!(warning.contains("write \"true\" or \"false\""), "{warning}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_not_reviews_are_rejected_with_a_reason() {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let good = posted(&review(&pod()));
    let old = review(&pod()).replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1");
    let large = " ".repeat(5 * 1024 * 1024);
    let values = format!("[{}0]", "0,".repeat(2 * 1024 * 1024 - 8));
    let typed = |name: &str| good.replace("Content-Type: application/json", name);
    for (request, status, code) in [
        (good.replace("POST", "GET"), 405, "MethodNotAllowed"),
        (good.replace("POST", "PUT"), 405, "MethodNotAllowed"),
        (good.replace("/inject", "/mutate"), 404, "NotFound"),
        (good.replace("/inject", "/inject/"), 404, "NotFound"),
        (
            good.replace("POST /inject", "POST /live"),
            405,
            "MethodNotAllowed",
        ),
        (typed("Content-Type: application/yaml"), 415, "WrongType"),
        (typed("X-Type: none"), 415, "WrongType"),
        (posted(""), 400, "NotJson"),
        (posted("{"), 400, "NotJson"),
        (posted("{}"), 400, "NoReview"),
        (posted(&old), 400, "WrongVersion"),
        (posted(&review(&Value::Null)), 400, "NoObject"),
        (posted(&review(&pod()).replace(UID, "")), 400, "NoUid"),
        (posted(&values), 400, "TooManyValues"),
        (posted(&large), 413, "TooLarge"),
        // Also without a Content-Length.
        (
            format!(
                "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
                good.split("Content-Length").next().unwrap(),
                large.len()
            ),
            413,
            "TooLarge",
        ),
    ] {
        let reply = client.raw(request.as_bytes()).await.unwrap();
        let what: String = request.chars().take(200).collect();
        assert_eq!(
            (reply.status, reply.text("Code").as_str()),
            (status, code),
            "{what}"
        );
        assert!(reply.text("Message").len() > 20, "{reply:?}");
    }
    let typed = typed("Content-Type: application/json; charset=utf-8");
    assert_eq!(client.raw(typed.as_bytes()).await.unwrap().status, 200);
    let chunked = review(&pod());
    let chunked = format!(
        "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunked}\r\n0\r\n\r\n",
        good.split("Content-Length").next().unwrap(),
        chunked.len()
    );
    assert_eq!(client.raw(chunked.as_bytes()).await.unwrap().status, 200);
    // The same cause repeats: each is logged once.
    assert_eq!(webhook.count("TooLarge"), 1);
    assert_eq!(webhook.count("NotFound"), 1);

    // A client that sends less than its Content-Length.
    let mut stream = client.connect().await.unwrap();
    stream
        .write_all(&good.as_bytes()[..good.len() - 5])
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(http::parse(&answer).text("Code"), "TooSlow");

    // One that declares too much is refused for that, although its body never ends.
    let mut stream = client.connect().await.unwrap();
    let declared = format!("Content-Length: {}", large.len());
    let stalled = posted(&large)
        .split_once(&declared)
        .map(|(head, _)| format!("{head}{declared}\r\n\r\n{{"));
    stream.write_all(stalled.unwrap().as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(http::parse(&answer).text("Code"), "TooLarge");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_and_report_the_drain() {
    let mut webhook = Webhook::start(&[&DEFAULTS[..], &["--drain", "60s"]].concat());
    let client = webhook.client();
    for path in ["/live", "/ready", "/ready?verbose"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    webhook.signal(Signal::HUP);
    assert_eq!(client.get("/ready").await.status, 200);

    webhook.signal(Signal::TERM);
    webhook.logged("Stopping");
    assert_eq!(client.get("/ready").await.status, 503);
    assert_eq!(client.get("/live").await.status, 200);
    // The cluster may still send reviews.
    assert_eq!(client.review(&pod()).await["allowed"], true);
    webhook.signal(Signal::TERM);
    assert_eq!(webhook.process.ended(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_exits_after_the_drain_without_a_second_signal() {
    let mut webhook = Webhook::start(&[&DEFAULTS[..], &["--drain", "1s"]].concat());
    let client = webhook.client();
    webhook.signal(Signal::TERM);
    webhook.logged("Stopping");
    assert_eq!(client.review(&pod()).await["allowed"], true);
    assert_eq!(webhook.process.ended(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_needs_one_thread_and_little_memory() {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    for _ in 0..20 {
        client.review(&pod()).await;
    }
    assert_eq!(webhook.status("Threads"), 1);
    let own = webhook.status("RssAnon");
    assert!(own < 6 * 1024, "{own} KiB");
    // Nor does it wake up while idle: it uses no CPU time within a second.
    let switches = || webhook.status("voluntary_ctxt_switches");
    let before = eventually("the webhook is idle", || {
        let before = switches();
        std::thread::sleep(Duration::from_millis(200));
        (switches() == before).then_some(before)
    });
    assert_eq!(switches(), before);
}
