//! From text to values; each refusal says why and how to write it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;
use tracing::level_filters::LevelFilter;
use url::{Host, Url};

use crate::sink;
use crate::sts::sign::Signature;
use crate::telemetry::Format;

use super::role::Preset;

/// `30s`, `5m`, `1h`, or several of them: `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let how = "write it like 30s, 5m or 1h";
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return Err(format!("`{text}` has no unit; {how}"));
    }
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit = match tail.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            _ => return Err(format!("`{text}` is not a duration; {how}")),
        };
        let number: u64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not a duration; {how}"))?;
        seconds = number
            .checked_mul(unit)
            .and_then(|more| seconds.checked_add(more))
            .ok_or_else(|| format!("`{text}` is too long; {how}"))?;
        rest = tail.get(1..).unwrap_or_default();
    }
    if text.is_empty() {
        return Err(format!("it is empty; {how}"));
    }
    Ok(Duration::from_secs(seconds))
}

pub(super) fn role_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if (900..=43_200).contains(&duration.as_secs()) {
        Ok(duration)
    } else {
        Err(format!(
            "`{text}` is outside what STS grants; choose 15m to 12h"
        ))
    }
}

/// STS counts in whole seconds, of which the first may be all but over.
#[cfg(feature = "sandbox")]
pub(super) fn sandbox_lifetime(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.as_secs() < 2 {
        return Err(format!(
            "`{text}` is over before it begins; choose 2s or more"
        ));
    }
    Ok(duration)
}

/// Reads several values: a JSON array, or one text with commas.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    let how = "write it like a,b or [\"a\", \"b\"]";
    // `[::1]:8443` begins with a bracket too.
    let is_json = text
        .trim_start()
        .strip_prefix('[')
        .is_some_and(|rest| rest.trim_start().starts_with(['"', ']']));
    let items: Vec<String> = if is_json {
        serde_json::from_str(text).map_err(|_| format!("it is no list of texts; {how}"))?
    } else {
        text.split(',').map(|item| item.trim().to_owned()).collect()
    };
    if items.is_empty() || items.iter().any(String::is_empty) {
        return Err(format!("it is empty or has an empty entry; {how}"));
    }
    Ok(items)
}

/// Reads a command: a JSON array, or one word.
pub(super) fn command(text: &str) -> Result<Vec<String>, String> {
    let how =
        "write it like [\"/usr/bin/helper\", \"--json\"]; a shell is used only if it is named";
    if text.trim_start().starts_with('[') {
        let words: Vec<String> =
            serde_json::from_str(text).map_err(|_| format!("it is no list of texts; {how}"))?;
        if words.first().is_none_or(String::is_empty) {
            return Err(format!("it names no program; {how}"));
        }
        return Ok(words);
    }
    if text.contains(char::is_whitespace) {
        return Err(format!(
            "it is one text with white space in it, not a list of words; {how}"
        ));
    }
    Ok(vec![text.to_owned()])
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if (1..=300).contains(&duration.as_secs()) {
        Ok(duration)
    } else {
        Err(format!(
            "`{text}` is no sensible time for a program; choose 1s to 5m"
        ))
    }
}

pub(super) fn preset(text: &str) -> Result<Preset, String> {
    match text {
        "pai-default" => Ok(Preset::PaiDefault),
        "none" => Ok(Preset::None),
        _ => Err(format!("`{text}` is no preset; choose pai-default or none")),
    }
}

pub(super) fn account_id(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no account id; write its digits"))
    }
}

/// Source: the naming rules of OSS buckets.
pub(super) fn bucket(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (3..=63).contains(&text.len())
        && text.bytes().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no bucket; write its name alone: 3 to 63 small letters, digits or `-`"
        ))
    }
}

pub(super) fn source_identity(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if (2..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no source identity; use 2 to 64 letters, digits or `_+=,.@-`"
        ))
    }
}

pub(super) fn signature(text: &str) -> Result<Signature, String> {
    match text {
        "v1" => Ok(Signature::V1),
        "v3" => Ok(Signature::V3),
        _ => Err(format!("`{text}` is no signature; choose v1 or v3")),
    }
}

/// Where the metadata service may be: plain http is for its own address and for tests on loopback.
///
/// The refusal does not repeat the text: an address may carry a password.
pub(super) fn metadata_url(text: &str) -> Result<String, String> {
    let how = "write it like http://100.100.100.200";
    let url = Url::parse(text).map_err(|error| format!("it is no address ({error}); {how}"))?;
    let is_local = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.octets() == [100, 100, 100, 200],
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    };
    if url.scheme() != "http" || !is_local {
        return Err(format!(
            "it is no metadata service, which is at 100.100.100.200, and else only on loopback; {how}"
        ));
    }
    let is_bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_bare {
        return Err(format!("it has more than an address in it; {how}"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

pub(super) fn ecs_role_name(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no role name; write the name alone, not an ARN: 1 to 64 letters, digits or `.`, `_`, `-`"
        ))
    }
}

pub(super) fn session_name(text: &str) -> Result<String, String> {
    if (2..=64).contains(&text.len()) && text.bytes().all(is_session_byte) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no session name; use 2 to 64 letters, digits or `.`, `@`, `-`, `_`"
        ))
    }
}

