//! `status`: shows what a running daemon does, as its status page does.

use std::fmt::{self, Display, Formatter};
use std::io::stdout;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};
use tokio::time::sleep;

use super::admin::Admin;
use super::definition::with_admin;
use super::output::{print, print_until_closed};
use super::runtime::block_on;
use super::sections::{self, Line, Mark};
use super::{Command, Error, terminal};
use crate::server::status::{Reason, Report};
use crate::system::{display, log};
use crate::time::duration::Span;

pub(super) const COMMAND: Command = Command {
    name: "status",
    about: "Shows what a running daemon does: its credentials, its attempts, its files and its callers",
    examples: &[
        ("until Ctrl-C", "ram-sidecar status --watch"),
        (
            "for a program",
            "ram-sidecar status --json --admin-listen 127.0.0.1:7013",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let flag = |name| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let command = command
        .arg(flag("watch").help("Show it again every two seconds, until a signal"))
        .arg(flag("json").help("Print JSON, on one line"));
    with_admin(command)
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let admin = Admin::of(given)?;
    let is_json = given.get_flag("json");
    let text = |report: &Report| render(report, is_json);
    if given.get_flag("watch") {
        let is_over = !is_json && terminal::has_cursor(&stdout());
        block_on(None, watch(&admin, text, is_over))?
    } else {
        let report = block_on(None, admin.status())?.map_err(unhealthy)?;
        print(text(&report).as_bytes(), "the status")?;
        Ok(ExitCode::from(u8::from(!report.is_ready())))
    }
}

/// Prints the status again and again, in the place of the last one if it can. A daemon that has answered may be restarted.
async fn watch(
    admin: &Admin,
    text: impl Fn(&Report) -> String,
    is_over: bool,
) -> Result<ExitCode, Error> {
    let mut answer = Ok(admin.status().await.map_err(unhealthy)?);
    loop {
        let place = if is_over { CLEAR } else { "" };
        let shown = answer.as_ref().map(&text).unwrap_or_default();
        if !print_until_closed(format!("{place}{shown}").as_bytes(), "the status")? {
            return Ok(ExitCode::SUCCESS);
        }
        if let Err(error) = answer {
            log::print(&format!("ram-sidecar: {error}"));
        }
        sleep(PERIOD).await;
        answer = admin.status().await;
    }
}

fn unhealthy(error: super::admin::Error) -> Error {
    Error::Unhealthy(error.into())
}

fn render(report: &Report, is_json: bool) -> String {
    if is_json {
        // A struct of texts and numbers has a JSON form.
        let json = serde_json::to_string(report).unwrap_or_default();
        return format!("{}\n", display::json(&json));
    }
    let has_colour = terminal::has_colour(&stdout());
    Text { report, has_colour }.to_string()
}

/// Formats a report for people.
struct Text<'a> {
    report: &'a Report,
    has_colour: bool,
}

impl Text<'_> {
    fn credentials(&self) -> Vec<Line> {
        let report = self.report;
        let mark = match report.phase.as_str() {
            "fresh" | "no role" => Mark::Good,
            "pending" | "failing" => Mark::Warning,
            _ => Mark::Failure,
        };
        let mut lines = vec![
            Line::new(mark, "phase", report.phase.clone()),
            Line::new(
                if report.is_ready() {
                    Mark::Good
                } else {
                    Mark::Failure
                },
                "readiness",
                report.status.clone(),
            ),
        ];
        if let Some(credentials) = &report.credentials {
            let left = Span(credentials.remaining_seconds);
            let of = Span(credentials.lifetime_seconds);
            let text = format!(
                "{left} of {of}, until {} by the clock of STS",
                credentials.expires_at
            );
            lines.push(Line::new(Mark::None, "left", text));
            lines.push(Line::new(
                Mark::None,
                "granted by",
                credentials.served_by.clone(),
            ));
        }
        if let Some(clock) = report.wrong_clock() {
            lines.push(Line::new(Mark::Warning, "clock", clock));
        }
        if let Some(Reason { code, message }) = &report.failure {
            let text = format!("{code}: {message}");
            lines.push(Line::new(Mark::Failure, "last failure", text));
            let failures = report.failures.to_string();
            lines.push(Line::new(Mark::None, "failures in a row", failures));
        }
        if let Some(seconds) = report.next_attempt_seconds {
            let text = format!("in {}", Span(seconds));
            lines.push(Line::new(Mark::None, "next attempt", text));
        }
        lines
    }

    fn who(&self) -> Vec<Line> {
        let report = self.report;
        let mut lines = Vec::new();
        let mut add = |label, text: &str| lines.push(Line::new(Mark::None, label, text.to_owned()));
        if let Some(identity) = &report.identity {
            add("identity", identity);
        }
        for role in &report.roles {
            add("role", &role.arn);
            add("session", &role.session_name);
        }
        for endpoint in &report.endpoints {
            add("STS", endpoint);
        }
        lines
    }

    fn attempts(&self) -> Vec<Line> {
        let attempts = self.report.attempts.iter();
        attempts
            .map(|attempt| {
                let (mark, code) = match &attempt.code {
                    None => (Mark::Good, "ok"),
                    Some(code) => (Mark::Failure, code.as_str()),
                };
                let message = attempt.message.as_ref();
                let message = message.map(|text| format!(": {text}"));
                let text = format!("{code}{}", message.unwrap_or_default());
                Line::new(mark, &attempt.at, text)
            })
            .collect()
    }

    fn files(&self) -> Vec<Line> {
        let files = self.report.files.iter();
        files
            .map(|file| {
                let (mark, why) = match (&file.failure, file.status.as_str()) {
                    (Some(failure), _) => (Mark::Failure, format!(": {}", failure.message)),
                    (None, "written") => (Mark::Good, String::new()),
                    (None, _) => (Mark::Warning, String::new()),
                };
                let text = format!("{}, {}{why}", file.path, file.status);
                Line::new(mark, &file.format, text)
            })
            .collect()
    }

    fn requests(&self) -> Vec<Line> {
        let requests = self.report.requests.iter();
        requests
            .map(|requests| {
                let text = format!(
                    "{} with status 200, {} with another",
                    requests.served, requests.others
                );
                Line::new(Mark::None, &requests.dialect, text)
            })
            .collect()
    }

    fn callers(&self) -> Vec<Line> {
        let callers = self.report.callers.iter();
        callers
            .map(|caller| {
                let user = caller
                    .uid
                    .map_or_else(|| "unknown user".to_owned(), |uid| format!("user {uid}"));
                let program = caller.shown_program();
                let first = Span(caller.first_seen_seconds);
                let last = Span(caller.last_seen_seconds);
                let text = format!("{program}, {user}, first seen {first} ago, last {last} ago");
                Line::new(Mark::None, &caller.dialect, text)
            })
            .collect()
    }

    fn process(&self) -> Vec<Line> {
        let report = self.report;
        let version = format!("{} ({})", report.version, report.revision);
        let mut lines = vec![
            Line::new(Mark::None, "version", version),
            Line::new(
                Mark::None,
                "running for",
                Span(report.uptime_seconds).to_string(),
            ),
        ];
        let listeners = report.listeners.iter();
        lines
            .extend(listeners.map(|listener| {
                Line::new(Mark::None, &listener.setting, listener.address.clone())
            }));
        lines
    }
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sections = [
            ("Credentials", self.credentials()),
            ("Identity", self.who()),
            ("Last attempts", self.attempts()),
            ("Files", self.files()),
            ("Requests", self.requests()),
            ("Callers", self.callers()),
            ("Process", self.process()),
        ];
        sections::write(f, &sections, self.has_colour)
    }
}

/// Moves the cursor to the first line of the terminal, and clears what follows.
const CLEAR: &str = "\x1b[H\x1b[2J";

const PERIOD: Duration = Duration::from_secs(2);

const NOTES: &str = "\
The same stands on a page for browsers, at the address of admin.listen, on this machine only. It holds no secret. With --watch, a
daemon that has answered once may be restarted; what keeps it from answering goes to standard error.
Exit codes: 0 ready, also while renewals fail and the credentials are still good, 1 not ready, or no daemon answers, 64 usage,
78 configuration.";
