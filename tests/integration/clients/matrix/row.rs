//! The rows of the matrix: the configuration that the book shows and the test runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::toolchains::{Language, matrix};

/// A client, and how it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) title: String,
    /// Which of the ways out it uses.
    pub(super) way: String,
    /// How it notices that the credentials are renewed.
    pub(super) follows: String,
    #[serde(default)]
    pub(super) limits: String,
    /// What runs it; nothing if no test does.
    pub(super) program: Option<Program>,
    /// The version that is known where none is run.
    #[serde(default)]
    pub(super) version: String,
    /// The name of the package, whose version a file of the language pins.
    #[serde(default)]
    pub(super) package: String,
    /// Other packages that the program needs.
    #[serde(default)]
    pub(super) beside: Vec<String>,
    /// Prints the version of a program that no such file pins.
    #[serde(default)]
    pub(super) print_version: String,
    /// The flags of `exec`.
    #[serde(default)]
    pub(super) exec: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) setup: String,
    #[serde(default)]
    pub(super) request: String,
    /// What must be there before.
    #[serde(default)]
    pub(super) reads: String,
    /// Puts it there, with the variables of the setup.
    #[serde(default)]
    data: String,
    /// The name of the file with the setup, and the commands, where none is run.
    #[serde(default)]
    pub(super) file: String,
    #[serde(default)]
    pub(super) command: String,
    /// The codes by which a service may refuse it, because it asks for new credentials only then.
    #[serde(default)]
    pub(super) refusals: Vec<String>,
    /// How long credentials live in the test, in seconds; by default as briefly as most clients bear.
    pub(super) lifetime: Option<u32>,
    /// What the test replaces, so that it need not wait, or comes to its stub.
    #[serde(default)]
    replaced: BTreeMap<String, String>,
}

/// What runs a row.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Program {
    Python,
    PythonMatrix,
    Node,
    Java,
    Shell,
}

/// Reads all rows.
pub(super) fn rows() -> Vec<Row> {
    #[derive(Deserialize)]
    struct Table {
        client: Vec<Row>,
    }
    let text = fs::read_to_string(matrix().join("clients.toml")).expect("the table of clients");
    let table: Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    table.client
}

impl Row {
    /// Installs what it needs, and returns whether that is possible.
    pub(super) fn prepare(&self) -> bool {
        self.program
            .is_some_and(|program| program.language().is_installed())
    }

    /// Returns the command that runs the program in a home, which is its working directory.
    pub(super) fn runner(&self, home: &Path) -> Option<Command> {
        let program = self.program?;
        let replaced = |text: &str| {
            let replace = |text: String, (from, to): (&String, &String)| text.replace(from, to);
            self.replaced.iter().fold(text.to_owned(), replace)
        };
        let (setup, request) = (replaced(&self.setup), replaced(&self.request));
        let path = match program {
            Program::Python => "../matrix/run",
            _ => "run",
        };
        let mut command = program.language().program(path, home)?;
        match program {
            Program::Python | Program::PythonMatrix => {
                command.args(["python", &self.package, &request, &setup, &self.data])
            }
            Program::Shell => command.args(["shell", &self.print_version, &request]),
            Program::Node => command.args([&self.package, &request, &setup]),
            Program::Java => {
                fs::copy(matrix().join("Run.java"), home.join("Run.java")).expect("a home");
                fs::write(home.join("Job.java"), setup).expect("a writable home");
                command.arg(&self.package)
            }
        };
        command.envs(&self.environment);
        Some(command)
    }

    /// Returns the version that a file of the language pins.
    pub(super) fn pinned(&self, package: &str) -> Option<String> {
        let (file, before, after) = match self.program? {
            // They come with the system.
            Program::Shell => return None,
            Program::Node if package == "node" => return None,
            Program::Python => ("../python/requirements.txt", format!("\n{package}=="), "\n"),
            Program::PythonMatrix => ("requirements.txt", format!("\n{package}=="), "\n"),
            Program::Node => ("package.json", format!("\"{package}\": \""), "\""),
            Program::Java => {
                let artifact = format!("<artifactId>{package}</artifactId>");
                ("pom.xml", format!("{artifact}\n      <version>"), "<")
            }
        };
        let text = fs::read_to_string(matrix().join(file)).expect("the versions of the clients");
        let text = format!("\n{text}");
        let rest = text.split_once(&before).map(|(_, rest)| rest);
        let pinned = rest.and_then(|rest| rest.split_once(after));
        let (version, _) = pinned.unwrap_or_else(|| panic!("{package} is not in {file}"));
        Some(version.to_owned())
    }
}

impl Program {
    fn language(self) -> Language {
        match self {
            Self::Python => Language::Python,
            Self::PythonMatrix | Self::Shell => Language::PythonMatrix,
            Self::Node => Language::NodeMatrix,
            Self::Java => Language::JavaMatrix,
        }
    }

    /// Returns the name under which a reader saves it.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Python | Self::PythonMatrix => "job.py",
            Self::Node => "job.mjs",
            Self::Java => "Job.java",
            Self::Shell => "job.sh",
        }
    }
}
