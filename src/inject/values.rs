//! From what was said to values; each refusal says why and how to write it.

use std::time::Duration;

use crate::config::settings::SETTINGS;
use crate::credentials::RoleArn;
use crate::identity::is_role_name;
use crate::time::duration;

pub(super) fn role_or_name(text: &str) -> Result<(), String> {
    if text.contains(':') {
        return RoleArn::parse(text).map(|_| ());
    }
    if is_role_name(text) {
        return Ok(());
    }
    Err(format!(
        "`{text}` is no role; write acs:ram::<account id>:role/<name>, or the name alone"
    ))
}

pub(super) fn identity(text: &str) -> Result<(), String> {
    if IDENTITIES.contains(&text) {
        return Ok(());
    }
    Err(format!(
        "`{text}` is no identity of a pod; choose {}",
        IDENTITIES.join(", ")
    ))
}

pub(super) fn secret_name(text: &str) -> Result<String, String> {
    if is_object_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no name of a Secret; write small letters, digits, `-` and `.`"
    ))
}

/// Whether an object may have that name.
///
/// Source: Kubernetes' names of objects, RFC 1123 subdomains.
pub(crate) fn is_object_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

pub(super) fn image(text: &str) -> Result<String, String> {
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no image; write it like registry/name:tag"
    ))
}

/// Reads seconds, as ACK's annotation has them, or a duration.
pub(super) fn token_expiration(text: &str) -> Result<Duration, String> {
    let span = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => duration::parse(text)?,
    };
    // Source: the API of Kubernetes, and the limit of ACK's webhook.
    if (600..=43_200).contains(&span.as_secs()) {
        return Ok(span);
    }
    Err(format!(
        "`{text}` is no life of a token; choose 600 to 43200 seconds"
    ))
}

/// Splits a setting of the sidecar.
///
/// Refuses secrets, which would stand in the manifest in the clear, what injection itself sets, and what is no setting.
pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let how = "write it like HTTPS_PROXY=http://proxy:3128";
    let Some((name, value)) = text.split_once('=') else {
        // It may be a secret that was put in the wrong place.
        return Err(format!("it has no `=`; {how}"));
    };
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !name.bytes().all(in_alphabet) || name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        return Err(format!("`{name}` is no name of a variable; {how}"));
    }
    let setting = SETTINGS.iter().find(|setting| setting.variable() == name);
    if setting.is_some_and(|setting| !setting.in_file) {
        return Err(format!(
            "{name} is a secret, and manifests are no place for one; put it into a Secret and name that with --secret"
        ));
    }
    if let Some((_, instead)) = OWN.iter().find(|(own, _)| *own == name) {
        return Err(format!("{name} is set by the injection itself; {instead}"));
    }
    if setting.is_none() && name.starts_with("RAM_SIDECAR_") {
        return Err(format!(
            "{name} is no setting; `ram-sidecar serve --help` lists them"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

const IDENTITIES: &[&str] = &[
    "oidc",
    "access_key",
    "ecs_ram_role",
    "credentials_uri",
    "sandbox",
];

/// What the injection sets, and what to do instead.
const OWN: &[(&str, &str)] = &[
    ("ALIBABA_CLOUD_CREDENTIALS_URI", "use --credentials-uri"),
    ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "use --oidc-provider-arn"),
    ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "drop it"),
    ("ALIBABA_CLOUD_ROLE_ARN", "use --role"),
    ("ALIBABA_CLOUD_STS_REGION", "use --region"),
    ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "use --vpc"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", "use --secret"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", "use --secret"),
    ("POD_NAME", "drop it"),
    ("RAM_SIDECAR_DURATION", "use --duration"),
    ("RAM_SIDECAR_IDENTITY", "use --identity"),
    ("RAM_SIDECAR_KEY", "drop it"),
    ("RAM_SIDECAR_LISTEN", "drop it"),
    ("RAM_SIDECAR_METADATA_LISTEN", "use --metadata"),
];
