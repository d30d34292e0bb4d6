//! Settings: each is one constant with its names, parser, default and help.

use std::ops::Deref;

/// A setting whose value is of type `T`.
pub(crate) struct Setting<T> {
    pub(crate) definition: Definition,
    /// Parses a value; the error gives the reason and the expected form.
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

/// The part of a setting that does not depend on the type of its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// The key in the TOML file, and the name of the setting in messages and documents.
    pub key: &'static str,
    /// The placeholder of the value in the help. It also tells the kind of value: `BOOL`, `PATH`, or a list (a final `…`).
    pub value_name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The default, as the user would write it.
    pub default: Option<&'static str>,
    /// Whether the TOML file may contain the setting. Secrets do not belong there.
    pub in_file: bool,
    /// Whether the short help shows its flag.
    pub is_common: bool,
    /// All accepted values, for shell completion; empty if there are too many.
    pub possible_values: &'static [&'static str],
    is_value_hidden: bool,
    /// The name that the flag is derived from; `None` if there is no flag.
    flag: Option<&'static str>,
    /// The name that the variable is derived from, unless `env` is its full name.
    variable: &'static str,
    env: Option<&'static str>,
}

impl<T> Setting<T> {
    /// Creates a setting whose flag and variable are derived from its key: `--log-format` and `RAM_SIDECAR_LOG_FORMAT`.
    pub(crate) const fn new(
        key: &'static str,
        value_name: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Self {
        let definition = Definition {
            key,
            value_name,
            help: "",
            default: None,
            in_file: true,
            is_common: false,
            possible_values: &[],
            is_value_hidden: false,
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

    /// Lists all accepted values, for shell completion.
    pub(crate) const fn one_of(mut self, values: &'static [&'static str]) -> Self {
        self.definition.possible_values = values;
        self
    }

    /// Sets the help to the text of a doc comment, without its leading space.
    pub(crate) const fn help(mut self, comment: &'static str) -> Self {
        self.definition.help = comment.trim_ascii();
        self
    }

    /// Derives the flag and the variable from this name instead of the key.
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

    /// Uses this variable instead of the derived one, such as a variable that Alibaba's own tools define.
    pub(crate) const fn env(mut self, name: &'static str) -> Self {
        self.definition.env = Some(name);
        self
    }

    /// Never shows the value.
    pub(crate) const fn hidden(mut self) -> Self {
        self.definition.is_value_hidden = true;
        self
    }

    /// Reads the value from the environment only, and never shows it.
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

    /// Whether the setting takes several values: a TOML array, a repeated flag, or one text with commas.
    pub fn is_list(&self) -> bool {
        self.value_name.ends_with('…')
    }

    /// Whether the flag without a value means `true`.
    pub fn is_switch(&self) -> bool {
        self.value_name == "BOOL"
    }

    /// Returns `value` if it may be shown; `None` if it is a secret, or may be a secret that was given to the wrong setting.
    pub fn shown<'a>(&self, value: &'a str) -> Option<&'a str> {
        let may_be_secret = match self.value_name {
            "PATH" => !value.starts_with('/'),
            // A URL or a host may contain a password before an `@`, even if it is malformed.
            "URL" | "HOST,…" => value.contains('@'),
            _ => false,
        };
        (!self.is_value_hidden && !may_be_secret).then_some(value)
    }
}

/// Declares settings and the list of their definitions, in the same order. The doc comment of a setting is its help.
macro_rules! settings {
    ($(#[$attribute:meta])* $visibility:vis $list:ident; $(#[doc = $help:literal] $name:ident: $type:ty = $setting:expr;)*) => {
        $(pub(crate) static $name: $crate::config::setting::Setting<$type> = $setting.help($help);)*

        $(#[$attribute])*
        $visibility static $list: &[&$crate::config::setting::Definition] = &[$(&$name.definition),*];
    };
}

pub(crate) use settings;
