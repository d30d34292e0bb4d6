//! `explain`, and whether the real clients do what it says, environment by environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ram_sidecar::chains::CLIENTS;
use serde_json::{Value, json};

use crate::namespace;
use crate::stubs::{Reply, Stub};
use crate::support::{Daemon, Process, Scratch, environment};
use crate::toolchains::Language;

mod command;
mod outside;
mod rows;

use self::outside::{ASSUMED, INSTANCE, REFUSED, Sts, instance, over};
use self::rows::{ROWS, Row};

const LANGUAGES: [(Language, &str); 3] = [
    (Language::Go, "go"),
    (Language::Node, "node"),
    (Language::Java, "java"),
];

const PROGRAM: &str = env!("CARGO_BIN_EXE_ram-sidecar");

#[test]
fn every_client_does_what_explain_says() {
    let languages = [
        Language::Python,
        Language::Go,
        Language::Node,
        Language::Java,
    ];
    // Packages can be installed only outside of the namespace.
    if languages.into_iter().all(Language::is_installed) {
        namespace::passes(
            concat!(module_path!(), "::in_own_network"),
            "every_client_does_what_explain_says",
        );
    }
}

mod in_own_network {
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs 100.100.100.200 for itself: the test of the same name runs it in a network of its own"]
    async fn every_client_does_what_explain_says() {
        if crate::namespace::is_here() {
            super::compare().await;
        }
    }
}

/// Runs every client in every environment, and compares with what `explain` says.
async fn compare() {
    let daemon = Daemon::spawn(
        &[
            "--sandbox",
            "--container",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "off",
        ],
        &[],
    );
    let uri = daemon.uri();
    let ours: Value = serde_json::from_str(&daemon.credentials().body).expect("JSON");
    let ours = ours["AccessKeyId"].as_str().expect("a text").to_owned();
    let asked: &'static Mutex<Option<String>> = Box::leak(Box::default());
    let oss = Stub::start(move |request| {
        let key = request.header("authorization");
        let key = key
            .strip_prefix("OSS ")
            .and_then(|rest| rest.split_once(':'));
        *asked.lock().unwrap() = key.map(|(key, _)| key.to_owned());
        Reply {
            status: axum::http::StatusCode::FORBIDDEN,
            ..Reply::default()
        }
    });
    let at = oss.endpoint();
    let sts = Sts::start().await;
    let mut found: Vec<BTreeMap<String, Option<String>>> = vec![BTreeMap::new(); ROWS.len()];
    let mut said: Vec<Value> = vec![Value::Null; ROWS.len()];
    for has_metadata in [false, true] {
        let _metadata = has_metadata.then(instance);
        let numbers = ROWS.iter().enumerate();
        let numbers = numbers.filter(|(_, row)| row.has_metadata == has_metadata);
        let numbers: Vec<usize> = numbers.map(|(number, _)| number).collect();
        let places: Vec<Place> = numbers
            .iter()
            .map(|number| Place::new(&ROWS[*number], &uri, &sts))
            .collect();
        let (answers, explained) = tokio::task::block_in_place(|| {
            let answers = run_all(&places, &at, asked);
            let explained: Vec<Value> = places.iter().map(Place::explain).collect();
            (answers, explained)
        });
        for ((number, answer), one) in numbers.iter().zip(answers).zip(explained) {
            found[*number] = answer;
            said[*number] = one;
        }
    }
    judge(&found, &said, &ours);
}

/// An environment with its files.
struct Place {
    home: Scratch,
    variables: Vec<(String, String)>,
    has_sts: bool,
    /// The files that stand in the places of those of this machine.
    mounts: Vec<(PathBuf, PathBuf)>,
}

