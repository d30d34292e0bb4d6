//! The identity `process`: credentials that a program prints.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use chrono::{DateTime, Utc};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::identities::{Planted, daemon, failing, fresh, refused, second_role, served_role};
use crate::serving::LISTEN;
use crate::stubs;
use crate::support::{Daemon, Process, Scratch, environment, eventually, required, sentence};
use crate::upstream::{renew_until, sts};

/// A shell script in a directory of its own.
struct Script(Scratch);

impl Script {
    fn new(body: &str) -> Self {
        let script = Self(Scratch::new());
        script.rewrite(body);
        script
    }

    /// Replaces the file atomically: the script may be running.
    fn rewrite(&self, body: &str) {
        fs::write(self.0.join("next"), body).unwrap();
        fs::rename(self.0.join("next"), self.path()).unwrap();
    }

    fn printing(text: &str) -> Self {
        Self::new(&printing(text))
    }

    fn path(&self) -> PathBuf {
        self.0.join("script")
    }

    /// Returns the value of `RAM_SIDECAR_COMMAND`. A shell reads the script: executing a file just written may fail as busy.
    fn command(&self) -> String {
        json!(["/bin/sh", self.path(), self.0.path()]).to_string()
    }

    /// Starts a daemon with the program as its identity, and an unreachable STS.
    fn daemon(&self, env: &[(&str, &str)]) -> Daemon {
        let command = self.command();
        let settings = [
            ("ALIBABA_CLOUD_STS_ENDPOINT", "http://127.0.0.1:1"),
            ("RAM_SIDECAR_COMMAND", &command),
        ];
        Daemon::spawn(&LISTEN, &[&settings, env].concat())
    }

    /// Waits for the process id that the script writes to the file `name`.
    fn pid(&self, name: &str) -> Pid {
        eventually("the script writes a process id", || {
            let text = fs::read_to_string(self.0.join(name)).ok()?;
            Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
        })
    }
}

fn printing(text: &str) -> String {
    format!("cat <<'END'\n{text}\nEND\n")
}

/// Waits until a process has ended. A zombie counts as ended.
fn wait_for_end(pid: Pid) {
    eventually("the process ends", || {
        let state = state_and_parent(&pid.to_string()).map(|(state, _)| state);
        state.is_none_or(|state| state == "Z").then_some(())
    });
}

fn state_and_parent(pid: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}

/// Counts the zombies among the children of a process.
fn zombies(parent: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    processes
        .filter_map(|entry| state_and_parent(entry.file_name().to_str()?))
        .filter(|(state, of)| state == "Z" && of == parent)
        .count()
}

fn assert_memory_is_bounded(daemon: &Daemon) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .and_then(|peak| peak.trim().strip_suffix(" kB"))
        .unwrap()
        .parse()
        .unwrap();
    assert!(peak < 128 * 1024, "{peak} kB at the peak");
}

#[test]
fn printed_credentials_are_served_unchanged_in_either_key_style_and_their_union() {
    let planted = Planted::new();
    let Planted {
        id,
        secret,
        token,
        expires_at,
    } = &planted;
    let snake = json!({
        "mode": "StsToken", "access_key_id": id, "access_key_secret": secret,
        "sts_token": token, "expiration": expires_at,
    });
    let union = json!({
        "Code": "Success", "AccessKeyId": id, "AccessKeySecret": secret, "SecurityToken": token,
        "Expiration": expires_at, "mode": "StsToken", "access_key_id": id,
        "access_key_secret": secret, "sts_token": token, "expiration": expires_at,
    });
    for printed in [planted.pascal(), snake.to_string(), union.to_string()] {
        let script = Script::printing(&printed);
        let daemon = script.daemon(&[]);
        daemon.plant(secret);
        daemon.plant(token);
        daemon.uri();
        planted.assert_served(&daemon.credentials());
        let log = daemon.logged("Credentials renewed");
        assert!(log.contains(id) && log.contains("/bin/sh"), "{log}");
    }
}

