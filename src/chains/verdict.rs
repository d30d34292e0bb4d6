//! Whose credentials a client will use, and what stands in the way of ours.

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
    /// Why it does not get ours, apart from that.
    pub missing: Option<String>,
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
            Outcome::Answers(_) | Outcome::Fails(_) => true,
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
    for result in before {
        let (finding, condition) = match &result.outcome {
            Outcome::Answers(finding) => (finding, String::new()),
            Outcome::Depends(finding, on) => (finding, format!(", {}", on.condition())),
            _ => continue,
        };
        obstacles.push((
            format!("{}{condition}", finding.identity),
            finding.remedy.clone(),
        ));
    }
    let outlook = outlook(&steps);
    let missing = match ours {
        Some(_) => None,
        None => Some(missing(client, at)),
    };
    Explained {
        client,
        steps,
        outlook,
        obstacles,
        missing,
    }
}

fn outlook(steps: &[StepResult]) -> Outlook {
    let reached = || steps.iter().filter(|result| result.is_reached);
    let depends = reached().any(|result| matches!(result.outcome, Outcome::Depends(..)));
    let decisive = reached().find_map(|result| match &result.outcome {
        Outcome::Answers(finding) if finding.is_ours => Some(Outlook::Ours),
        Outcome::Answers(_) => Some(Outlook::Others),
        Outcome::Fails(_) => Some(Outlook::Fails),
        _ => None,
    });
    match decisive {
        Some(Outlook::Ours) if depends => Outlook::OursUnless,
        Some(Outlook::Fails) | None if depends => Outlook::Others,
        Some(outlook) => outlook,
        None => Outlook::Nothing,
    }
}

/// Says why a client does not get ours, apart from what it prefers.
fn missing(client: &Client, at: &Surroundings<'_>) -> String {
    const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";
    let rules = client.steps.iter().map(|step| &step.rule);
    let proxy = rules.clone().find_map(|rule| match rule {
        Rule::Uri(proxy) => Some(*proxy),
        _ => None,
    });
    let Some(proxy) = proxy.filter(|_| at.set(URI).is_some()) else {
        return client.otherwise.to_owned();
    };
    if at.proxy(proxy, "127.0.0.1").is_some() {
        return "unset HTTP_PROXY http_proxy".to_owned();
    }
    if let Some(Served::Nothing(_)) = &at.served {
        return format!("start the server of {URI}, or correct the variable");
    }
    format!("set {URI} to the address that `serve` prints, which is on loopback")
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

    /// Says what the client uses or fails with instead of ours.
    pub fn instead(&self) -> String {
        if let Some((what, _)) = self.obstacles.first() {
            return format!("it will use {what}");
        }
        let mut reached = self.steps.iter().rev().filter(|result| result.is_reached);
        let reason = reached.find_map(|result| match &result.outcome {
            Outcome::Fails(reason) | Outcome::Skipped(reason) => Some(reason.clone()),
            _ => None,
        });
        reason.unwrap_or_else(|| "it will find no credentials".to_owned())
    }

    /// Returns the line that makes the client use ours.
    pub fn line(&self) -> Option<String> {
        if self.outlook == Outlook::Ours {
            return None;
        }
        let remedies = self.obstacles.iter().map(|(_, remedy)| remedy);
        let line = line(remedies);
        let missing = self.missing.as_deref();
        let parts = [
            missing.filter(|text| text.starts_with("unset ")),
            line.as_deref(),
        ];
        let then = missing.filter(|text| !text.starts_with("unset "));
        let parts: Vec<&str> = parts.into_iter().chain([then]).flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
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
}

/// Joins remedies to one line for a shell.
pub(super) fn line<'a>(remedies: impl Iterator<Item = &'a Remedy> + Clone) -> Option<String> {
    let mut unset: Vec<&str> = Vec::new();
    let mut export: Vec<String> = Vec::new();
    let mut rest: Vec<String> = Vec::new();
    for remedy in remedies {
        match remedy {
            Remedy::Unset(names) => {
                let new = names.iter().filter(|name| !unset.contains(*name));
                let new: Vec<&str> = new.copied().collect();
                unset.extend(new);
            }
            Remedy::Set(name, value) => {
                let text = format!("{name}={value}");
                if !export.contains(&text) {
                    export.push(text);
                }
            }
            Remedy::Do(text) => {
                if !rest.contains(text) {
                    rest.push(text.clone());
                }
            }
        }
    }
    let mut parts = Vec::new();
    if !unset.is_empty() {
        parts.push(format!("unset {}", unset.join(" ")));
    }
    if !export.is_empty() {
        parts.push(format!("export {}", export.join(" ")));
    }
    parts.extend(rest);
    (!parts.is_empty()).then(|| parts.join("; "))
}
