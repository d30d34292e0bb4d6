//! Whose credentials a client will use, and what stands in the way of ours.

use std::fmt::{self, Display, Formatter};

use super::address::URI;
use super::evaluate::evaluate;
use super::surroundings::{Served, Surroundings};
use super::{Client, Finding, On, Outcome, Remedy, Rule, Step};

/// What becomes of a client in its surroundings.
#[derive(Debug)]
pub struct Explained {
    /// The client.
    pub client: &'static Client,
    /// Its steps, each with its outcome, also after the one that decides.
    pub steps: Vec<StepResult>,
    /// Whose credentials it will use.
    pub outlook: Outlook,
    /// What it prefers to ours: whose it is, and how to keep the client from it.
    pub obstacles: Vec<(String, Remedy)>,
    /// Where it fails before it gets to ours: why, and what to do.
    pub failures: Vec<(String, Remedy)>,
    /// What leads it to ours, if its chain does not.
    pub lead: Option<Remedy>,
    /// Variables that would keep it from something, if they were `true`: they have another value.
    pub ignored: Vec<&'static str>,
}

/// A step and its outcome.
#[derive(Debug)]
pub struct StepResult {
    /// The step.
    pub step: &'static Step,
    /// Its outcome.
    pub outcome: Outcome,
    /// Whether the client gets that far.
    pub is_reached: bool,
}

/// Whose credentials a client will use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Ours.
    Ours,
    /// Ours, unless something that it asks first has an answer.
    OursUnless,
    /// Others.
    Others,
    /// None: it finds nothing.
    Nothing,
    /// None: it fails.
    Fails,
}

impl Outlook {
    /// All of them, and what each means.
    pub const ALL: [(Self, &str); 5] = [
        (Self::Ours, "it will use ours"),
        (
            Self::OursUnless,
            "it will use ours, unless something that it asks first has an answer",
        ),
        (
            Self::Others,
            "it will use others, or may and has no way to ours",
        ),
        (Self::Nothing, "it finds no credentials"),
        (Self::Fails, "it fails"),
    ];

    /// Returns its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursUnless => "ours-unless",
            Self::Others => "others",
            Self::Nothing => "nothing",
            Self::Fails => "fails",
        }
    }
}

/// Judges a client in its surroundings.
pub fn explain(client: &'static Client, at: &Surroundings<'_>) -> Explained {
    let mut is_reached = true;
    let mut steps = Vec::new();
    for step in client.steps {
        let outcome = evaluate(&step.rule, at);
        let is_last = match outcome {
            Outcome::Answers(_) | Outcome::Fails(..) => true,
            Outcome::Depends(..) => !client.goes_on,
            Outcome::Absent(_) | Outcome::Skipped(_) => false,
        };
        steps.push(StepResult {
            step,
            outcome,
            is_reached,
        });
        is_reached &= !is_last;
    }
    let is_ours =
        |result: &StepResult| matches!(&result.outcome, Outcome::Answers(found) if found.is_ours);
    let ours = steps.iter().position(is_ours);
    let before = steps.iter().take(ours.unwrap_or(steps.len()));
    let mut obstacles: Vec<(String, Remedy)> = Vec::new();
    let mut failures: Vec<(String, Remedy)> = Vec::new();
    let mut ignored = Vec::new();
    for result in before {
        let (finding, condition) = match &result.outcome {
            Outcome::Answers(finding) => (finding, String::new()),
            Outcome::Depends(finding, on) => (finding, format!(", {}", on.condition())),
            Outcome::Fails(reason, remedy) => {
                failures.push((reason.clone(), remedy.clone()));
                continue;
            }
            Outcome::Absent(_) | Outcome::Skipped(_) => continue,
        };
        if let Remedy::Set(switch, "true") = finding.remedy
            && at.text(switch).is_some()
        {
            add(&mut ignored, switch);
        }
        obstacles.push((
            format!("{}{condition}", finding.identity),
            finding.remedy.clone(),
        ));
    }
    let outlook = outlook(&steps);
    let lead = match ours {
        Some(_) => None,
        None => Some(lead(client, at)),
    };
    Explained {
        client,
        steps,
        outlook,
        obstacles,
        failures,
        lead,
        ignored,
    }
}

fn outlook(steps: &[StepResult]) -> Outlook {
    let reached = || steps.iter().filter(|result| result.is_reached);
    let depends = reached().any(|result| matches!(result.outcome, Outcome::Depends(..)));
    let decisive = reached().find_map(|result| match &result.outcome {
        Outcome::Answers(finding) if finding.is_ours => Some(Outlook::Ours),
        Outcome::Answers(_) => Some(Outlook::Others),
        Outcome::Fails(..) => Some(Outlook::Fails),
        _ => None,
    });
    match decisive {
        Some(Outlook::Ours) if depends => Outlook::OursUnless,
        Some(Outlook::Fails) | None if depends => Outlook::Others,
        Some(outlook) => outlook,
        None => Outlook::Nothing,
    }
}

/// Returns what leads a client to ours, apart from what stands in the way.
fn lead(client: &Client, at: &Surroundings<'_>) -> Remedy {
    let mut rules = client.steps.iter().map(|step| &step.rule);
    let proxy = rules.find_map(|rule| match rule {
        Rule::Uri(proxy) => Some(*proxy),
        _ => None,
    });
    let Some(proxy) = proxy.filter(|_| at.set(URI).is_some()) else {
        return Remedy::Do(client.otherwise.to_owned());
    };
    if at.proxy(proxy, "127.0.0.1", true).is_some() {
        return Remedy::Unset(vec!["HTTP_PROXY", "http_proxy"]);
    }
    match &at.served {
        Some(Served::Nothing { remedy, .. }) => Remedy::Serve(remedy.clone()),
        _ => Remedy::Do(format!(
            "set {URI} to the address that `serve` prints, which is on loopback"
        )),
    }
}

