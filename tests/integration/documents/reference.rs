//! The reference pages of the book, which are generated from the program: `UPDATE_DOCS=1 cargo test reference` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ram_sidecar::chains::{CLIENTS, OUTCOMES, On, Outlook};
use ram_sidecar::cli;
use ram_sidecar::config::settings::SETTINGS;
use ram_sidecar::failure::{self, FailureClass};
use ram_sidecar::inject::controllers::{CONTROLLERS, Classic, Injection};
use ram_sidecar::sandbox::FAULTS;
use ram_sidecar::server::codes::REFUSAL_CODES;
use ram_sidecar::server::data::{CONTAINER_PREFIX, PREFIX};
use serde_json::Value;

use crate::clients::matrix;
use crate::http;
use crate::metrics::scrape;
use crate::support::{Daemon, Scratch, environment, run_command};
use crate::webhook;

#[test]
fn reference_is_what_the_program_generates() {
    let mut stale = Vec::new();
    for (name, generated) in [
        ("settings", settings()),
        ("commands", commands()),
        ("errors", errors()),
        ("events", super::events::events()),
        ("faults", faults()),
        ("http", http()),
        ("metrics", metrics()),
        ("clients", matrix::page()),
        ("controllers", controllers()),
        ("chains", chains()),
        ("explain", explain()),
    ] {
        let name = format!("docs/src/reference/{name}.md");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        if environment("UPDATE_DOCS").is_some() {
            fs::write(&path, &generated).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != generated {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "not what the program generates: {stale:?}; run UPDATE_DOCS=1 cargo test reference, and read the changes"
    );
}

pub(super) fn page(title: &str, introduction: &str) -> String {
    format!(
        "<!-- Generated from the program by tests/integration/documents/reference.rs. -->\n\n# {title}\n\n{introduction}\n"
    )
}

/// Escapes what Markdown would read as a column or as HTML.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

fn code(text: Option<&str>) -> String {
    text.map(|text| format!("`{text}`")).unwrap_or_default()
}

fn chains() -> String {
    let mut page = page("Chains", CHAINS);
    for client in CLIENTS {
        let read = if client.is_run {
            "tests run it"
        } else {
            "its source was read"
        };
        let _ = write!(
            page,
            "\n## {}\n\nVersion {}: {read}. {}.\n\n| step | looks at | yields | renewed | source |\n| --- | --- | --- | --- | --- |\n",
            client.name, client.version, client.later
        );
        for step in client.steps {
            let cells = [step.looks_at, step.yields, step.renewed]
                .map(cell)
                .join(" | ");
            let _ = writeln!(
                page,
                "| `{}` | {cells} | `{}` |",
                step.provider, step.source
            );
        }
        let end = if client.goes_on {
            "A step that fails is passed over."
        } else {
            "A step that has something and fails is the end."
        };
        let _ = writeln!(page, "\n{end} For ours: {}.", client.otherwise);
    }
    page.push_str("\n## Environment by environment\n\n");
    page.push_str(MATRIX);
    page.push('\n');
    page.push_str(include_str!("../../data/chains.md"));
    page
}

/// The keys of the report, by the object in which they stand.
const KEYS: [(&str, &[(&str, &str)]); 4] = [
    (
        "the report",
        &[
            (
                "good",
                "whether every client that counts has the outlook `ours`: then the exit code is 0",
            ),
            ("places", "a list of places"),
            ("notes", "sentences about what could not be explained"),
        ],
    ),
    (
        "a place",
        &[
            ("name", "the container; empty for this process or a command"),
            ("clients", "a list of clients, each once"),
        ],
    ),
    (
        "a client",
        &[
            ("name", "as in `--client`"),
            ("title", "its language and package"),
            ("version", "the version of which the chain is known"),
            ("outlook", "whose credentials it will use"),
            ("counts", "whether it counts for `good`"),
            (
                "provider",
                "the step that answers first; `null` if none does",
            ),
            (
                "identity",
                "whose its credentials are, in words, with their condition; or `null`",
            ),
            (
                "caller",
                "what STS says, in words; only with `--ask`, and if a key was asked for",
            ),
            (
                "ends",
                "when the credentials end, in RFC 3339; `never`; or `null` if that is unknown",
            ),
            ("renewed", "whether the client renews them; or `null`"),
            ("steps", "the steps of its chain, in order"),
            ("obstacles", "what it prefers to ours, in words"),
            (
                "line",
                "what to run in the shell, or in words what to change in `env` of a manifest; or `null`",
            ),
            ("then", "what else is to be done, in words; or `null`"),
            (
                "ignored",
                "variables that are set, but count only as `true`",
            ),
        ],
    ),
    (
        "a step",
        &[
            ("provider", "its name in [Chains](chains.md)"),
            ("state", "what becomes of it"),
            (
                "on",
                "what an answer depends on; only with the state `depends`",
            ),
            ("detail", "why, or whose the credentials are, in words"),
            ("reached", "whether the client gets that far"),
        ],
    ),
];

const EXPLAIN: &str = "\
The JSON of `ram-sidecar explain --json`, for programs. Keys and the values below stay as the guide of\n\
[upgrades](../guides/upgrade-and-remove.md#what-stays) says; a later version may have more of both. What is \"in words\" may change\n\
in any version. No value is a secret.";

fn explain() -> String {
    let home = Scratch::new();
    let home = home.path().display().to_string();
    let variables = [
        ("HOME", &*home),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIx"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted"),
    ];
    let printed = run_command("explain", &["--json"], &variables).stdout;
    let report: Value = serde_json::from_str(&printed).unwrap();
    let place = &report["places"][0];
    let clients = place["clients"].as_array().unwrap();
    let steps = clients
        .iter()
        .flat_map(|client| client["steps"].as_array().unwrap());
    let objects = [
        vec![&report],
        vec![place],
        clients.iter().collect(),
        steps.collect(),
    ];
    let mut page = page("Explain", EXPLAIN);
    for ((what, keys), objects) in KEYS.iter().zip(objects) {
        let objects = objects
            .into_iter()
            .flat_map(|object| object.as_object().unwrap().keys());
        let found: BTreeSet<&str> = objects.map(String::as_str).collect();
        // STS is not asked here.
        let keys_found = keys.iter().filter(|(key, _)| *key != "caller");
        let documented: BTreeSet<&str> = keys_found.map(|(key, _)| *key).collect();
        assert_eq!(found, documented, "the keys of {what}");
        let rows = keys
            .iter()
            .map(|(key, meaning)| (*key, (*meaning).to_owned()));
        table(&mut page, &format!("the key of {what}"), rows);
    }
    let outlooks = Outlook::ALL
        .iter()
        .map(|(outlook, meaning)| (outlook.name(), (*meaning).to_owned()));
    table(&mut page, "`outlook`", outlooks);
    table(
        &mut page,
        "`state`",
        OUTCOMES
            .map(|(name, meaning)| (name, meaning.to_owned()))
            .into_iter(),
    );
    table(
        &mut page,
        "`on`",
        On::ALL
            .iter()
            .map(|on| (on.name(), format!("it answers {}", on.condition()))),
    );
    page
}

fn table<'a>(page: &mut String, what: &str, rows: impl Iterator<Item = (&'a str, String)>) {
    let _ = write!(page, "\n| {what} | meaning |\n| --- | --- |\n");
    for (name, meaning) in rows {
        let _ = writeln!(page, "| `{name}` | {meaning} |");
    }
}

