//! The report as text: a line for each finding, with a mark for its outcome.

use std::fmt::{self, Display, Formatter};

use super::{Call, Found, Report};
use crate::cli::sections::{self, Line, Mark, mark, printable};
use crate::failure::diagnosis::deviation;

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
            let mut text = format!("configured by {}, {usage}", other.origin);
            if let Some(reason) = report.unused_because {
                text = format!("{text}: {reason}");
            }
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
            lines.push(match (milliseconds, report.good) {
                (Some(took), _) => {
                    let text = format!("{host}, {took} ms for the last call");
                    Line::new(self.outcome("transport"), "endpoint", text)
                }
                (None, true) => {
                    let text = format!("{host}, did not answer, and is not needed");
                    Line::new(Mark::Warning, "endpoint", text)
                }
                (None, false) => {
                    let text = format!("{host}, did not answer");
                    Line::new(self.outcome("transport"), "endpoint", text)
                }
            });
        }
        if let Some(ahead) = report.clock_ahead_seconds {
            let text = match ahead {
                0 => "agrees with that of STS".to_owned(),
                _ => format!("{} that of STS", deviation(ahead)),
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
        let has_colour = self.style.has_colour;
        sections::write(f, &sections, has_colour)?;
        for warning in &self.report.warnings {
            writeln!(
                f,
                "{} {}",
                mark(Mark::Warning, has_colour),
                printable(warning)
            )?;
        }
        let outcome = if self.report.good {
            Mark::Good
        } else {
            Mark::Failure
        };
        for verdict in &self.report.verdict {
            writeln!(f, "{} {}", mark(outcome, has_colour), printable(verdict))?;
        }
        Ok(())
    }
}
