//! Reads settings one by one, and collects their errors.

use super::layers::{Given, Layers};
use super::setting::{Definition, Setting};
use super::settings::SETTINGS;
use super::{Errors, Input, Shown};

/// The gathered settings, and the errors found so far.
pub(crate) struct Checker {
    pub(crate) layers: Layers,
    problems: Vec<String>,
}

/// Proves that an error was reported.
#[derive(Debug)]
pub(crate) struct Reported(());

impl Checker {
    /// Gathers the settings of the table and of the command.
    pub(crate) fn new(input: &Input<'_>, command_settings: &[&'static Definition]) -> Self {
        Self {
            layers: Layers::gather(input, command_settings),
            problems: Vec::new(),
        }
    }

    /// Returns the value of a setting, or its default; `None` if it has neither.
    pub(crate) fn optional<T>(&mut self, setting: &Setting<T>) -> Result<Option<T>, Reported> {
        let text = match self.given(setting) {
            Some(given) => &given.value,
            None => match setting.default {
                Some(default) => default,
                None => return Ok(None),
            },
        };
        match (setting.parse)(text) {
            Ok(value) => Ok(Some(value)),
            Err(reason) => Err(self.reject(setting, &reason)),
        }
    }

    /// Returns the value of a setting, or its default.
    pub(crate) fn value<T>(&mut self, setting: &Setting<T>) -> Result<T, Reported> {
        self.required(setting, "")
    }

    /// Returns the value of a required setting. If it is missing, the error names the purpose.
    pub(crate) fn required<T>(
        &mut self,
        setting: &Setting<T>,
        purpose: &str,
    ) -> Result<T, Reported> {
        let value = self.optional(setting)?;
        value.ok_or_else(|| {
            let (key, variable) = (setting.key, setting.variable());
            self.report_missing(format!("{key}: it is missing{purpose}; set {variable}"))
        })
    }

    /// Returns the configured text of a setting, unchecked.
    pub(crate) fn given(&self, setting: &Definition) -> Option<&Given> {
        self.layers.get(setting)
    }

    /// Reports an error of a setting's value, at its origin or, if it is unset, at its variable.
    pub(crate) fn reject(&mut self, setting: &Definition, reason: &str) -> Reported {
        let place = self.place(setting);
        self.report(format!("{place}: {reason}"))
    }

    /// Returns the origin of a setting or, if it is unset, its variable.
    pub(crate) fn place(&self, setting: &Definition) -> String {
        match self.given(setting) {
            Some(given) => given.origin.to_string(),
            None => setting.variable(),
        }
    }

    /// Rejects every one of the settings that is given, because of what is not given.
    pub(crate) fn reject_given(&mut self, settings: &[&Definition], reason: &str) {
        for setting in settings {
            if self.given(setting).is_some() && !self.may_miss_settings() {
                self.reject(setting, reason);
            }
        }
    }

    /// Fails if two settings are given that both stand for `what`.
    pub(crate) fn keep_one(
        &mut self,
        one: &Definition,
        other: &Definition,
        what: &str,
    ) -> Result<(), Reported> {
        let (Some(one), Some(other)) = (self.given(one), self.given(other)) else {
            return Ok(());
        };
        let (one, other) = (&one.origin, &other.origin);
        Err(self.report(format!("{one} and {other} both give {what}; keep one")))
    }

    /// Reports an error, unless it was reported already.
    pub(crate) fn report(&mut self, problem: String) -> Reported {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        Reported(())
    }

    /// Reports that something is not given, unless it may stand in a file that cannot be read, or under another name.
    pub(crate) fn report_missing(&mut self, problem: String) -> Reported {
        if self.may_miss_settings() {
            return Reported(());
        }
        self.report(problem)
    }

    fn may_miss_settings(&self) -> bool {
        self.layers.is_file_unreadable || self.layers.is_source_misspelt
    }

    /// Reports several errors of one place.
    pub(crate) fn report_all(
        &mut self,
        place: &str,
        reasons: &[impl std::fmt::Display],
    ) -> Reported {
        let problems = reasons.iter().map(|reason| format!("{place}: {reason}"));
        self.problems.extend(problems);
        Reported(())
    }

    /// Reports the errors that do not depend on the value of a setting.
    pub(crate) fn report_layer_problems(&mut self) {
        self.problems.append(&mut self.layers.problems);
    }

    /// Returns the outcome, or all reported errors.
    pub(crate) fn finish<T>(self, outcome: Result<T, Reported>) -> Result<T, Errors> {
        match outcome {
            Ok(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Errors::of(&self.problems)),
        }
    }

    /// Returns every setting that has a value, with its origin.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let mut shown = Vec::new();
        for setting in SETTINGS {
            let (value, origin) = match (self.given(setting), setting.default) {
                (Some(given), _) => (setting.shown(&given.value), given.origin.to_string()),
                (None, Some(default)) => (Some(default), "default".to_owned()),
                (None, None) => continue,
            };
            shown.push(Shown {
                key: setting.key,
                value: value.map(str::to_owned),
                origin,
            });
        }
        for (origin, fields) in &self.layers.files {
            let fields: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
            shown.push(Shown {
                key: "file",
                value: Some(fields.join(",")),
                origin: origin.to_string(),
            });
        }
        shown
    }
}