const CHAINS: &str = "\
Where each client looks for credentials, in order: the first step that has some counts. `ram-sidecar explain` judges an environment\n\
by these tables. A test runs the clients in the environments at the end, and compares what each takes with what `explain` says.";

const MATRIX: &str = "\
`ours` are the credentials of `ALIBABA_CLOUD_CREDENTIALS_URI`, which every environment sets unless it says otherwise; `instance` are those of\n\
the metadata service, which responds where the environment says \"metadata\"; other words name what has the AccessKey that was taken; – is\n\
a failure, or none found. STS cannot be reached. php and aliyun-cli are not run: theirs is what `explain` says.\n";

fn metrics() -> String {
    let mut page = page(
        "Metrics",
        "`GET /metrics` on `admin.listen`, and on the address of the webhook, in OpenMetrics for a scraper that accepts it, else in the\n\
         text format of Prometheus. Times are seconds since 1970. Labels have few values: a `code` is one of those in\n\
         [Errors](errors.md) (`Throttling` for every `Throttling.…`), `none` for a success, or `other`; an `endpoint` is a host of `sts.endpoint`. No label holds a role, a session, a path, a key or\n\
         anything else that a caller or a service chose. Where `admin.listen` is `off`, nothing is counted.\n\n\
         The daemon has the first table, the webhook the second; what both have stands in the first.",
    );
    let daemon = samples(&scrape());
    let webhook = samples(&webhook::metrics::scrape());
    for metrics in [&daemon, &webhook] {
        page.push_str("\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
        let is_shown = |name: &String| metrics.len() == daemon.len() || !daemon.contains_key(name);
        for (name, (kind, labels, meaning)) in metrics.iter().filter(|(name, _)| is_shown(name)) {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = labels.join(", ");
            writeln!(page, "| `{name}` | {kind} | {labels} | {} |", cell(meaning)).unwrap();
        }
    }
    page
}

/// Returns the type, the labels and the meaning of each metric.
fn samples(text: &str) -> BTreeMap<String, (String, BTreeSet<String>, String)> {
    let mut found = BTreeMap::<String, (String, BTreeSet<String>, String)>::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        if let (Some("#"), Some(what), Some(name), Some(told)) =
            (words.next(), words.next(), words.next(), words.next())
        {
            let (kind, _, meaning) = found.entry(name.to_owned()).or_default();
            *(if what == "HELP" { meaning } else { kind }) = told.to_owned();
            continue;
        }
        let (sample, labels) = line.split_once('{').unwrap_or_default();
        let metric = found
            .iter_mut()
            .find(|(name, _)| sample.starts_with(name.as_str()));
        if let Some((_, (_, known, _))) = metric {
            let labels = labels
                .split("\",")
                .filter_map(|label| label.split_once('='));
            known.extend(labels.map(|(label, _)| label.to_owned()));
            known.remove("le");
        }
    }
    found
}

