//! The configuration: the TOML file, the environment and the flags.
//!
//! The first section is the file, the second lines of `VARIABLE=value`, the third lines of `key=value` for flags.

#![no_main]

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use ram_sidecar::config::settings::{SETTINGS, find};
use ram_sidecar::config::{self, Definition, Input, Upstream};
use ram_sidecar_fuzz::{PLANTED, check_line, sections};
use toml::{Table, Value};

fuzz_target!(|data: &[u8]| {
    let sections = sections(data);
    let text = |index: usize| sections.get(index).copied().unwrap_or_default();
    // What a setting names is opened, and some such files never end.
    if data
        .windows(4)
        .any(|w| matches!(w, b"/dev" | b"proc" | b"/sys"))
    {
        return;
    }
    FILE.with_borrow_mut(|file| {
        file.set_len(0).expect("it is in memory");
        file.rewind().expect("it is in memory");
        file.write_all(text(0)).expect("it is in memory");
    });
    let variables = pairs(text(1));
    let flags = pairs(text(2));
    let setting = |(key, value): &(String, String)| {
        let setting = find(key).filter(|setting| setting.flag().is_some())?;
        Some((setting, vec![value.clone()]))
    };
    let variable = |name: &str| {
        let given = variables.iter().rev().find(|(given, _)| given == name);
        given.map(|(_, value)| OsString::from(value))
    };
    let input = Input {
        flags: flags.iter().filter_map(setting).collect(),
        variable: &variable,
        file: Some(FILE.with_borrow(path)),
        host_name: "host".to_owned(),
        defaults: Vec::new(),
    };
    let checked = config::check(&input);
    let is_hidden = is_clean(text(0), &variables, &flags);
    let check = |told: &str| assert!(!(is_hidden && told.contains(PLANTED)), "{told}");
    for shown in &checked.settings {
        check(shown.value.as_deref().unwrap_or_default());
    }
    match &checked.outcome {
        Ok(config) => {
            assert!(
                !config.serve.listen.ip().is_unspecified() || config.serve.admission.allow_remote
            );
            if let Upstream::Cloud(cloud) = &config.upstream {
                assert!(!cloud.endpoints.is_empty());
            }
            let name = config.session.name.to_string();
            assert!((2..=64).contains(&name.len()), "{name}");
        }
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty());
            for mistake in &mistakes.0 {
                check_line(mistake, &[]);
                check(mistake);
            }
        }
    }
    if let Err(mistakes) = config::admin_listen(&input) {
        for mistake in &mistakes.0 {
            check_line(mistake, &[]);
            check(mistake);
        }
    }
});

thread_local! {
    /// A file that is only in memory, and is read by its number.
    static FILE: RefCell<File> = RefCell::new(in_memory());
}

fn in_memory() -> File {
    let path = format!("/dev/shm/ram-sidecar-fuzz-{}", std::process::id());
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path);
    let file = file.expect("/dev/shm can be written");
    std::fs::remove_file(&path).expect("it was there");
    file
}

fn path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(text);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Whether the secret stands in no place where it is none.
fn is_clean(toml: &[u8], variables: &[(String, String)], flags: &[(String, String)]) -> bool {
    let text = String::from_utf8_lossy(toml);
    // What is no TOML is not repeated at all.
    let in_file = match text.parse::<Table>() {
        Ok(table) => planted(&Value::Table(table), ""),
        Err(_) => text.matches(PLANTED).count(),
    };
    let by = |name: fn(&Definition) -> Option<String>| {
        move |(given, value): &(String, String)| {
            let setting = SETTINGS
                .iter()
                .find(|setting| name(setting).as_ref() == Some(given));
            let is_secret = setting.is_none_or(|setting| is_secret(setting.key));
            !given.contains(PLANTED) && (is_secret || !value.contains(PLANTED))
        }
    };
    in_file == text.matches(PLANTED).count()
        && variables.iter().all(by(|setting| Some(setting.variable())))
        && flags
            .iter()
            .all(by(|setting| setting.flag().map(|_| setting.key.to_owned())))
}

/// Counts how often it stands where a secret may be.
fn planted(value: &Value, key: &str) -> usize {
    match value {
        Value::String(text) if is_secret(key) => text.matches(PLANTED).count(),
        Value::Array(items) => items.iter().map(|item| planted(item, key)).sum(),
        Value::Table(table) => {
            let under = |name: &String| match key {
                "" => name.clone(),
                key => format!("{key}.{name}"),
            };
            table
                .iter()
                .map(|(name, value)| planted(value, &under(name)))
                .sum()
        }
        _ => 0,
    }
}

fn is_secret(key: &str) -> bool {
    matches!(
        key,
        "identity.access_key_id"
            | "identity.access_key_secret"
            | "identity.security_token"
            | "identity.credentials_uri"
            | "identity.command"
            | "serve.key"
    )
}
