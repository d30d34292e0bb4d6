//! The reference of the events of the log. Levels and fields are read from the code, meanings stand here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::reference::{cell, page};

/// All events with one message.
#[derive(Default)]
struct Event {
    levels: BTreeSet<&'static str>,
    fields: BTreeSet<String>,
}

/// Returns the page.
///
/// Panics if the code and the tables below do not have the same messages and fields.
pub(super) fn events() -> String {
    let mut events = BTreeMap::<String, Event>::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        read(&text, &path.display().to_string(), &mut events);
    }
    // Written by the writer itself.
    let dropped = events
        .entry("Log lines were dropped".to_owned())
        .or_default();
    dropped.levels.insert("warn");
    dropped
        .fields
        .extend(["dropped", "error"].map(str::to_owned));

    let explained = EVENTS.iter().flat_map(|(_, rows)| *rows);
    let explained: BTreeSet<&str> = explained.map(|(message, _)| *message).collect();
    assert_same("EVENTS", &explained, events.keys());
    let fields: BTreeSet<&str> = FIELDS.iter().map(|(field, _)| *field).collect();
    let used: BTreeSet<&String> = events.values().flat_map(|event| &event.fields).collect();
    assert_same("FIELDS", &fields, used);

    let mut page = page("Events", INTRODUCTION);
    for (title, rows) in EVENTS {
        let _ = write!(
            page,
            "\n## {title}\n\n| message | level | fields | meaning |\n| --- | --- | --- | --- |\n"
        );
        for (message, meaning) in *rows {
            let event = &events[*message];
            let levels: Vec<&str> = event.levels.iter().copied().collect();
            let fields = event.fields.iter().map(|field| format!("`{field}`"));
            let fields: Vec<String> = fields.collect();
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} |",
                cell(message),
                levels.join(", "),
                fields.join(", "),
                cell(meaning)
            );
        }
    }
    page.push_str("\n## Fields\n\n| field | meaning |\n| --- | --- |\n");
    for (field, meaning) in FIELDS {
        let _ = writeln!(page, "| `{field}` | {} |", cell(meaning));
    }
    page
}

fn assert_same<'a>(
    table: &str,
    explained: &BTreeSet<&str>,
    used: impl IntoIterator<Item = &'a String>,
) {
    let used: BTreeSet<&str> = used.into_iter().map(String::as_str).collect();
    let missing: Vec<_> = used.difference(explained).collect();
    let unused: Vec<_> = explained.difference(&used).collect();
    assert!(
        missing.is_empty() && unused.is_empty(),
        "{table} in tests/integration/documents/events.rs lacks {missing:?}, and has {unused:?}, which the code has not"
    );
}

/// Returns the files of the program, without those of tests.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_test = ["tests", "tests.rs", "testing.rs"].map(|name| path.ends_with(name));
            if is_test.contains(&true) {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// Adds the events of a source file.
fn read(text: &str, place: &str, events: &mut BTreeMap<String, Event>) {
    let code = text.split("mod tests {").next().unwrap();
    for level in LEVELS {
        let macro_name = format!("{level}!(");
        for (at, _) in code.match_indices(&macro_name) {
            let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if is_whole {
                let mut arguments = arguments(&code[at + macro_name.len()..]);
                let message = arguments.pop().unwrap();
                let message = message
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'))
                    .filter(|message| !message.contains(['{', '"']))
                    .unwrap_or_else(|| {
                        panic!("{place}: {level}! has no constant message, but {message}")
                    });
                let event = events.entry(message.to_owned()).or_default();
                event.levels.insert(level);
                event
                    .fields
                    .extend(arguments.iter().map(|it| field(it, place)));
            }
        }
    }
}

/// Splits the arguments of a call, of which `text` is what follows the parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut depth, mut is_quoted) = (vec![String::new()], 0, false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            break;
        }
        if c == ',' && depth == 0 && !is_quoted {
            found.push(String::new());
            continue;
        }
        let last = found.last_mut().unwrap();
        last.push(c);
        if is_quoted && c == '\\' {
            last.extend(characters.next());
        }
    }
    let found = found.into_iter().map(|it| it.trim().to_owned());
    found.filter(|it| !it.is_empty()).collect()
}

