//! What lies outside of an environment: the metadata service and STS, both in the network of the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use axum::http::StatusCode;
use chrono::TimeDelta;
use ram_sidecar::credentials::timestamp;
use ram_sidecar::sandbox::Issued;
use rcgen::{CertificateParams, DnType};
use serde_json::json;

use crate::namespace::METADATA;
use crate::stub_metadata::{Metadata, Mode};
use crate::stubs::{Reply, Request, Stub, now};
use crate::support::Scratch;
use crate::tls::Front;
use crate::toolchains::Language;

/// The AccessKey ID of the metadata service.
pub(super) const INSTANCE: &str = "STS.instance";

/// The AccessKey ID that STS issues.
pub(super) const ASSUMED: &str = "STS.assumed";

/// What a request for a role contains that STS refuses.
pub(super) const REFUSED: &str = "refused";

/// Starts a metadata service with a role of its own.
pub(super) fn instance() -> Metadata {
    let service = Metadata::start_at(METADATA, Mode::Normal);
    service.attach(Issued {
        access_key_id: INSTANCE.to_owned(),
        access_key_secret: "planted".to_owned().into(),
        security_token: "planted-token".to_owned().into(),
        issued_at: now(),
        expires_at: now() + TimeDelta::hours(6),
        role_arn: "acs:ram::1:role/node".to_owned(),
        session_name: "node".to_owned(),
        policy: None,
        source_identity: None,
    });
    service
}

/// An STS at its real names, for the processes that have its files in the places of their own.
pub(super) struct Sts {
    files: Scratch,
    /// The bundle of roots that clients in Python bring along.
    roots: PathBuf,
    _stub: Stub,
}

impl Sts {
    pub(super) async fn start() -> Self {
        let stub = Stub::start(answer);
        let behind = stub.endpoint();
        let behind = behind.trim_start_matches("http://");
        let names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        let mut certificate = CertificateParams::new(names).unwrap();
        // OpenSSL takes a certificate with the name of its CA for one that signed itself.
        certificate
            .distinguished_name
            .push(DnType::CommonName, NAMES[0]);
        let front = Front::start_at("127.0.0.1:443", behind, certificate).await;
        let files = Scratch::new();
        fs::write(files.join("ca.pem"), &front.ca).unwrap();
        let hosts = format!("127.0.0.1 localhost {}\n", NAMES.join(" "));
        fs::write(files.join("hosts"), hosts).unwrap();
        let output = Command::new("keytool")
            .args(["-importcert", "-noprompt", "-alias", "test"])
            .args(["-storetype", "JKS", "-storepass", "changeit", "-file"])
            .arg(files.join("ca.pem"))
            .arg("-keystore")
            .arg(files.join("store"))
            .output();
        let output = output.expect("keytool runs");
        assert!(output.status.success(), "{output:?}");
        let python = Language::Python.program("chains", files.path());
        let python = python.expect("it is installed");
        let roots = Command::new(python.get_program())
            .args(["-m", "certifi"])
            .output();
        let roots = String::from_utf8(roots.expect("Python runs").stdout).unwrap();
        Self {
            files,
            roots: roots.trim().into(),
            _stub: stub,
        }
    }

    /// Returns the variables by which clients trust it, and its option for Java.
    pub(super) fn variables(&self) -> ([(&'static str, String); 3], String) {
        let path = |name| self.files.join(name).display().to_string();
        let names = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE"];
        let java = format!(" -Djavax.net.ssl.trustStore={}", path("store"));
        (names.map(|name| (name, path("ca.pem"))), java)
    }

    /// Returns its files, and the places for which they stand.
    pub(super) fn mounts(&self) -> [(PathBuf, PathBuf); 2] {
        [
            (self.files.join("hosts"), "/etc/hosts".into()),
            (self.files.join("ca.pem"), self.roots.clone()),
        ]
    }
}

/// Answers a request for a role as STS does, and one for a role of AWS.
fn answer(request: &Request) -> Reply {
    let body = String::from_utf8_lossy(&request.body);
    let text = format!("{}&{body}", request.query);
    if text.contains(REFUSED) {
        let code = "AuthenticationFail.NoPermission";
        let refusal = json!({"Code": code, "Message": "There is no permission", "RequestId": "1"});
        return Reply {
            status: StatusCode::FORBIDDEN,
            ..Reply::accepted("application/json", refusal.to_string())
        };
    }
    let expiration = timestamp(now() + TimeDelta::hours(1));
    if text.contains("Action=AssumeRoleWithWebIdentity") {
        let reply = format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>{ASSUMED}</AccessKeyId><SecretAccessKey>planted</SecretAccessKey>\
             <SessionToken>planted</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        return Reply::accepted("text/xml", reply);
    }
    assert!(text.contains("Action=AssumeRole"), "{text}");
    let credentials = json!({
        "AccessKeyId": ASSUMED,
        "AccessKeySecret": "planted",
        "SecurityToken": "planted-token",
        "Expiration": expiration,
    });
    let user = json!({"Arn": "acs:ram::1:assumed-role/job/s", "AssumedRoleId": "1:s"});
    let reply = json!({"Credentials": credentials, "AssumedRoleUser": user, "RequestId": "1"});
    Reply::accepted("application/json", reply.to_string())
}

/// Returns a command for `program` in a mount namespace in which files stand in the places of others.
pub(super) fn over(mounts: &[(PathBuf, PathBuf)], program: &Path) -> Command {
    let mut command = Command::new("unshare");
    let script = "while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" && shift 2 || exit 1; done; shift; exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]);
    for (file, place) in mounts {
        command.args([file, place]);
    }
    command.arg("--").arg(program);
    command
}

const NAMES: [&str; 4] = [
    "sts.aliyuncs.com",
    "sts.cn-hangzhou.aliyuncs.com",
    "sts-vpc.cn-hangzhou.aliyuncs.com",
    "sts.amazonaws.com",
];
