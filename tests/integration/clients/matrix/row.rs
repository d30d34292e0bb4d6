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
    /// The codes by which a service may refuse it, because it asks for new credentials only then.
    #[serde(default)]
    pub(super) refusals: Vec<String>,
    /// How long credentials live in the test, in seconds; by default as briefly as most clients bear.
    pub(super) lifetime: Option<u32>,
    /// What the test replaces, so that it need not wait.
    #[serde(default)]
    pub(super) faster: BTreeMap<String, String>,
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

    /// Returns the command that runs the client in a home, which is its working directory.
    pub(super) fn command(&self, home: &Path) -> Option<Command> {
        let program = self.program?;
        let replaced = |text: &str| {
            let replace = |text: String, (from, to): (&String, &String)| text.replace(from, to);
            self.faster.iter().fold(text.to_owned(), replace)
        };
        let (setup, request) = (replaced(&self.setup), replaced(&self.request));
        if program == Program::Java {
            write_java(home, &setup, &request);
        }
        let path = match program {
            Program::Python => "../matrix/run",
            _ => "run",
        };
        let mut command = program.language().program(path, home)?;
        match program {
            Program::Python | Program::PythonMatrix => {
                command.args(["python", &self.package, &setup, &request])
            }
            Program::Shell => command.args(["shell", &self.print_version, &setup, &request]),
            Program::Node => command.args([&self.package, &setup, &request]),
            Program::Java => command.arg(&self.package),
        };
        command.envs(&self.environment);
        Some(command)
    }

    /// Returns the version that a file of the language pins.
    pub(super) fn pinned(&self) -> Option<String> {
        let package = &self.package;
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

    /// Returns the name of its language in a block of code.
    pub(super) fn fence(self) -> &'static str {
        match self {
            Self::Python | Self::PythonMatrix => "python",
            Self::Node => "js",
            Self::Java => "java",
            Self::Shell => "sh",
        }
    }
}

/// Writes the program, and beside it the class of a setup, which ends with the first brace at the start of a line.
fn write_java(home: &Path, setup: &str, request: &str) {
    let write = |name: &str, text: &str| {
        let file = home.join(name).with_extension("java");
        fs::write(file, text).expect("a writable home");
    };
    let (imports, rest): (Vec<&str>, Vec<&str>) =
        setup.lines().partition(|line| line.starts_with("import "));
    let (imports, rest) = (imports.join("\n"), rest.join("\n"));
    let (class, statements) = rest.split_once("\n}\n").unwrap_or(("", &rest));
    if let Some((_, after)) = class.split_once("public class ") {
        let name = after.split(' ').next().unwrap_or_default();
        write(name, &format!("{imports}\n{class}\n}}\n"));
    }
    let template = fs::read_to_string(matrix().join("Run.java")).expect("the program");
    let text = template
        .replace("IMPORTS", &imports)
        .replace("SETUP", statements)
        .replace("REQUEST", request);
    write("Run", &text);
}