/// Returns the name of a field, of which `argument` is the shorthand or the assignment.
fn field(argument: &str, place: &str) -> String {
    let name = argument.split(" =").next().unwrap();
    let name = name.trim_start_matches(['%', '?']);
    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    assert!(is_name, "{place}: a field needs a name: {argument}");
    name.to_owned()
}

#[test]
fn an_event_is_read_with_its_level_and_the_names_of_its_fields() {
    let mut events = BTreeMap::new();
    let code =
        r#"fn f() { warn!(%path, uid = of(1, "a,)\""), ?signal, "Two, of them"); my_info!(x) }"#;
    read(code, "here", &mut events);
    let (message, event) = events.pop_first().unwrap();
    assert_eq!(message, "Two, of them");
    assert_eq!(event.levels, BTreeSet::from(["warn"]));
    let fields = ["path", "signal", "uid"].map(str::to_owned);
    assert_eq!(event.fields, BTreeSet::from(fields));
    assert!(events.is_empty());
    let composed = std::panic::catch_unwind(|| {
        read(
            r#"info!("The value {value}")"#,
            "here",
            &mut BTreeMap::new(),
        );
    });
    assert!(composed.is_err());
}

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

const INTRODUCTION: &str = "\
Every line of the log is an event: a constant message, and fields. Messages may change in any version, the names of fields\n\
[stay](../guides/upgrade-and-remove.md#what-stays). In JSON, each field is a key beside `timestamp`, `level` and `message`; a field without a value is left out. The text\n\
format, which is the default on a terminal, begins with the whole sentence, `message: error; advice (RequestId …)`, and then has the\n\
other fields. [Logs](../guides/logs.md) has queries.";

