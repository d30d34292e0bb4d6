//! What was probably meant: remedies for lines that are not TOML, unknown keys, and unknown variables.

use toml::Table;

use super::setting::Definition;
use super::settings::SETTINGS;

/// Returns what to do about a line that is not TOML. It quotes no value, which may be a secret in the wrong place.
pub(super) fn remedy(line: &str) -> String {
    let bare = line.split_once('=').filter(|(key, value)| {
        let value = value.trim();
        let quoted = format!("{} = '{value}'", key.trim());
        !value.is_empty()
            && !value.starts_with(['"', '\'', '[', '{'])
            && quoted.parse::<Table>().is_ok()
    });
    // Nor a key that may be part of one.
    let is_known = |key: &str| {
        let is = |known: &str| known == key || known.rsplit('.').next() == Some(key);
        SETTINGS.iter().any(|setting| is(setting.key))
    };
    match bare {
        Some((key, _)) if is_known(key.trim()) => {
            format!("put the value of {} in quotes", key.trim())
        }
        Some(_) => "put the value in quotes".to_owned(),
        None => "correct it: a key, = and a value in quotes, below a [section]".to_owned(),
    }
}

/// Returns a sentence for each variable of this program's prefix that is not one of its own.
///
/// They are no errors: for a Service called `ram-sidecar`, Kubernetes adds such variables to every pod of its namespace.
pub(crate) fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let of_setting = |name: &str| {
        let own = name.strip_prefix(PREFIX)?;
        let own = own.strip_suffix("_FILE").unwrap_or(own);
        let mut settings = SETTINGS.iter();
        let by_key = |setting: &&&Definition| setting.key.replace('.', "_").to_uppercase() == own;
        settings.find(by_key).map(|setting| setting.variable())
    };
    let known: Vec<String> = SETTINGS
        .iter()
        .map(|setting| setting.variable())
        .chain(OTHERS.map(str::to_owned))
        .collect();
    let is_unknown = |name: &String| {
        let own = name.strip_prefix(PREFIX);
        let is_foreign = |own: &str| FOREIGN.iter().any(|start| own.starts_with(start));
        own.is_some_and(|own| !is_foreign(own)) && !known.contains(name)
    };
    let sentence = |name: String| {
        let similar = || known.iter().find(|known| is_similar(known, &name)).cloned();
        let flag = FLAGS_ONLY.iter().find(|flag| **flag == flag_of(&name));
        let hint = match of_setting(&name).or_else(similar) {
            _ if let Some(flag) = flag => format!("it has only a flag, {flag}"),
            Some(known) => format!("did you mean {known}?"),
            None => "see `ram-sidecar serve --help` for the variables".to_owned(),
        };
        format!("{name} is not a variable of ram-sidecar, and has no effect; {hint}")
    };
    names.filter(is_unknown).map(sentence).collect()
}

/// Returns the flag that a variable would have.
fn flag_of(variable: &str) -> String {
    let own = variable.strip_prefix(PREFIX).unwrap_or(variable);
    format!("--{}", own.to_ascii_lowercase().replace('_', "-"))
}

/// Whether one name is a misspelling of the other, or its beginning.
fn is_similar(one: &str, other: &str) -> bool {
    let shortest = one.len().min(other.len());
    let is_start = one.bytes().zip(other.bytes()).all(|(a, b)| a == b);
    is_close(one, other) || (is_start && shortest > PREFIX.len() + 3)
}

/// Whether all but two characters at one place are the same.
fn is_close(one: &str, other: &str) -> bool {
    let same = |(a, b): &(u8, u8)| a == b;
    let prefix = one.bytes().zip(other.bytes()).take_while(same).count();
    let rest = |text: &str| text.len() - prefix;
    let ends = one.bytes().rev().zip(other.bytes().rev());
    let suffix = ends.take_while(same).count();
    let suffix = suffix.min(rest(one)).min(rest(other));
    rest(one).max(rest(other)) - suffix <= 2
}

const PREFIX: &str = "RAM_SIDECAR_";

/// Variables that are not settings.
const OTHERS: [&str; 3] = [
    "RAM_SIDECAR_CONFIG",
    "RAM_SIDECAR_POD_UID",
    // `exec` sets it for aliyun-cli.
    "RAM_SIDECAR_ALIYUN_CONFIG",
];

