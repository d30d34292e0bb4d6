//! The report of `explain`, as JSON or text.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::chains::{Environment, Explained, Outcome, Outlook, StepResult};
use crate::cli::sections::{self, Line, Mark};
use crate::system::display;

/// The findings. They contain no secret.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every client that counts will use ours.
    pub(super) good: bool,
    places: Vec<Place>,
    /// What could not be explained, a sentence each.
    pub(super) notes: Vec<String>,
    #[serde(skip)]
    is_selected: bool,
    #[serde(skip)]
    environment: Environment,
}

/// A process or a container.
#[derive(Debug, Serialize)]
struct Place {
    /// A container; empty for this process.
    name: String,
    clients: Vec<Client>,
}

#[derive(Debug, Serialize)]
struct Client {
    name: &'static str,
    title: &'static str,
    version: &'static str,
    /// `ours`, `ours-unless`, `others`, `nothing` or `fails`.
    outlook: &'static str,
    /// Whether it decides the verdict.
    counts: bool,
    provider: Option<&'static str>,
    identity: Option<String>,
    /// What STS says, with `--ask`.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    ends: Option<String>,
    renewed: Option<bool>,
    steps: Vec<Step>,
    /// What it prefers to ours.
    obstacles: Vec<String>,
    /// The line of a shell that makes it use ours; in a manifest, what to change.
    line: Option<String>,
    /// What else is to be done, in words.
    then: Option<String>,
    #[serde(skip)]
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    provider: &'static str,
    /// `absent`, `skipped`, `fails`, `answers` or `depends`.
    state: &'static str,
    /// What the answer depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<&'static str>,
    detail: String,
    reached: bool,
}

impl Report {
    pub(super) fn new(is_selected: bool, environment: Environment) -> Self {
        Self {
            good: true,
            places: Vec::new(),
            notes: Vec::new(),
            is_selected,
            environment,
        }
    }

    /// Adds the clients of a place; `callers` are what STS says of them, if it was asked.
    pub(super) fn add(&mut self, place: &str, explained: &[Explained], callers: &[Option<String>]) {
        let clients = explained.iter().enumerate().map(|(index, one)| {
            let counts = one.counts() || self.is_selected;
            let caller = callers.get(index).cloned().flatten();
            Client::of(one, counts, caller, self.environment)
        });
        let clients: Vec<Client> = clients.collect();
        let ours = Outlook::Ours.name();
        let mut counted = clients.iter().filter(|client| client.counts);
        self.good &= counted.all(|client| client.outlook == ours);
        self.places.push(Place {
            name: place.to_owned(),
            clients,
        });
    }

    /// Returns the JSON form.
    pub(super) fn json(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "structs of strings and numbers always have a JSON form"
        )]
        let document = serde_json::to_string_pretty(self).expect("always serializable");
        display::json(&document).into_owned()
    }

    /// Returns the form for people.
    pub(super) fn text(&self, has_colour: bool) -> String {
        Text {
            report: self,
            has_colour,
        }
        .to_string()
    }
}

impl Client {
    fn of(
        explained: &Explained,
        counts: bool,
        caller: Option<String>,
        environment: Environment,
    ) -> Self {
        let first = explained.first();
        let finding = first.map(|(_, finding, _)| finding);
        let condition = first.and_then(|(_, _, on)| on);
        let fix = explained.fix(environment).filter(|_| counts);
        let obstacles = explained.obstacles.iter();
        Self {
            name: explained.client.name,
            title: explained.client.title,
            version: explained.client.version,
            outlook: explained.outlook.name(),
            counts,
            provider: first.map(|(step, _, _)| step.provider),
            identity: finding.map(|finding| {
                let condition = condition.map(|on| format!(", {}", on.condition()));
                format!("{}{}", finding.identity, condition.unwrap_or_default())
            }),
            caller,
            ends: finding.and_then(|finding| finding.ends.clone()),
            renewed: finding.map(|finding| finding.is_renewed),
            steps: explained.steps.iter().map(Step::of).collect(),
            obstacles: obstacles.map(|(what, _)| what.clone()).collect(),
            line: fix.as_ref().and_then(|fix| fix.line.clone()),
            then: fix.and_then(|fix| fix.then),
            failure: explained.failure().map(str::to_owned),
        }
    }

