//! Parses the values of a request; each error says how to write the value.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::parse::{self, accept};
use crate::config::settings::SETTINGS;
use crate::credentials::RoleArn;
use crate::identity::is_role_name;
use crate::time::duration;

use super::request::IDENTITIES;
use super::spec::{Amount, Key};

pub(super) fn role_or_name(text: &str) -> Result<(), String> {
    if text.contains(':') {
        return RoleArn::parse(text).map(|_| ());
    }
    if is_role_name(text) {
        return Ok(());
    }
    Err(format!(
        "`{text}` is not a role; write acs:ram::<account id>:role/<name>, or the name alone"
    ))
}

pub(super) fn identity(text: &str) -> Result<(), String> {
    let names = IDENTITIES.map(|(name, _)| name);
    if names.contains(&text) {
        return Ok(());
    }
    Err(format!(
        "`{text}` is not an identity of a pod; choose {}",
        names.join(", ")
    ))
}

pub(super) fn secret_name(text: &str) -> Result<String, String> {
    object_name(text, "Secret")
}

pub(super) fn config_map_name(text: &str) -> Result<String, String> {
    object_name(text, "ConfigMap")
}

fn object_name(text: &str, kind: &str) -> Result<String, String> {
    accept(text, is_object_name(text), || {
        format!("`{text}` is not a {kind}'s name; write lowercase letters, digits, `-` and `.`")
    })
}

/// Whether a text is a valid name of a Kubernetes object: an RFC 1123 subdomain.
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
    accept(text, text.bytes().all(|b| b.is_ascii_graphic()), || {
        format!("`{text}` is not an image; write it like registry/name:tag")
    })
}

/// Parses the last segment of the URI's path.
pub(super) fn key(text: &str) -> Result<Key, String> {
    if text == "pod-uid" {
        return Ok(Key::PodUid);
    }
    parse::key(text).map(Key::Text)
}

/// Parses a port that is followed by two others, all of which need no privilege.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok();
    port.filter(|port| (1024..=65_533).contains(port))
        .ok_or_else(|| format!("`{text}` is not a port of the sidecar; choose 1024 to 65533"))
}

/// Parses a quantity of Kubernetes, or `none`.
pub(super) fn amount(text: &str) -> Result<Amount, String> {
    if text == "none" {
        return Ok(Amount::None);
    }
    accept(text, quantity(text).is_some(), || {
        format!("`{text}` is not a quantity; write it like 50m or 64Mi, or none")
    })
    .map(Amount::Quantity)
}

/// Parses the limit of the memory: without a unit it is a number of bytes, which nothing could run with.
pub(super) fn memory_limit(text: &str) -> Result<Amount, String> {
    match amount(text)? {
        Amount::Quantity(text) if quantity(&text) < quantity(LEAST_MEMORY) => {
            let unit = match text.strip_suffix('m') {
                Some(number) => format!("m means thousandths, write {number}Mi"),
                None => "write it like 64Mi".to_owned(),
            };
            Err(format!(
                "`{text}` is less than the sidecar needs, {LEAST_MEMORY}; {unit}"
            ))
        }
        amount => Ok(amount),
    }
}

/// Returns the value of a quantity; `None` if it is none.
///
/// Source: the documentation of `Quantity` in the API of Kubernetes.
pub(super) fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let starts_with_digit = number.starts_with(|c: char| c.is_ascii_digit());
    let number: f64 = number.parse().ok().filter(|_| starts_with_digit)?;
    let factor = if let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) {
        *factor
    } else {
        let exponent = unit.strip_prefix(['e', 'E'])?.parse().ok();
        10_f64.powi(exponent.filter(|exponent| EXPONENTS.contains(exponent))?)
    };
    let value = number * factor;
    (value <= MAX_QUANTITY).then_some(value)
}

/// Powers of ten from nano to exa, beyond which Kubernetes rounds.
const EXPONENTS: RangeInclusive<i32> = -9..=18;

/// 2^63, beyond which Kubernetes rounds too.
const MAX_QUANTITY: f64 = 9_223_372_036_854_775_808.0;

const UNITS: [(&str, f64); 14] = [
    ("", 1.0),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
];

/// The daemon and a probe, with some room.
const LEAST_MEMORY: &str = "12M";

/// Parses a number of seconds, as in ACK's annotation, or a duration.
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
        "`{text}` is not a token lifetime; choose 600 to 43200 seconds"
    ))
}

/// Parses a setting of the sidecar: `NAME=VALUE`.
///
/// Rejects secrets, which would be readable in the manifest, variables that inject sets, and unknown settings.
pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let example = "write it like HTTPS_PROXY=http://proxy:3128";
    let Some((name, value)) = text.split_once('=') else {
        // The text is not repeated, because it may be a misplaced secret.
        return Err(format!("it has no `=`; {example}"));
    };
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !name.bytes().all(in_alphabet) || name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        return Err(format!("`{name}` is not a variable name; {example}"));
    }
    let setting = SETTINGS.iter().find(|setting| setting.variable() == name);
    if setting.is_some_and(|setting| !setting.in_file) {
        return Err(format!(
            "{name} is a secret, which must not be in a manifest; put it into a Secret, and name that with --secret"
        ));
    }
    if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(format!("{name} is set by inject; {instead}"));
    }
    if setting.is_none() && name.starts_with("RAM_SIDECAR_") {
        return Err(format!(
            "{name} is not a setting; `ram-sidecar serve --help` lists them"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The variables that inject sets, each with what to do instead.
const RESERVED: &[(&str, &str)] = &[
    ("ALIBABA_CLOUD_CREDENTIALS_URI", "use --credentials-uri"),
    ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "use --oidc-provider-arn"),
    ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "remove it"),
    ("ALIBABA_CLOUD_ROLE_ARN", "use --role"),
    ("ALIBABA_CLOUD_STS_REGION", "use --region"),
    ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "use --vpc"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", "use --secret"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", "use --secret"),
    ("POD_NAME", "remove it"),
    ("RAM_SIDECAR_CA_FILE", "use --ca-config-map"),
    ("RAM_SIDECAR_CONTAINER", "use --container"),
    ("RAM_SIDECAR_DURATION", "use --duration"),
    ("RAM_SIDECAR_IDENTITY", "use --identity"),
    ("RAM_SIDECAR_KEY", "use --key"),
    ("RAM_SIDECAR_LISTEN", "use --port"),
    (
        "RAM_SIDECAR_METADATA_LISTEN",
        "use --metadata or --metadata-address",
    ),
];
