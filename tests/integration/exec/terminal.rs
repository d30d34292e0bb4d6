//! Job control on a terminal: the same with `exec` as without it.

use serde_json::{Value, json};

use super::{EXECUTABLE, ended, plain, program, python, text};
use crate::support::Scratch;

/// Plays a scenario of `terminal.py`; nothing without Python.
fn seen(scenario: &str, prefix: &[&str]) -> Option<Value> {
    let scratch = Scratch::new();
    let driver = program("terminal.py");
    let words = [python()?, "-B", &driver, scenario, text(scratch.path())];
    let (code, output, complaint) = ended(plain(&[&words, prefix].concat()));
    assert_eq!(code, Some(0), "{scenario} {prefix:?}: {complaint}");
    Some(serde_json::from_str(&output).expect("JSON"))
}

/// Asserts that a scenario gives what is expected, without `exec` and with it.
fn assert_same(scenario: &str, expected: &Value) {
    assert_same_with(&["--sandbox"], scenario, expected);
}

fn assert_same_with(settings: &[&str], scenario: &str, expected: &Value) {
    let exec = [&[EXECUTABLE, "exec"], settings, &["--"]].concat();
    for prefix in [&[][..], &exec] {
        if let Some(seen) = seen(scenario, prefix) {
            assert_eq!(&seen, expected, "{scenario} {prefix:?}");
        }
    }
}

#[test]
fn ctrl_c_arrives_exactly_once() {
    assert_same("interrupt", &json!([{"INT": 1}, 3]));
}

#[test]
fn a_new_size_arrives_exactly_once() {
    assert_same("resize", &json!({"WINCH": 1}));
}

#[test]
fn what_the_keyboard_kills_ends_with_130_and_131() {
    assert_same("killed_from_the_keyboard", &json!([130, 131]));
}

#[test]
fn ctrl_z_gives_the_prompt_back_and_fg_the_command() {
    assert_same("suspend", &json!(4));
}

#[test]
fn in_the_background_it_waits_for_the_terminal() {
    assert_same("suspend_in_background", &json!(5));
}

#[test]
fn a_terminal_that_stops_background_writers_stops_both() {
    assert_same("writes_in_background", &json!(5));
}

#[test]
fn a_terminal_that_stops_background_writers_stops_it_in_its_own_log() {
    let settings = ["--sandbox", "--log-level", "trace"];
    assert_same_with(&settings, "writes_in_background", &json!(5));
}

#[test]
fn a_pipeline_is_one_job() {
    assert_same("pipeline", &json!({"INT": 1}));
}

#[test]
fn an_interactive_shell_has_jobs_of_its_own() {
    assert_same("inner_shell", &json!([{"INT": 1}, 9]));
}

#[test]
fn a_command_that_stops_itself_gives_the_prompt_back() {
    assert_same("stops_itself", &json!(["continued", "STS.", 6]));
}

#[test]
fn a_command_that_ignores_ctrl_z_stays_in_the_foreground() {
    assert_same("keeps_running", &json!(7));
}

#[test]
fn ctrl_c_leaves_a_loop_of_a_script() {
    assert_same("loop", &json!("at your service "));
}

#[test]
fn a_hangup_of_the_terminal_reaches_the_command() {
    assert_same("hangup", &json!("hung up"));
}
