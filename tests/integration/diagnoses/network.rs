//! An unreachable service, on real loopback sockets.

use std::net::SocketAddr;

use rcgen::CertificateParams;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::answers::answering;
use super::{Case, Diagnosis, case};
use crate::support::Scratch;
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
            at(&format!("http://{}", listener.local_addr().unwrap())).await
        }),
        case("Packets are dropped", async {
            // Connections that are not accepted fill the queue; the kernel drops further ones.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = socket.listen(1).unwrap();
            let address = listener.local_addr().unwrap();
            let _waiting = (
                TcpStream::connect(address).await.unwrap(),
                TcpStream::connect(address).await.unwrap(),
            );
            at(&format!("http://{address}")).await
        }),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        case("The endpoint's name does not exist", async {
            at("sts.nowhere.invalid").await
        }),
        case("Nothing listens at the endpoint's port", async {
            at(&format!("http://{}", nowhere().await)).await
        }),
        case("There is no route to the endpoint", async {
            // The address of a broadcast: no system connects to it.
            at("https://255.255.255.255").await
        }),
        case("The connection is closed without an answer", async {
            at(&format!("http://{}", answering(String::new()).await)).await
        }),
        case(
            "The connection is closed in the middle of the answer",
            async {
                let half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"RequestId\":";
                at(&format!("http://{}", answering(half.into()).await)).await
            },
        ),
        case("Two endpoints fail, each in its way", async {
            let first = format!("http://{}", nowhere().await);
            at(&format!("{first},sts.nowhere.invalid")).await
        }),
    ]
}

fn certificates() -> Vec<Case> {
    let named = |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap();
    let here = named("127.0.0.1");
    let mut expired = here.clone();
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let mut future = here.clone();
    future.not_before = rcgen::date_time_ymd(2120, 1, 1);
    future.not_after = rcgen::date_time_ymd(2120, 2, 1);
    vec![
        certified("The certificate is of an unknown authority", here, false),
        certified("The certificate has expired", expired, true),
        certified("The certificate is not valid yet", future, true),
        certified(
            "The certificate is for another name",
            named("other.example"),
            true,
        ),
        case("The endpoint is https, the server speaks http", async {
            let sts = sts().await;
            at(&sts.endpoint().replace("http://", "https://")).await
        }),
        case("The server closes during the TLS handshake", async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("https://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let _ = client.shutdown().await;
                    // What is left unread would make the close a reset.
                    let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                }
            });
            at(&endpoint).await
        }),
    ]
}

fn proxies() -> Vec<Case> {
    let refusing = |title: &str, status: &str| {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        case(title, async {
            through(&format!("http://{}", answering(answer).await)).await
        })
    };
    vec![
        refusing("The proxy refuses the address", "403 Forbidden"),
        refusing(
            "The proxy requires a password",
            "407 Proxy Authentication Required",
        ),
        refusing(
            "The proxy cannot reach the address",
            "503 Service Unavailable",
        ),
        case("Nothing listens at the proxy's port", async {
            through(&format!("http://{}", nowhere().await)).await
        }),
        case("The proxy's name does not exist", async {
            through("http://proxy.nowhere.invalid:3128").await
        }),
    ]
}

async fn at(endpoint: &str) -> Diagnosis {
    Diagnosis::of(beside(&*sts().await, &["--sts-endpoint", endpoint], &[]))
}

async fn through(proxy: &str) -> Diagnosis {
    let args = ["--sts-endpoint", "sts.sandbox.example"];
    Diagnosis::of(beside(&*sts().await, &args, &[("HTTPS_PROXY", proxy)]))
}

fn certified(title: &str, certificate: CertificateParams, is_trusted: bool) -> Case {
    case(title, async move {
        let (sts, scratch) = (sts().await, Scratch::new());
        let front =
            Front::certified(sts.endpoint().trim_start_matches("http://"), certificate).await;
        let ca_file = scratch.join("ca.pem");
        std::fs::write(&ca_file, &front.ca).unwrap();
        let endpoint = format!("https://{}", front.address);
        let trusting = ["--ca-file", ca_file.to_str().unwrap()];
        let args = ["--sts-endpoint", &endpoint];
        let trusting = if is_trusted { &trusting[..] } else { &[] };
        Diagnosis::of(beside(&sts, &[&args, trusting].concat(), &[]))
    })
}

/// Returns an address where nothing listens.
async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
