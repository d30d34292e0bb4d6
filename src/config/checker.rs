//! Asks for settings one by one, and collects everything that is wrong with them.

use super::layers::{Given, Layers};
use super::setting::{Definition, Setting};
use super::settings::SETTINGS;
use super::{Errors, Input, Shown};

/// The gathered settings, and what is wrong with them so far.
pub(crate) struct Checker {
    pub(crate) layers: Layers,
    problems: Vec<String>,
}

/// Something is wrong, and was reported.
#[derive(Debug)]
pub(crate) struct Reported(());

impl Checker {
    /// Gathers the settings, and those that the command has of its own.
    pub(crate) fn new(input: &Input<'_>, own: &[&'static Definition]) -> Self {
        Self {
            layers: Layers::gather(input, own),
            problems: Vec::new(),
        }
    }

    /// Returns the value of a setting, or its default; nothing if it has neither.
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
            Err(reason) => Err(self.refuse(setting, &reason)),
        }
    }

    /// Returns the value of a setting, or its default.
    pub(crate) fn value<T>(&mut self, setting: &Setting<T>) -> Result<T, Reported> {
        self.required(setting, "")
    }

    /// Returns the value of a setting that must be given, and says for what if it is missing.
    pub(crate) fn required<T>(
        &mut self,
        setting: &Setting<T>,
        purpose: &str,
    ) -> Result<T, Reported> {
        let value = self.optional(setting)?;
        value.ok_or_else(|| {
            let (key, variable) = (setting.key, setting.variable());
            self.report(format!("{key}: it is missing{purpose}; set {variable}"))
        })
    }

    /// Returns what was given for a setting, unchecked.
    pub(crate) fn given(&self, setting: &Definition) -> Option<&Given> {
        self.layers.get(setting)
    }

    /// Reports what is wrong with the value of a setting, at the place where it was given or could be.
    pub(crate) fn refuse(&mut self, setting: &Definition, reason: &str) -> Reported {
        let place = match self.given(setting) {
            Some(given) => given.origin.to_string(),
            None => setting.variable(),
        };
        self.report(format!("{place}: {reason}"))
    }

    /// Reports a mistake; the same one only once.
    pub(crate) fn report(&mut self, problem: String) -> Reported {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        Reported(())
    }

    /// Reports several mistakes in one place.
    pub(crate) fn report_all(
        &mut self,
        place: &str,
        reasons: &[impl std::fmt::Display],
    ) -> Reported {
        let problems = reasons.iter().map(|reason| format!("{place}: {reason}"));
        self.problems.extend(problems);
        Reported(())
    }

    /// Reports what is wrong with the file and the variables as such.
    pub(crate) fn report_layer_problems(&mut self) {
        self.problems.append(&mut self.layers.problems);
    }

    /// Returns the outcome, unless anything was reported.
    pub(crate) fn finish<T>(self, outcome: Result<T, Reported>) -> Result<T, Errors> {
        match outcome {
            Ok(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Errors::of(&self.problems)),
        }
    }

    /// Returns every setting that has a value, and where it was given.
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
