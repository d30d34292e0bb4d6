//! Gathers the settings: flags override the environment, which overrides the file, which overrides the defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value as Toml};

use crate::system::file;

use super::Input;
use super::hints::{nearest, remedy, section};
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

/// Far more bytes than all settings have.
const FILE_LIMIT: usize = 1 << 20;