impl Place {
    fn new(row: &Row, uri: &str, sts: &Sts) -> Self {
        let home = Scratch::new();
        let path = home.path().display().to_string();
        let container = uri.replace("/credentials/", "/container/");
        let filled = |text: &str| {
            text.replace("{home}", &path)
                .replace("{uri}", uri)
                .replace("{container}", &container)
                .replace("{role}", "node")
        };
        for (name, text) in row.files {
            let file = home.join(name);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            let text = filled(text);
            let parts: Vec<&[u8]> = text.split("{byte}").map(str::as_bytes).collect();
            fs::write(file, parts.join(&0xe9)).expect("a file");
        }
        let account = format!("root:x:0:0:root:{path}:/bin/sh\n");
        fs::write(home.join("passwd"), account).expect("a file");
        let mut mounts = vec![(home.join("passwd"), "/etc/passwd".into())];
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        // Java looks for the home directory elsewhere.
        let mut java = filled("-Duser.home={home}");
        if row.has_sts {
            let (trust, option) = sts.variables();
            variables.extend(trust.map(|(name, value)| (name.to_owned(), value)));
            java += &option;
            mounts.extend(sts.mounts());
        }
        variables.insert("JAVA_TOOL_OPTIONS".to_owned(), java);
        let own = row.variables.iter();
        variables.extend(own.map(|(name, value)| ((*name).to_owned(), filled(value))));
        variables.insert("HOME".to_owned(), path);
        Self {
            home,
            variables: variables.into_iter().collect(),
            has_sts: row.has_sts,
            mounts,
        }
    }

    fn apply(&self, command: &mut Command) {
        command
            .env_clear()
            .envs(environment("PATH").map(|path| ("PATH", path)))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path());
    }

    /// Returns a command in the environment, whose home directory is also that of the account.
    fn command(&self, program: &Path) -> Command {
        let mut command = over(&self.mounts, program);
        self.apply(&mut command);
        command
    }

    /// Returns what `explain` says.
    fn explain(&self) -> Value {
        let mut command = self.command(Path::new(PROGRAM));
        let output = command
            .args(["explain", "--json"])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains("planted"), "{text}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

/// Returns the AccessKey ID that each client finds in each place.
fn run_all(
    places: &[Place],
    oss: &str,
    asked: &Mutex<Option<String>>,
) -> Vec<BTreeMap<String, Option<String>>> {
    let answers: Vec<Mutex<BTreeMap<String, Option<String>>>> =
        places.iter().map(|_| Mutex::default()).collect();
    let jobs: Vec<(usize, Language, &str)> = (0..places.len())
        .flat_map(|place| LANGUAGES.map(|(language, name)| (place, language, name)))
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for has_sts in [false, true] {
            let answers = &answers;
            scope.spawn(move || python(places, has_sts, answers));
        }
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((place, language, name)) =
                    jobs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let key = follow(&places[*place], *language);
                    answers[*place]
                        .lock()
                        .unwrap()
                        .insert((*name).to_owned(), key);
                }
            });
        }
        scope.spawn(|| {
            for (place, answer) in places.iter().zip(&answers) {
                *asked.lock().unwrap() = None;
                let ossutil = Language::Go
                    .program("ossutil", place.home.path())
                    .expect("it is installed");
                let mut command = place.command(Path::new(ossutil.get_program()));
                command.args(["ls", "oss://bucket", "-e", oss, "--retry-times", "1"]);
                command.output().expect("ossutil runs");
                let key = asked.lock().unwrap().take().filter(|key| !key.is_empty());
                answer.lock().unwrap().insert("ossutil".to_owned(), key);
            }
        });
    });
    let answers = answers.into_iter();
    answers.map(|answer| answer.into_inner().unwrap()).collect()
}

/// Asks the clients in Python, in one process with a child for each place that has STS, or for each that has not.
fn python(places: &[Place], has_sts: bool, answers: &[Mutex<BTreeMap<String, Option<String>>>]) {
    let chosen = || {
        let places = places.iter().zip(answers);
        places.filter(|(place, _)| place.has_sts == has_sts)
    };
    let Some((first, _)) = chosen().next() else {
        return;
    };
    let python = Language::Python.program("chains", first.home.path());
    let python = python.expect("it is installed");
    // The children have homes of their own by their variables.
    let mut command = over(&first.mounts, Path::new(python.get_program()));
    command.args(python.get_args());
    let mut program = Process::start(command);
    for (place, answer) in chosen() {
        let mut variables: BTreeMap<&str, &str> = BTreeMap::new();
        variables.extend(
            place
                .variables
                .iter()
                .map(|(name, value)| (&**name, &**value)),
        );
        let path = environment("PATH").unwrap_or_default();
        let path = path.to_string_lossy().into_owned();
        variables.insert("PATH", &path);
        let line = program.ask(&json!(variables).to_string());
        let keys: BTreeMap<String, Option<String>> = serde_json::from_str(&line).expect("JSON");
        answer.lock().unwrap().extend(keys);
    }
}