/// The parts of the program, and the messages of their events with what they mean.
const EVENTS: &[(&str, &[(&str, &str)])] = &[
    (
        "Start and stop",
        &[
            (
                "Starting",
                "The first line: which program this is, for which role and with which identity. Without `role`, the identity's own credentials are passed through.",
            ),
            (
                "The configuration needs attention",
                "A variable is unknown, a proxy cannot be used, or other users can change a file that decides.",
            ),
            (
                "The sandbox replaces the configured role",
                "`--sandbox` has a role of its own; these settings are ignored.",
            ),
            (
                "role.duration is below 34 minutes",
                "Some SDKs fetch credentials on every call for much of so short a lifetime.",
            ),
            (
                "This job has no role: the URI answers 404, and no file is written",
                "`role.preset` is `none`.",
            ),
            (
                "There is no saved state yet",
                "`state.file` names a file that does not exist: a first start.",
            ),
            (
                "Serving the credentials of the saved state",
                "Those of the previous process are still valid.",
            ),
            (
                "The saved state is ignored, and new credentials are obtained",
                "It does not fit the settings, has expired, or cannot be read.",
            ),
            (
                "Listening for requests for credentials",
                "The data listener accepts connections; there need not be credentials yet.",
            ),
            (
                "Listening for the ECS metadata dialect",
                "The metadata listener accepts connections.",
            ),
            (
                "Listening for probes",
                "The admin listener accepts connections.",
            ),
            (
                "Listening on 127.0.0.1 only, because [::1] is unavailable",
                "This machine has no IPv6 on loopback.",
            ),
            (
                "A program requested the shutdown of this process",
                "By `POST /stop`.",
            ),
            (
                "Stopping",
                "The drain has begun: not ready, but still serving.",
            ),
            ("Stopped", "The last request is finished."),
        ],
    ),
    (
        "Renewal",
        &[
            (
                "Credentials renewed",
                "There are new credentials, the first ones included.",
            ),
            (
                "The credentials are still the same",
                "A source of finished credentials has no new ones yet.",
            ),
            (
                "No credentials",
                "An attempt failed, and there have been no credentials yet. Logged for a new code, and every minute.",
            ),
            (
                "Cannot renew, still serving the current credentials",
                "An attempt failed. Logged at the first failure, for a new code, every five minutes, and every minute in the last ten minutes before the expiry.",
            ),
            (
                "The credentials are at their end and cannot be renewed",
                "They have expired, and nothing is served. Logged at the expiry, for a new code, and every minute.",
            ),
            (
                "The credentials expired before they were renewed",
                "No attempt has failed; one follows at once.",
            ),
            (
                "The outage is over",
                "An attempt succeeded after failures; `code` is that of the last one.",
            ),
            ("An attempt failed", "Each failed attempt."),
            (
                "Failed over to another endpoint",
                "An endpoint of STS failed, and a later one in `sts.endpoint` succeeded.",
            ),
            (
                "Keeping the current credentials",
                "New ones were obtained that are worse.",
            ),
            (
                "These credentials end, and nothing renews them by itself",
                "The identity's source needs a person, who logs in again.",
            ),
            (
                "The credentials are due for renewal, and their source still has the same",
                "Nobody has renewed them at their source yet.",
            ),
            ("Renewing at once, as requested", "By SIGHUP."),
            (
                "This machine's clock differs from that of STS",
                "By more than 30 s.",
            ),
            (
                "This machine's clock is right again",
                "It differs by 30 s at most.",
            ),
        ],
    ),
    (
        "Files",
        &[
            (
                "Cannot write a file",
                "A file of credentials or the saved state; logged once for each reason.",
            ),
            ("The file can be written again", "It is up to date."),
            (
                "The directory of the file was replaced, and the file is written into the new one",
                "A volume was mounted again, or somebody interferes.",
            ),
            (
                "Cannot sync the directory of a file",
                "The file may be missing after a crash of the machine.",
            ),
        ],
    ),
    (
        "Requests",
        &[
            (
                "A new caller requested credentials",
                "A user's request by a program that is new, or was not seen for a while.",
            ),
            (
                "A request was refused",
                "Once for each code and user as a warning, then at the level `debug`.",
            ),
            (
                "The kernel's sock_diag is unavailable, so that each look-up of a caller reads the table of all connections",
                "Once. On a machine with many connections a look-up takes a fraction of a second, and other requests are answered meanwhile.",
            ),
            (
                "A request has a wrong key in its path",
                "At most once a minute.",
            ),
            (
                "A client sends its requests for credentials as if to a proxy",
                "Once.",
            ),
            (
                "container.token_file cannot be used",
                "AWS SDKs get no credentials.",
            ),
            (
                "Cannot accept connections",
                "The limit of open files is reached, for instance.",
            ),
            (
                "Cannot query the kernel for the owner of the connection",
                "Who requests is not known.",
            ),
            (
                "A connection ended early",
                "The client left, or sent what is not HTTP.",
            ),
            (
                "A connection exceeded its time limit and was closed",
                "The client was too slow.",
            ),
            (
                "Some connections did not end and were closed",
                "At the shutdown.",
            ),
        ],
    ),
    (
        "Commands",
        &[
            (
                "exec does not use state.file: it belongs to a daemon",
                "The setting is ignored.",
            ),
            (
                "HTTP_PROXY is not passed on",
                "The command of `exec` does not get it.",
            ),
            (
                "Clients of the command will not use these credentials",
                "The default chains of these clients find something else first, or fail, in the environment of the command of `exec`, as `explain` says too, or do not lead here and find keys of others.",
            ),
            (
                "Cannot write a token file for AWS SDKs",
                "Some of them get no credentials from `exec`.",
            ),
            (
                "The variables of --env oss expire and are not renewed",
                "They are set once, when the command of `exec` starts.",
            ),
            (
                "--env oss sets nothing, because there are no credentials",
                "The job has no role.",
            ),
            (
                "Serving has failed",
                "The command of `exec` goes on, with credentials that are not renewed any more.",
            ),
            (
                "Cannot pass a signal on",
                "The command of `exec` has ended.",
            ),
            (
                "Cannot print on standard output",
                "It is closed or full; `serve` goes on.",
            ),
            (
                "Cannot notify systemd",
                "Its socket does not accept the message in time.",
            ),
            (
                "Log lines were dropped",
                "The reader of the log had stalled.",
            ),
        ],
    ),
    (
        "Webhook",
        &[
            (
                "Listening for reviews",
                "The listener accepts connections of the API server.",
            ),
            (
                "A pod was reviewed",
                "Each decision: injected or left alone, and as a warning, admitted without a sidecar or denied.",
            ),
            (
                "A request was rejected",
                "It was not a review; once for each code.",
            ),
            (
                "The certificate and its key were reloaded",
                "The files have changed.",
            ),
            (
                "Keeping the current certificate",
                "The files have changed, and cannot be used.",
            ),
            ("A client rejected the certificate", "Once."),
            (
                "Closing connections of the host that has the most",
                "Too many wait; once.",
            ),
            (
                "A connection was closed, because its host has too many",
                "Each of them.",
            ),
            (
                "A TLS handshake failed",
                "By the client's fault or with its abort.",
            ),
            ("A TLS handshake timed out", "The client was too slow."),
            (
                "The cluster's version decides between native and classic sidecars",
                "It was read for the first time, or has changed.",
            ),
            (
                "The cluster's version is unknown",
                "The API server did not tell it; the last one is assumed.",
            ),
        ],
    ),
    (
        "Sandbox",
        &[
            (
                "Sandbox STS listens; its credentials are not valid anywhere else",
                "The embedded STS accepts connections.",
            ),
            (
                "Faults of the sandbox replaced",
                "By `PUT` at the address of its faults.",
            ),
            (
                "Faults of the sandbox cleared",
                "By `PUT` without faults, or `DELETE`.",
            ),
            ("Sandbox STS responded", "Each call."),
            ("Sandbox STS closes a connection", "The fault `down`."),
        ],
    ),
];

