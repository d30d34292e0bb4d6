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
use super::settings::{CREDENTIALS_URI, FILE, SETTINGS, find};

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
                self.problems.push(format!("{path}: cannot read the configuration file: {error}; correct --config or RAM_SIDECAR_CONFIG"));
                return;
            }
        };
        match text.parse::<Table>() {
            Ok(table) => self.take_table(path, "", &table),
            Err(error) => {
                let line = error.span().map_or(1, |span| {
                    text.get(..span.start)
                        .unwrap_or_default()
                        .matches('\n')
                        .count()
                        + 1
                });
                let path = path.display();
                self.is_file_unreadable = true;
                self.problems.push(format!(
                    "{path}: line {line} is not TOML: {}",
                    error.message()
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
                let hint = nearest(&key);
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
    SETTINGS.iter().any(|setting| {
        setting
            .key
            .split_once('.')
            .is_some_and(|(section, _)| section == key)
    })
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
        let hint = match of_setting(&name).or_else(similar) {
            Some(known) => format!("did you mean {known}?"),
            None => "see `ram-sidecar serve --help` for the variables".to_owned(),
        };
        format!("{name} is not a variable of ram-sidecar, and has no effect; {hint}")
    };
    names.filter(is_unknown).map(sentence).collect()
}

/// Whether all but a few characters at one place are the same.
fn is_similar(one: &str, other: &str) -> bool {
    let prefix = one
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let rest = |text: &str| text.len() - prefix;
    let ends = one.bytes().rev().zip(other.bytes().rev());
    let suffix = ends.take_while(|(a, b)| a == b).count();
    let suffix = suffix.min(rest(one)).min(rest(other));
    let differs = rest(one).max(rest(other)) - suffix;
    differs <= 2 || (prefix > PREFIX.len() + 3 && one.len().min(other.len()) == prefix)
}

const PREFIX: &str = "RAM_SIDECAR_";

/// Variables that are not settings.
const OTHERS: [&str; 3] = [
    "RAM_SIDECAR_CONFIG",
    "RAM_SIDECAR_POD_UID",
    // `exec` sets it for aliyun-cli.
    "RAM_SIDECAR_ALIYUN_CONFIG",
];

/// How the rest of a name begins that belongs to the webhook, or to a Service of Kubernetes.
const FOREIGN: [&str; 4] = ["WEBHOOK_", "SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// Returns a hint about the key that was probably meant.
fn nearest(key: &str) -> String {
    let name = |key: &str| {
        key.rsplit('.')
            .next()
            .unwrap_or_default()
            .replace(['_', '-'], "")
    };
    let known = || {
        SETTINGS
            .iter()
            .filter(|setting| setting.in_file)
            .map(|setting| setting.key)
    };
    let same_name = known().find(|known| name(known) == name(key));
    let same_start = known().find(|known| {
        let shared = known
            .bytes()
            .zip(key.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        shared >= 6 && shared + 3 >= key.len()
    });
    match same_name.or(same_start) {
        Some(known) => format!("did you mean {known}?"),
        None => "see `ram-sidecar serve --help` or config/ram-sidecar.toml for the keys".to_owned(),
    }
}

/// Far more bytes than all settings have.
const FILE_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

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
