//! What the sandbox logs, at every level.

use std::io;
use std::sync::{Arc, Mutex};

use secrecy::ExposeSecret as _;
use serde_json::Value;
use tracing::Level;
use tracing::subscriber::set_default;

use super::client::{call, oidc_call, start};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_message_names_the_sandbox_and_none_holds_a_secret() {
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // The runtime of this test has one thread, so that the server's tasks log here too.
    let _guard = set_default(subscriber);

    let sandbox = start().await;
    let token = sandbox.oidc_token(
        "subject",
        "sts.aliyuncs.com",
        std::time::Duration::from_secs(60),
    );
    let signed = call(&sandbox, "AssumeRole");
    let reply = signed.send(&sandbox).await;
    signed
        .with("Signature", "planted-signature")
        .send_unsigned(&sandbox)
        .await;
    oidc_call(&sandbox, &token).send(&sandbox).await;
    oidc_call(&sandbox, &format!("{token}.x"))
        .send(&sandbox)
        .await;

    let logged = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = logged
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["target"].as_str().unwrap().starts_with("ram_sidecar"))
        .collect();
    assert!(lines.len() >= 5, "{logged}");
    assert_eq!(lines[0]["level"], "INFO");
    for line in &lines {
        let message = line["fields"]["message"].as_str().unwrap();
        assert!(message.starts_with("Sandbox STS"), "{message}");
    }
    for secret in [
        sandbox.access_key_secret().expose_secret(),
        &reply.at("/Credentials/AccessKeySecret"),
        &reply.at("/Credentials/SecurityToken"),
        &token,
        "planted-signature",
    ] {
        assert!(!logged.contains(secret), "{logged}");
    }
}