    fn lines(&self) -> Vec<Line> {
        let mark = match self.outlook {
            "ours" => Mark::Good,
            "ours-unless" => Mark::Warning,
            "nothing" if !self.counts => Mark::None,
            _ => Mark::Failure,
        };
        let whose = match (&self.identity, &self.failure) {
            (Some(identity), _) => {
                let provider = self.provider.unwrap_or_default();
                format!("{provider}: {identity}")
            }
            (None, Some(failure)) => format!("fails: {failure}"),
            (None, None) => "finds no credentials".to_owned(),
        };
        let mut lines = vec![Line::new(mark, self.name, whose)];
        let mut add = |text: String| lines.push(Line::new(Mark::None, "", text));
        if let Some(caller) = &self.caller {
            add(format!("STS: {caller}"));
        }
        let renewed = match self.renewed {
            Some(true) => "renewed by the client",
            _ => "not renewed",
        };
        match (&self.ends, self.identity.is_some()) {
            (Some(ends), true) if ends == "never" => add("never ends".to_owned()),
            (Some(ends), true) => add(format!("ends at {ends}, {renewed}")),
            (None, true) if self.renewed == Some(false) => {
                add("ends at an unknown time, not renewed".to_owned());
            }
            _ => {}
        }
        let skipped = self
            .steps
            .iter()
            .filter(|step| step.reached && step.state == "skipped");
        for step in skipped {
            add(format!("passes over {}: {}", step.provider, step.detail));
        }
        if let Some(line) = &self.line {
            add(format!("for ours: {line}"));
        }
        if let Some(then) = &self.then {
            let label = if self.line.is_some() {
                "then"
            } else {
                "for ours, in words"
            };
            add(format!("{label}: {then}"));
        }
        lines
    }
}

impl Step {
    fn of(result: &StepResult) -> Self {
        let (state, on, detail) = match &result.outcome {
            Outcome::Absent(reason) => ("absent", None, reason),
            Outcome::Skipped(reason) => ("skipped", None, reason),
            Outcome::Fails(reason, _) => ("fails", None, reason),
            Outcome::Answers(finding) => ("answers", None, &finding.identity),
            Outcome::Depends(finding, on) => ("depends", Some(on.name()), &finding.identity),
        };
        Self {
            provider: result.step.provider,
            state,
            on,
            detail: detail.clone(),
            reached: result.is_reached,
        }
    }
}

/// Formats a report for people.
struct Text<'a> {
    report: &'a Report,
    has_colour: bool,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sections: Vec<(&str, Vec<Line>)> = self
            .report
            .places
            .iter()
            .map(|place| {
                let heading = if place.name.is_empty() {
                    "Credentials"
                } else {
                    &place.name
                };
                let lines = place.clients.iter().flat_map(Client::lines);
                (heading, lines.collect())
            })
            .collect();
        sections::write(f, &sections, self.has_colour)?;
        let write = |f: &mut Formatter<'_>, mark, text: &str| {
            let mark = sections::mark(mark, self.has_colour);
            writeln!(f, "{mark} {}", sections::printable(text))
        };
        for note in &self.report.notes {
            write(f, Mark::Warning, note)?;
        }
        if self.report.good {
            write(f, Mark::Good, "Every client that counts will use ours.")
        } else {
            let clients = self.report.places.iter().flat_map(|place| &place.clients);
            let mut names: Vec<&str> = Vec::new();
            for client in clients.filter(|client| client.counts && client.outlook != "ours") {
                if !names.contains(&client.name) {
                    names.push(client.name);
                }
            }
            let names = names.join(", ");
            write(
                f,
                Mark::Failure,
                &format!("Not all will use ours: {names}."),
            )
        }
    }
}