fn settings() -> String {
    let mut page = page(
        "Settings",
        "Flags override the environment, the environment overrides the TOML file (`--config`, `RAM_SIDECAR_CONFIG`), and the file\n\
         overrides the defaults. `config/ram-sidecar.toml` is a commented example of the file. Durations are written `30s`, `5m`, `1h`. An\n\
         empty variable is treated as absent. Secrets are never flags and never in the file. In variables, lists are separated by commas,\n\
         files by colons, and `RAM_SIDECAR_COMMAND` is a JSON array. `ram-sidecar check --verbose` shows every value and its source.",
    );
    let mut section = "";
    for setting in SETTINGS {
        let name = setting.key.split('.').next().unwrap();
        if name != section {
            section = name;
            let _ = write!(
                page,
                "\n## {name}\n\n| TOML | flag | environment | default | meaning |\n| --- | --- | --- | --- | --- |\n"
            );
        }
        let toml = setting.in_file.then_some(setting.key);
        let flag = setting.flag().map(|flag| format!("--{flag}"));
        let _ = writeln!(
            page,
            "| {} | {} | `{}` | {} | {} |",
            code(toml),
            code(flag.as_deref()),
            setting.variable(),
            code(setting.default),
            cell(setting.help)
        );
    }
    page
}

fn commands() -> String {
    let mut page = page(
        "Commands",
        "The output of `ram-sidecar COMMAND --help`. `-h` prints a summary, `ram-sidecar manual` the same as a manual page.",
    );
    let command = cli::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    for name in names.filter(|name| *name != "help") {
        let help = run_command(name, &["--help"], &[]).stdout;
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(
            page,
            "\n## {name}\n\n<!-- checked: tests/integration/documents/reference.rs::reference_is_what_the_program_generates -->\n```text\n{}\n```\n",
            lines.join("\n").trim_end()
        );
    }
    page
}