/// Flags without a variable, which one may expect: what an environment could turn on would replace a real role.
const FLAGS_ONLY: [&str; 3] = ["--sandbox", "--sandbox-listen", "--fault"];

/// How the rest of a name begins that belongs to the webhook, or to a Service of Kubernetes.
const FOREIGN: [&str; 4] = ["WEBHOOK_", "SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// Returns the key that was probably meant or, if `is_table`, the section.
pub(super) fn nearest(key: &str, is_table: bool) -> Option<&'static str> {
    let plain = |key: &str| key.replace(['_', '-', '.'], "").to_lowercase();
    let known = || {
        SETTINGS
            .iter()
            .filter(|setting| setting.in_file)
            .map(|setting| setting.key)
    };
    if is_table {
        let mut sections = known().filter(|known| known.contains('.')).map(section);
        return sections.find(|known| *known == plain(key) || is_close(known, key));
    }
    let last = |key: &str| plain(key.rsplit('.').next().unwrap_or_default());
    let same_name = || known().find(|known| last(known) == last(key) || plain(known) == plain(key));
    let close = || known().find(|known| is_close(known, key));
    let same_start = || {
        known().find(|known| {
            let shared = known
                .bytes()
                .zip(key.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            shared >= 6 && shared + 3 >= key.len()
        })
    };
    same_name().or_else(close).or_else(same_start)
}

/// Returns the first part of a key.
pub(super) fn section(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_the_nearest() {
        for (key, is_table, known) in [
            ("rol", true, Some("role")),
            ("Identity", true, Some("identity")),
            ("identty", true, Some("identity")),
            ("logging", true, None),
            ("nope", true, None),
            ("role_arn", false, Some("role.arn")),
            ("arn", false, Some("role.arn")),
            ("identity-type", false, Some("identity.type")),
            ("role.duraton", false, Some("role.duration")),
            ("serve.lisen", false, Some("serve.listen")),
            ("sts.session_name", false, Some("role.session_name")),
            ("colour", false, None),
        ] {
            assert_eq!(nearest(key, is_table), known, "{key}");
        }
    }

    #[test]
    fn a_value_without_quotes_is_told_as_such() {
        for (line, is_bare) in [
            ("listen = 127.0.0.1:7002", true),
            ("arn = acs:ram::1:role/job", true),
            ("duration = 1h", true),
            ("arn = 'acs:ram::1:role/job", false),
            ("via = [", false),
            ("arn = ", false),
            ("[role", false),
            ("role:", false),
        ] {
            let remedy = remedy(line);
            assert_eq!(
                remedy.contains("in quotes") && remedy.starts_with("put"),
                is_bare,
                "{line}: {remedy}"
            );
        }
    }

    #[test]
    fn unknown_variables_are_named_with_the_nearest() {
        for (name, hint) in [
            ("RAM_SIDECAR_LISTN", "did you mean RAM_SIDECAR_LISTEN?"),
            (
                "RAM_SIDECAR_LISTEN_ADDRESS",
                "did you mean RAM_SIDECAR_LISTEN?",
            ),
            (
                "RAM_SIDECAR_SERVE_LISTEN",
                "did you mean RAM_SIDECAR_LISTEN?",
            ),
            (
                "RAM_SIDECAR_ROLE_ARN",
                "did you mean ALIBABA_CLOUD_ROLE_ARN?",
            ),
            ("RAM_SIDECAR_DURATOIN", "did you mean RAM_SIDECAR_DURATION?"),
            ("RAM_SIDECAR_MAGIC", "--help"),
            ("RAM_SIDECAR_SANDBOX", "it has only a flag, --sandbox"),
            ("RAM_SIDECAR_SANDBOX_LISTEN", "a flag, --sandbox-listen"),
        ] {
            let sentences = unknown_variables([name.to_owned()].into_iter());
            let [sentence] = &sentences[..] else {
                panic!("{name}: {sentences:?}");
            };
            assert!(
                sentence.starts_with(name) && sentence.contains(hint),
                "{sentence}"
            );
        }
        let fine = [
            "RAM_SIDECAR_LISTEN",
            "RAM_SIDECAR_ALIYUN_CONFIG",
            "RAM_SIDECAR_PORT_80_TCP",
            "RAM_SIDECAR_SERVICE_HOST",
            "RAM_SIDECAR_WEBHOOK_X",
            "HOME",
        ];
        let fine = fine.into_iter().map(str::to_owned);
        assert!(unknown_variables(fine).is_empty());
    }
}
