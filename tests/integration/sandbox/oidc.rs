//! OIDC tokens of the sandbox against OpenSSL, which signs and verifies with code of its own.

use std::fs;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ram_sidecar::sandbox::{Options, Sandbox};
use serde_json::{Value, json};

use crate::access::has;
use crate::clients::finished;
use crate::support::{Scratch, check, required, run_command};
use crate::upstream::with;

const SUBJECT: &str = "system:serviceaccount:train:job";
const AUDIENCE: &str = "sts.aliyuncs.com";

#[tokio::test(flavor = "multi_thread")]
async fn openssl_verifies_the_tokens_of_the_sandbox() {
    if !required("openssl", has("openssl")) {
        return;
    }
    let (sandbox, scratch) = (
        Sandbox::start(Options::default()).await.unwrap(),
        Scratch::new(),
    );
    let keys: Value = serde_json::from_str(&sandbox.oidc_keys()).unwrap();
    let key = &keys["keys"][0];
    // A SubjectPublicKeyInfo of P-256 (RFC 5480): all but the point is the same in each.
    let prefix = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let spki = [unhex(prefix), decoded(&key["x"]), decoded(&key["y"])].concat();
    fs::write(scratch.join("key"), spki).unwrap();
    let token = sandbox.oidc_token(SUBJECT, AUDIENCE, Duration::from_secs(3600));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = der(&URL_SAFE_NO_PAD.decode(signature).unwrap());
    fs::write(scratch.join("signature"), signature).unwrap();
    for (message, is_valid) in [(signed, true), (&signed[1..], false)] {
        fs::write(scratch.join("message"), message).unwrap();
        let mut openssl = openssl(
            &scratch,
            "dgst -sha256 -keyform DER -verify key -signature signature message",
        );
        assert_eq!(openssl.output().unwrap().status.success(), is_valid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_openssl_signs_assume_the_role_with_either_algorithm() {
    if !required("openssl", has("openssl")) {
        return;
    }
    let scratch = Scratch::new();
    let run = |arguments: &str| finished(&mut openssl(&scratch, arguments)).stdout;
    run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out RS256");
    run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ES256");
    let modulus = String::from_utf8(run("rsa -in RS256 -noout -modulus")).unwrap();
    let modulus = unhex(modulus.trim().strip_prefix("Modulus=").unwrap());
    let point = run("pkey -in ES256 -pubout -outform DER");
    let (x, y) = point[point.len() - 64..].split_at(32);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let keys = json!({"keys": [
        {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "RS256", "n": encode(&modulus), "e": "AQAB"},
        {"kty": "EC", "use": "sig", "alg": "ES256", "kid": "ES256", "crv": "P-256", "x": encode(x), "y": encode(y)},
    ]});
    let options = Options {
        oidc_keys: Some(keys.to_string()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let now = sandbox.clock().now().wall.timestamp();
    let claims = json!({
        "iss": "https://oidc.sandbox.invalid", "sub": SUBJECT, "aud": [AUDIENCE],
        "iat": now, "nbf": now, "exp": now + 3600,
    });
    for algorithm in ["RS256", "ES256"] {
        let header = json!({"alg": algorithm, "kid": algorithm});
        let [header, claims] = [&header, &claims].map(|part| encode(part.to_string().as_bytes()));
        let signed = format!("{header}.{claims}");
        fs::write(scratch.join("message"), &signed).unwrap();
        let mut signature = run(&format!("dgst -sha256 -sign {algorithm} message"));
        if algorithm == "ES256" {
            signature = raw(&signature);
        }
        let token = scratch.join("token");
        fs::write(&token, format!("{signed}.{}", encode(&signature))).unwrap();
        let provider = sandbox.oidc_provider_arn();
        let env = [
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", provider.as_str()),
            ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.to_str().unwrap()),
        ];
        let daemon = with(&sandbox, &[], &env);
        daemon.uri();
        let id = daemon.credentials().text("AccessKeyId");
        let issued = sandbox.issued(&id).expect("the sandbox issued them");
        assert_eq!(issued.role_arn, sandbox.role_arn(), "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_trusts_the_issuer_and_the_keys_that_its_flags_name() {
    let (issuer, scratch) = (
        Sandbox::start(Options::default()).await.unwrap(),
        Scratch::new(),
    );
    let (keys, token) = (scratch.join("keys"), scratch.join("token"));
    fs::write(&keys, issuer.oidc_keys()).unwrap();
    let text = issuer.oidc_token(SUBJECT, AUDIENCE, Duration::from_secs(3600));
    fs::write(&token, text).unwrap();
    let provider = issuer.oidc_provider_arn();
    let checked = |url: &str| {
        let keys = keys.to_str().unwrap();
        let sandbox = super::Sandbox::start(&["--oidc-issuer", url, "--oidc-keys", keys]);
        let env = sandbox.env();
        let env = [
            env[0],
            env[1],
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", provider.as_str()),
            ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.to_str().unwrap()),
        ];
        check(&[], &env)
    };
    let (code, report) = checked("https://oidc.sandbox.invalid");
    assert_eq!(code, Some(0), "{report}");
    let (_, report) = checked("https://other.example.com");
    assert!(report.contains("IssuerNotMatch"), "{report}");
}

#[test]
fn keys_that_cannot_be_used_are_a_configuration_error() {
    let scratch = Scratch::new();
    let (missing, wrong) = (scratch.join("missing"), scratch.join("wrong"));
    fs::write(&wrong, "{}").unwrap();
    for (path, reason) in [
        (missing, "cannot read"),
        (wrong, "is not a JSON Web Key Set"),
    ] {
        let flags = [
            "--oidc-issuer",
            "https://a.example",
            "--oidc-keys",
            path.to_str().unwrap(),
        ];
        let ended = run_command("sandbox", &flags, &[]);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(ended.stderr.contains("--oidc-keys: "), "{}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    }
    for flag in ["--oidc-issuer", "--oidc-keys"] {
        let ended = run_command("sandbox", &[flag, "a"], &[]);
        assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    }
}

/// Returns a command that runs in the directory.
fn openssl(directory: &Scratch, arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command
        .args(arguments.split(' '))
        .current_dir(directory.path());
    command
}

/// Encodes a signature of two numbers of 32 bytes as ASN.1.
fn der(signature: &[u8]) -> Vec<u8> {
    let numbers = signature.chunks(32).flat_map(|number| {
        let start = number.iter().position(|byte| *byte != 0).unwrap();
        let sign = (number[start] >= 0x80).then_some(0);
        let digits: Vec<u8> = sign
            .into_iter()
            .chain(number[start..].iter().copied())
            .collect();
        [&[2, u8::try_from(digits.len()).unwrap()], &digits[..]].concat()
    });
    let numbers: Vec<u8> = numbers.collect();
    [&[0x30, u8::try_from(numbers.len()).unwrap()], &numbers[..]].concat()
}

/// Decodes a signature of two numbers of 32 bytes from ASN.1.
fn raw(der: &[u8]) -> Vec<u8> {
    let (mut rest, mut signature) = (&der[2..], Vec::new());
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(rest[1].into());
        let padded = [&[0; 32], number].concat();
        signature.extend_from_slice(&padded[padded.len() - 32..]);
        rest = after;
    }
    signature
}

fn decoded(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}