fn errors() -> String {
    let mut page = page(
        "Errors",
        "The log, `/ready`, `check` and the body of a 503 name the code of a failure, and end with what to do. `*` stands for any suffix;\n\
         metrics have the code without it. What mends a failure decides [when it is tried again](../concepts/refreshing.md#when-it-fails).",
    );
    page.push_str("\n## Failures\n\n| code | mended by | what to do |\n| --- | --- | --- |\n");
    for entry in failure::entries() {
        let mended_by = match entry.class {
            FailureClass::Transient => "time",
            FailureClass::Throttled => "quota",
            FailureClass::Persistent => "people",
        };
        let advice = cell(&sentence(entry.advice));
        let _ = writeln!(page, "| `{}` | {mended_by} | {advice} |", entry.code);
    }
    page.push_str("\n## Refused requests\n\n| code | HTTP | what to do |\n| --- | --- | --- |\n");
    for refusal in REFUSAL_CODES {
        let advice = cell(&sentence(refusal.advice));
        let _ = writeln!(
            page,
            "| `{}` | {} | {advice} |",
            refusal.code, refusal.status
        );
    }
    page
}

fn sentence(advice: &str) -> String {
    let (first, rest) = advice.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}

fn faults() -> String {
    let mut page = page(
        "Faults",
        "The faults that `--fault` simulates in the sandbox, separated by commas. P is a probability from 0 to 1; without it the fault\n\
         applies to every call. At most one of the faults with a P applies to a call, so the sum of their probabilities must not exceed 1;\n\
         the others apply to every response.",
    );
    page.push_str("\n| fault | what happens |\n| --- | --- |\n");
    for (usage, meaning) in FAULTS {
        let _ = writeln!(page, "| `{usage}` | {} |", cell(meaning));
    }
    page
}

fn controllers() -> String {
    let mut page = page(
        "Controllers",
        "Controllers have rules of their own about pods. `inject` and the webhook know these; any other kind gets the sidecar in each\n\
         template with `spec.containers`. The label is `ram-sidecar/inject: \"true\"`, and [the webhook](../guides/webhook.md) obeys it as pods are\n\
         created. Where restarts count, one of the sidecar is one of the job: `inject` warns with the number. A controller that drops\n\
         `restartPolicy` of init containers creates no pod, because the API server refuses the sidecar's probes without it: the webhook\n\
         restores it in pods that it sees. The last column says what a [classic](../guides/kubernetes.md#before-kubernetes-129) sidecar does\n\
         at the end of a job.",
    );
    page.push_str("\n| kind | pod templates | refuses or drops | counts as a restart | finished | injection | classic |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for row in CONTROLLERS {
        let injection = match row.injection {
            Injection::Templates => "each template".to_owned(),
            Injection::Except { why, label, .. } => {
                format!("each template; none if {why}: the label in {label}")
            }
            Injection::Layers {
                by_name: (map, setting),
                ..
            } => format!("the only template; each of several only with `{setting}` in `{map}`"),
            Injection::Label { why, label } => format!("none, because {why}: the label in {label}"),
            Injection::Elsewhere(why) => format!("none, because {why}"),
        };
        let classic = match row.classic {
            Classic::Harmless => "ends with the pod",
            Classic::Stop => "must be stopped",
            Classic::Never(why) => why,
        };
        let _ = writeln!(
            page,
            "| {} (`{}`) | {} | {} | {} | {} | {} | {classic} |",
            row.kinds.join(", "),
            row.api,
            row.templates,
            row.refuses,
            row.restart,
            row.finished,
            cell(&injection)
        );
    }
    page
}

