//! Gathers the settings: flags override the environment, which overrides the file, which overrides the defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value as Toml};

use crate::system::file;

use super::Input;
use super::parse::Fields;
use super::setting::Definition;
use super::settings::{CREDENTIALS_URI, ECS_ROLE_NAME, FILE, SETTINGS, find};
use crate::chains::{EXEC_ROLE, INJECT_ROLE};

/// A configured text and its origin.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// The place where a value is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static Definition),
    Variable(&'static Definition),
    File {
        path: PathBuf,
        key: String,
    },
    /// A default of the command.
    Command,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(setting) => write!(f, "--{}", setting.flag().unwrap_or_default()),
            Self::Variable(setting) => f.write_str(&setting.variable()),
            Self::File { path, key } => write!(f, "{key} in {}", path.display()),
            Self::Command => f.write_str("default of this command"),
        }
    }
}

/// All configured values, each from its strongest layer.
#[derive(Default)]
pub(crate) struct Layers {
    values: BTreeMap<&'static str, Given>,
    /// Values that a stronger layer overrides.
    overridden: Vec<(&'static str, Given)>,
    /// The entries of `file`, which in TOML is a list of tables.
    pub(crate) files: Vec<(Origin, Fields)>,
    /// Errors that do not depend on the value of a setting.
    pub(crate) problems: Vec<String>,
    /// Whether the file could not be read or parsed: then it may contain any setting.
    pub(crate) is_file_unreadable: bool,
    /// Whether the file spells the name of a setting of the role or the identity wrong.
    pub(crate) is_source_misspelt: bool,
}

impl Layers {
    /// Gathers the settings of the table, and those of the command from flags and variables.
    pub(crate) fn gather(input: &Input<'_>, command_settings: &[&'static Definition]) -> Self {
        let mut layers = Self::default();
        for (setting, value) in &input.defaults {
            let (value, origin) = (value.clone(), Origin::Command);
            layers.values.insert(setting.key, Given { value, origin });
        }
        if let Some(path) = &input.file {
            layers.read(path);
        }
        for setting in SETTINGS.iter().chain(command_settings) {
            layers.take_variable(setting, input.variable);
        }
        for (setting, values) in &input.flags {
            layers.take_flag(setting, values);
        }
        layers
    }

    pub(crate) fn get(&self, setting: &Definition) -> Option<&Given> {
        self.values.get(setting.key)
    }

    /// Returns the overridden values of a setting.
    pub(crate) fn overridden(&self, setting: &Definition) -> impl Iterator<Item = &Given> {
        let is_of_setting = move |(key, _): &&(&str, Given)| *key == setting.key;
        let overridden = self.overridden.iter().filter(is_of_setting);
        overridden.map(|(_, given)| given)
    }

