//! The daemon's signer on random requests, compared with the sandbox's verifier and with the official SDK for Python.
//!
//! `SIGNATURES=1000000 cargo test --test integration differential` compares that many requests with each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use axum::body::Body;
use axum::http::Request;
use chrono::DateTime;
use ram_sidecar::credentials::Keys;
use ram_sidecar::sandbox::verify_signature;
use ram_sidecar::sts::sign::{Parameters, Signature, Signed, Stamp, signed};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::support::{Scratch, environment};
use crate::toolchains::Language;

#[tokio::test]
async fn the_sandbox_accepts_every_signature_and_no_altered_request() {
    let mut random = Random(1);
    let names = [PLAIN, AWKWARD].concat();
    for number in 0..count(10_000) {
        let case = Case::random(&mut random, &names);
        let secret = &case.keys.access_key_secret;
        let read = verify_signature(case.sent(""), secret).await;
        let read = read.unwrap_or_else(|error| panic!("request {number}: {error}\n{case:?}"));
        for (name, value) in &case.parameters {
            let arrived = read.get(*name).map(String::as_str);
            assert_eq!(arrived, Some(value.as_str()), "request {number}: {name}");
        }
        // One more parameter, or another key.
        let others = [("&More=1", secret), ("", &"another".into())];
        for (more, secret) in others.iter().filter(|_| number % 16 == 0) {
            let outcome = verify_signature(case.sent(more), secret).await;
            assert!(outcome.is_err(), "request {number}, changed: {case:?}");
        }
    }
}

#[test]
fn the_official_sdk_computes_the_same_signatures() {
    let home = Scratch::new();
    let Some(mut command) = Language::Python.program("signatures", home.path()) else {
        return;
    };
    let mut python = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (requests, answers) = (python.stdin.take().unwrap(), python.stdout.take().unwrap());
    let (expected, expectations) = channel();
    let sender = thread::spawn(move || send_all(requests, &expected));
    let mut signatures = BufReader::new(answers).lines();
    let mut compared = 0;
    for (signature, request) in expectations {
        let sdk_signature = signatures
            .next()
            .expect("an answer to each request")
            .unwrap();
        assert_eq!(sdk_signature, signature, "{request}");
        compared += 1;
    }
    sender.join().unwrap();
    assert!(python.wait().unwrap().success());
    assert_eq!(compared, count(3000));
}

/// Writes requests without their signatures, which it sends to `expected`.
fn send_all(mut requests: ChildStdin, expected: &Sender<(String, String)>) {
    let mut random = Random(2);
    for _ in 0..count(3000) {
        // In V3 that SDK does not encode names, which are plain in all that it knows.
        let (signature, request) = Case::random(&mut random, PLAIN).unsigned();
        let request = request.to_string();
        writeln!(requests, "{request}").expect("it reads");
        expected.send((signature, request)).expect("the test waits");
    }
}

/// A request to sign.
#[derive(Debug)]
struct Case {
    signature: Signature,
    host: &'static str,
    parameters: Parameters,
    keys: Keys,
    made: Signed,
}

