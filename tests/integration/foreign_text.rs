//! Text of others is safe to show wherever it comes out: directions, invisible characters, tags and control characters, which
//! terminals and viewers obey.

use ram_sidecar::sandbox::{Fault, Times};
use ram_sidecar::system::display::is_shown;

use crate::support::{Ended, Scratch, run_command};
use crate::upstream::{beside, sts};

/// Turns the direction, hides a tag, clears the screen, separates nothing, and separates lines.
const HOSTILE: &str = "role\u{202e}x\u{e0041}\u{9b}2J\u{200b}\u{3164}\u{2028}y";

/// Begins a line that looks like another error.
const FORGED: &str = "\nFORGED";

fn assert_shown(what: &str, text: &str) {
    let hidden = text.lines().flat_map(str::chars).find(|c| !is_shown(*c));
    assert_eq!(hidden, None, "{what}: {text:?}");
    let forged = text.lines().find(|line| line.starts_with("FORGED"));
    assert_eq!(forged, None, "{what}: {text}");
    assert!(
        text.contains("role"),
        "{what} does not show the text: {text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_sts_is_safe_in_the_log_the_probes_and_the_responses() {
    for format in ["json", "text"] {
        let sts = sts().await;
        let fault = Fault::Refusal {
            status: 403,
            code: "NoPermission".into(),
            message: format!("{HOSTILE}{FORGED}"),
        };
        sts.inject(fault, Times::UntilCleared);
        let daemon = beside(&sts, &["--log-format", format], &[]);
        daemon.logged("No credentials");
        if format == "json" {
            // Only this log gives the addresses to the test.
            assert_shown("a response", &daemon.credentials().body);
            assert_shown("/ready", &daemon.probe("/ready").body);
        }
        assert_shown("the log", &daemon.stderr());
    }
}

#[test]
fn arguments_and_paths_are_safe_in_errors_and_reports() {
    let scratch = Scratch::new();
    let path = scratch.join(&format!("{HOSTILE}{FORGED}"));
    let path = path.to_str().unwrap();
    let below = format!("{path}/credentials");
    let unknown = format!("--{HOSTILE}");
    let commands: [(&str, &[&str]); 8] = [
        // Refused by the parser of the command line, by the settings, and by the system.
        ("serve", &[&unknown]),
        ("serve", &["--role-arn", HOSTILE]),
        ("serve", &["--config", path]),
        ("serve", &["--sandbox", "--file", &below]),
        ("exec", &["--sandbox", "--", path]),
        ("inject", &["-f", path]),
        ("check", &["--role-arn", HOSTILE]),
        ("check", &["--json", "--role-arn", HOSTILE]),
    ];
    for (name, args) in commands {
        let Ended { stdout, stderr, .. } = run_command(name, args, &[]);
        assert_shown(name, &(stdout + &stderr));
    }
}