    /// Returns all configured values by key, without `file`.
    #[cfg(feature = "sandbox")]
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &Given)> {
        self.values.iter().map(|(key, given)| (*key, given))
    }

    fn put(&mut self, setting: &'static Definition, value: String, origin: Origin) {
        let given = Given { value, origin };
        let weaker = self.values.insert(setting.key, given);
        if let Some(weaker) = weaker.filter(|weaker| weaker.origin != Origin::Command) {
            self.overridden.push((setting.key, weaker));
        }
    }

    fn take_variable(
        &mut self,
        setting: &'static Definition,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) {
        let name = setting.variable();
        // As in every SDK, an empty variable counts as unset: templates produce them.
        let Some(value) = variable(&name).filter(|value| !value.is_empty()) else {
            return;
        };
        let value = value.into_string().unwrap_or_else(|value| {
            self.problems
                .push(format!("{name}: it is not valid UTF-8; set it again"));
            value.to_string_lossy().into_owned()
        });
        // Meant for the clients of another ram-sidecar.
        let is_served = [EXEC_ROLE, INJECT_ROLE].contains(&value.as_str());
        if setting == &ECS_ROLE_NAME.definition && is_served {
            return;
        }
        let origin = Origin::Variable(setting);
        if setting == &FILE.definition {
            let entries = value.split(':').filter(|entry| !entry.is_empty());
            self.take_entries(entries, &origin);
        } else if setting == &CREDENTIALS_URI.definition && self.values.contains_key(setting.key) {
            // Every container of a pod may have it, to name the server for clients: it does not override the file.
            self.overridden.push((setting.key, Given { value, origin }));
        } else {
            self.put(setting, value, origin);
        }
    }

    fn take_flag(&mut self, setting: &'static Definition, values: &[String]) {
        let origin = Origin::Flag(setting);
        if setting == &FILE.definition {
            self.take_entries(values.iter().map(String::as_str), &origin);
        } else if setting.is_list() {
            self.put(setting, values.join(","), origin);
        } else {
            for value in values {
                self.put(setting, value.clone(), origin.clone());
            }
        }
    }

    fn take_entries<'a>(&mut self, entries: impl Iterator<Item = &'a str>, origin: &Origin) {
        let entry = |text| Some((origin.clone(), (FILE.parse)(text).ok()?));
        self.files = entries.filter_map(entry).collect();
    }

    fn read(&mut self, path: &Path) {
        let text = match file::read_text(path, FILE_LIMIT) {
            Ok(text) => text,
            Err(error) => {
                let path = path.display();
                self.is_file_unreadable = true;
                let remedy = file::remedy(&error, "correct --config or RAM_SIDECAR_CONFIG");
                self.problems.push(format!(
                    "{path}: cannot read the configuration file: {error}; {remedy}"
                ));
                return;
            }
        };
        match text.parse::<Table>() {
            Ok(table) => self.take_table(path, "", &table),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                let before = text.get(..start).unwrap_or_default();
                let line = before.matches('\n').count();
                let remedy = remedy(text.lines().nth(line).unwrap_or_default());
                let (path, line, reason) = (path.display(), line + 1, error.message());
                self.is_file_unreadable = true;
                self.problems.push(format!(
                    "{path}: line {line} is not TOML: {reason}; {remedy}"
                ));
            }
        }
    }

    fn take_table(&mut self, path: &Path, prefix: &str, table: &Table) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let origin = Origin::File {
                path: path.to_owned(),
                key: key.clone(),
            };
            if key == FILE.key {
                self.take_files(path, value);
            } else if let Some(setting) = find(&key) {
                match scalar(value).or_else(|| list(setting, value)) {
                    _ if !setting.in_file => self.problems.push(format!(
                        "{origin}: the file must not contain secrets; set {} or {key}_file",
                        setting.variable()
                    )),
                    Some(value) => self.put(setting, value, origin),
                    None => self.problems.push(format!(
                        "{origin}: it cannot be of type {}; set one {}",
                        value.type_str(),
                        setting.value_name
                    )),
                }
            } else if let (Toml::Table(inner), true) = (value, is_section(&key)) {
                self.take_table(path, &key, inner);
            } else {
                let nearest = nearest(&key, value.is_table());
                let is_needed = |known: &str| ["role", "identity"].contains(&section(known));
                self.is_source_misspelt |= nearest.is_some_and(is_needed);
                let hint = match nearest {
                    Some(known) if value.is_table() => format!("did you mean [{known}]?"),
                    Some(known) => format!("did you mean {known}?"),
                    None => {
                        "see `ram-sidecar serve --help` or config/ram-sidecar.toml for the keys"
                            .to_owned()
                    }
                };
                self.problems.push(format!("{origin}: unknown key; {hint}"));
            }
        }
    }

    fn take_files(&mut self, path: &Path, value: &Toml) {
        let Toml::Array(entries) = value else {
            let path = path.display();
            self.problems.push(format!("file in {path}: it is not a list of tables; write [[file]] and below it path = \"…\""));
            return;
        };
        for (index, entry) in entries.iter().enumerate() {
            let key = format!("file[{index}]");
            let origin = Origin::File {
                path: path.to_owned(),
                key,
            };
            let Toml::Table(table) = entry else {
                self.problems.push(format!(
                    "{origin}: it is not a table; write [[file]] and below it path = \"…\""
                ));
                continue;
            };
            let mut given = Vec::new();
            for (name, value) in table {
                match scalar(value) {
                    // A TOML integer does not show whether it was written in octal.
                    Some(_) if name == "mode" && !value.is_str() => self.problems.push(format!(
                        "{origin}: mode is a number; write it as text, mode = \"0600\""
                    )),
                    Some(value) => given.push((name.clone(), value)),
                    None => self.problems.push(format!(
                        "{origin}: {name} cannot be of type {}; set one value",
                        value.type_str()
                    )),
                }
            }
            self.files.push((origin, given));
        }
    }
}

fn scalar(value: &Toml) -> Option<String> {
    match value {
        Toml::String(text) => Some(text.clone()),
        Toml::Integer(number) => Some(number.to_string()),
        Toml::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Returns an array of texts, or of user ids, as JSON, which is also accepted in the other layers.
fn list(setting: &Definition, value: &Toml) -> Option<String> {
    let Toml::Array(items) = value else {
        return None;
    };
    let text = |item: &Toml| match item {
        Toml::Integer(number) if setting.value_name.starts_with("UID") => Some(number.to_string()),
        other => other.as_str().map(str::to_owned),
    };
    let texts: Option<Vec<String>> = items.iter().map(text).collect();
    let texts = texts.filter(|_| setting.is_list())?;
    serde_json::to_string(&texts).ok()
}

fn is_section(key: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| setting.key.contains('.') && section(setting.key) == key)
}

/// Returns the first part of a key.
fn section(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

/// Returns what to do about a line that is not TOML. It quotes no value, which may be a secret in the wrong place.
fn remedy(line: &str) -> String {
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
fn nearest(key: &str, is_table: bool) -> Option<&'static str> {
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

/// Far more bytes than all settings have.
const FILE_LIMIT: usize = 1 << 20;

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
