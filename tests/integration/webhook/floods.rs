//! Many connections at once, and hostile ones.

use std::time::Duration;

use tokio::time::Instant;

use crate::load::enough_files;

use super::*;

/// The default timeout of the API server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most memory in KiB that the webhook may use; the limit of its container is 128 MiB.
const MAX_MEMORY: u64 = 96 * 1024;

/// Bytes of a body that is read without a permit.
const SMALL: usize = 30 * 1024;

/// Bytes of a body that is read only with a permit.
const LARGE: usize = 3 * 1024 * 1024;

/// Returns the first bytes of the handshake of a real client.
fn hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::try_from(NAME).unwrap();
    let mut client =
        rustls::ClientConnection::new(authority.client(rustls::ALL_VERSIONS), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Requests a review with the timeout of the API server.
async fn review_in_time(client: &Client, beside: &str) {
    let began = Instant::now();
    let review = tokio::time::timeout(TIMEOUT, client.review(&pod())).await;
    assert!(
        review.is_ok(),
        "no answer beside {beside} within {:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_stalled_connections_delay_no_review_and_are_closed() {
    if !enough_files() {
        return;
    }
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let hello = hello(&webhook.authority);
    let kinds: [(&str, &[u8]); 3] = [
        ("silent connections", b""),
        ("handshakes that do not end", &hello[..hello.len() - 1]),
        ("handshakes that are not answered", &hello),
    ];
    for (kind, bytes) in kinds {
        let mut crowd = Vec::new();
        for _ in 0..2000 {
            let mut stream = TcpStream::connect(webhook.address()).await.unwrap();
            // It may have been closed in favour of another.
            let _ = stream.write_all(bytes).await;
            crowd.push(stream);
        }
        review_in_time(&client, kind).await;
        for mut stream in crowd {
            let mut rest = Vec::new();
            let read = stream.read_to_end(&mut rest);
            let closed = tokio::time::timeout(Duration::from_secs(20), read).await;
            assert!(closed.is_ok(), "one of the {kind} stays open");
        }
    }
    // The bytes of these requests occupy memory until they time out.
    let mut crowd = Vec::new();
    for size in std::iter::repeat_n(SMALL, 520).chain(std::iter::repeat_n(LARGE, 8)) {
        let request = posted(&"x".repeat(size));
        if let Ok(mut stream) = client.connect().await {
            let half = &request.as_bytes()[..request.len() - 1];
            // It may be closed in favour of another.
            let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(half)).await;
            crowd.push(stream);
        }
    }
    review_in_time(&client, "bodies that do not end").await;
    drop(crowd);
    let peak = webhook.status("VmHWM");

    assert!(peak < MAX_MEMORY, "{peak} KiB");
    assert_eq!(webhook.status("Threads"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reviews_of_three_megabytes_at_once_use_bounded_memory() {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let mut large = pod();
    large["metadata"]["annotations"] = json!({ "large": "x".repeat(3 * 1024 * 1024 - 2000) });
    let body: Arc<str> = review(&large).into();
    let reviews: Vec<_> = (0..100)
        .map(|_| {
            let (client, body) = (client.clone(), Arc::clone(&body));
            tokio::spawn(async move { client.post(&body).await })
        })
        .collect();
    // A review of normal size overtakes them.
    review_in_time(&client, "a hundred large ones").await;
    let mut answered = 0;
    for review in reviews {
        // On a slow machine the last ones wait too long, and are closed.
        let reply = review.await.unwrap();
        answered += usize::from(reply.is_ok_and(|reply| reply.status == 200));
    }
    assert!(answered > 5, "only {answered}");
    let peak = webhook.status("VmHWM");

    assert!(peak < MAX_MEMORY, "{peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_review_is_answered_beside_stalled_and_silent_clients() {
    if !enough_files() {
        return;
    }
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let mut large = pod();
    large["metadata"]["annotations"] = json!({ "large": "x".repeat(LARGE) });
    let request = posted(&review(&large));
    let mut stalled = Vec::new();
    for index in 0..20 {
        let sent = [SMALL + 4096, LARGE / 2, LARGE][index % 3];
        let mut stream = client.connect().await.unwrap();
        // The webhook need not read all of it.
        let part = &request.as_bytes()[..sent];
        let _ = tokio::time::timeout(Duration::from_millis(50), stream.write_all(part)).await;
        stalled.push(stream);
    }
    let mut silent = Vec::new();
    for _ in 0..4000 {
        silent.push(TcpStream::connect(webhook.address()).await.unwrap());
    }
    let began = Instant::now();
    let reply = client.raw(request.as_bytes()).await.unwrap();
    let took = began.elapsed();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let peak = webhook.status("VmHWM");
    assert!(peak < MAX_MEMORY, "{peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_uses_little_memory() {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    // The largest number of values that are read, in the form that uses the most memory for each.
    let object = "{\"\":{}},";
    let mut costly = pod();
    costly["spec"]["nodeSelector"] = "@".into();
    let costly = review(&costly).replace("\"@\"", &format!("[{}0]", object.repeat(21_000)));
    for _ in 0..3 {
        let reply = client.post(&costly).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let containers: Vec<Value> = (0..100)
        .map(|i| json!({ "name": format!("c{i}"), "image": "x" }))
        .collect();
    let mut most = pod();
    most["spec"]["containers"] = containers.into();
    assert_eq!(client.review(&most).await["allowed"], true);
    most["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "c", "image": "x" }));
    let response = client.review(&most).await;
    assert!(
        response["status"]["message"]
            .as_str()
            .unwrap()
            .contains("more than 100 containers")
    );
    let peak = webhook.status("VmHWM");

    assert!(peak < MAX_MEMORY, "{peak} KiB");
}
