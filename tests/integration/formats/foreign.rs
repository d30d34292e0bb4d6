//! Files at the configured path that ram-sidecar did not write.

use super::*;
use crate::support::required;

#[test]
fn a_file_that_ram_sidecar_did_not_write_is_never_overwritten() {
    let scratch = Scratch::new();
    let target = scratch.join("own");
    let name = target.to_str().unwrap();
    let other = "it exists and is not in ram-sidecar's format";
    for (format, content) in [
        ("env", "MY_OWN=1\n"),
        ("env", "ALIBABA_CLOUD_ACCESS_KEY_ID=LTAIexample\n"),
        (
            "aliyun-cli",
            r#"{"current":"me","profiles":[{"name":"me","mode":"AK","access_key_id":"LTAIexample"}]}"#,
        ),
        (
            "aliyun-cli",
            r#"{"current":"me","profiles":[{"name":"me"},{"name":"ram-sidecar","sts_expiration":1}]}"#,
        ),
        (
            "json",
            r#"{"current":"me","profiles":[{"name":"me","mode":"AK"}]}"#,
        ),
        ("json-camel", "a note"),
        (
            "ini",
            "[Credentials]\nlanguage=EN\naccessKeyID=LTAIexample\n",
        ),
        ("aws", "[default]\naws_access_key_id=AKIAexample\n"),
    ] {
        fs::write(&target, content).unwrap();
        let message = refused(name, format);
        assert!(
            message.contains(other) && message.contains(name),
            "{message}"
        );
        assert_eq!(fs::read_to_string(&target).unwrap(), content);
        let left = fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside it");
    }

    let message = refused(name, "ossfs");
    assert!(
        message.contains("it exists and is not the symbolic link"),
        "{message}"
    );
    assert!(target.is_file());
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("AccessKeyId"), "mine").unwrap();
    let message = refused(name, "ossfs");
    assert!(
        message.contains("it exists and is not the symbolic link"),
        "{message}"
    );
    assert_eq!(
        fs::read_to_string(target.join("AccessKeyId")).unwrap(),
        "mine"
    );
    let message = refused(name, "env");
    assert!(message.contains("it is a directory"), "{message}");
}

/// Asserts that a start with this file fails, and returns the error.
fn refused(path: &str, format: &str) -> String {
    let file = format!("{path},format={format}");
    let args = [&LISTEN[..], &["--sandbox", "--file", &file]].concat();
    let (code, message) = run(&args, &[]);
    assert_eq!(code, Some(71), "{message}");
    message.lines().last().unwrap().to_owned()
}

#[test]
fn empty_files_and_files_that_ram_sidecar_wrote_are_replaced() {
    for format in ["env", "aliyun-cli", "ini", "aws"] {
        let scratch = Scratch::new();
        let target = scratch.join("target");
        let file = format!("{},format={format}", target.display());
        fs::write(&target, "").unwrap();
        let mut texts = BTreeSet::from([String::new()]);
        for _ in 0..2 {
            let args = [&LISTEN[..], &["--sandbox", "--file", &file]].concat();
            let daemon = Daemon::spawn(&args, &[]);
            let text = eventually("the file is replaced", || {
                let text = fs::read_to_string(&target).unwrap();
                (!texts.contains(&text)).then_some(text)
            });
            texts.insert(text);
            daemon.credentials();
        }
    }
}

#[test]
fn an_unknown_format_is_refused_with_the_names_of_all() {
    let args = [&LISTEN[..], &["--sandbox", "--file", "/tmp/x,format=yaml"]].concat();
    let (code, message) = run(&args, &[]);
    assert_eq!(code, Some(78), "{message}");
    let names = "format `yaml` is not a format of files; choose json, json-camel, ossfs, env, aliyun-cli, ini or aws";
    assert!(message.contains(names), "{message}");

    let Ended { code, stderr, .. } = run_command("get", &["--format", "ossfs"], &[]);
    assert_eq!(code, Some(64), "{stderr}");
    for name in [
        "json",
        "env",
        "process",
        "aliyun-cli",
        "ini",
        "json-camel",
        "aws",
    ] {
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
}

#[test]
fn a_foreign_symbolic_link_and_its_target_remain_unchanged() {
    let scratch = Scratch::new();
    let (foreign, target) = (scratch.join("foreign"), scratch.join("keys"));
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("Expiration"), "2020-01-01T00:00:00Z").unwrap();
    fs::write(foreign.join("precious"), "mine").unwrap();
    std::os::unix::fs::symlink(&foreign, &target).unwrap();
    let message = refused(target.to_str().unwrap(), "ossfs");
    assert!(message.contains("symbolic link"), "{message}");
    assert_eq!(fs::read_link(&target).unwrap(), foreign);
    assert_eq!(
        fs::read_to_string(foreign.join("precious")).unwrap(),
        "mine"
    );
}

#[test]
fn a_document_of_another_user_ends_the_start_in_every_format() {
    if !required("root", rustix::process::geteuid().is_root()) {
        return;
    }
    for (format, _) in ram_sidecar::formats::format::FILES {
        let rig = Rig::start(format);
        rig.settled();
        rig.daemon.signal("KILL");
        std::os::unix::fs::lchown(&rig.target, Some(65_532), None).unwrap();
        let message = refused(rig.target.to_str().unwrap(), format);
        let reason = "it exists and belongs to user 65532; name another file, or remove that one";
        assert!(message.contains(reason), "{format}: {message}");
        assert!(fs::symlink_metadata(&rig.target).is_ok());
    }
}

#[test]
fn lines_that_a_user_adds_to_the_file_stay_and_show_in_readiness() {
    let rig = Rig::start("env");
    rig.settled();
    let text = fs::read_to_string(&rig.target).unwrap() + "MY_OWN=keep-me\n";
    fs::write(&rig.target, &text).unwrap();
    rig.daemon.signal("HUP");
    let ready = eventually("the failure shows", || {
        Some(rig.daemon.probe("/ready")).filter(|ready| ready.body.contains("file_message"))
    });
    assert_eq!(ready.status, 503);
    let message = ready.text("file_message");
    assert!(message.contains("name another file"), "{message}");
    assert_eq!(fs::read_to_string(&rig.target).unwrap(), text);
}

#[test]
fn a_file_that_a_user_puts_in_place_outlives_the_expired_credentials() {
    let scratch = Scratch::new();
    let target = scratch.join("variables");
    let file = format!("{},format=env", target.display());
    let args = ["--sandbox", "--fault", "lifetime=3s", "--file", &file];
    let daemon = Daemon::spawn(&[&LISTEN[..], &args].concat(), &[]);
    daemon.uri();
    eventually("the file is written", || target.exists().then_some(()));
    fs::write(&target, "MY_OWN=keep-me\n").unwrap();
    let ends = || -> chrono::DateTime<chrono::Utc> {
        let ready: Value = serde_json::from_str(&daemon.probe("/ready").body).unwrap();
        ready["expires_at"].as_str().unwrap().parse().unwrap()
    };
    let end = ends();
    eventually("the credentials expire and are renewed", || {
        (now() > end && ends() > end).then_some(())
    });
    let message = daemon.probe("/ready").text("file_message");
    assert!(message.contains("name another file"), "{message}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "MY_OWN=keep-me\n");
}