/// Runs the program `follow` of a language, which must answer twice alike.
fn follow(place: &Place, language: Language) -> Option<String> {
    let program = language
        .program("follow", place.home.path())
        .expect("it is installed");
    let kept: Vec<(OsString, OsString)> = program
        .get_envs()
        .filter(|(name, _)| *name == "NODE_PATH")
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let mut command = place.command(Path::new(program.get_program()));
    command.args(program.get_args()).arg("default").envs(kept);
    let mut program = Process::start(command);
    let mut key = || {
        let line = program.ask("fetch");
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        answer["default"]["AccessKeyId"].as_str().map(str::to_owned)
    };
    let (first, again) = (key(), key());
    assert_eq!(first, again);
    first
}

/// Compares what was found with what was said, and with the table of the book.
fn judge(found: &[BTreeMap<String, Option<String>>], said: &[Value], ours: &str) {
    let mut wrong = Vec::new();
    let mut table = String::from(HEADER);
    for ((row, found), said) in ROWS.iter().zip(found).zip(said) {
        let mut cells = Vec::new();
        for client in CLIENTS {
            let clients = said["places"][0]["clients"].as_array().expect("a list");
            let one = clients
                .iter()
                .find(|one| one["name"] == client.name)
                .expect("it is explained");
            let predicted = predicted(one, row, client.goes_on);
            if client.is_run {
                let actual = found.get(client.name).cloned().flatten();
                let actual = actual.map(|key| key_in(&key));
                if actual != predicted {
                    wrong.push(format!(
                        "{}: {} takes {actual:?}, not {predicted:?}: {}",
                        row.name, client.name, one["steps"]
                    ));
                }
            }
            cells.push(shown(predicted.as_deref(), ours));
        }
        let _ = writeln!(table, "| {} | {} |", row.name, cells.join(" | "));
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/chains.md");
    if environment("UPDATE_DOCS").is_some() {
        fs::write(path, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), table);
}

/// Returns the AccessKey ID that a client takes, according to what `explain` says of it and to what responds in the row.
fn predicted(client: &Value, row: &Row, goes_on: bool) -> Option<String> {
    let steps = client["steps"].as_array().expect("a list");
    for step in steps.iter().filter(|step| step["reached"] == true) {
        let detail = step["detail"].as_str().unwrap_or_default();
        let on = step["on"].as_str().unwrap_or_default();
        let answer = match step["state"].as_str().expect("a text") {
            "answers" => true,
            "depends" => match on {
                "metadata" => row.has_metadata && !detail.contains("by the proxy"),
                "program" => row.files.iter().any(|(name, _)| *name == "printed"),
                "sts" => row.has_sts && !row.contains(REFUSED),
                // Nothing else can be reached in this network.
                _ => false,
            },
            "fails" => return None,
            _ => continue,
        };
        if answer {
            return Some(match on {
                "program" => "LTAIprogram".to_owned(),
                "sts" => ASSUMED.to_owned(),
                "metadata" => INSTANCE.to_owned(),
                _ => key_in(detail),
            });
        }
        if !goes_on {
            return None;
        }
    }
    None
}

/// Returns the AccessKey ID in a sentence, `…` for what does not have that form.
fn key_in(detail: &str) -> String {
    let mut words = detail.split([' ', ':', ',']);
    let found = words.find(|word| word.starts_with("LTAI") || word.starts_with("STS."));
    found.unwrap_or("…").to_owned()
}

fn shown(key: Option<&str>, ours: &str) -> String {
    match key {
        None => "–".to_owned(),
        Some(key) if key == ours => "ours".to_owned(),
        Some(INSTANCE) => "instance".to_owned(),
        Some(ASSUMED) => "role".to_owned(),
        Some(key) => key.trim_start_matches("LTAI").to_owned(),
    }
}

const HEADER: &str = "| environment | python | java | go | node | php | oss2 | oss-v2 | ossutil | aliyun-cli | pyodps | boto3 |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
