//! Responses that do not come from STS, or that are unusable.

use ram_sidecar::sandbox::{Fault, Times};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::{Case, Diagnosis, case};
use crate::upstream::{beside, sts};

pub(super) fn cases() -> Vec<Case> {
    let faults = [
        ("A captive portal answers 200 with a page", Fault::Html),
        ("The answer is empty", Fault::EmptyBody),
        ("The answer is cut off", Fault::TruncatedJson),
        (
            "The credentials that STS gives have expired",
            Fault::ExpiredCredentials,
        ),
        (
            "STS redirects",
            Fault::Redirect {
                location: "http://127.0.0.1:9/".into(),
            },
        ),
    ]
    .map(|(title, fault)| {
        case(title, async move {
            let sts = sts().await;
            sts.inject(fault, Times::UntilCleared);
            Diagnosis::of(beside(&sts, &[], &[]))
        })
    });
    let page = "<!DOCTYPE html><html><body>Please log in.</body></html>".to_owned();
    let others = [
        (
            "A captive portal answers 511 with a page",
            "511 Network Authentication Required",
            page.clone(),
        ),
        (
            "A proxy answers 403 with a page",
            "403 Forbidden",
            page.clone(),
        ),
        (
            "A gateway answers 502 with a page",
            "502 Bad Gateway",
            page.clone(),
        ),
        (
            "A gateway answers 429 with a page",
            "429 Too Many Requests",
            page,
        ),
        (
            "Something answers 200 in plain text",
            "200 OK",
            "hello".into(),
        ),
        (
            "Something answers 200 with JSON of its own",
            "200 OK",
            r#"{"status":"up"}"#.into(),
        ),
        (
            "Something answers 404 with JSON of its own",
            "404 Not Found",
            r#"{"error":"not found"}"#.into(),
        ),
        ("The answer is too large", "200 OK", " ".repeat(300 * 1024)),
    ]
    .map(|(title, status, body)| {
        case(title, async move {
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let endpoint = format!("http://{}", serve_answer(head + &body).await);
            Diagnosis::of(beside(&*sts().await, &["--sts-endpoint", &endpoint], &[]))
        })
    });
    faults.into_iter().chain(others).collect()
}

/// Starts a server that sends `answer` to every request and then closes the connection; returns its address.
pub(super) async fn serve_answer(answer: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let (mut line, mut length) = (String::from("-"), 0);
                while !line.trim().is_empty() {
                    line.clear();
                    // A client may disconnect at any time: then there is nothing to read or answer.
                    let _ = client.read_line(&mut line).await;
                    let header = line.to_ascii_lowercase();
                    if let Some(value) = header.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                // An unread body would turn the close into a reset.
                let _ = client.read_exact(&mut vec![0; length]).await;
                let _ = client.write_all(answer.as_bytes()).await;
                let _ = client.shutdown().await;
            });
        }
    });
    address
}
