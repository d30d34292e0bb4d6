//! The metrics of the webhook.

use crate::metrics::{check_with_promtool, value};

use super::*;

/// Returns the metrics of a webhook that has reviewed nothing.
pub(crate) fn scrape() -> String {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(client.get("/metrics")).body
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_counted_by_outcome_and_reason() {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let mut wrong = pod();
    wrong["metadata"]["annotations"] = json!({ "ram-sidecar/role": "planted by a pod" });
    for pod in [pod(), pod(), wrong] {
        client.review(&pod).await;
    }
    client.post("planted").await.unwrap();
    let reply = client.get("/metrics").await;
    assert_eq!(reply.status, 200);
    let text = reply.body;
    for (labels, expected) in [
        (r#"outcome="injected",reason="none""#, 2.0),
        (r#"outcome="denied",reason="settings""#, 1.0),
        (r#"outcome="rejected",reason="NotJson""#, 1.0),
    ] {
        let name = format!("ram_sidecar_webhook_reviews_total{{{labels}}}");
        assert!((value(&text, &name) - expected).abs() < 0.1, "{text}");
    }
    let reviews = value(&text, "ram_sidecar_webhook_review_duration_seconds_count");
    assert!((reviews - 3.0).abs() < 0.1, "{text}");
    // The year 4096, as the test's authority issues all certificates.
    let name = "ram_sidecar_webhook_certificate_expiration_timestamp_seconds";
    let end = 67_090_118_400.0;
    assert!((value(&text, name) - end).abs() < 1.0, "{text}");
    assert!(!text.contains("planted"), "{text}");
    check_with_promtool(&text);
}
