//! The status as an HTML document: no script, no fonts, nothing from elsewhere.

use std::fmt::{self, Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Reason, Report, Validity};
use crate::system::display::one_line;
use crate::time::duration::Span;

/// Renders the page.
pub(in crate::server) fn render(report: &Report) -> String {
    let mut page = String::new();
    // A string takes everything that is written.
    let _ = write(&mut page, report);
    page
}

/// Returns the content security policy of the page, which permits its style sheet alone.
pub(in crate::server) fn policy() -> String {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn write(page: &mut String, report: &Report) -> fmt::Result {
    let phase = Text(&report.phase);
    let class = report.phase.replace(' ', "-");
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\">\n\
         <title>{phase} – ram-sidecar</title>\n<style>{STYLE}</style>\n</head>\n<body class=\"{class}\">\n<main>\n\
         <h1>ram-sidecar</h1>\n<p class=\"phase\"><strong>{phase}</strong> {}</p>\n",
        Text(&report.status)
    )?;
    if let Some(credentials) = &report.credentials {
        bar(page, credentials)?;
    }
    if let Some(clock) = report.wrong_clock() {
        writeln!(
            page,
            "<p class=\"failure\">The clock of this machine is {}</p>",
            Text(&clock)
        )?;
    }
    if let Some(Reason { code, message }) = &report.failure {
        writeln!(
            page,
            "<p class=\"failure\"><code>{}</code> {}</p>",
            Text(code),
            Text(message)
        )?;
    }
    facts(page, report)?;
    attempts(page, report)?;
    files(page, report)?;
    callers(page, report)?;
    write!(
        page,
        "<footer>ram-sidecar {} ({}), running for {}. This page is renewed every {REFRESH_SECONDS} s.</footer>\n</main>\n</body>\n</html>\n",
        Text(&report.version),
        Text(&report.revision),
        Span(report.uptime_seconds)
    )
}

/// Shows how much of the lifetime has passed, with a mark where the credentials are to be renewed.
fn bar(page: &mut String, credentials: &Validity) -> fmt::Result {
    let all = credentials.lifetime_seconds.max(1);
    let passed = all.saturating_sub(credentials.remaining_seconds);
    let per_mille = |seconds: u64| seconds.min(all) * 1000 / all;
    let (left, renewal) = (
        Span(credentials.remaining_seconds),
        Span(credentials.renewal_after_seconds),
    );
    write!(
        page,
        "<svg viewBox=\"0 0 1000 40\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{left} left\">\
         <rect class=\"all\" width=\"1000\" height=\"40\"/><rect class=\"passed\" width=\"{}\" height=\"40\"/>\
         <rect class=\"renewal\" x=\"{}\" width=\"4\" height=\"40\"/></svg>\n\
         <p>{left} left, until {} by the clock of STS; renewed {renewal} after they were obtained (the mark).</p>\n",
        per_mille(passed),
        per_mille(credentials.renewal_after_seconds).min(996),
        Text(&credentials.expires_at),
    )
}

fn facts(page: &mut String, report: &Report) -> fmt::Result {
    page.push_str("<h2>Who and where</h2>\n<dl>\n");
    if let Some(identity) = &report.identity {
        fact(page, "identity", identity)?;
    }
    for role in &report.roles {
        fact(page, "role", &role.arn)?;
        fact(page, "session", &role.session_name)?;
    }
    for endpoint in &report.endpoints {
        fact(page, "STS", endpoint)?;
    }
    if let Some(credentials) = &report.credentials {
        fact(page, "granted by", &credentials.served_by)?;
        fact(page, "renewals", &credentials.renewals.to_string())?;
    }
    if let Some(seconds) = report.next_attempt_seconds {
        fact(page, "next attempt", &format!("in {}", Span(seconds)))?;
    }
    if report.failures > 0 {
        fact(page, "failures in a row", &report.failures.to_string())?;
    }
    for listener in &report.listeners {
        fact(page, &listener.setting, &listener.address)?;
    }
    page.push_str("</dl>\n");
    Ok(())
}

fn fact(page: &mut String, name: &str, value: &str) -> fmt::Result {
    writeln!(page, "<dt>{}</dt><dd>{}</dd>", Text(name), Text(value))
}

fn attempts(page: &mut String, report: &Report) -> fmt::Result {
    if report.attempts.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>Last attempts</h2>\n<ul>\n");
    for attempt in &report.attempts {
        let code = attempt.code.as_deref().unwrap_or("ok");
        write!(
            page,
            "<li>{} <code>{}</code>",
            Text(&attempt.at),
            Text(code)
        )?;
        if let Some(message) = &attempt.message {
            write!(page, " {}", Text(message))?;
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ul>\n");
    Ok(())
}

fn files(page: &mut String, report: &Report) -> fmt::Result {
    table(
        page,
        "Files",
        &["path", "format", "status", ""],
        report.files.iter().map(|file| {
            let failure = file.failure.as_ref();
            let message = failure.map(|failure| failure.message.clone());
            vec![
                file.path.clone(),
                file.format.clone(),
                file.status.clone(),
                message.unwrap_or_default(),
            ]
        }),
    )
}

fn callers(page: &mut String, report: &Report) -> fmt::Result {
    table(
        page,
        "Requests",
        &["dialect", "status 200", "another status"],
        report.requests.iter().map(|requests| {
            vec![
                requests.dialect.clone(),
                requests.served.to_string(),
                requests.others.to_string(),
            ]
        }),
    )?;
    table(
        page,
        "Callers",
        &["dialect", "user", "program", "first seen", "last seen"],
        report.callers.iter().map(|caller| {
            vec![
                caller.dialect.clone(),
                caller.uid.map(|uid| uid.to_string()).unwrap_or_default(),
                caller.shown_program(),
                format!("{} ago", Span(caller.first_seen_seconds)),
                format!("{} ago", Span(caller.last_seen_seconds)),
            ]
        }),
    )
}

/// Writes a table, unless it has no rows.
fn table(
    page: &mut String,
    heading: &str,
    columns: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> fmt::Result {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    write!(
        page,
        "<h2>{heading}</h2>\n<div class=\"wide\"><table>\n<tr>"
    )?;
    for column in columns {
        write!(page, "<th scope=\"col\">{column}</th>")?;
    }
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            write!(page, "<td>{}</td>", Text(&cell))?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
    Ok(())
}

/// Text of others, which HTML shows and does not obey.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in one_line(self.0) {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Often enough to watch an outage end.
const REFRESH_SECONDS: u64 = 5;

const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_shown_and_not_obeyed() {
        let shown = Text("<script src=\"x\">'&\n\u{202e}</script>").to_string();
        assert_eq!(
            shown,
            "&lt;script src=&quot;x&quot;&gt;&#39;&amp; \u{fffd}&lt;/script&gt;"
        );
    }
}
