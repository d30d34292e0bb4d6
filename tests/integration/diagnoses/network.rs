//! An unreachable service, on real loopback sockets.

use rcgen::CertificateParams;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::answers::serve_answer;
use super::{Case, Diagnosis, case};
use crate::support::{Scratch, unused_address};
use crate::tls::Front;
use crate::upstream::{beside, sts};

pub(super) fn cases() -> Vec<Case> {
    [timeouts(), connections(), certificates(), proxies()]
        .into_iter()
        .flatten()
        .collect()
}

fn timeouts() -> Vec<Case> {
    vec![
        case("The connection is accepted, and no answer comes", async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            with_endpoint(&format!("http://{}", listener.local_addr().unwrap())).await
        }),
        case("Packets are dropped", async {
            // These connections are never accepted: they fill the accept queue, and the kernel drops the packets of others.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = socket.listen(1).unwrap();
            let address = listener.local_addr().unwrap();
            let _waiting = (
                TcpStream::connect(address).await.unwrap(),
                TcpStream::connect(address).await.unwrap(),
            );
            with_endpoint(&format!("http://{address}")).await
        }),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        case("The endpoint's name does not exist", async {
            with_endpoint("sts.nowhere.invalid").await
        }),
        case("Nothing listens at the endpoint's port", async {
            with_endpoint(&format!("http://{}", unused_address())).await
        }),
        case("There is no route to the endpoint", async {
            // A TCP connection to the broadcast address fails on every system.
            with_endpoint("https://255.255.255.255").await
        }),
        case("The connection is closed without an answer", async {
            with_endpoint(&format!("http://{}", serve_answer(String::new()).await)).await
        }),
        case(
            "The connection is closed in the middle of the answer",
            async {
                let half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"RequestId\":";
                with_endpoint(&format!("http://{}", serve_answer(half.into()).await)).await
            },
        ),
        case("Two endpoints fail for different reasons", async {
            let first = format!("http://{}", unused_address());
            with_endpoint(&format!("{first},sts.nowhere.invalid")).await
        }),
    ]
}

fn certificates() -> Vec<Case> {
    let certificate_for = |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap();
    let valid = certificate_for("127.0.0.1");
    let mut expired = valid.clone();
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let mut future = valid.clone();
    future.not_before = rcgen::date_time_ymd(2120, 1, 1);
    future.not_after = rcgen::date_time_ymd(2120, 2, 1);
    vec![
        with_certificate("The certificate authority is unknown", valid, false),
        with_certificate("The certificate has expired", expired, true),
        with_certificate("The certificate is not valid yet", future, true),
        with_certificate(
            "The certificate is for another name",
            certificate_for("other.example"),
            true,
        ),
        case("The endpoint is HTTPS, but the server speaks HTTP", async {
            let sts = sts().await;
            with_endpoint(&sts.endpoint().replace("http://", "https://")).await
        }),
        case("The connection is closed during the TLS handshake", async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("https://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let _ = client.shutdown().await;
                    // Unread data would turn the close into a reset.
                    let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                }
            });
            with_endpoint(&endpoint).await
        }),
    ]
}

fn proxies() -> Vec<Case> {
    let proxy_answers = |title: &str, status: &str| {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        case(title, async {
            with_proxy(&format!("http://{}", serve_answer(answer).await)).await
        })
    };
    vec![
        proxy_answers("The proxy refuses the endpoint", "403 Forbidden"),
        proxy_answers(
            "The proxy requires a password",
            "407 Proxy Authentication Required",
        ),
        proxy_answers(
            "The proxy cannot reach the endpoint",
            "503 Service Unavailable",
        ),
        case("The proxy refuses the user and password", async {
            let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
            let proxy = serve_answer(answer.to_owned()).await;
            with_proxy_by("ALL_PROXY", &format!("http://user:planted@{proxy}")).await
        }),
        case("The proxy closes the connection", async {
            let proxy = serve_answer(String::new()).await;
            with_proxy_by("https_proxy", &format!("http://{proxy}")).await
        }),
        case("What listens at the proxy's port is no proxy", async {
            with_proxy(&format!(
                "http://{}",
                serve_answer("SSH-2.0-x\r\n".into()).await
            ))
            .await
        }),
        case("Nothing listens at the proxy's port", async {
            with_proxy(&format!("http://{}", unused_address())).await
        }),
        case("The proxy's name does not exist", async {
            with_proxy("http://proxy.nowhere.invalid:3128").await
        }),
    ]
}

async fn with_endpoint(endpoint: &str) -> Diagnosis {
    Diagnosis::of(beside(&*sts().await, &["--sts-endpoint", endpoint], &[]))
}

async fn with_proxy(proxy: &str) -> Diagnosis {
    with_proxy_by("HTTPS_PROXY", proxy).await
}

async fn with_proxy_by(variable: &str, proxy: &str) -> Diagnosis {
    let args = ["--sts-endpoint", "sts.sandbox.example"];
    Diagnosis::of(beside(&*sts().await, &args, &[(variable, proxy)]))
}

fn with_certificate(title: &str, certificate: CertificateParams, is_trusted: bool) -> Case {
    case(title, async move {
        let (sts, scratch) = (sts().await, Scratch::new());
        let front =
            Front::certified(sts.endpoint().trim_start_matches("http://"), certificate).await;
        let ca_file = scratch.join("ca.pem");
        std::fs::write(&ca_file, &front.ca).unwrap();
        let endpoint = format!("https://{}", front.address);
        let ca_option = ["--ca-file", ca_file.to_str().unwrap()];
        let args = ["--sts-endpoint", &endpoint];
        let ca_args = if is_trusted { &ca_option[..] } else { &[] };
        Diagnosis::of(beside(&sts, &[&args, ca_args].concat(), &[]))
    })
}
