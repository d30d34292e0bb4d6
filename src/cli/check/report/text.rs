//! The report as text.

use std::fmt::{self, Display, Formatter};

use super::{Call, Found, Report};

/// Formats a report for people.
pub(super) struct Text<'a> {
    pub(super) report: &'a Report,
    pub(super) coloured: bool,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        self.heading(f, "settings")?;
        for setting in &report.settings {
            let value = setting.value.as_deref().unwrap_or("(set, not shown)");
            let (key, origin) = (setting.key, plain(&setting.origin));
            writeln!(f, "  {key} = {}  ({origin})", plain(value))?;
        }
        self.heading(f, "identity")?;
        writeln!(f, "  {}", report.identity.unwrap_or("none"))?;
        for other in &report.candidates {
            let taken = if other.taken { "taken" } else { "not taken" };
            writeln!(f, "  {} is present ({}): {taken}", other.kind, other.origin)?;
        }
        if let Some(Found { arn, account }) = &report.caller {
            writeln!(f, "  STS takes it for {arn}, account {account}")?;
        }
        if let Some(token) = &report.token {
            writeln!(f, "  provider {}", plain(&token.provider))?;
            let exp = token.exp.as_deref().unwrap_or("never");
            let aud = token.aud.join(", ");
            writeln!(
                f,
                "  the token has iss {}, aud {aud}, sub {}, exp {exp}",
                token.iss, token.sub
            )?;
        }
        self.roles(f)?;
        self.service(f)?;
        self.heading(f, "verdict")?;
        let (label, colour) = if report.good {
            ("good", GREEN)
        } else {
            ("bad", RED)
        };
        for verdict in &report.verdict {
            let verdict = plain(verdict);
            writeln!(f, "  {}: {verdict}", self.painted(label, colour))?;
        }
        Ok(())
    }
}

impl Text<'_> {
    fn roles(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.report.roles.is_empty() {
            return Ok(());
        }
        self.heading(f, "role")?;
        for role in &self.report.roles {
            let (session, seconds) = (&role.session_name, role.duration_seconds);
            let session = plain(session);
            writeln!(f, "  {}, session {session}, {seconds} seconds", role.arn)?;
            for (name, value) in [
                ("session policy", &role.policy),
                ("external ID", &role.external_id),
                ("source identity", &role.source_identity),
            ] {
                if let Some(value) = value {
                    writeln!(f, "    {name} {}", plain(value))?;
                }
            }
        }
        Ok(())
    }

    fn service(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        if report.call.is_none() && report.credentials.is_none() {
            return Ok(());
        }
        self.heading(f, "service")?;
        for failure in &report.passed_over {
            writeln!(f, "  passed over: {failure}")?;
        }
        if let Some(Call { host, milliseconds }) = &report.call {
            writeln!(f, "  {host}, {milliseconds} ms for the last call")?;
        }
        if let Some(ahead) = report.clock_ahead_seconds {
            writeln!(f, "  this machine's clock is {ahead} s ahead of it")?;
        }
        if let Some(got) = &report.credentials {
            let (id, by, seconds) = (&got.access_key_id, &got.served_by, got.lifetime_seconds);
            writeln!(
                f,
                "  {id} from {by}, until {} ({seconds} s)",
                got.expires_at
            )?;
            if let Some(arn) = &got.arn {
                writeln!(f, "  which is {arn}")?;
            }
        }
        Ok(())
    }

    fn heading(&self, f: &mut Formatter<'_>, heading: &str) -> fmt::Result {
        writeln!(f, "{}", self.painted(heading, BOLD))
    }

    fn painted(&self, text: &str, colour: &str) -> String {
        if self.coloured {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Replaces control characters, which a terminal would obey.
fn plain(text: &str) -> String {
    let is_printed = |c: char| !c.is_control();
    text.chars()
        .map(|c| if is_printed(c) { c } else { ' ' })
        .collect()
}

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
