//! The page of the book, from the rows and from the runs.

use std::fmt::Write as _;

use serde_json::Value;

use super::row::{Program, Row, rows};
use super::runs;

/// Renders the page.
pub(crate) fn page() -> String {
    let (rows, runs) = (rows(), runs());
    let run = |row: &Row, field: &str| {
        let run = runs.get(&row.name).map_or(&Value::Null, |run| &run[field]);
        run.as_str().unwrap_or_default().to_owned()
    };
    let count = rows.iter().filter(|row| row.program.is_some()).count();
    let mut page = format!(
        "<!-- Generated from tests/clients/matrix by tests/integration/clients/matrix/page.rs. -->\n\n# Clients\n\n{}\n",
        INTRODUCTION
            .replace("{all}", &rows.len().to_string())
            .replace("{run}", &count.to_string())
    );
    page.push_str("\n| client | version | run | way | how it follows a renewal | limits |\n| --- | --- | --- | --- | --- | --- |\n");
    for row in &rows {
        let (version, date) = match row.program {
            Some(_) => (run(row, "version"), run(row, "date")),
            None => (row.version.clone(), "not run here".to_owned()),
        };
        let _ = writeln!(
            page,
            "| [{}](#{}) | {version} | {date} | {} | {} | {} |",
            row.title, row.name, row.way, row.follows, row.limits
        );
    }
    for row in &rows {
        let _ = write!(page, "\n## {}\n\n{}", row.name, configuration(row));
    }
    page
}

/// Returns the blocks of code to paste.
fn configuration(row: &Row) -> String {
    let mut text = String::new();
    let mut block = |language: &str, content: &str| {
        let comment = match row.program {
            Some(_) => {
                "checked: tests/integration/clients/matrix.rs::every_client_follows_two_rotations"
            }
            None => "not run: the client is not run here",
        };
        let _ = write!(
            text,
            "<!-- {comment} -->\n```{language}\n{}\n```\n\n",
            content.trim_end()
        );
    };
    let mut shell = String::new();
    for (name, value) in &row.environment {
        let _ = writeln!(shell, "export {name}={value}");
    }
    let is_shell = row.program.is_none_or(|program| program == Program::Shell);
    let flags: Vec<String> = row.exec.iter().map(|flag| quoted(flag)).collect();
    let flags = flags.join(" ");
    let command = match row.program {
        None => None,
        Some(Program::Python | Program::PythonMatrix) => Some("python job.py"),
        Some(Program::Node) => Some("node job.js"),
        Some(Program::Java) => Some("java Job.java"),
        Some(Program::Shell) => Some("bash job.sh"),
    };
    if let Some(command) = command {
        let _ = writeln!(
            shell,
            "ram-sidecar exec{}{flags} -- {command}",
            if flags.is_empty() { "" } else { " " }
        );
        block("sh", &shell);
    }
    let code = format!("{}\n\n{}", row.setup.trim_end(), row.request.trim());
    let language = if is_shell {
        "sh"
    } else {
        row.program.map_or("text", Program::fence)
    };
    block(language, code.trim());
    text.trim_end().to_owned() + "\n"
}

fn quoted(flag: &str) -> String {
    if flag.contains('$') {
        format!("\"{flag}\"")
    } else {
        flag.to_owned()
    }
}

const INTRODUCTION: &str = "\
{run} of {all} clients were run with the configuration that stands here, each below `ram-sidecar exec`, against services that\n\
recompute every signature, through two renewals of credentials that live for a minute or less. `OSS_ENDPOINT`, `OSS_BUCKET`,\n\
`ODPS_ENDPOINT` and `ODPS_PROJECT` are set as in [Start](../start.md), `AWS_ENDPOINT_URL_S3` as in [AWS clients](../guides/aws-clients.md).\n\
Beside a daemon, the variables that `exec` sets are set by hand: see the same pages.\n\
\n\
The ways: URI is `ALIBABA_CLOUD_CREDENTIALS_URI`; container are the container credentials of AWS SDKs; metadata is the ECS\n\
metadata dialect; file is a [file](../concepts/files.md); process is a [program that is run](../guides/external-processes.md).";
