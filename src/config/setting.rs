//! What a setting is: one constant with its names, its parser, its default and its help.

use std::ops::Deref;

/// A setting whose value is of type `T`.
pub(crate) struct Setting<T> {
    pub(crate) definition: Definition,
    /// Reads a value; the error says why it is refused and how to write it.
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

/// What is known of a setting without the type of its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// The key in the TOML file, and the name of the setting everywhere.
    pub key: &'static str,
    /// What stands for the value in the help. `BOOL`, `PATH` and what ends in `…` are read in their own ways.
    pub value: &'static str,
    /// What it does; shown in the help.
    pub help: &'static str,
    /// The default, as it would be written.
    pub default: Option<&'static str>,
    /// Whether the TOML file may hold it. Secrets do not belong there.
    pub in_file: bool,
    /// Whether the short help shows its flag.
    pub is_common: bool,
    /// All values that it accepts, if they are few: shells complete them.
    pub values: &'static [&'static str],
    is_hidden: bool,
    /// What the flag is made of.
    flag: Option<&'static str>,
    /// What the variable is made of, unless it has a name of its own.
    variable: &'static str,
    env: Option<&'static str>,
}

impl<T> Setting<T> {
    /// Makes a setting whose flag and variable are spelled like its key: `--log-format` and `RAM_SIDECAR_LOG_FORMAT`.
    pub(crate) const fn new(
        key: &'static str,
        value: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Self {
        let definition = Definition {
            key,
            value,
            help: "",
            default: None,
            in_file: true,
            is_common: false,
            values: &[],
            is_hidden: false,
            flag: Some(key),
            variable: key,
            env: None,
        };
        Self { definition, parse }
    }

    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.definition.default = Some(default);
        self
    }

    /// Shows the flag in the short help.
    pub(crate) const fn common(mut self) -> Self {
        self.definition.is_common = true;
        self
    }

    /// Lists all values, for the completions of shells.
    pub(crate) const fn one_of(mut self, values: &'static [&'static str]) -> Self {
        self.definition.values = values;
        self
    }

    /// Takes the text of a doc comment, which begins with a space.
    pub(crate) const fn help(mut self, comment: &'static str) -> Self {
        self.definition.help = comment.trim_ascii();
        self
    }

    /// Spells flag and variable like this name instead of the key.
    pub(crate) const fn named(mut self, name: &'static str) -> Self {
        self.definition.variable = name;
        self.flag(name)
    }

    pub(crate) const fn flag(mut self, name: &'static str) -> Self {
        self.definition.flag = Some(name);
        self
    }

    pub(crate) const fn without_flag(mut self) -> Self {
        self.definition.flag = None;
        self
    }

    /// Takes this variable instead, such as one that Alibaba's own tools define.
    pub(crate) const fn env(mut self, name: &'static str) -> Self {
        self.definition.env = Some(name);
        self
    }

    /// Never shows the value.
    pub(crate) const fn hidden(mut self) -> Self {
        self.definition.is_hidden = true;
        self
    }

    /// Takes it from the environment alone, and never shows it.
    pub(crate) const fn secret(mut self) -> Self {
        self.definition.in_file = false;
        self.hidden().without_flag()
    }
}

impl<T> Deref for Setting<T> {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.definition
    }
}

impl Definition {
    /// Returns the long flag, without dashes. Secrets have none.
    pub fn flag(&self) -> Option<String> {
        self.flag.map(|name| name.replace(['.', '_'], "-"))
    }

    /// Returns the environment variable.
    pub fn variable(&self) -> String {
        let name = self.variable.replace(['.', '-'], "_").to_uppercase();
        self.env
            .map_or_else(|| format!("RAM_SIDECAR_{name}"), str::to_owned)
    }

    /// Whether it takes several values: a TOML array, a repeated flag, or one text with commas.
    pub fn is_list(&self) -> bool {
        self.value.ends_with('…')
    }

    /// Whether its flag alone switches it on.
    pub fn is_switch(&self) -> bool {
        self.value == "BOOL"
    }

    /// Returns a value as it may be shown; nothing if it is a secret, or may be one that was put in the wrong place.
    pub fn shown<'a>(&self, value: &'a str) -> Option<&'a str> {
        let may_be_secret = match self.value {
            "PATH" => !value.starts_with('/'),
            // An address may carry a password, however it is written.
            "URL" | "HOST,…" => value.contains('@'),
            _ => false,
        };
        (!self.is_hidden && !may_be_secret).then_some(value)
    }
}

/// Declares settings, whose comments are the help, and the list of their definitions in the same order.
macro_rules! settings {
    ($(#[$attribute:meta])* $visibility:vis $list:ident; $(#[doc = $help:literal] $name:ident: $type:ty = $setting:expr;)*) => {
        $(pub(crate) static $name: $crate::config::setting::Setting<$type> = $setting.help($help);)*

        $(#[$attribute])*
        $visibility static $list: &[&$crate::config::setting::Definition] = &[$(&$name.definition),*];
    };
}

pub(crate) use settings;
