//! What the command leaves behind: processes, which are served for the drain, and files.

use std::fs;
use std::process::Command;

use super::{Job, ended, exec, plain, python, read, text};
use crate::support::{Process, Scratch, eventually};

/// Waits until its parent has gone, and then tells what it is served.
const HEIR: &str = "import os, sys, time, urllib.request
os.close(0), os.close(1), os.close(2)
while os.getppid() == int(sys.argv[2]):
    time.sleep(0.01)
while True:
    try:
        told = urllib.request.urlopen(os.environ['ALIBABA_CLOUD_CREDENTIALS_URI'], timeout=10).read().decode()
    except Exception as error:
        told = repr(error)
    with open(sys.argv[1], 'a') as file:
        print(told, file=file)
    if 'Success' not in told:
        break
    time.sleep(0.05)
";

fn leaving_an_heir(settings: &[&str], told: &str) -> Option<Command> {
    let python = python()?;
    let script = format!("{python} -c \"$1\" {told} $$ & exit 5");
    let words = ["sh", "-c", &script, "sh", HEIR];
    Some(exec(&[&["--sandbox"], settings].concat(), &words))
}

#[test]
fn processes_left_behind_are_served_until_the_drain_ends() {
    let scratch = Scratch::new();
    let told = scratch.join("told");
    let Some(command) = leaving_an_heir(&["--drain", "3s"], text(&told)) else {
        return;
    };
    let mut exec = Process::start(command);
    eventually("the heir is served", || {
        read(&told).filter(|told| told.contains("Success"))
    });
    assert_eq!(exec.ended(), Some(5));
    eventually("the heir is served no more", || {
        read(&told).filter(|told| told.contains("refused") || told.contains("reset"))
    });
}

#[test]
fn exec_without_a_drain_ends_with_the_command() {
    let scratch = Scratch::new();
    let told = scratch.join("told");
    let Some(command) = leaving_an_heir(&[], text(&told)) else {
        return;
    };
    let mut exec = Process::start(command);
    assert_eq!(exec.ended(), Some(5));
    eventually("nobody answers", || {
        read(&told).filter(|told| told.contains("refused") || told.contains("reset"))
    });
}

#[test]
fn a_signal_ends_the_drain_and_the_exit_code_is_passed_on() {
    let settings = ["--sandbox", "--drain", "1h", "--log-level", "info"];
    let Some(mut job) = Job::start(&settings, &[]) else {
        return;
    };
    job.exec.tell("end 4");
    eventually("it drains", || {
        job.exec.stderr().contains("Stopping").then_some(())
    });
    job.signal(rustix::process::Signal::TERM);
    assert_eq!(job.exec.ended(), Some(4));
}

#[test]
fn files_exist_before_the_command_and_are_removed_after_it() {
    let scratch = Scratch::new();
    let (json, env, ossfs) = (
        scratch.join("json"),
        scratch.join("env"),
        scratch.join("ossfs"),
    );
    let (json, env, ossfs) = (text(&json), text(&env), text(&ossfs));
    let script =
        "cat \"$1\" | head -c 1; cut -d= -f1 \"$2\" | grep -c ALIBABA; ls \"$3\" | wc -l; exit 3";
    let settings = [
        "--sandbox",
        "--file",
        json,
        "--file",
        &format!("{env},format=env"),
        "--file",
        &format!("{ossfs},format=ossfs"),
    ];
    let words = ["sh", "-c", script, "sh", json, env, ossfs];
    let (code, output, complaint) = ended(exec(&settings, &words));
    assert_eq!(code, Some(3), "{complaint}");
    assert_eq!(output, "{3\n4", "{complaint}");
    assert_eq!(names(&scratch), Vec::<String>::new());
}

fn names(scratch: &Scratch) -> Vec<String> {
    let entries = fs::read_dir(scratch.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn files_are_removed_if_the_command_cannot_be_run() {
    let scratch = Scratch::new();
    let file = scratch.join("file");
    let settings = ["--sandbox", "--file", text(&file)];
    assert_eq!(ended(exec(&settings, &["no-such-command"])).0, Some(127));
    assert_eq!(names(&scratch), Vec::<String>::new());
}

#[test]
fn a_file_that_another_program_replaced_is_not_removed() {
    let scratch = Scratch::new();
    let file = scratch.join("file");
    let other = r#"{"Code":"Success","AccessKeyId":"STS.Other","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2099-01-01T00:00:00Z"}"#;
    for content in [other, "something else"] {
        let script = "printf %s \"$2\" > \"$1.new\" && mv \"$1.new\" \"$1\"";
        let words = ["sh", "-c", script, "sh", text(&file), content];
        let (code, _, complaint) = ended(exec(&["--sandbox", "--file", text(&file)], &words));
        assert_eq!(code, Some(0), "{complaint}");
        assert_eq!(read(&file).as_deref(), Some(content));
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_file_that_cannot_be_written_prevents_the_command() {
    let settings = ["--sandbox", "--file", "/proc/nothing/here"];
    let (code, output, complaint) = ended(exec(&settings, &["echo", "ran"]));
    assert_eq!((code, output.as_str()), (Some(71), ""), "{complaint}");
    assert!(complaint.contains("/proc/nothing/here"), "{complaint}");
}

#[test]
fn exec_works_in_a_pipeline() {
    let script = "seq 3 | \"$1\" exec --sandbox -- sort -r | head -n 1";
    let words = ["sh", "-c", script, "sh", super::EXECUTABLE];
    assert_eq!(
        ended(plain(&words)),
        (Some(0), "3".to_owned(), String::new())
    );
}