impl Case {
    fn random(random: &mut Random, names: &[&'static str]) -> Self {
        let plain = |value: &str| Zeroizing::new(value.to_owned());
        let mut parameters = Parameters::from([
            ("Action", plain(random.one_of(ACTIONS))),
            ("Format", plain("JSON")),
            ("Version", plain("2015-04-01")),
        ]);
        for _ in 0..random.below(10) {
            let name = random.one_of(names);
            parameters.insert(name, Zeroizing::new(random.text()));
        }
        let has_token = random.below(2) == 0;
        let max_length = random.one_of(&[8, 8, 8, 64, 64, 64, 64, 1500]);
        let keys = Keys {
            access_key_id: random.word(b"-._", 1, 32),
            // Longer than a block of either hash, too.
            access_key_secret: random
                .word(b"!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~", 1, 80)
                .into(),
            security_token: has_token.then(|| random.word(b"+/=", 1, max_length).into()),
        };
        let seconds = i64::try_from(random.below(4_000_000_000)).unwrap();
        let stamp = Stamp::new(DateTime::from_timestamp(seconds, 0).unwrap()).unwrap();
        let signature = random.one_of(&[Signature::V1, Signature::V3]);
        let host = random.one_of(&[
            "sts.aliyuncs.com",
            "sts-vpc.cn-hangzhou.aliyuncs.com",
            "127.0.0.1:8443",
        ]);
        let made = signed(signature, host, parameters.clone(), &keys, &stamp);
        Self {
            signature,
            host,
            parameters,
            keys,
            made,
        }
    }

    /// Returns the HTTP request, with `more` after its parameters.
    fn sent(&self, more: &str) -> Request<Body> {
        let Signed {
            query,
            headers,
            form,
        } = &self.made;
        let (query, form) = match form {
            Some(form) => (query.clone(), format!("{}{more}", **form)),
            None => (format!("{query}{more}"), String::new()),
        };
        let mut request = Request::post(format!("/{query}")).header("host", self.host);
        for (name, value) in headers {
            request = request.header(*name, value.as_str());
        }
        request.body(Body::from(form)).expect("it can be sent")
    }

    /// Returns the signature, and the request without it for the SDK to sign.
    fn unsigned(&self) -> (String, Value) {
        let pairs = |encoded: &str| -> Map<String, Value> {
            let pairs = form_urlencoded::parse(encoded.as_bytes());
            pairs
                .map(|(name, value)| (name.into_owned(), json!(value)))
                .collect()
        };
        let secret = self.keys.access_key_secret.expose_secret();
        if self.signature == Signature::V1 {
            let mut parameters = pairs(self.made.form.as_ref().expect("a form"));
            let signature = parameters.remove("Signature").expect("it is signed");
            let signature = signature.as_str().expect("a text").to_owned();
            return (
                signature,
                json!({"parameters": parameters, "secret": secret}),
            );
        }
        let headers = self.made.headers.iter();
        let mut headers: Map<_, _> = headers
            .map(|(name, value)| ((*name).to_owned(), json!(**value)))
            .collect();
        let signature = headers.remove("authorization").expect("it is signed");
        let signature = signature.as_str().expect("a text").to_owned();
        headers.insert("host".to_owned(), json!(self.host));
        let query = pairs(self.made.query.trim_start_matches('?'));
        let request = json!({"query": query, "headers": headers, "id": self.keys.access_key_id, "secret": secret});
        (signature, request)
    }
}

/// Reproducible random numbers: `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let index = self.below(all.len() as u64);
        all[usize::try_from(index).unwrap()]
    }

    /// Returns a word of letters, digits and `others`.
    fn word(&mut self, others: &[u8], shortest: u64, longest: u64) -> String {
        let alphabet: Vec<u8> = (b'0'..=b'9')
            .chain(b'A'..=b'Z')
            .chain(b'a'..=b'z')
            .chain(others.iter().copied())
            .collect();
        let length = shortest + self.below(longest - shortest + 1);
        (0..length)
            .map(|_| char::from(self.one_of(&alphabet)))
            .collect()
    }

    /// Returns text of any characters: often short, sometimes empty, rarely long.
    fn text(&mut self) -> String {
        let length = match self.below(16) {
            0 => 0,
            1 if self.below(16) == 0 => self.below(2048),
            _ => self.below(20),
        };
        (0..length).map(|_| self.character()).collect()
    }

    fn character(&mut self) -> char {
        let code_point = match self.below(8) {
            // Characters that are reserved somewhere, or that some encoders treat as unreserved.
            0..3 => return char::from(self.one_of(b" !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~-_.")),
            3 | 4 => return char::from(self.one_of(b"azAZ09")),
            5 => self.below(0x80),
            6 => self.below(0x3000),
            _ => self.below(0x11_0000),
        };
        let code_point = u32::try_from(code_point).unwrap();
        char::from_u32(code_point).unwrap_or('\u{fffd}')
    }
}

/// Returns how many requests to compare: `SIGNATURES`, by default `usual`.
fn count(usual: u64) -> u64 {
    let given = environment("SIGNATURES").and_then(|value| value.into_string().ok());
    given.map_or(usual, |given| {
        given.parse().expect("SIGNATURES is a number")
    })
}

const ACTIONS: &[&str] = &["AssumeRole", "AssumeRoleWithOIDC", "GetCallerIdentity"];

/// The parameters of STS, and one of another service.
const PLAIN: &[&str] = &[
    "DurationSeconds",
    "ExternalId",
    "OIDCProviderArn",
    "OIDCToken",
    "Policy",
    "RegionId",
    "RoleArn",
    "RoleSessionName",
    "SignatureType",
    "SourceIdentity",
    "Tag.1.Key",
];

/// Names that must be percent-encoded, or whose order depends on their bytes.
const AWKWARD: &[&str] = &[
    "*",
    "a b",
    "a&b=c",
    "a~",
    "Z",
    "中文",
    "\u{1f600}",
    "\u{fffd}",
];
