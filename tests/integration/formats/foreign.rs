//! What stands where a file is to be kept, and is not ours.

use super::*;

#[test]
fn what_somebody_else_keeps_is_never_overwritten() {
    let scratch = Scratch::new();
    let target = scratch.join("own");
    let name = target.to_str().unwrap();
    let other = "it exists and is not as ram-sidecar writes it";
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
    ] {
        fs::write(&target, content).unwrap();
        let told = refused(name, format);
        assert!(told.contains(other) && told.contains(name), "{told}");
        assert_eq!(fs::read_to_string(&target).unwrap(), content);
        let left = fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside it");
    }

    let told = refused(name, "ossfs");
    assert!(
        told.contains("it exists and is not the symbolic link"),
        "{told}"
    );
    assert!(target.is_file());
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("AccessKeyId"), "mine").unwrap();
    let told = refused(name, "ossfs");
    assert!(
        told.contains("it exists and is not the symbolic link"),
        "{told}"
    );
    assert_eq!(
        fs::read_to_string(target.join("AccessKeyId")).unwrap(),
        "mine"
    );
    let told = refused(name, "env");
    assert!(told.contains("it is a directory"), "{told}");
}

/// Returns the sentence with which a start ends that is to keep this file.
fn refused(path: &str, format: &str) -> String {
    let file = format!("{path},format={format}");
    let args = [&LISTEN[..], &["--sandbox", "--file", &file]].concat();
    let (code, told) = run(&args, &[]);
    assert_eq!(code, Some(71), "{told}");
    told.lines().last().unwrap().to_owned()
}

#[test]
fn a_file_of_ours_and_an_empty_one_are_taken_over() {
    for format in ["env", "aliyun-cli", "ini"] {
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
    let (code, told) = run(&args, &[]);
    assert_eq!(code, Some(78), "{told}");
    let names = "format `yaml` is not a format of files; choose json, json-camel, ossfs, env, aliyun-cli or ini";
    assert!(told.contains(names), "{told}");

    let Ended { code, stderr, .. } = run_command("get", &["--format", "ossfs"], &[]);
    assert_eq!(code, Some(64), "{stderr}");
    for name in ["json", "env", "process", "aliyun-cli", "ini", "json-camel"] {
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
}

#[test]
fn a_link_of_somebody_else_is_left_alone_and_so_is_what_it_leads_to() {
    let scratch = Scratch::new();
    let (foreign, target) = (scratch.join("foreign"), scratch.join("keys"));
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("Expiration"), "2020-01-01T00:00:00Z").unwrap();
    fs::write(foreign.join("precious"), "mine").unwrap();
    std::os::unix::fs::symlink(&foreign, &target).unwrap();
    let told = refused(target.to_str().unwrap(), "ossfs");
    assert!(told.contains("symbolic link"), "{told}");
    assert_eq!(fs::read_link(&target).unwrap(), foreign);
    assert_eq!(
        fs::read_to_string(foreign.join("precious")).unwrap(),
        "mine"
    );
}

#[test]
fn what_somebody_adds_to_a_file_of_ours_stays_and_shows_in_readiness() {
    let kept = Kept::start("env");
    kept.settled();
    let text = fs::read_to_string(&kept.target).unwrap() + "MY_OWN=keep-me\n";
    fs::write(&kept.target, &text).unwrap();
    kept.daemon.signal("HUP");
    let ready = eventually("it is told", || {
        Some(kept.daemon.probe("/ready")).filter(|ready| ready.status == 503)
    });
    let told = ready.text("file_message");
    assert!(told.contains("name another file"), "{told}");
    assert_eq!(fs::read_to_string(&kept.target).unwrap(), text);
}

#[test]
fn what_somebody_put_there_outlives_the_credentials_that_were_there() {
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
    eventually("they end, and have successors", || {
        (now() > end && ends() > end).then_some(())
    });
    let told = daemon.probe("/ready").text("file_message");
    assert!(told.contains("name another file"), "{told}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "MY_OWN=keep-me\n");
}
