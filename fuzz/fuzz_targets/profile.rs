//! The file of profiles of aliyun-cli. What a profile stands for is read, and not used: it may be a program to run.

#![no_main]

use std::path::PathBuf;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ram_sidecar::credentials::RoleSessionName;
use ram_sidecar::http::client::Outbound;
use ram_sidecar::identity::{
    Content, Defaults, File, Identity, Launch, MAX_ROLES, Metadata, Profile, Proof,
};
use ram_sidecar_fuzz::{PLANTED, check_failure, check_keys, check_lease, is_planted, noon};

fuzz_target!(|text: &str| {
    let name = text.contains("\"named\"").then(|| "named".to_owned());
    let defaults = Defaults {
        session_name: RoleSessionName::derive("trainer-0"),
        launch: Launch {
            search_path: "/usr/bin".into(),
            hidden: Vec::new(),
            timeout: Duration::from_secs(1),
        },
        metadata: Metadata {
            url: "http://100.100.100.200".to_owned(),
            allow_v1: false,
            disabled: false,
        },
        own_port: 7002,
        outbound: Outbound::default(),
    };
    let file = File::new(PathBuf::from("/home/job/.aliyun/config.json"));
    match Profile::new(file, name, defaults).parse(text, noon()) {
        Ok((meaning, roles)) => {
            assert!(roles.len() <= MAX_ROLES);
            check(&meaning);
        }
        Err(failure) => {
            let is_secret = |key: &str| {
                // The address of another server has a key in its path.
                matches!(key, "access_key_secret" | "sts_token")
            };
            check_failure(&failure, &[]);
            // Of what is no JSON nothing is repeated.
            let is_hidden = is_planted(text.as_bytes(), &is_secret)
                || serde_json::from_str::<serde_json::Value>(text).is_err();
            assert!(
                !(is_hidden && failure.to_string().contains(PLANTED)),
                "{failure}"
            );
        }
    }
});

fn check(meaning: &Content) {
    match meaning {
        Content::Proof(Proof::Keys(keys)) => check_keys(keys),
        Content::Proof(Proof::Lease(lease)) => {
            assert!(!lease.credentials.access_key_id.starts_with("LTAI"));
            check_lease(lease, noon(), Duration::MAX);
        }
        Content::Proof(Proof::Token { .. }) => unreachable!("a file of profiles has no token"),
        Content::Identity(identity) => match &**identity {
            Identity::Process(process) => {
                assert!(process.command.first().is_some_and(|word| !word.is_empty()));
            }
            Identity::AccessKey(_) | Identity::Profile(_) => unreachable!("it stands for itself"),
            // A name or a path is no secret, whatever it is.
            Identity::EcsRamRole(_) | Identity::Oidc(_) => {}
            // The path is one; the host has no capital letters.
            Identity::CredentialsUri(uri) => assert!(!format!("{uri:?}").contains(PLANTED)),
        },
    }
}
