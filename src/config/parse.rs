//! Parses the values of settings; each error names the reason and the expected form.

mod identity;
mod role;
mod serve;
mod sts;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::files::credentials_file::CredentialsFile;
use crate::formats::format::{FILES, Format};
use crate::system::log;
pub(crate) use crate::time::duration::parse as duration;

pub use self::identity::Kind;
pub(crate) use self::identity::{
    KINDS, access_key, command, ecs_role_name, kind, metadata_url, mounted_file, provider_arn,
    timeout,
};
pub(crate) use self::role::{
    Preset, external_id, policy, policy_file, preset, role, role_duration, roles, source_identity,
};
pub(crate) use self::serve::{
    address, address_or_off, host_names, key, key_bits, may_anyone_stop, metadata_address,
    metadata_value, token_file, uids,
};
pub(crate) use self::sts::{certificates, endpoints, region, signature};

/// The named fields of a credentials file, unchecked.
pub(crate) type Fields = Vec<(String, String)>;

/// Reads several values: a JSON array, or one text with commas.
pub(crate) fn list(text: &str) -> Result<Vec<String>, String> {
    let how = "write it like a,b or [\"a\", \"b\"]";
    // An IPv6 address such as `[::1]:8443` also begins with a bracket.
    let is_json = text
        .trim_start()
        .strip_prefix('[')
        .is_some_and(|rest| rest.trim_start().starts_with(['"', ']']));
    let items: Vec<String> = if is_json {
        serde_json::from_str(text).map_err(|_| format!("it is not a list of texts; {how}"))?
    } else {
        text.split(',').map(|item| item.trim().to_owned()).collect()
    };
    if items.is_empty() || items.iter().any(String::is_empty) {
        return Err(format!("it is empty or has an empty entry; {how}"));
    }
    Ok(items)
}

/// Accepts a text if it is valid; else fails with the reason.
pub(crate) fn accept(
    text: &str,
    is_valid: bool,
    reason: impl FnOnce() -> String,
) -> Result<String, String> {
    is_valid.then(|| text.to_owned()).ok_or_else(reason)
}

/// Returns the choice of a name. `what` completes the error: it is not …
pub(crate) fn one_of<T: Copy>(text: &str, what: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text);
    let found = found.map(|(_, choice)| *choice);
    found.ok_or_else(|| format!("`{text}` is not {what}; choose {}", names(choices)))
}

/// Returns a duration of so many seconds. `limits` completes the error: it is outside the limits …
fn duration_within(
    text: &str,
    seconds: RangeInclusive<u64>,
    limits: &str,
) -> Result<Duration, String> {
    let duration = duration(text)?;
    let is_within = seconds.contains(&duration.as_secs());
    is_within
        .then_some(duration)
        .ok_or_else(|| format!("`{text}` is outside the limits{limits}"))
}

/// Accepts any text.
#[expect(
    clippy::unnecessary_wraps,
    reason = "settings require a parser that can fail"
)]
pub(crate) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

pub(crate) fn level(text: &str) -> Result<LevelFilter, String> {
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    one_of(text, "a level", &levels)
}

pub(crate) fn format(text: &str) -> Result<log::Format, String> {
    let formats = [("text", log::Format::Text), ("json", log::Format::Json)];
    one_of(text, "a log format", &formats)
}

/// Lists names: `a, b or c`.
pub(crate) fn names<T>(names: &[(&str, T)]) -> String {
    let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    match names.split_last() {
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Splits `PATH,mode=0600,uid=1000` into named fields.
#[expect(
    clippy::unnecessary_wraps,
    reason = "settings require a parser that can fail"
)]
pub(crate) fn fields(text: &str) -> Result<Fields, String> {
    let mut parts = text.split(',');
    let path = parts.next().unwrap_or_default();
    let mut fields = vec![("path".to_owned(), path.to_owned())];
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        fields.push((name.to_owned(), value.to_owned()));
    }
    Ok(fields)
}

pub(crate) fn state_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(format!("`{text}` is not absolute; write it from the root"));
    }
    if path.file_name().is_none() || text.ends_with('/') {
        return Err(format!(
            "`{text}` is a directory; write the path of a file in it"
        ));
    }
    Ok(path)
}

/// Reads the named fields of a credentials file; returns all errors.
pub(crate) fn file(fields: &[(String, String)]) -> Result<CredentialsFile, Vec<String>> {
    let mut problems = Vec::new();
    let mut options = CredentialsFile {
        path: PathBuf::new(),
        format: Format::Json,
        mode: 0o600,
        uid: None,
        gid: None,
    };
    let mut id = |name: &str, value: &str| {
        value
            .parse()
            .map_err(|_| problems.push(format!("{name} `{value}` is not a numeric id")))
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
                "mode `{value}` is not a file mode; write it in octal, like 0640"
            )),
            ("format", _) => match one_of(value, "a format of files", &FILES) {
                Ok(format) => options.format = format,
                Err(reason) => problems.push(format!("format {reason}")),
            },
            _ => problems.push(format!(
                "unknown field `{name}`; use path, format, mode, uid and gid"
            )),
        }
    }
    if !options.path.is_absolute() {
        let path = options.path.display();
        problems.push(format!(
            "path `{path}` is not absolute; write it from the root"
        ));
    } else if options.path.file_name().is_none() {
        problems.push(format!(
            "path `{}` is a directory; write the path of a file",
            options.path.display()
        ));
    }
    if problems.is_empty() {
        Ok(options)
    } else {
        Err(problems)
    }
}
