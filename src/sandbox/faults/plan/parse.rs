//! Parses a plan, and reports all errors in it at once.

use std::time::Duration;

use chrono::TimeDelta;

use super::{FAULTS, Flap, Plan};
use crate::sandbox::faults::fault::Fault;
use crate::time::duration;

pub(crate) fn plan(text: &str) -> Result<Plan, Vec<String>> {
    let text = text.trim();
    if text.is_empty() {
        return Err(vec![
            "it is empty; name a fault, like throttle=0.2".to_owned(),
        ]);
    }
    let mut reader = Reader::default();
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    for item in &items {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (*item, None),
        };
        if let Err(error) = reader.take(name, value) {
            reader.errors.push(error);
        }
    }
    reader.plan.text = items.join(",");
    reader.finish()
}

/// Parses a lifetime of at least two seconds: expiries are whole seconds, so that one second may already have passed.
fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration::parse(text)?;
    if lifetime < Duration::from_secs(2) {
        return Err(format!("`{text}` is too short; choose 2s or more"));
    }
    Ok(lifetime)
}

#[derive(Default)]
struct Reader<'a> {
    plan: Plan,
    pause: Option<Duration>,
    names: Vec<&'a str>,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, name: &'a str, value: Option<&str>) -> Result<(), String> {
        if name.is_empty() && value.is_none() {
            return Err("there is an empty entry; remove a comma".to_owned());
        }
        if !names().any(|known| known == name) {
            let known: Vec<&str> = names().collect();
            let known = known.join(", ");
            return Err(format!("`{name}` is not a fault; the faults are {known}"));
        }
        if self.names.contains(&name) {
            return Err(format!("{name} is given twice; remove one"));
        }
        self.names.push(name);
        if let Some(fault) = deciding(name) {
            let probability = value.map_or(Ok(1.0), probability);
            let probability =
                probability.map_err(|reason| format!("{name}: {reason}, like {name}=0.2"))?;
            self.plan.deciding.push((fault, probability));
            return Ok(());
        }
        let value = value.filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("{name} requires a value; {}", example(name)))?;
        self.set(name, value)
            .map_err(|reason| format!("{name}: {reason}"))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "throttle-pause" => self.pause = Some(duration::parse(value)?),
            "flap" => self.plan.flap = Some(flap(value)?),
            "latency" => self.plan.latency = Some(latency(value)?),
            "lifetime" => self.plan.lifetime = Some(lifetime(value)?),
            _ => self.plan.skew = skew(value)?,
        }
        Ok(())
    }

    /// Checks the faults together.
    fn finish(mut self) -> Result<Plan, Vec<String>> {
        if self.pause.is_some() && !self.names.contains(&"throttle") {
            let error = "throttle-pause has no effect without throttle; add it";
            self.errors.push(error.to_owned());
        }
        let sum: f64 = self.plan.deciding.iter().map(|(_, p)| p).sum();
        // The sum of decimals is rarely exact.
        if sum > 1.0 + 1e-9 {
            let names: Vec<&str> = self.plan.deciding.iter().map(|(f, _)| f.name()).collect();
            let names = names.join(" and ");
            self.errors.push(format!(
                "the probabilities of {names} add up to more than 1; reduce them, like throttle=0.5,error=0.5"
            ));
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        for (fault, _) in &mut self.plan.deciding {
            if let Fault::Throttling { retry_after, .. } = fault {
                *retry_after = self.pause;
            }
        }
        Ok(self.plan)
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    FAULTS
        .iter()
        .filter_map(|(usage, _)| usage.split(['[', '=']).next())
}

/// Returns the fault of a name, if it is one that decides the response.
fn deciding(name: &str) -> Option<Fault> {
    let faults = [
        Fault::Down,
        Fault::Hang,
        Fault::Throttling {
            retry_after: None,
            acs_retry_after: None,
        },
        Fault::InternalError,
        Fault::Unavailable,
        Fault::Denied,
        Fault::Html,
        // Names below `.invalid` never resolve: a client that follows the redirect fails.
        Fault::Redirect {
            location: "http://portal.invalid/".to_owned(),
        },
        Fault::TruncatedJson,
        Fault::EmptyBody,
        Fault::ExpiredCredentials,
    ];
    faults.into_iter().find(|fault| fault.name() == name)
}

fn example(name: &str) -> &'static str {
    match name {
        "throttle-pause" => "write throttle-pause=30s",
        "flap" => "write flap=30s/90s",
        "latency" => "write latency=2s or latency=1s..3s",
        "lifetime" => "write lifetime=2m",
        _ => "write skew=5m or skew=-5m",
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let probability = text.parse().ok().filter(|_| is_plain);
    probability
        .filter(|probability| (0.0..=1.0).contains(probability))
        .ok_or_else(|| format!("`{text}` is not a probability; write a number from 0 to 1"))
}

fn flap(text: &str) -> Result<Flap, String> {
    let how = example("flap");
    let (down, period) = text
        .split_once('/')
        .ok_or_else(|| format!("`{text}` is not two durations; {how}"))?;
    let (down, period) = (duration::parse_fine(down)?, duration::parse_fine(period)?);
    if down.is_zero() || down >= period {
        return Err(format!(
            "in `{text}` the service is never down or never up; {how}, with the outage first and the longer period second"
        ));
    }
    Ok(Flap { down, period })
}

fn latency(text: &str) -> Result<(Duration, Duration), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (duration::parse_fine(least)?, duration::parse_fine(most)?);
    if least > most {
        return Err(format!(
            "in `{text}` the first duration is longer than the second; swap them"
        ));
    }
    if most > MAX_LATENCY {
        return Err(format!(
            "`{text}` is more than 10 s, the timeout of clients; choose 10s or less, or hang"
        ));
    }
    Ok((least, most))
}

fn skew(text: &str) -> Result<TimeDelta, String> {
    let (is_behind, span) = match text.strip_prefix('-') {
        Some(span) => (true, span),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let span = duration::parse(span)?;
    let skew = TimeDelta::from_std(span).ok();
    let skew = skew
        .filter(|skew| *skew <= MAX_SKEW)
        .ok_or_else(|| format!("`{text}` is more than a year; choose 8760h or less"))?;
    Ok(if is_behind { -skew } else { skew })
}

/// The sandbox closes connections after 15 s; the daemon and the SDKs time out after 10 s.
const MAX_LATENCY: Duration = Duration::from_secs(10);

/// Keeps dates from overflowing.
const MAX_SKEW: TimeDelta = TimeDelta::days(365);

#[cfg(test)]
mod tests;