/// The fields, and what they hold.
const FIELDS: &[(&str, &str)] = &[
    (
        "access_key_id",
        "The AccessKey ID of the credentials, which is no secret.",
    ),
    ("action", "The action of STS that was called."),
    ("address", "The address of the listener."),
    ("advice", "What to change."),
    (
        "ahead_seconds",
        "How far this machine's clock is ahead of that of STS; negative if it is behind.",
    ),
    ("alert", "The alert of TLS that the client sent."),
    ("caller", "The AccessKey ID of the call."),
    (
        "clients",
        "The names of clients, as in [Chains](chains.md).",
    ),
    (
        "code",
        "The stable name of the failure or refusal: see [Errors](errors.md).",
    ),
    ("dialect", "How credentials were requested."),
    ("drain_seconds", "How long requests are still served."),
    ("dropped", "How many lines were dropped."),
    ("duration_seconds", "`role.duration`."),
    (
        "endpoints",
        "The endpoints of STS, in the order in which they are tried.",
    ),
    ("error", "What happened, in words."),
    ("executable", "The program of the caller."),
    (
        "expires_at",
        "When the credentials expire, by the clock of STS.",
    ),
    ("failures", "How many attempts in a row have failed."),
    ("fault", "The fault that applied to the call."),
    ("faults", "The faults that apply now."),
    ("faults_at", "Where the faults can be changed."),
    ("from", "The address of a caller on another machine."),
    ("hops", "How many roles are assumed one after the other."),
    ("host", "The host that was called, or the host of a client."),
    (
        "identity",
        "The kind of the identity, as `identity.type` and `check` name it.",
    ),
    ("ignored", "The settings that are ignored."),
    ("is_old", "Whether the cluster has no native sidecars."),
    ("limit", "How many may wait."),
    ("minor", "The minor version of Kubernetes."),
    ("name", "The name of the pod."),
    ("namespace", "The namespace of the pod."),
    ("next_attempt_seconds", "How long until the next attempt."),
    (
        "outage_seconds",
        "How long attempts have failed, from the first failure to the success.",
    ),
    ("outcome", "What was decided about the pod."),
    (
        "path",
        "The path of the file or of requests; a key in it is not shown.",
    ),
    ("pid", "The process of the caller."),
    ("reason", "Why the pod got no sidecar."),
    (
        "remaining_seconds",
        "How long the current credentials are still good; 0 once they have expired.",
    ),
    (
        "request_id",
        "The request id, which Alibaba Cloud's support requires.",
    ),
    (
        "revision",
        "The revision of the source, if whoever built the program has set it.",
    ),
    ("role", "The ARN of the role."),
    ("role_arn", "The ARN of the sandbox's role."),
    ("role_name", "The name of the role in the metadata dialect."),
    (
        "served_by",
        "The host or source that granted the credentials.",
    ),
    (
        "session_name",
        "The name of the session, as ActionTrail shows it.",
    ),
    ("signal", "The number of the signal."),
    (
        "stage",
        "The step that failed: `identity`, `transport`, `sts`, `answer` or `file`.",
    ),
    ("status", "The HTTP status of the response."),
    ("uid", "The user of the caller."),
    ("user_agent", "The `User-Agent` of the caller."),
    ("version", "The version of the program."),
    ("waits_for", "What the connections wait for."),
];