/// The listener, method and path of a request; the status while credentials are current; what the response is.
fn responses() -> [(&'static str, &'static str, String, u16, &'static str); 13] {
    [
        (
            "serve.listen",
            "GET",
            format!("{PREFIX}0"),
            200,
            "the credentials, in the document of ECS and PAI",
        ),
        (
            "serve.listen",
            "GET",
            format!("{PREFIX}wrong"),
            404,
            "the key is wrong",
        ),
        (
            "serve.listen",
            "POST",
            format!("{PREFIX}0"),
            405,
            "`Allow` names the methods",
        ),
        (
            "serve.listen",
            "GET",
            format!("{CONTAINER_PREFIX}0"),
            200,
            "the credentials, in the document of AWS SDKs, with `container.enabled`",
        ),
        (
            "metadata.listen",
            "PUT",
            "/latest/api/token".to_owned(),
            200,
            "a token of the metadata dialect (v2)",
        ),
        (
            "metadata.listen",
            "GET",
            "/latest/meta-data/ram/security-credentials/".to_owned(),
            200,
            "the name of the role",
        ),
        (
            "metadata.listen",
            "GET",
            "/latest/meta-data/ram/security-credentials/sandbox-role".to_owned(),
            200,
            "the credentials of that role",
        ),
        (
            "admin.listen",
            "GET",
            "/live".to_owned(),
            200,
            "the process responds; independent of STS",
        ),
        (
            "admin.listen",
            "GET",
            "/".to_owned(),
            200,
            "the status of the daemon: a page, or JSON for `Accept: application/json`; on this machine only",
        ),
        (
            "admin.listen",
            "GET",
            "/metrics".to_owned(),
            200,
            "the [metrics](metrics.md)",
        ),
        (
            "admin.listen",
            "GET",
            "/startup".to_owned(),
            200,
            "credentials have been obtained; 503 before",
        ),
        (
            "admin.listen",
            "GET",
            "/ready".to_owned(),
            200,
            "the credentials are valid and every file is written; else 503, with the diagnosis",
        ),
        (
            "admin.listen",
            "POST",
            "/stop".to_owned(),
            202,
            "the daemon shuts down",
        ),
    ]
}

fn http() -> String {
    let mut page = page(
        "HTTP",
        "Every response closes its connection and must not be cached. Errors are JSON objects with `Code` and `Message`; [Errors](errors.md)\n\
         lists the codes. In place of credentials, 503 says why there are none. The last segment of the first paths is `serve.key`.",
    );
    page.push_str("\n| listener | request | status | response |\n| --- | --- | --- | --- |\n");
    for (listener, method, path, status, meaning) in responses() {
        let _ = writeln!(
            page,
            "| `{listener}` | `{method} {path}` | {status} | {meaning} |"
        );
    }
    page
}

#[test]
fn every_path_of_the_reference_is_served() {
    let flags = [
        "--sandbox",
        "--container",
        "--metadata-listen",
        "127.0.0.1:0",
    ];
    let daemon = Daemon::spawn(&flags, &[]);
    daemon.credentials();
    for (listener, method, path, status, meaning) in responses() {
        let address = match listener {
            "serve.listen" => daemon.data(),
            "metadata.listen" => daemon.metadata(),
            _ => daemon.admin(),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nX-aliyun-ecs-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n"
        );
        let reply = http::raw(address, &request);
        assert_eq!(reply.status, status, "{method} {path}: {meaning}");
        // For people with curl; programs take the rest to the byte.
        let has_line_break = reply.body.ends_with('\n');
        assert_eq!(
            has_line_break,
            listener == "admin.listen",
            "{method} {path}"
        );
    }
}

#[test]
fn refusal_codes_are_those_of_the_server() {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("codes.rs")
        {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let is_code = |text: &&str| {
            text.len() > 5
                && text.starts_with(|c: char| c.is_ascii_uppercase())
                && text.chars().all(|c| c.is_ascii_alphabetic())
        };
        let texts = code.split('"').skip(1).step_by(2).filter(is_code);
        found.extend(texts.map(str::to_owned));
    }
    // A key of the body, and the names of types in their `Debug` form.
    for other in ["Answer", "Message", "Tokens"] {
        found.remove(other);
    }
    let documented = REFUSAL_CODES.iter().map(|refusal| refusal.code.to_owned());
    assert_eq!(documented.collect::<BTreeSet<_>>(), found);
}
