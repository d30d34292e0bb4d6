//! The languages of the official SDKs and of the validator of manifests: installs their packages once below the target
//! directory, and runs their programs.
//!
//! Tests of a language that is not installed are reported as skipped; under `CI=true` they fail.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};
use sha1::{Digest, Sha1};

use crate::signing::hex;
use crate::support::{environment, required};

/// A language with programs that the tests run.
#[derive(Clone, Copy)]
pub(crate) enum Language {
    Python,
    Node,
    Go,
    Java,
    /// Go with the libraries of Kubernetes.
    #[cfg_attr(
        not(feature = "inject"),
        expect(
            dead_code,
            reason = "it validates manifests, which that feature generates"
        )
    )]
    Kubernetes,
    /// Python with the clients of the matrix that are large.
    PythonMatrix,
    NodeMatrix,
    JavaMatrix,
}

impl Language {
    /// Returns the command that runs `program` with only `PATH` and the given `HOME` in its environment.
    ///
    /// Returns `None` if the language is not installed. Blocks while its packages are being installed.
    pub(crate) fn program(self, program: &str, home: &Path) -> Option<Command> {
        let prepared = self.prepared()?;
        let mut command = match self {
            Self::Python | Self::PythonMatrix => {
                let mut python = Command::new(prepared.join("venv/bin/python"));
                python
                    .arg("-B")
                    .arg(self.sources().join(program).with_extension("py"));
                python
            }
            Self::Node | Self::NodeMatrix => {
                let mut node = Command::new("node");
                node.arg(self.sources().join(program).with_extension("js"));
                node
            }
            Self::Go | Self::Kubernetes => Command::new(prepared.join(program)),
            Self::Java => {
                let mut option = OsString::from("-Duser.home=");
                option.push(home);
                let mut class_path = prepared.join("target/classes").into_os_string();
                class_path.push(":");
                class_path.push(prepared.join("libraries/*"));
                let mut java = Command::new("java");
                // It lives briefly: compiling better takes longer than it saves.
                java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
                    .arg(option)
                    .arg("-classpath")
                    .arg(class_path)
                    .arg(capitalized(program));
                java
            }
            // Its sources are in the home.
            Self::JavaMatrix => {
                let class_path = format!("{}/libraries/*:.", prepared.display());
                let script = "javac -classpath \"$0\" *.java && exec java -classpath \"$0\" \"$@\"";
                let mut java = Command::new("sh");
                java.args(["-c", script, &class_path, &capitalized(program)]);
                java
            }
        };
        command
            .env_clear()
            .env("HOME", home)
            .envs(environment("PATH").map(|path| ("PATH", path)));
        if matches!(self, Self::Node | Self::NodeMatrix) {
            command.env("NODE_PATH", prepared.join("node_modules"));
        }
        Some(command)
    }

    /// Whether it is installed. Blocks like [`Self::program`].
    pub(crate) fn is_installed(self) -> bool {
        self.prepared().is_some()
    }

    fn prepared(self) -> Option<PathBuf> {
        static PREPARED: [OnceLock<Option<PathBuf>>; 8] = [const { OnceLock::new() }; 8];
        PREPARED[self as usize]
            .get_or_init(|| self.prepare())
            .clone()
    }

    fn prepare(self) -> Option<PathBuf> {
        let versions: Option<Vec<String>> = self
            .tools()
            .iter()
            .map(|(tool, flag)| version(tool, flag))
            .collect();
        let Some(versions) = versions else {
            required(self.name(), false);
            return None;
        };

        let clients = installed();
        fs::create_dir_all(&clients).expect("the target directory is writable");
        // Other test processes may install it too; the lock is released with the file, even if this process is killed.
        let lock =
            File::create(clients.join(format!("{}.lock", self.name()))).expect("a lock file");
        flock(&lock, FlockOperation::LockExclusive).expect("the lock is granted");

        let prepared = clients.join(self.name());
        let stamp_file = prepared.join("stamp");
        let stamp = self.stamp(&versions);
        if fs::read_to_string(&stamp_file).ok().as_ref() != Some(&stamp) {
            let _ = fs::remove_dir_all(&prepared);
            fs::create_dir_all(&prepared).expect("the target directory is writable");
            self.install(&prepared);
            fs::write(&stamp_file, stamp).expect("the target directory is writable");
        }
        Some(prepared)
    }

