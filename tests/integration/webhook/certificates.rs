//! The certificate: its formats, its rotation, and its errors.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::access::has;
use crate::support::required;

use super::*;

/// Returns the certificate that the server presents to a client.
async fn presented(client: &Client) -> CertificateDer<'static> {
    let stream = client.connect().await.unwrap();
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0].clone()
}

fn der(pem: &str) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_replaced_under_load_without_a_failed_handshake() {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let reviewed = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, reviewed) = (client.clone(), Arc::clone(&reviewed));
            tokio::spawn(async move {
                while reviewed.fetch_add(1, Ordering::Relaxed) < REVIEWS {
                    client.review(&pod()).await;
                }
            })
        })
        .collect();
    let mut rotations = 0;
    while reviewed.load(Ordering::Relaxed) < REVIEWS {
        let pair = webhook.authority.issue(NAME);
        webhook.files.replace(&pair);
        // The next handshake uses the new one.
        assert_eq!(presented(&client).await, der(&pair.certificate));
        rotations += 1;
    }
    for client in clients {
        client.await.expect("every review is answered");
    }
    assert!(rotations > 10, "only {rotations} rotations");
    assert_eq!(webhook.count("Keeping the current certificate"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_pair_keeps_the_current_one_in_use() {
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let before = presented(&client).await;
    let (one, other) = (webhook.authority.issue(NAME), webhook.authority.issue(NAME));
    let garbage = "-----BEGIN PRIVATE KEY-----\nplanted-password\n-----END PRIVATE KEY-----\n";
    let unusable = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    // Each has a different reason from the previous one.
    for (certificate, key, reason) in [
        (
            one.certificate.as_str(),
            other.key.as_str(),
            "does not belong to the certificate",
        ),
        (&one.certificate, "", "has no private key"),
        (&one.key, &one.key, "contains no certificate"),
        (&one.certificate, garbage, "has no private key"),
        (unusable, &one.key, "issue both again"),
        (&one.certificate, &one.certificate, "has no private key"),
        ("", "", "contains no certificate"),
    ] {
        let keeping = "Keeping the current certificate";
        let logged_before = webhook.count(keeping);
        webhook.files.put(certificate, key);
        for _ in 0..3 {
            assert_eq!(presented(&client).await, before, "{reason}");
        }
        eventually(reason, || {
            let log = webhook.process.stderr();
            let last = log.lines().rfind(|line| line.contains(keeping))?;
            last.contains(reason).then_some(())
        });
        assert_eq!(
            webhook.count(keeping),
            logged_before + 1,
            "{reason}: logged once"
        );
    }
    fs::remove_file(webhook.files.scratch.join("..data")).unwrap();
    assert_eq!(presented(&client).await, before);
    webhook.logged("cannot read");

    webhook.files.replace(&one);
    assert_eq!(presented(&client).await, der(&one.certificate));
    webhook.logged("were reloaded");
    assert!(!webhook.process.stderr().contains(PLANTED));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_all_usual_formats_and_certificate_chains_are_accepted() {
    if !required("openssl", has("openssl")) {
        return;
    }
    let webhook = Webhook::start(&DEFAULTS);
    let client = webhook.client();
    let root = pem("CERTIFICATE", &webhook.authority.root());
    for (generate, label) in [
        (
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout"][..],
            "EC PRIVATE KEY",
        ),
        (&["genrsa", "-traditional", "2048"], "RSA PRIVATE KEY"),
    ] {
        let bare = openssl(generate, "");
        assert!(bare.contains(label), "openssl writes another format");
        let wrapped = openssl(&["pkcs8", "-topk8", "-nocrypt"], &bare);
        let key = KeyPair::from_pem(&wrapped).unwrap();
        for text in [&bare, &wrapped] {
            let certificate = webhook.authority.certify(NAME, &key);
            webhook.files.put(&format!("{certificate}{root}"), text);
            assert_eq!(
                presented(&client).await,
                der(&certificate),
                "{}",
                webhook.process.stderr()
            );
        }
        // A key with a password is refused.
        let before = presented(&client).await;
        let encrypted = openssl(&["pkcs8", "-topk8", "-passout", "pass:x"], &bare);
        webhook
            .files
            .put(&webhook.authority.certify(NAME, &key), &encrypted);
        assert_eq!(presented(&client).await, before);
        webhook.logged("a key without a password");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_tls_versions_are_supported_and_a_failing_client_is_logged_once() {
    let webhook = Webhook::start(&DEFAULTS);
    for version in rustls::ALL_VERSIONS {
        let client = Client {
            address: webhook.address(),
            config: webhook.authority.client(&[version]),
        };
        assert_eq!(client.review(&pod()).await["allowed"], true);
    }
    let other = Client {
        address: webhook.address(),
        config: Authority::new().client(rustls::ALL_VERSIONS),
    };
    for _ in 0..3 {
        assert!(
            other.connect().await.is_err(),
            "a certificate signed by an unknown authority is rejected"
        );
    }
    assert!(
        webhook
            .logged("A client rejected the certificate")
            .contains("caBundle")
    );
    assert_eq!(webhook.client().review(&pod()).await["allowed"], true);
    assert_eq!(webhook.count("A client rejected the certificate"), 1);
    // Bytes that are not TLS get no response, and disturb nothing.
    assert_eq!(
        http::raw(webhook.address(), "GET /live HTTP/1.1\r\n\r\n").status,
        0
    );
    assert_eq!(webhook.client().get("/live").await.status, 200);
}

fn openssl(args: &[&str], input: &str) -> String {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "openssl {args:?}");
    String::from_utf8(ended.stdout).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// How many reviews run during the rotation.
const REVIEWS: usize = 200;
