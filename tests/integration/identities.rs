//! Identities whose credentials come from programs, files and services.

use std::time::Duration;

use chrono::TimeDelta;
use ram_sidecar::credentials::timestamp;
use ram_sidecar::sandbox::Sandbox;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::http::Reply;
use crate::serving::LISTEN;
use crate::stubs;
use crate::support::Daemon;
use crate::upstream::renew_until;

mod credentials_uri;
mod process;
mod profile;

const HOUR: Duration = Duration::from_secs(3600);

/// Temporary credentials that no STS has issued.
struct Planted {
    id: &'static str,
    secret: &'static str,
    token: &'static str,
    expires_at: String,
}

impl Planted {
    fn new() -> Self {
        Self {
            id: "STS.Planted1",
            secret: "PlantedSecret1",
            token: "CAISplantedToken+/1==",
            expires_at: timestamp(stubs::now() + TimeDelta::hours(1)),
        }
    }

    /// Returns them as JSON in the spelling of the metadata service and of the SDKs for OSS.
    fn pascal(&self) -> String {
        json!({
            "AccessKeyId": self.id,
            "AccessKeySecret": self.secret,
            "SecurityToken": self.token,
            "Expiration": self.expires_at,
        })
        .to_string()
    }

    fn assert_served(&self, reply: &Reply) {
        assert_eq!(reply.status, 200, "{reply:?}");
        let names = [
            "AccessKeyId",
            "AccessKeySecret",
            "SecurityToken",
            "Expiration",
        ];
        assert_eq!(
            names.map(|name| reply.text(name)),
            [self.id, self.secret, self.token, &self.expires_at]
        );
    }
}

/// Starts a daemon that assumes no role unless `args` or `env` name one.
fn daemon(sts: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> Daemon {
    let url = sts.endpoint();
    let endpoint = [("ALIBABA_CLOUD_STS_ENDPOINT", url.as_str())];
    let daemon = Daemon::spawn(&[&LISTEN[..], args].concat(), &[&endpoint, env].concat());
    daemon.plant(sts.access_key_secret().expose_secret());
    daemon
}

/// Adds a role that the first role of the sandbox may assume.
pub(crate) fn second_role(sts: &Sandbox) -> String {
    let trust = json!({"Version": "1", "Statement": [{
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"RAM": [sts.role_arn()]},
    }]});
    sts.permit_assume_role(&sts.role_arn(), true);
    sts.add_role("second", &trust.to_string(), HOUR).unwrap()
}

/// Returns the role whose credentials are served.
fn served_role(sts: &Sandbox, daemon: &Daemon) -> String {
    daemon.uri();
    let id = daemon.credentials().text("AccessKeyId");
    sts.issued(&id).expect("the sandbox issued them").role_arn
}

/// Renews until an attempt fails with `code` while credentials are served, and returns the message.
fn failing(daemon: &Daemon, code: &str) -> String {
    let expected = format!("\"Code\":\"{code}\"");
    let ready = renew_until(daemon, code, |ready| ready.body.contains(&expected));
    assert_eq!(
        (ready.status, ready.text("phase")),
        (200, "failing".to_owned())
    );
    ready.text("Message")
}

/// Renews until an attempt succeeds.
fn fresh(daemon: &Daemon) {
    renew_until(daemon, "it recovers", |ready| {
        ready.text("phase") == "fresh"
    });
}

/// Waits until the daemon logs that it has no credentials because of `code`, and returns the event.
fn refused(daemon: &Daemon, code: &str) -> String {
    let message = daemon.logged("No credentials");
    assert!(
        message.contains(&format!("\"code\":\"{code}\"")),
        "{message}"
    );
    message
}