#[test]
fn command_is_a_list_in_the_file_and_an_executable_runs_without_a_shell() {
    let (planted, scratch) = (Planted::new(), Scratch::new());
    let script = Script::new(&format!(
        "#!/bin/sh\n[ \"$1 $2\" = \"two words --json\" ] || exit 9\n{}",
        printing(&planted.pascal())
    ));
    let chmod = Command::new("chmod").arg("755").arg(script.path()).status();
    assert!(chmod.unwrap().success());
    let config = scratch.join("ram-sidecar.toml");
    let command = json!([script.path(), "two words", "--json"]);
    fs::write(&config, format!("[identity]\ncommand = {command}\n")).unwrap();
    let args = ["--config", config.to_str().unwrap()];
    let daemon = Daemon::spawn(&[&LISTEN[..], &args].concat(), &[]);
    daemon.uri();
    planted.assert_served(&daemon.credentials());
}

/// A script that numbers its runs in the AccessKey ID and prints credentials that expire after `seconds`.
fn counting(seconds: u32) -> String {
    format!(
        r#"n=$(cat "$1/runs" 2>/dev/null || echo 0); n=$((n + 1)); echo $n > "$1/runs"
end=$(date -u -d "@$(($(date +%s) + {seconds}))" +%Y-%m-%dT%H:%M:%SZ)
echo '{{"AccessKeyId":"STS.run-'$n'","AccessKeySecret":"PlantedSecret'$n'","SecurityToken":"CAISplanted'$n'","Expiration":"'$end'"}}'
"#
    )
}

#[test]
fn signal_runs_the_program_again_and_its_new_credentials_are_served() {
    let script = Script::new(&counting(3600));
    let daemon = script.daemon(&[]);
    daemon.uri();
    assert_eq!(daemon.credentials().text("AccessKeyId"), "STS.run-1");
    daemon.signal("HUP");
    let reply = eventually("the program runs again", || {
        let reply = daemon.credentials();
        (reply.text("AccessKeyId") == "STS.run-2").then_some(reply)
    });
    assert_eq!(reply.text("AccessKeySecret"), "PlantedSecret2");
}