/// Makes a session name of a pod's or host's name: the same for each refresh, because clients pin the identity.
pub(super) fn derived_session_name(name: &str) -> String {
    let sane = |c: char| {
        if c.is_ascii() && is_session_byte(c as u8) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(sane).take(64).collect();
    if name.len() < 2 {
        "ram-sidecar".to_owned()
    } else {
        name
    }
}

fn is_session_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".@-_".contains(&byte)
}

pub(super) fn external_id(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    if (2..=1224).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("it is no external ID; use 2 to 1224 letters, digits or `_+=,.@:/-`".to_owned())
    }
}

/// Checks a session policy as far as it can be checked here, and takes the white space out of it.
pub(super) fn policy(text: &str) -> Result<String, String> {
    let json: Json = serde_json::from_str(text)
        .map_err(|error| format!("the session policy is not JSON ({error}); correct it"))?;
    if json.get("Version").is_none() || json.get("Statement").is_none() {
        return Err(
            "the session policy lacks Version or Statement; see RAM's policy language".into(),
        );
    }
    let compact = json.to_string();
    let length = compact.chars().count();
    if length > 2048 {
        return Err(format!(
            "the session policy has {length} characters; STS takes 2048, shorten it"
        ));
    }
    Ok(compact)
}

pub(super) fn provider_arn(text: &str) -> Result<String, String> {
    let provider = text
        .strip_prefix("acs:ram::")
        .and_then(|rest| rest.split_once(":oidc-provider/"));
    match provider {
        Some((account, name))
            if !account.is_empty()
                && account.bytes().all(|b| b.is_ascii_digit())
                && !name.is_empty() =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "`{text}` is no OIDC provider; write acs:ram::<account id>:oidc-provider/<name>"
        )),
    }
}

pub(super) fn region(text: &str) -> Result<String, String> {
    if !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no region; write it like cn-hangzhou"))
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is no address; write an IP address and a port, like 127.0.0.1:7002 or [::1]:7002")
    })
}

/// Only characters that no client encodes or un-encodes on the way.
pub(super) fn key(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if text.is_empty() || text.len() > 128 || !text.bytes().all(fits) || text == "." || text == ".."
    {
        return Err("it is no key; use 1 to 128 letters, digits or `-`, `.`, `_`, `~`".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(format!(
            "`{text}` is no level; choose error, warn, info, debug or trace"
        )),
    }
}

pub(super) fn format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(format!("`{text}` is no log format; choose text or json")),
    }
}

/// Reads the named fields of a file to keep; every mistake is returned.
pub(super) fn file(fields: &[(String, String)]) -> Result<sink::Options, Vec<String>> {
    let mut problems = Vec::new();
    let mut options = sink::Options {
        path: PathBuf::new(),
        mode: 0o600,
        uid: None,
        gid: None,
    };
    let mut id = |name: &str, value: &str| {
        value
            .parse()
            .map_err(|_| problems.push(format!("{name} `{value}` is no numeric id")))
            .ok()
    };
    let mut others = Vec::new();
    for (name, value) in fields {
        match name.as_str() {
            "path" => options.path = PathBuf::from(value),
            "uid" => options.uid = id(name, value),
            "gid" => options.gid = id(name, value),
            _ => others.push((name, value)),
        }
    }
    for (name, value) in others {
        match (name.as_str(), u32::from_str_radix(value, 8)) {
            ("mode", Ok(mode @ 0o400..=0o777)) => options.mode = mode,
            ("mode", _) => problems.push(format!(
                "mode `{value}` is no file mode; write it in octal, like 0640"
            )),
            _ => problems.push(format!("there is no `{name}`; use path, mode, uid and gid")),
        }
    }
    if !options.path.is_absolute() {
        let path = options.path.display();
        problems.push(format!(
            "path `{path}` is not absolute; write it from the root"
        ));
    } else if options.path.file_name().is_none() {
        problems.push(format!("path `{}` names no file", options.path.display()));
    }
    if problems.is_empty() {
        Ok(options)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h", 3600),
            ("1h30m", 5400),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "0",
            "30",
            "h",
            "1d",
            "1.5h",
            "-1s",
            "1h ",
            "99999999999999999999h",
            "9999999999999999999h",
            "1é",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_session_names_are_what_sts_accepts() {
        for (name, expected) in [
            ("trainer-0", "trainer-0"),
            ("host.example", "host.example"),
            ("a b/c", "a-b-c"),
            ("日本", "--"),
            ("x", "ram-sidecar"),
            ("", "ram-sidecar"),
        ] {
            assert_eq!(derived_session_name(name), expected);
            assert!(session_name(&derived_session_name(name)).is_ok());
        }
        assert_eq!(derived_session_name(&"n".repeat(90)).len(), 64);
    }

    #[test]
    fn a_policy_is_checked_and_compacted() {
        let good = "{ \"Version\": \"1\",\n \"Statement\": [] }";
        assert_eq!(
            policy(good).as_deref(),
            Ok(r#"{"Statement":[],"Version":"1"}"#)
        );
        let long = format!(r#"{{"Version":"1","Statement":"{}"}}"#, "x".repeat(2048));
        for (bad, reason) in [
            ("{", "not JSON"),
            ("{}", "lacks"),
            ("[]", "lacks"),
            (&long, "2048"),
        ] {
            assert!(policy(bad).unwrap_err().contains(reason), "{bad}");
        }
    }
}
