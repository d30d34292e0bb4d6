//! HTTP: headers, methods, bodies and arbitrary bytes.

use chrono::{DateTime, TimeDelta};

use super::client::{call, exchange, send, start};
use crate::sandbox::http::request::BODY_LIMIT;
use crate::sandbox::random::Random;

#[tokio::test]
async fn every_response_has_its_headers_and_the_date_of_the_sandbox() {
    let sandbox = start().await;
    sandbox.clock().shift_wall(TimeDelta::days(-40));
    for action in ["AssumeRole", "Nonsense"] {
        let reply = call(&sandbox, action).send(&sandbox).await;
        assert_eq!(
            reply.headers["content-type"],
            "application/json;charset=utf-8"
        );
        assert_eq!(reply.headers["x-acs-request-id"], reply.at("/RequestId"));
        let date = DateTime::parse_from_rfc2822(&reply.headers["date"]).unwrap();
        let behind = sandbox.clock().now().wall - date.to_utc();
        assert!(behind < TimeDelta::seconds(10), "{behind}");
    }
}

#[tokio::test]
async fn an_error_has_the_documented_fields() {
    let sandbox = start().await;
    let reply = send(&sandbox, b"GET / HTTP/1.1\r\nHost: sts.example\r\n\r\n").await;
    assert_eq!(reply.outcome(), (400, "MissingAction".to_owned()));
    assert_eq!(reply.at("/Message"), "Action is mandatory for this action.");
    assert_eq!(reply.at("/HostId"), "sts.example");
    let recommend = format!(
        "https://api.aliyun.com/troubleshoot?q=MissingAction&product=Sts&requestId={}",
        reply.at("/RequestId")
    );
    assert_eq!(reply.at("/Recommend"), recommend);
}

#[tokio::test]
async fn other_paths_methods_and_content_types_are_refused() {
    let sandbox = start().await;
    let head = "HTTP/1.1\r\nHost: sts";
    let post = format!("POST / {head}\r\nContent-Length: 8\r\n");
    for (request, status, code) in [
        (
            format!("GET /latest {head}\r\n\r\n"),
            404,
            "InvalidApi.NotFound",
        ),
        (format!("PUT / {head}\r\n\r\n"), 404, "InvalidApi.NotFound"),
        (
            format!("{post}Content-Type: text/plain\r\n\r\nAction=X"),
            400,
            CONTENT_TYPE,
        ),
        (
            format!("{post}Content-Type: application/json\r\n\r\n{{\"a\":12}}"),
            400,
            "MissingAction",
        ),
        (format!("{post}\r\nAction=X"), 404, "InvalidApi.NotFound"),
        (
            format!("{post}content-type: Application/X-WWW-Form-Urlencoded; a=b\r\n\r\nAction=X"),
            404,
            "InvalidApi.NotFound",
        ),
    ] {
        let reply = send(&sandbox, request.as_bytes()).await;
        assert_eq!(reply.outcome(), (status, code.to_owned()), "{request}");
    }
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused() {
    let sandbox = start().await;
    for (length, status) in [(BODY_LIMIT, 400), (BODY_LIMIT + 1, 413)] {
        let head = format!("POST / HTTP/1.1\r\nHost: sts\r\nContent-Length: {length}\r\n\r\n");
        let reply = send(&sandbox, &[head.into_bytes(), vec![b'x'; length]].concat()).await;
        assert_eq!(reply.status, status, "{}", reply.body);
    }
}

#[tokio::test]
async fn arbitrary_bytes_do_not_stop_the_sandbox() {
    let sandbox = start().await;
    let random = Random::seeded().unwrap();
    let words = [
        "Action",
        "AssumeRoleWithOIDC",
        "Version",
        "2015-04-01",
        "=",
        "&",
        "%",
        "%F",
        "+",
    ];
    let more = [
        "OIDCToken",
        "..",
        "RoleArn",
        "acs:ram::1:role/",
        "%00",
        "%c3%28",
        "Timestamp",
        "🦀",
    ];
    for _ in 0..300 {
        let random_text = random.alphanumeric(40);
        let picked = random_text.bytes().map(|byte| {
            let words: Vec<_> = words.iter().chain(&more).collect();
            *words[usize::from(byte) % words.len()]
        });
        let body = picked.collect::<String>();
        let length = body.len();
        let path: String = body
            .bytes()
            .filter(u8::is_ascii_graphic)
            .map(char::from)
            .collect();
        let head =
            format!("POST /?{path} HTTP/1.1\r\nHost: sts\r\nContent-Length: {length}\r\n\r\n");
        exchange(&sandbox, &[head.as_bytes(), body.as_bytes()].concat()).await;

        let mut noise = random_text.into_bytes();
        for byte in &mut noise {
            *byte = byte.wrapping_mul(37);
        }
        noise.extend_from_slice(b"\r\n\r\n");
        exchange(&sandbox, &noise).await;
    }
    assert_eq!(
        call(&sandbox, "AssumeRole").send(&sandbox).await.status,
        200
    );
}

const CONTENT_TYPE: &str = "InvalidParameter.ContentType";
