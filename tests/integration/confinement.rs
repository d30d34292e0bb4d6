//! The access to OSS that a session policy leaves, tested with `oss2`.

use std::sync::Arc;
use std::time::Duration;

use ram_sidecar::sandbox::{ACCOUNT_ID, Sandbox};
use serde_json::{Value, json};

use crate::clients::{self, finished, issued_by};
use crate::stub_oss::{self, BUCKET, OBJECTS, OTHER_BUCKET, OTHER_OBJECT};
use crate::stubs::Stub;
use crate::support::{Daemon, Scratch};
use crate::toolchains::Language;
use crate::upstream::{beside, sts};

#[tokio::test(flavor = "multi_thread")]
async fn session_policy_confines_oss2_to_one_bucket() {
    assert_confined(&[], &[("RAM_SIDECAR_POLICY", ONE_BUCKET)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pai_default_role_confines_oss2_to_one_bucket() {
    let preset = [
        ("ALIBABA_CLOUD_ROLE_ARN", ""),
        ("RAM_SIDECAR_ROLE_PRESET", "pai-default"),
        ("RAM_SIDECAR_ACCOUNT_ID", ACCOUNT_ID),
        ("RAM_SIDECAR_OSS_BUCKET", BUCKET),
    ];
    assert_confined(&[], &preset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oss2_reaches_every_bucket_without_a_session_policy() {
    let (sts, home) = (sts().await, Scratch::new());
    let (daemon, oss) = (beside(&sts, &[], &[]), stub_with_policies(&sts));
    for version in VERSIONS {
        for (bucket, keys) in [(BUCKET, &OBJECTS[..]), (OTHER_BUCKET, &[OTHER_OBJECT])] {
            let Some(reach) = reach(&daemon, &home, &oss, version, bucket, keys) else {
                return;
            };
            assert_eq!(reach, open(bucket, keys), "{version} {bucket}");
        }
    }
}

/// Asserts that a daemon, configured in this way, serves credentials for one bucket and for no other.
async fn assert_confined(args: &[&str], env: &[(&str, &str)]) {
    let (sts, home) = (sts().await, Scratch::new());
    // The role that PAI makes for an account.
    let trust = json!({"Version": "1", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [sts.user_arn()]},
    }]});
    sts.add_role("aliyunpaidlcdefaultrole", &trust.to_string(), HOUR)
        .expect("a good policy");
    let (daemon, oss) = (beside(&sts, args, env), stub_with_policies(&sts));
    for version in VERSIONS {
        let reach = |bucket, keys| reach(&daemon, &home, &oss, version, bucket, keys);
        let Some(own) = reach(BUCKET, &OBJECTS) else {
            return;
        };
        assert_eq!(own, open(BUCKET, &OBJECTS), "{version}");
        let other = reach(OTHER_BUCKET, &[OTHER_OBJECT]);
        assert_eq!(other, Some(closed(&[OTHER_OBJECT])), "{version}");
    }
    assert_eq!(oss.rejections(), ["AccessDenied"; 2 * VERSIONS.len()]);
}

/// Starts a stub of OSS that permits what the session policies of `sts` do.
fn stub_with_policies(sts: &Arc<Sandbox>) -> Stub {
    let judge = Arc::clone(sts);
    stub_oss::start_with_permissions(
        issued_by(sts),
        Arc::new(move |access_key_id, action, resource| {
            judge.permits(access_key_id, action, resource)
        }),
    )
}

/// Returns what `oss2` can do beside a daemon; nothing when there is no Python.
fn reach(
    daemon: &Daemon,
    home: &Scratch,
    oss: &Stub,
    version: &str,
    bucket: &str,
    keys: &[&str],
) -> Option<Value> {
    let command = Language::Python.program("oss_reach", home.path())?;
    let mut command = clients::beside(&daemon.uri(), command);
    let output = finished(command.args([&oss.endpoint(), version, bucket]).args(keys));
    Some(serde_json::from_slice(&output.stdout).expect("a JSON object"))
}

/// Makes what is reached of a bucket that is open.
fn open(bucket: &str, keys: &[&str]) -> Value {
    let read = keys.iter().map(|key| (*key, stub_oss::text(bucket, key)));
    json!({"list": keys, "read": read.collect::<Value>()})
}

/// Makes what is reached of a bucket that is closed.
fn closed(keys: &[&str]) -> Value {
    let refusal = json!({
        "status": 403,
        "code": "AccessDenied",
        "message": "You have no right to access this object because of bucket acl.",
    });
    let read = keys.iter().map(|key| (*key, refusal.clone()));
    json!({"list": refusal, "read": read.collect::<Value>()})
}

const HOUR: Duration = Duration::from_secs(3600);

const VERSIONS: [&str; 2] = ["v1", "v4"];

/// All of MaxCompute, and one bucket of OSS.
const ONE_BUCKET: &str = r#"{"Version":"1","Statement":[
    {"Effect":"Allow","Action":"odps:*","Resource":"*"},
    {"Effect":"Allow","Action":"oss:*","Resource":"acs:oss:*:*:examplebucket/*"},
    {"Effect":"Allow","Action":["oss:ListObjects","oss:GetBucketInfo","oss:GetBucketLocation"],
     "Resource":"acs:oss:*:*:examplebucket"}]}"#;