    fn install(self, prepared: &Path) {
        match self {
            Self::Python | Self::PythonMatrix => {
                let venv = prepared.join("venv");
                run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
                run(Command::new(venv.join("bin/python"))
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--no-input",
                        // The file names every package. OSS Connector requires PyTorch, for which a stand-in is used.
                        "--no-deps",
                        "--requirement",
                    ])
                    .arg(self.sources().join("requirements.txt")));
            }
            Self::Node | Self::NodeMatrix => {
                self.copy_inputs(prepared);
                run(Command::new("npm")
                    .args(["ci", "--ignore-scripts"])
                    .current_dir(prepared));
            }
            // Every program of the module, and ossutil, which is another module.
            Self::Go => self.go_build(prepared, &["./...", "github.com/aliyun/ossutil"]),
            // Optimizing it would take half a minute, and it runs only briefly.
            Self::Kubernetes => self.go_build(prepared, &["-gcflags=all=-N -l", "."]),
            Self::Java => {
                self.copy_inputs(prepared);
                run(maven(prepared).args(["compile", "dependency:copy-dependencies"]));
            }
            Self::JavaMatrix => {
                self.copy_inputs(prepared);
                run(maven(prepared).arg("dependency:copy-dependencies"));
            }
        }
    }

    fn go_build(self, prepared: &Path, args: &[&str]) {
        let mut build = Command::new("go");
        // With a directory as output, each program gets the name of its package.
        build
            .args(["build", "-o"])
            .arg(prepared.join(""))
            .args(args);
        run(build.env("GOWORK", "off").current_dir(self.sources()));
    }

    fn copy_inputs(self, prepared: &Path) {
        for input in self.inputs() {
            let copy = prepared.join(input);
            let parent = copy.parent().expect("the copy is inside a directory");
            fs::create_dir_all(parent).expect("the target directory is writable");
            fs::copy(self.sources().join(input), copy).expect("the target directory is writable");
        }
    }

    /// Returns a digest of everything that the installation depends on.
    fn stamp(self, versions: &[String]) -> String {
        let mut hash = Sha1::new();
        for version in versions {
            hash.update(version);
        }
        for input in self.inputs() {
            hash.update(input);
            hash.update(read_text(&self.sources().join(input)));
        }
        hex(&hash.finalize())
    }

    fn sources(self) -> PathBuf {
        match self {
            Self::PythonMatrix | Self::NodeMatrix | Self::JavaMatrix => matrix(),
            _ => sources().join(self.name()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
            Self::Java => "java",
            Self::Kubernetes => "kubernetes",
            Self::PythonMatrix => "python-matrix",
            Self::NodeMatrix => "node-matrix",
            Self::JavaMatrix => "java-matrix",
        }
    }

    fn tools(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Python | Self::PythonMatrix => &[("python3", "--version")],
            Self::Node | Self::NodeMatrix => &[("node", "--version"), ("npm", "--version")],
            Self::Go | Self::Kubernetes => &[("go", "version")],
            Self::Java | Self::JavaMatrix => &[("java", "-version"), ("mvn", "-version")],
        }
    }

    fn inputs(self) -> &'static [&'static str] {
        match self {
            Self::Python | Self::PythonMatrix => &["requirements.txt"],
            Self::Node | Self::NodeMatrix => &["package.json", "package-lock.json"],
            Self::Go => &["go.mod", "go.sum", "follow/main.go", "readers/main.go"],
            Self::Java => &["pom.xml", "src/main/java/Follow.java"],
            Self::Kubernetes => &["go.mod", "go.sum", "judge.go", "main.go", "manifests.go"],
            Self::JavaMatrix => &["pom.xml"],
        }
    }
}

/// Returns the directory of the matrix of clients.
pub(crate) fn matrix() -> PathBuf {
    sources().join("matrix")
}

/// Returns the directory of the programs and of the versions of their packages.
fn sources() -> PathBuf {
    copy().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients"))
}

/// Returns the directory in which packages are installed.
pub(crate) fn installed() -> PathBuf {
    let target = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    copy().map_or_else(target, |copy| copy.join("installed"))
}

/// Returns the copy of the sources, with other versions, that `tests/clients/matrix/newest` makes.
fn copy() -> Option<PathBuf> {
    environment("CLIENTS_DIRECTORY").map(PathBuf::from)
}

fn maven(directory: &Path) -> Command {
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B"]).current_dir(directory);
    maven
}

/// Returns the command of a tool; `None` if it is not installed.
pub(crate) fn tool(name: &str) -> Option<Command> {
    if version(name, "--version").is_none() {
        required(name, false);
        return None;
    }
    Some(Command::new(name))
}

fn version(tool: &str, flag: &str) -> Option<String> {
    match Command::new(tool).arg(flag).output() {
        Ok(output) if output.status.success() => {
            // Java prints its version to standard error.
            Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
        }
        Ok(output) => panic!("{tool} {flag}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{tool} {flag}: {error}"),
    }
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

fn read_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn capitalized(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}
