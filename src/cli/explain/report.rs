//! The report of `explain`, as JSON or text.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::chains::{Environment, Explained, Outcome, Outlook, StepResult};
use crate::cli::sections::{self, Mark};
use crate::system::display;

use super::is_program;

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
    /// The program of the command that is explained: the client that it is counts.
    #[serde(skip)]
    pub(super) program: Option<OsString>,
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
    /// Variables that have no effect, because only `true` has.
    ignored: Vec<&'static str>,
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
            program: None,
        }
    }

    /// Adds the clients of a place; `callers` are what STS says of them, if it was asked.
    pub(super) fn add(&mut self, place: &str, explained: &[Explained], callers: &[Option<String>]) {
        let clients = explained.iter().enumerate().map(|(index, one)| {
            let program = self.program.as_deref();
            let is_command = program.is_some_and(|program| is_program(one.client, program));
            let counts = one.counts() || self.is_selected || is_command;
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
    pub(super) fn text(&self, has_colour: bool, columns: usize) -> String {
        Text {
            report: self,
            has_colour,
            columns,
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
            ignored: explained.ignored.clone(),
            failure: explained.failure().map(str::to_owned),
        }
    }

    fn mark(&self) -> Mark {
        match self.outlook {
            "ours" => Mark::Good,
            "ours-unless" => Mark::Warning,
            "nothing" if !self.counts => Mark::None,
            _ => Mark::Failure,
        }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut add = |text: String| lines.push(Line::Text(text));
        match (&self.identity, &self.failure) {
            (Some(identity), _) => {
                add(format!("{}: {identity}", self.provider.unwrap_or_default()));
            }
            (None, Some(failure)) => add(format!("fails: {failure}")),
            (None, None) if self.counts => add("finds no credentials".to_owned()),
            (None, None) => {
                add("finds no credentials; it is not counted, because its chain does not lead to ours".to_owned());
            }
        }
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
        let is_first = |what: &&String| Some(*what) == self.identity.as_ref();
        if self.outlook == Outlook::OursUnless.name() {
            for what in self.obstacles.iter().filter(|what| !is_first(what)) {
                add(format!("may prefer: {what}"));
            }
        }
        let skipped = self
            .steps
            .iter()
            .filter(|step| step.reached && step.state == "skipped");
        for step in skipped {
            add(format!("passes over {}: {}", step.provider, step.detail));
        }
        for name in &self.ignored {
            add(format!("{name} is set, but has no effect: only `true` has"));
        }
        match (&self.line, &self.then) {
            (Some(line), Some(then)) => {
                lines.push(Line::Shell(format!("for ours, first: {line}")));
                lines.push(Line::Text(format!("then: {then}")));
            }
            (Some(line), None) => lines.push(Line::Shell(format!("for ours: {line}"))),
            (None, Some(then)) => lines.push(Line::Text(format!("for ours, in words: {then}"))),
            (None, None) => {}
        }
        lines
    }
}

/// A line about clients.
#[derive(PartialEq, Eq)]
enum Line {
    /// Words.
    Text(String),
    /// What may be copied into a shell, and is not broken.
    Shell(String),
}

/// Clients of which the same is said.
struct Group {
    names: Vec<&'static str>,
    mark: Mark,
    lines: Vec<Line>,
}

impl Place {
    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for client in &self.clients {
            let (mark, lines) = (client.mark(), client.lines());
            let mut same = groups.iter_mut();
            match same.find(|group| group.mark == mark && group.lines == lines) {
                Some(group) => group.names.push(client.name),
                None => groups.push(Group {
                    names: vec![client.name],
                    mark,
                    lines,
                }),
            }
        }
        groups
    }
}

impl Step {
    fn of(result: &StepResult) -> Self {
        let (on, detail) = match &result.outcome {
            Outcome::Absent(reason) | Outcome::Skipped(reason) | Outcome::Fails(reason, _) => {
                (None, reason)
            }
            Outcome::Answers(finding) => (None, &finding.identity),
            Outcome::Depends(finding, on) => (Some(on.name()), &finding.identity),
        };
        Self {
            provider: result.step.provider,
            state: result.outcome.name(),
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
    columns: usize,
}

impl Text<'_> {
    /// Returns a text after a mark.
    fn marked(&self, mark: Mark, text: &str, indent: usize) -> String {
        let sign = sections::mark(mark, self.has_colour);
        let text = sections::wrapped(text, indent + 2, self.columns);
        format!("{:indent$}{sign} {}", "", text.trim_start())
    }

    /// Returns the names of the clients that count, each once, for which something holds.
    fn names(&self, holds: impl Fn(&Client) -> bool) -> Option<String> {
        let clients = self.report.places.iter().flat_map(|place| &place.clients);
        let mut names: Vec<&str> = Vec::new();
        for client in clients.filter(|client| client.counts && holds(client)) {
            if !names.contains(&client.name) {
                names.push(client.name);
            }
        }
        (!names.is_empty()).then(|| names.join(", "))
    }
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for place in &self.report.places {
            let heading = if place.name.is_empty() {
                "Credentials"
            } else {
                &place.name
            };
            writeln!(f, "{}", sections::heading(heading, self.has_colour))?;
            for Group { names, mark, lines } in place.groups() {
                writeln!(f, "{}", self.marked(mark, &names.join(", "), 2))?;
                for line in lines {
                    let (text, columns) = match &line {
                        Line::Text(text) => (text, self.columns),
                        Line::Shell(text) => (text, usize::MAX),
                    };
                    writeln!(f, "{}", sections::wrapped(text, 6, columns))?;
                }
            }
            writeln!(f)?;
        }
        for note in &self.report.notes {
            writeln!(f, "{}", self.marked(Mark::Warning, note, 0))?;
        }
        if let Some(names) = self.names(|client| client.mark() == Mark::Failure) {
            let text = format!("Will not use ours: {names}.");
            writeln!(f, "{}", self.marked(Mark::Failure, &text, 0))?;
        }
        if let Some(names) = self.names(|client| client.mark() == Mark::Warning) {
            let text = format!("May not use ours: {names}.");
            writeln!(f, "{}", self.marked(Mark::Warning, &text, 0))?;
        }
        if self.report.good {
            let names = self.names(|_| true).unwrap_or_default();
            let text = format!("Will use ours, and no client uses others: {names}.");
            writeln!(f, "{}", self.marked(Mark::Good, &text, 0))?;
        }
        Ok(())
    }
}
