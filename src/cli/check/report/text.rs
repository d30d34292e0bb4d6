//! The report as text: a line for each finding, with a mark for its outcome.

use std::fmt::{self, Display, Formatter};

use super::{Call, Found, Report};
use crate::system::display::one_line;

/// Formats a report for people.
pub(super) struct Text<'a> {
    pub(super) report: &'a Report,
    pub(super) style: Style,
}

/// How to format a report.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli::check) struct Style {
    /// Whether the output shows colours.
    pub(in crate::cli::check) has_colour: bool,
    /// Whether settings that have their defaults are listed.
    pub(in crate::cli::check) is_verbose: bool,
}

/// A finding.
struct Line {
    mark: Mark,
    label: String,
    text: String,
}

#[derive(Clone, Copy)]
enum Mark {
    /// Belongs to the line above, or could not be judged.
    None,
    Good,
    Warning,
    Failure,
}

impl Text<'_> {
    fn settings(&self) -> Vec<Line> {
        let mark = if self.report.stage == Some("configuration") {
            Mark::None
        } else {
            Mark::Good
        };
        let shown = |origin: &str| self.style.is_verbose || origin != "default";
        let settings = self.report.settings.iter();
        let settings = settings.filter(|setting| shown(&setting.origin));
        settings
            .map(|setting| {
                let value = setting.value.as_deref().unwrap_or("(set, not shown)");
                Line::new(mark, setting.key, format!("{value}  ({})", setting.origin))
            })
            .collect()
    }

    fn identity(&self) -> Vec<Line> {
        let report = self.report;
        let mut lines = Vec::new();
        if let Some(kind) = report.identity {
            let mark = if report.stage == Some("identity") {
                Mark::Failure
            } else {
                Mark::Good
            };
            lines.push(Line::new(mark, "type", kind.to_owned()));
        }
        for other in &report.candidates {
            let (mark, usage) = if other.taken {
                (Mark::Good, "used")
            } else {
                (Mark::Warning, "not used")
            };
            let text = format!("configured by {}, {usage}", other.origin);
            lines.push(Line::new(mark, other.kind, text));
        }
        if let Some(Found { arn, account }) = &report.caller {
            lines.push(Line::new(
                Mark::Good,
                "caller",
                format!("{arn}, account {account}"),
            ));
        }
        if let Some(token) = &report.token {
            let exp = token.exp.as_deref().unwrap_or("never");
            let aud = token.aud.join(", ");
            let claims = format!("iss {}, aud {aud}, sub {}, exp {exp}", token.iss, token.sub);
            lines.push(Line::new(Mark::Good, "provider", token.provider.clone()));
            lines.push(Line::new(Mark::Good, "token", claims));
        }
        lines
    }

    fn roles(&self) -> Vec<Line> {
        let mark = self.outcome("sts");
        let mut lines = Vec::new();
        for role in &self.report.roles {
            let session = format!("{}, {} s", role.session_name, role.duration_seconds);
            lines.push(Line::new(mark, "role", role.arn.clone()));
            lines.push(Line::new(Mark::None, "session", session));
            for (name, value) in [
                ("session policy", &role.policy),
                ("external ID", &role.external_id),
                ("source identity", &role.source_identity),
            ] {
                if let Some(value) = value {
                    lines.push(Line::new(Mark::None, name, value.clone()));
                }
            }
        }
        lines
    }

    fn sts(&self) -> Vec<Line> {
        let report = self.report;
        let mut lines = Vec::new();
        for failure in &report.failovers {
            lines.push(Line::new(Mark::Warning, "failed over", failure.clone()));
        }
        if let Some(Call { host, milliseconds }) = &report.call {
            let (mark, took) = match (self.outcome("transport"), milliseconds) {
                (mark, Some(milliseconds)) => (mark, format!("{milliseconds} ms for")),
                (Mark::Good, None) => (Mark::Warning, "no answer to".to_owned()),
                (mark, None) => (mark, "no answer to".to_owned()),
            };
            let text = format!("{host}, {took} the last call");
            lines.push(Line::new(mark, "endpoint", text));
        }
        if let Some(ahead) = report.clock_ahead_seconds {
            let text = match ahead {
                0 => "agrees with that of STS".to_owned(),
                1.. => format!("{ahead} s ahead of STS"),
                _ => format!("{} s behind STS", ahead.unsigned_abs()),
            };
            let mark = match ahead.unsigned_abs() {
                super::CLOCK_FAILURE.. => Mark::Failure,
                super::CLOCK_WARNING.. => Mark::Warning,
                _ => Mark::Good,
            };
            lines.push(Line::new(mark, "clock", text));
        }
        lines
    }

    fn credentials(&self) -> Vec<Line> {
        let Some(got) = &self.report.credentials else {
            return Vec::new();
        };
        let text = format!(
            "from {}, expire at {} (in {} s)",
            got.served_by, got.expires_at, got.lifetime_seconds
        );
        let mut lines = vec![
            Line::new(Mark::Good, "AccessKeyId", got.access_key_id.clone()),
            Line::new(Mark::None, "obtained", text),
        ];
        if let Some(arn) = &got.arn {
            lines.push(Line::new(Mark::None, "ARN", arn.clone()));
        }
        lines
    }

    /// Returns the mark of what the attempt needs: a failure if that is the stage that failed.
    fn outcome(&self, stage: &str) -> Mark {
        if self.report.credentials.is_some() || self.report.good {
            Mark::Good
        } else if self.report.stage == Some(stage) {
            Mark::Failure
        } else {
            Mark::None
        }
    }

    fn line(&self, f: &mut Formatter<'_>, line: &Line, width: usize) -> fmt::Result {
        let (mark, label) = (self.mark(line.mark), &line.label);
        writeln!(f, "  {mark} {label:width$}  {}", printable(&line.text))
    }

    fn mark(&self, mark: Mark) -> String {
        let (sign, colour) = match mark {
            Mark::None => return " ".to_owned(),
            Mark::Good => ("✓", GREEN),
            Mark::Warning => ("!", YELLOW),
            Mark::Failure => ("✗", RED),
        };
        self.painted(sign, colour)
    }

    fn painted(&self, text: &str, colour: &str) -> String {
        if self.style.has_colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sections = [
            ("Settings", self.settings()),
            ("Identity", self.identity()),
            ("Role", self.roles()),
            ("STS", self.sts()),
            ("Credentials", self.credentials()),
        ];
        let lines = sections.iter().flat_map(|(_, lines)| lines);
        let width = lines.map(|line| line.label.len()).max().unwrap_or(0);
        for (heading, lines) in &sections {
            if lines.is_empty() {
                continue;
            }
            writeln!(f, "{}", self.painted(heading, BOLD))?;
            for line in lines {
                self.line(f, line, width)?;
            }
            writeln!(f)?;
        }
        for warning in &self.report.warnings {
            writeln!(f, "{} {}", self.mark(Mark::Warning), printable(warning))?;
        }
        let mark = if self.report.good {
            Mark::Good
        } else {
            Mark::Failure
        };
        for verdict in &self.report.verdict {
            writeln!(f, "{} {}", self.mark(mark), printable(verdict))?;
        }
        Ok(())
    }
}

impl Line {
    fn new(mark: Mark, label: &str, text: String) -> Self {
        let label = label.to_owned();
        Self { mark, label, text }
    }
}

/// Replaces what a terminal would obey.
fn printable(text: &str) -> String {
    one_line(text).collect()
}

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
