//! The page of the book, from the rows and from the runs.

use std::fmt::Write as _;
use std::{fs, iter};

use serde_json::Value;

use super::row::{Program, Row, rows};
use super::runs;
use crate::toolchains::matrix;

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
    let libraries = fs::read_to_string(matrix().join("pom.xml")).expect("the libraries of Java");
    let _ = write!(
        page,
        "\n## pom.xml\n\nThe libraries of the programs in Java:\n\n<!-- checked: {TEST} -->\n```xml\n{libraries}```\n"
    );
    page
}

/// Returns the file to save, and the commands that install what it needs and run it.
fn configuration(row: &Row) -> String {
    let comment = match row.program {
        Some(_) => format!("checked: {TEST}"),
        None => "not run: the client is not run here".to_owned(),
    };
    let block = |language: &str, content: &str| {
        format!(
            "<!-- {comment} -->\n```{language}\n{}\n```\n",
            content.trim_end()
        )
    };
    let (file, command) = match row.program {
        Some(program) => (program.file(), commands(row, program)),
        None => (row.file.as_str(), row.command.clone()),
    };
    let mut text = String::new();
    if !file.is_empty() {
        let reads = match row.reads.as_str() {
            "" => String::new(),
            reads => format!(" reads {reads}, which must be there"),
        };
        let code = format!("{}\n\n{}", row.setup.trim_end(), row.request.trim());
        let (_, language) = file.rsplit_once('.').unwrap_or_default();
        let _ = write!(
            text,
            "`{file}`{reads}:\n\n{}\n",
            block(language, code.trim())
        );
    }
    text + &block("sh", &command)
}

/// Returns the commands that install what a program needs, and run it.
fn commands(row: &Row, program: Program) -> String {
    let packages = iter::once(&row.package).chain(&row.beside);
    let pinned = |separator: &str| {
        let pinned =
            |package: &String| Some(format!("{package}{separator}{}", row.pinned(package)?));
        packages.filter_map(pinned).collect::<Vec<_>>().join(" ")
    };
    let (install, command) = match program {
        Program::Python | Program::PythonMatrix => {
            (format!("pip install {}\n", pinned("==")), "python job.py")
        }
        Program::Node => match pinned("@") {
            none if none.is_empty() => (none, "node job.mjs"),
            packages => (format!("npm install {packages}\n"), "node job.mjs"),
        },
        Program::Java => (
            "mvn dependency:copy-dependencies\njavac -classpath 'libraries/*' Job.java\n"
                .to_owned(),
            "java -classpath 'libraries/*:.' Job",
        ),
        Program::Shell => (String::new(), "bash job.sh"),
    };
    let mut text = install;
    for (name, value) in &row.environment {
        let _ = writeln!(text, "export {name}={value}");
    }
    text.push_str("ram-sidecar exec");
    for flag in &row.exec {
        let _ = write!(text, " {}", quoted(flag));
    }
    let _ = writeln!(text, " -- {command}");
    text
}

fn quoted(flag: &str) -> String {
    if flag.contains('$') {
        format!("\"{flag}\"")
    } else {
        flag.to_owned()
    }
}

const TEST: &str = "tests/integration/clients/matrix.rs::every_client_follows_two_rotations";

const INTRODUCTION: &str = "\
{run} of {all} clients were run with the program that stands here, each below `ram-sidecar exec`, against services that\n\
recompute every signature, through two renewals of credentials that live for a minute or less. The others say \"not run here\".\n\
\n\
Save each program under the name above it, and run the commands below it. Programs in Java need [pom.xml](#pomxml) beside them.\n\
Those that read an object or a table say which: put it there before. None writes into your bucket.\n\
`OSS_ENDPOINT`, `OSS_BUCKET`, `ODPS_ENDPOINT`, `ODPS_PROJECT` and `AWS_ENDPOINT_URL_S3` are set as in [Start](../start.md#your-script).\n\
Beside a daemon, the variables that `exec` sets are set by hand: see there, and [AWS clients](../guides/aws-clients.md).\n\
\n\
The ways: URI is `ALIBABA_CLOUD_CREDENTIALS_URI`; container are the container credentials of AWS SDKs; metadata is the ECS\n\
metadata dialect; file is a [file](../concepts/files.md); process is a [program that is run](../guides/external-processes.md).";