impl Explained {
    /// Whether it counts: a client that finds nothing does only if its chain leads to ours at all.
    pub fn counts(&self) -> bool {
        self.outlook != Outlook::Nothing || self.client.reads_uri()
    }

    /// Returns the step that answers first, and what that depends on.
    pub fn first(&self) -> Option<(&'static Step, &Finding, Option<On>)> {
        let mut reached = self.steps.iter().filter(|result| result.is_reached);
        reached.find_map(|result| match &result.outcome {
            Outcome::Answers(finding) => Some((result.step, finding, None)),
            Outcome::Depends(finding, on) => Some((result.step, finding, Some(*on))),
            _ => None,
        })
    }

    /// Returns why the client fails, if it does.
    pub fn failure(&self) -> Option<&str> {
        let mut reached = self.steps.iter().filter(|result| result.is_reached);
        reached.find_map(|result| match &result.outcome {
            Outcome::Fails(reason, _) => Some(&**reason),
            _ => None,
        })
    }

    /// Says what the client uses or fails with instead of ours.
    pub fn instead(&self) -> String {
        if let Some(reason) = self.failure() {
            return reason.to_owned();
        }
        if let Some((what, _)) = self.obstacles.first() {
            return format!("it will use {what}");
        }
        let mut reached = self.steps.iter().rev().filter(|result| result.is_reached);
        let reason = reached.find_map(|result| match &result.outcome {
            Outcome::Skipped(reason) => Some(reason.clone()),
            _ => None,
        });
        reason.unwrap_or_else(|| "it will find no credentials".to_owned())
    }

    /// Returns what makes the client use ours, if it does not.
    pub fn fix(&self, environment: Environment) -> Option<Fix> {
        if self.outlook == Outlook::Ours {
            return None;
        }
        let lead = self.lead.as_ref().map(|lead| match environment {
            Environment::Process => lead.clone(),
            Environment::Manifest => self.client.injected(lead),
        });
        let obstacles = self.failures.iter().chain(&self.obstacles);
        let remedies = obstacles.map(|(_, remedy)| remedy).chain(&lead);
        let fix = Fix::new(remedies, environment);
        (fix.line.is_some() || fix.then.is_some()).then_some(fix)
    }
}

impl Client {
    /// Whether its chain leads to a credentials URI.
    pub fn reads_uri(&self) -> bool {
        let mut rules = self.steps.iter().map(|step| &step.rule);
        rules.any(|rule| matches!(rule, Rule::Uri(_)))
    }

    /// Whether its chain leads to the credential service of a container.
    pub fn reads_container(&self) -> bool {
        let mut rules = self.steps.iter().map(|step| &step.rule);
        rules.any(|rule| matches!(rule, Rule::Container))
    }

    /// Returns what leads it to ours in a pod.
    fn injected(&self, lead: &Remedy) -> Remedy {
        let command = if self.reads_uri() {
            "ram-sidecar inject"
        } else if self.reads_container() {
            "ram-sidecar inject --container"
        } else {
            return lead.clone();
        };
        match lead {
            Remedy::Do(_) => Remedy::Do(format!("add the sidecar by `{command}`")),
            _ => lead.clone(),
        }
    }
}

/// Where a client runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// In this environment, or that of a command.
    Process,
    /// In a container of a manifest.
    Manifest,
}

/// What makes a client use ours; displayed, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// A line for a shell, or the changes of a manifest.
    pub line: Option<String>,
    /// What else is to be done, in words.
    pub then: Option<String>,
}

impl Fix {
    fn new<'a>(remedies: impl Iterator<Item = &'a Remedy>, environment: Environment) -> Self {
        let mut unset: Vec<&str> = Vec::new();
        let mut set: Vec<String> = Vec::new();
        let mut rest: Vec<&str> = Vec::new();
        for remedy in remedies {
            match remedy {
                Remedy::Unset(names) => {
                    for name in names {
                        add(&mut unset, *name);
                    }
                }
                Remedy::Set(name, value) => add(&mut set, format!("{name}={value}")),
                Remedy::Do(text) | Remedy::Serve(text) => add(&mut rest, &**text),
            }
        }
        let then = (!rest.is_empty()).then(|| rest.join("; "));
        let parts = match environment {
            Environment::Process => {
                // What a sentence says to start or to correct stays.
                unset.retain(|name| !rest.iter().any(|text| text.contains(name)));
                [
                    (!unset.is_empty()).then(|| format!("unset {}", unset.join(" "))),
                    (!set.is_empty()).then(|| format!("export {}", set.join(" "))),
                ]
            }
            Environment::Manifest => [
                (!unset.is_empty()).then(|| format!("remove from env: {}", unset.join(", "))),
                (!set.is_empty()).then(|| format!("add to env: {}", set.join(", "))),
            ],
        };
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Self {
            line: (!parts.is_empty()).then(|| parts.join("; ")),
            then,
        }
    }
}

impl Display for Fix {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.line, &self.then) {
            (Some(line), Some(then)) => write!(f, "{line}; then: {then}"),
            (line, then) => f.write_str(line.as_ref().or(then.as_ref()).map_or("", String::as_str)),
        }
    }
}

/// Adds what is not there yet.
fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// Names the chains of clients, as in a sentence.
pub fn default_chains(clients: &[&str]) -> String {
    let names = clients.join(", ");
    if clients.len() == 1 {
        format!("the default chain of {names}")
    } else {
        format!("the default chains of {names}")
    }
}