#[test]
fn program_runs_again_before_the_printed_expiry() {
    let script = Script::new(&counting(6));
    let daemon = script.daemon(&[]);
    daemon.uri();
    eventually("the third renewal", || {
        let reply = daemon.credentials();
        assert_eq!(reply.status, 200, "{reply:?}");
        let end: DateTime<Utc> = reply.text("Expiration").parse().unwrap();
        assert!(stubs::now() < end, "served after the end: {end}");
        (reply.text("AccessKeyId") == "STS.run-4").then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_keys_of_either_kind_assume_the_role() {
    let sts = sts().await;
    let role = sts.role_arn();
    let key = sts.access_key();
    let long_term = json!({
        "mode": "AK", "access_key_id": key.id, "access_key_secret": key.secret.expose_secret(),
    });
    let script = Script::printing(&long_term.to_string());
    let command = script.command();
    let env = [("RAM_SIDECAR_COMMAND", command.as_str())];
    let first = daemon(&sts, &["--role-arn", &role], &env);
    assert_eq!(served_role(&sts, &first), role);

    let second = second_role(&sts);
    let script = Script::printing(&first.credentials().body);
    let command = script.command();
    let env = [("RAM_SIDECAR_COMMAND", command.as_str())];
    let daemon = daemon(&sts, &["--role-arn", &second], &env);
    assert_eq!(served_role(&sts, &daemon), second);
}

#[test]
fn long_term_key_without_a_role_is_never_served() {
    let script = Script::printing(
        r#"{"mode":"AK","access_key_id":"LTAIplanted","access_key_secret":"PlantedSecret1"}"#,
    );
    let daemon = script.daemon(&[]);
    daemon.plant("PlantedSecret1");
    let reply = daemon.credentials();
    assert_eq!(
        (reply.status, reply.text("Code")),
        (503, "IdentityNotTemporary".to_owned())
    );
    let sentence = reply.text("Message");
    assert!(sentence.contains("set role.arn"), "{sentence}");
}

#[test]
fn hanging_program_is_killed_with_all_its_children() {
    let script =
        Script::new("sleep 600 & echo $! > \"$1/child\"\necho $$ > \"$1/parent\"\nsleep 600\n");
    let daemon = script.daemon(&[("RAM_SIDECAR_IDENTITY_TIMEOUT", "1s")]);
    let (parent, child) = (script.pid("parent"), script.pid("child"));
    let message = refused(&daemon, "ProcessTimedOut");
    assert!(message.contains("did not end within 1 s"), "{message}");
    wait_for_end(parent);
    wait_for_end(child);
}

#[test]
fn daemon_that_shuts_down_kills_its_program() {
    let script =
        Script::new("sleep 600 & echo $! > \"$1/child\"\necho $$ > \"$1/parent\"\nsleep 600\n");
    let mut daemon = script.daemon(&[]);
    let (parent, child) = (script.pid("parent"), script.pid("child"));
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    wait_for_end(parent);
    wait_for_end(child);
}

#[test]
fn flood_of_output_ends_the_attempt_at_once_even_if_the_program_ignores_sigpipe() {
    for before in ["", "trap '' PIPE\n"] {
        let flood = "while :; do echo PlantedSecret1PlantedSecret1PlantedSecret1; done\n";
        let script = Script::new(&format!("echo $$ > \"$1/pid\"\n{before}{flood}"));
        let daemon = script.daemon(&[("RAM_SIDECAR_IDENTITY_TIMEOUT", "5m")]);
        daemon.plant("PlantedSecret1");
        let message = refused(&daemon, "ProcessOutputUnusable");
        assert!(
            message.contains("it printed more than 65536 bytes"),
            "{message}"
        );
        wait_for_end(script.pid("pid"));
        assert_memory_is_bounded(&daemon);
    }
}

#[test]
fn flood_of_errors_ends_at_the_timeout_while_the_daemon_stays_live() {
    let flood = "echo denied; while :; do echo SecretKey=PlantedSecret1; done";
    let script = Script::new(&format!("echo $$ > \"$1/pid\"\n({flood}) >&2\n"));
    let daemon = script.daemon(&[("RAM_SIDECAR_IDENTITY_TIMEOUT", "2s")]);
    daemon.plant("PlantedSecret1");
    let pid = script.pid("pid");
    assert_eq!(daemon.probe("/live").status, 200);
    let message = refused(&daemon, "ProcessTimedOut");
    assert!(
        message.contains("its error output: denied SecretKey=…"),
        "{message}"
    );
    wait_for_end(pid);
    assert_memory_is_bounded(&daemon);
}

#[test]
fn output_without_credentials_is_described_and_not_quoted() {
    let cases = [
        ("PlantedSecret1", "not the JSON of credentials (Syntax"),
        ("", "not the JSON of credentials (Eof"),
        (r#"["PlantedSecret1"]"#, "not the JSON of credentials (Data"),
        (
            r#"{"AccessKeyId":"STS.x","Secret":"PlantedSecret1"}"#,
            "it has no AccessKeySecret",
        ),
        (
            r#"{"AccessKeyId":"STS.x","AccessKeySecret":"PlantedSecret1 ","SecurityToken":"t"}"#,
            "a key in it is empty or malformed",
        ),
        (
            r#"{"AccessKeyId":"STS.x","AccessKeySecret":"PlantedSecret1","SecurityToken":"t","Expiration":"soon"}"#,
            "its Expiration is not a time like 2024-05-21T10:39:29Z",
        ),
    ];
    for (printed, reason) in cases {
        let script = Script::printing(printed);
        let daemon = script.daemon(&[]);
        daemon.plant("PlantedSecret1");
        let message = daemon.logged("No credentials");
        let parts = ["ProcessOutputUnusable", reason, "one JSON object"];
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

#[test]
fn empty_output_is_reported() {
    let script = Script::new("exit 0\n");
    let daemon = script.daemon(&[]);
    let message = daemon.logged("No credentials");
    assert!(message.contains("ProcessOutputUnusable"), "{message}");
}

#[test]
fn error_output_is_reported_without_its_secrets() {
    let words = "vault: permission denied on secret/data/trainer by policy read-only";
    let secrets = [
        (
            "PlantedSecret1",
            r#"{"AccessKeyId":"STS.x","AccessKeySecret":"PlantedSecret1"}"#,
        ),
        (
            "PlantedSecret2",
            r#"{\"access_key_secret\": \"PlantedSecret2\"}"#,
        ),
        (
            "PlantedSecret3",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET=PlantedSecret3",
        ),
        ("PlantedSecret4", "X_API_KEY='PlantedSecret4'"),
        (
            "9fQ2mLx7Ra0Zt4Wc8Vb1Ny6Kp3Ju5Hd",
            "9fQ2mLx7Ra0Zt4Wc8Vb1Ny6Kp3Ju5Hd",
        ),
        (
            "9fQ2mLx7Ra0Zt4Wc8Vb1Ny6Kp3Ju5HdAaBbCcDdEeFf",
            "got 9fQ2mLx7Ra0Zt4Wc8Vb1Ny6Kp3Ju5HdAaBbCcDdEeFf!",
        ),
        (
            "plantedPart",
            r"SecurityToken: CAISx\/plantedPart+plantedPart\u003d\u003d",
        ),
        (
            "plantedPart",
            "CAISx%2FplantedPart%2BplantedPart%3D%3D ended",
        ),
        ("PlantedSecret5", "Authorization: Bearer PlantedSecret5"),
    ];
    for (secret, complaint) in secrets {
        let script = Script::new(&format!(
            "cat >&2 <<'END'\n{words}\n{complaint}\nEND\necho PlantedOutput; exit 1\n"
        ));
        let daemon = script.daemon(&[]);
        daemon.plant(secret);
        daemon.plant("PlantedOutput");
        let message = refused(&daemon, "ProcessFailed");
        let start = format!("/bin/sh ended with exit code 1; its error output: {words}");
        assert!(message.contains(&start), "{message}");
        assert!(!message.contains(secret), "{message}");
    }
}

#[test]
fn truncated_error_output_does_not_end_in_half_a_secret() {
    // The last word is truncated where it no longer looks like a key.
    let script = Script::new(
        "printf 'denied\\nkey=%s\\n%s %s' x \"$(head -c 2022 /dev/zero | tr '\\0' 9)aA\" PlantedSecret1PlantedSecret1PlantedSecret1 >&2\nexit 1\n",
    );
    let daemon = script.daemon(&[]);
    daemon.plant("PlantedSec");
    let message = refused(&daemon, "ProcessFailed");
    assert!(message.contains("its error output: denied"), "{message}");
}

#[test]
fn failure_names_the_signal_that_killed_the_program() {
    let script = Script::new("kill -9 $$\n");
    let daemon = script.daemon(&[]);
    let message = daemon.logged("No credentials");
    assert!(
        message.contains("ProcessFailed") && message.contains("was killed by signal 9"),
        "{message}"
    );
}

#[test]
fn program_that_cannot_be_started_is_named_with_the_reason() {
    let scratch = Scratch::new();
    let plain = scratch.join("plain");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    for (path, reason) in [
        (scratch.join("nowhere"), "No such file or directory"),
        (plain, "it is not executable; make it so with chmod +x"),
        (scratch.path().to_owned(), "it is a directory"),
    ] {
        let command = path.to_str().unwrap();
        let daemon = Daemon::spawn(&LISTEN, &[("RAM_SIDECAR_COMMAND", command)]);
        let message = daemon.logged("No credentials");
        assert!(message.contains("ProcessNotStarted"), "{message}");
        let sentence = sentence(&message);
        for part in [command, reason] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
    }
}

#[test]
fn name_alone_is_found_in_path_and_the_program_inherits_no_setting_of_the_daemon() {
    let planted = Planted::new();
    let script = Script::new(&format!(
        "#!/bin/sh\nenv > \"$(dirname \"$0\")/env\"\n{}",
        printing(&planted.pascal())
    ));
    let chmod = Command::new("chmod").arg("755").arg(script.path()).status();
    assert!(chmod.unwrap().success());
    // What follows the directory of the program does not matter.
    let path = format!("{}:/usr/bin:/bin:.", script.0.path().display());
    let env = [
        ("PATH", path.as_str()),
        ("RAM_SIDECAR_COMMAND", "script"),
        ("RAM_SIDECAR_KEY", "planted-key"),
        ("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou"),
    ];
    let daemon = Daemon::spawn(&LISTEN, &env);
    assert!(daemon.uri().ends_with("planted-key"));
    let inherited = fs::read_to_string(script.0.join("env")).unwrap();
    assert!(!inherited.contains("RAM_SIDECAR_"), "{inherited}");
    for kept in [
        &format!("PATH={path}"),
        "ALIBABA_CLOUD_STS_REGION=cn-hangzhou",
    ] {
        assert!(inherited.lines().any(|line| line == kept), "{inherited}");
    }
}

#[test]
fn attempt_ends_at_the_timeout_while_a_child_holds_the_output_open() {
    let printed = printing(&Planted::new().pascal());
    let script = Script::new(&format!(
        "setsid sh -c 'echo $$ > \"$0/child\"; exec sleep 600' \"$1\" &\n{printed}"
    ));
    let daemon = script.daemon(&[("RAM_SIDECAR_IDENTITY_TIMEOUT", "1s")]);
    let child = script.pid("child");
    let message = refused(&daemon, "ProcessTimedOut");
    assert!(message.contains("keeps its output open"), "{message}");
    // The child left the process group, so the daemon did not kill it.
    kill_process(child, Signal::KILL).expect("the child is alive");
}

#[test]
fn current_credentials_are_served_while_the_program_fails_and_renewed_when_it_succeeds() {
    let planted = Planted::new();
    let script = Script::printing(&planted.pascal());
    let daemon = script.daemon(&[]);
    daemon.uri();
    script.rewrite("echo out of order >&2; exit 3\n");
    let sentence = failing(&daemon, "ProcessFailed");
    assert!(
        sentence.contains("exit code 3; its error output: out of order"),
        "{sentence}"
    );
    planted.assert_served(&daemon.credentials());

    let renewed = Planted {
        id: "STS.Planted2",
        secret: "PlantedSecret2",
        ..planted
    };
    script.rewrite(&printing(&renewed.pascal()));
    fresh(&daemon);
    renewed.assert_served(&daemon.credentials());
}

#[test]
fn new_token_under_the_same_id_reaches_the_file() {
    let mut planted = Planted::new();
    let script = Script::printing(&planted.pascal());
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let daemon = script.daemon(&[("RAM_SIDECAR_FILE", file.to_str().unwrap())]);
    daemon.uri();
    planted.assert_served(&daemon.credentials());
    eventually("the file is written", || file.exists().then_some(()));

    planted.token = "CAISanotherToken+/2==";
    script.rewrite(&printing(&planted.pascal()));
    renew_until(&daemon, "the new token is served", |_| {
        daemon.credentials().text("SecurityToken") == planted.token
    });
    eventually("the new token is in the file", || {
        fs::read_to_string(&file)
            .unwrap()
            .contains(planted.token)
            .then_some(())
    });
}

#[test]
fn programs_that_end_hang_or_flood_leave_no_zombie() {
    let script = Script::new("exit 1\n");
    let daemon = script.daemon(&[("RAM_SIDECAR_IDENTITY_TIMEOUT", "1s")]);
    refused(&daemon, "ProcessFailed");
    for (body, code) in [
        ("sleep 600 & sleep 600\n", "ProcessTimedOut"),
        ("while :; do echo flood; done\n", "ProcessOutputUnusable"),
        ("exit 1\n", "ProcessFailed"),
    ] {
        script.rewrite(body);
        renew_until(&daemon, code, |ready| ready.body.contains(code));
        eventually("no zombie is left", || {
            (zombies(&daemon.id().to_string()) == 0).then_some(())
        });
    }
}

#[test]
fn process_1_reaps_the_orphans_of_programs() {
    let is_possible = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !required("unshare with the right to use it", is_possible) {
        return;
    }
    // Each run leaves one child behind, in a session of its own, that outlives the run.
    let script = Script::new(
        "setsid sh -c 'echo $$ >> \"$0/children\"; exec sleep 600 >/dev/null 2>&1' \"$1\" &\nexit 1\n",
    );
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(env!("CARGO_BIN_EXE_ram-sidecar"))
        .arg("serve")
        .args(LISTEN)
        .env_clear()
        .envs(environment("PATH").map(|path| ("PATH", path)))
        .env("RAM_SIDECAR_COMMAND", script.command());
    let process = Process::start(command);
    let outer = process.id().to_string();
    let daemon = eventually("the daemon starts", || child_of(&outer));
    let runs = |count: usize| {
        eventually("the program runs", || {
            let text = fs::read_to_string(script.0.join("children")).ok()?;
            (text.lines().count() >= count).then_some(())
        });
    };
    runs(1);
    let orphan = eventually("the orphan is inherited", || child_of(&daemon));
    kill(&orphan, Signal::KILL);
    eventually("the orphan is dead", || {
        (zombies(&daemon) == 1).then_some(())
    });
    kill(&daemon, Signal::HUP);
    runs(2);
    eventually("the orphan is reaped", || {
        (zombies(&daemon) == 0).then_some(())
    });
}

fn child_of(parent: &str) -> Option<String> {
    let mut processes = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    processes.find_map(|entry| {
        let pid = entry.file_name().into_string().ok()?;
        let (_, of) = state_and_parent(&pid)?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (of == parent && ["ram-sidecar", "sleep"].contains(&name.trim())).then_some(pid)
    })
}

fn kill(pid: &str, signal: Signal) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}
