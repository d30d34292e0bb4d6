//! The responses of the data listener and of the probes, and how the daemon shuts down.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::Value;

use crate::http;
use crate::namespace;
use crate::support::{Daemon, eventually, run, run_command, unused_address};

/// Free ports on both listeners.
pub(crate) const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

pub(crate) fn sandbox(args: &[&str], env: &[(&str, &str)]) -> Daemon {
    Daemon::spawn(&[&["--sandbox"], &LISTEN[..], args].concat(), env)
}

fn has_ipv6_loopback() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn credentials_response_satisfies_every_parser() {
    let daemon = sandbox(&[], &[]);
    let uri = daemon.uri();
    let reply = daemon.credentials();

    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(
        reply.header("content-length"),
        Some(reply.body.len().to_string().as_str())
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_eq!(reply.header("content-encoding"), None);

    let json: Value = serde_json::from_str(&reply.body).unwrap();
    let fields = json.as_object().unwrap();
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "AccessKeyId",
        "AccessKeySecret",
        "Code",
        "Expiration",
        "LastUpdated",
        "SecurityToken",
    ];
    assert_eq!(names, expected);
    assert!(
        fields
            .values()
            .all(|value| value.as_str().is_some_and(|text| !text.is_empty()))
    );
    assert_eq!(json["Code"], "Success");
    assert!(json["AccessKeyId"].as_str().unwrap().starts_with("STS."));
    for name in ["Expiration", "LastUpdated"] {
        let time = json[name].as_str().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    }
    let time =
        |name: &str| chrono::DateTime::parse_from_rfc3339(json[name].as_str().unwrap()).unwrap();
    assert_eq!(
        (time("Expiration") - time("LastUpdated")).num_seconds(),
        3600
    );

    // The output is one line, with an IPv4 literal and the path that PAI uses.
    assert_eq!(
        daemon.stdout(),
        [format!("ALIBABA_CLOUD_CREDENTIALS_URI={uri}")]
    );
    assert_eq!(
        uri,
        format!("http://{}/api/v1/credentials/0", daemon.data())
    );
}

#[test]
fn requests_of_all_known_clients_get_the_same_response() {
    let daemon = sandbox(&[], &[]);
    daemon.uri();
    let expected = daemon.credentials().body;
    let port = daemon.data().port();
    for request in [
        // Node sends no User-Agent, Python a Host without a port, curl an Accept.
        "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n",
        "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: localhost:PORT\r\nAccept: */*\r\n\r\n",
        "GET /api/v1/credentials/0?x=1&y HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
        // Python through HTTP_PROXY.
        "GET http://127.0.0.1:PORT/api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        // Swift.
        "GET /api/v1/credentials/0 HTTP/1.1\r\nhost: http://127.0.0.1:PORT/api/v1/credentials/0\r\n\r\n",
        "GET /api/v1/credentials/0 HTTP/1.0\r\n\r\n",
        "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: [::1]:PORT\r\nAccept-Encoding: gzip, br\r\n\r\n",
    ] {
        let request = request.replace("PORT", &port.to_string());
        let reply = daemon.raw(&request);
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, expected.as_str()),
            "{request}"
        );
        assert_eq!(reply.header("connection"), Some("close"), "{request}");
    }
    if has_ipv6_loopback() {
        let ipv6 = SocketAddr::new("::1".parse().unwrap(), port);
        assert_eq!(http::get(ipv6, "/api/v1/credentials/0").body, expected);
    }

    let head = daemon.raw("HEAD /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(
        head.header("content-length"),
        Some(expected.len().to_string().as_str())
    );
    assert_eq!(head.header("content-type"), Some("application/json"));
}

#[test]
fn every_refusal_is_json_with_a_code_and_a_message() {
    let daemon = sandbox(&[], &[]);
    daemon.uri();
    let request = |line: &str, headers: &str| {
        daemon.raw(&format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n"
        ))
    };
    let valid = "GET /api/v1/credentials/0";
    for (reply, status, code) in [
        (request("GET /", ""), 404, "NotFound"),
        (request("GET /api/v1/credentials/", ""), 404, "NotFound"),
        (request("GET /api/v1/credentials/1", ""), 404, "NotFound"),
        (request("GET /api/v1/credentials/0/x", ""), 404, "NotFound"),
        (request("GET /api/v1/credentials/%FF", ""), 404, "NotFound"),
        (request("GET /ready", ""), 404, "NotFound"),
        (
            request("POST /api/v1/credentials/0", "Content-Length: 0\r\n"),
            405,
            "MethodNotAllowed",
        ),
        (request("OPTIONS *", ""), 405, "MethodNotAllowed"),
        (
            request(valid, "Origin: http://evil.example\r\n"),
            403,
            "BrowserRefused",
        ),
        (
            request(valid, "Sec-Fetch-Site: cross-site\r\n"),
            403,
            "BrowserRefused",
        ),
        (
            request(valid, "X-Forwarded-For: 10.0.0.1\r\n"),
            403,
            "ForwardedRefused",
        ),
        (
            daemon.raw(&format!("{valid} HTTP/1.1\r\nHost: evil.example\r\n\r\n")),
            403,
            "HostRefused",
        ),
        (
            daemon.raw(&format!("{valid} HTTP/1.1\r\n\r\n")),
            403,
            "HostRefused",
        ),
    ] {
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.text("Code"), code, "{reply:?}");
        assert!(!reply.text("Message").is_empty());
        assert_eq!(
            reply.header("content-type"),
            Some("application/json"),
            "{reply:?}"
        );
        assert_eq!(reply.header("connection"), Some("close"), "{reply:?}");
        assert_eq!(reply.header("allow").is_some(), status == 405);
    }
    // The HTTP library refuses bytes that are not HTTP, without a body.
    for garbage in ["\r\n\r\n", "\0\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n"] {
        assert_ne!(daemon.raw(garbage).status, 200);
    }
    let oversized = format!(
        "{valid} HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    assert_ne!(daemon.raw(&oversized).status, 200);
    assert_eq!(daemon.credentials().status, 200);
}

#[test]
fn secret_path_is_printed_only_on_standard_output() {
    let key = "Zm9yLXlvdXItZXllcy1vbmx5";
    // `Daemon` asserts on drop that the value of RAM_SIDECAR_KEY is in neither the log nor a response.
    let daemon = sandbox(&[], &[("RAM_SIDECAR_KEY", key)]);
    assert!(
        daemon
            .uri()
            .ends_with(&format!("/api/v1/credentials/{key}"))
    );
    assert_eq!(daemon.credentials().status, 404);
    assert_eq!(
        daemon
            .get(&format!("/api/v1/credentials/{}", &key[1..]))
            .status,
        404
    );
    assert_eq!(
        daemon.get(&format!("/api/v1/credentials/{key}")).status,
        200
    );
}

#[test]
fn probes_report_the_state_and_serve_no_credentials() {
    let daemon = sandbox(&[], &[]);
    daemon.uri();
    for (path, status) in [
        ("/live", "live"),
        ("/startup", "started"),
        ("/ready", "ready"),
    ] {
        let reply = daemon.probe(path);
        assert_eq!(
            (reply.status, reply.text("status")),
            (200, status.to_owned())
        );
    }
    assert_eq!(daemon.probe("/ready").text("phase"), "fresh");
    assert_eq!(daemon.probe("/api/v1/credentials/0").status, 404);
    // The kubelet sends the address of the pod as the `Host`.
    let kubelet = "GET /live HTTP/1.1\r\nHost: 10.1.2.3:7003\r\n\r\n";
    assert_eq!(http::raw(daemon.admin(), kubelet).status, 200);
}

/// A page can make a name of its own lead to this machine, but not the name of the machine.
#[test]
fn probes_refuse_names_that_are_not_configured() {
    let daemon = sandbox(&["--admin-hosts", "probe.example,other.example"], &[]);
    daemon.uri();
    let own = rustix::system::uname();
    let own = own.nodename().to_str().expect("a name");
    for (host, status) in [
        ("localhost:7003", 200),
        ("Probe.example", 200),
        ("other.example:7003", 200),
        (own, 200),
        ("evil.example:7003", 403),
        ("evil.probe.example", 403),
    ] {
        for path in ["/live", "/ready", "/startup"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let reply = http::raw(daemon.admin(), &request);
            assert_eq!(reply.status, status, "{host}: {reply:?}");
            if status == 403 {
                assert_eq!(reply.text("Code"), "HostRefused");
                assert!(reply.text("Message").contains("admin.hosts"), "{reply:?}");
            }
        }
    }
    let without = http::raw(daemon.admin(), "GET /ready HTTP/1.1\r\n\r\n");
    assert_eq!(without.status, 200, "{without:?}");
}

#[test]
fn every_response_is_isolated_from_web_pages() {
    let daemon = sandbox(&["--metadata-listen", "127.0.0.1:0"], &[]);
    daemon.uri();
    for (address, path) in [
        (daemon.data(), "/api/v1/credentials/0"),
        (daemon.data(), "/unknown"),
        (
            daemon.metadata(),
            "/latest/meta-data/ram/security-credentials/",
        ),
        (daemon.admin(), "/ready"),
        (daemon.admin(), "/stop"),
    ] {
        let reply = http::get(address, path);
        for (name, value) in [
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}: {reply:?}");
        }
    }
}

#[test]
fn sigterm_and_sigint_stop_the_daemon_at_once_with_exit_code_zero() {
    let mut daemon = sandbox(&[], &[]);
    daemon.uri();
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));

    let mut daemon = sandbox(&[], &[]);
    daemon.uri();
    daemon.signal("INT");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn signals_without_a_meaning_do_not_end_the_daemon() {
    let daemon = sandbox(&[], &[]);
    daemon.uri();
    for name in [
        "ALRM", "IO", "PROF", "USR1", "USR2", "VTALRM", "XCPU", "XFSZ",
    ] {
        daemon.signal(name);
        assert_eq!(daemon.credentials().status, 200, "{name}");
    }
    // Real-time signals among them, which have no names here.
    for number in [16, 30, 34, 37, 64] {
        let pid = daemon.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{number} {pid}")])
            .status();
        assert!(sent.unwrap().success());
        assert_eq!(daemon.credentials().status, 200, "{number}");
    }
}

#[test]
fn draining_daemon_is_not_ready_but_serves_and_renews() {
    let mut daemon = sandbox(&["--drain", "5m"], &[]);
    daemon.uri();
    let before = daemon.credentials().text("AccessKeyId");
    daemon.signal("TERM");
    eventually("the daemon is not ready any more", || {
        (daemon.probe("/ready").status == 503).then_some(())
    });
    assert_eq!(daemon.probe("/ready").text("status"), "stopping");
    assert_eq!(daemon.probe("/live").status, 200);
    assert_eq!(daemon.credentials().text("AccessKeyId"), before);
    daemon.signal("HUP");
    eventually("the credentials are renewed", || {
        (daemon.credentials().text("AccessKeyId") != before).then_some(())
    });
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn second_signal_ends_the_drain() {
    let mut daemon = sandbox(&["--drain", "10m"], &[]);
    daemon.uri();
    daemon.signal("TERM");
    daemon.logged("Stopping");
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn port_in_use_is_reported_with_its_setting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (args, setting) in [
        (
            ["--listen", &address, "--admin-listen", "127.0.0.1:0"],
            "serve.listen",
        ),
        (
            ["--listen", "127.0.0.1:0", "--admin-listen", &address],
            "admin.listen",
        ),
    ] {
        let (code, stderr) = run(&[&["--sandbox"], &args[..]].concat(), &[]);
        assert_eq!(code, Some(71), "{stderr}");
        assert!(
            stderr.contains(&format!(
                "cannot listen on {address}: Address already in use"
            )),
            "{stderr}"
        );
        assert!(stderr.contains(setting), "{stderr}");
    }
}

#[test]
fn the_holder_of_a_port_is_named_and_localhost_means_both_addresses() {
    let port = unused_address().port();
    let localhost = format!("localhost:{port}");
    let daemon = Daemon::spawn(
        &[
            "--sandbox",
            "--listen",
            &localhost,
            "--admin-listen",
            "127.0.0.1:0",
        ],
        &[],
    );
    daemon.uri();
    for ip in ["127.0.0.1", "[::1]"] {
        let address = format!("{ip}:{port}");
        let reply = http::get(address.parse().unwrap(), "/");
        assert_eq!(reply.status, 404, "{address}");
    }
    let admin = daemon.admin().to_string();
    for args in [
        ["--listen", &localhost, "--admin-listen", "off"],
        ["--listen", "127.0.0.1:0", "--admin-listen", &admin],
    ] {
        let (code, stderr) = run(&[&["--sandbox"], &args[..]].concat(), &[]);
        assert_eq!(code, Some(71), "{stderr}");
        assert!(stderr.contains("a ram-sidecar holds it"), "{stderr}");
        // One flag, for the address that is taken, and it works.
        let (_, flag) = stderr.split_once("addresses of its own (").unwrap();
        let words: Vec<&str> = flag.split_once(')').unwrap().0.split(' ').collect();
        let [name, address] = words[..] else {
            panic!("{stderr}");
        };
        assert_eq!(Some(&name), args.iter().find(|arg| **arg == name));
        TcpListener::bind(address).unwrap();
    }
}

#[test]
fn every_listener_of_a_ram_sidecar_is_told_from_other_programs() {
    let (metadata, sts) = (unused_address().to_string(), unused_address().to_string());
    let listeners = ["--metadata-listen", &metadata, "--sandbox-listen", &sts];
    let daemon = sandbox(&listeners, &[("RAM_SIDECAR_KEY", "planted-key-of-the-uri")]);
    daemon.uri();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (other_address, silent) = (other.local_addr().unwrap(), silent.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello");
        }
    });
    let ours = "a ram-sidecar holds it: stop that one";
    for (address, holder) in [
        (daemon.data().to_string(), ours),
        (daemon.admin().to_string(), ours),
        (metadata, ours),
        (sts, ours),
        (
            other_address.to_string(),
            "a program other than ram-sidecar holds it",
        ),
        (silent.to_string(), "what holds it does not answer"),
    ] {
        let ended = run_command("sandbox", &["--listen", &address], &[]);
        let stderr = ended.stderr;
        assert_eq!(ended.code, Some(71), "{stderr}");
        assert!(stderr.contains(holder), "{address}: {stderr}");
        let flags = stderr.contains("(--listen 127.0.0.1:") && !stderr.contains("--admin-listen");
        assert!(flags, "{stderr}");
    }
}

#[test]
fn on_ipv6_loopback_alone_localhost_is_served_and_the_flags_are_named_together() {
    let module = concat!(module_path!(), "::in_own_network");
    namespace::passes(
        module,
        "on_ipv6_loopback_alone_localhost_is_served_and_the_flags_are_named_together",
    );
}

mod in_own_network {
    #[test]
    #[ignore = "removes 127.0.0.1: the test of the same name runs it in a network of its own"]
    fn on_ipv6_loopback_alone_localhost_is_served_and_the_flags_are_named_together() {
        if crate::namespace::is_here() {
            super::check_ipv6_loopback();
        }
    }
}

fn check_ipv6_loopback() {
    let mut ip = Command::new("ip");
    let deleted = ip.args(["addr", "del", "127.0.0.1/8", "dev", "lo"]);
    assert!(deleted.status().unwrap().success());
    let (code, stderr) = run(&["--sandbox"], &[]);
    assert_eq!(code, Some(71), "{stderr}");
    let both = "(--listen [::1]:7002 --admin-listen [::1]:7003)";
    assert!(stderr.contains(both), "{stderr}");
    let (_, stderr) = run(&["--sandbox", "--listen", "localhost:7002"], &[]);
    let admin = "127.0.0.1:7003: Cannot assign requested address";
    assert!(stderr.contains(admin), "{stderr}");
    assert!(stderr.contains("(--admin-listen [::1]:7003)"), "{stderr}");
    let admin = "localhost:7003";
    let flags = ["--listen", "localhost:7002", "--admin-listen", admin];
    let daemon = Daemon::spawn(&[&["--sandbox"], &flags[..]].concat(), &[]);
    assert!(daemon.uri().contains("//[::1]:7002/"));
}

#[test]
fn an_unknown_variable_is_told_by_every_command() {
    let misspelt = [("RAM_SIDECAR_ADMIN_LISTN", "127.0.0.1:1")];
    let (sandbox, nowhere) = (sandbox(&[], &[]), ["--admin-listen", "127.0.0.1:1"]);
    let uri = sandbox.uri();
    let with_uri = [
        misspelt[0],
        ("RAM_SIDECAR_IDENTITY", "credentials_uri"),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", &uri),
    ];
    for (command, args, env) in [
        ("get", &["--identity", "credentials_uri"][..], &with_uri[..]),
        ("stop", &nowhere, &misspelt),
        (
            "health",
            &["live", "--admin-listen", "127.0.0.1:1"],
            &misspelt,
        ),
        (
            "wait",
            &["--timeout", "1s", "--admin-listen", "127.0.0.1:1"],
            &misspelt,
        ),
    ] {
        let stderr = run_command(command, args, env).stderr;
        let told = "did you mean RAM_SIDECAR_ADMIN_LISTEN?";
        assert_eq!(stderr.matches(told).count(), 1, "{command}: {stderr}");
    }
    // Where it may be the cause of errors, it stands before them.
    for command in ["serve", "check", "get", "exec"] {
        let args = if command == "exec" {
            &["--", "true"][..]
        } else {
            &[]
        };
        let ended = run_command(command, args, &[("RAM_SIDECAR_IDENTIY", "profile")]);
        let told = [ended.stderr, ended.stdout].concat();
        let meant = told
            .find("did you mean RAM_SIDECAR_IDENTITY?")
            .unwrap_or_else(|| panic!("{told}"));
        assert!(
            meant < told.find("role.arn: no role is given").unwrap(),
            "{told}"
        );
        assert!(!told.contains("found "), "{told}");
    }
}

#[test]
fn an_unknown_variable_is_warned_of_with_the_nearest() {
    let daemon = sandbox(
        &[],
        &[
            ("RAM_SIDECAR_DRIAN", "5s"),
            ("RAM_SIDECAR_PORT", "tcp://10.0.0.1:80"),
        ],
    );
    let line = daemon.logged("is not a variable of ram-sidecar");
    assert!(
        line.contains("RAM_SIDECAR_DRIAN") && line.contains("did you mean RAM_SIDECAR_DRAIN?"),
        "{line}"
    );
    daemon.uri();
    assert!(!daemon.stderr().contains("RAM_SIDECAR_PORT"));
}

#[test]
fn only_the_address_of_the_metadata_service_is_advised_to_be_added() {
    for (args, advice) in [
        (
            [
                "--admin-listen",
                "192.0.2.44:7003",
                "--listen",
                "127.0.0.1:0",
            ],
            "write an address that this machine has, or change admin.listen",
        ),
        (
            [
                "--metadata-listen",
                "100.100.100.200:80",
                "--listen",
                "127.0.0.1:0",
            ],
            "ip address add 100.100.100.200/32",
        ),
    ] {
        let (code, stderr) = run(&[&["--sandbox"], &args[..]].concat(), &[]);
        assert_eq!(code, Some(71), "{stderr}");
        assert!(stderr.contains(advice), "{stderr}");
    }
}

#[test]
fn closed_standard_output_does_not_stop_the_daemon() {
    let daemon = Daemon::spawn_without_stdout(&[&["--sandbox"], &LISTEN[..]].concat());
    daemon.logged("Credentials renewed");
    assert_eq!(daemon.credentials().status, 200);
}

#[test]
fn every_log_line_is_marked_as_a_sandbox() {
    let mut daemon = sandbox(&[], &[]);
    daemon.uri();
    daemon.signal("HUP");
    daemon.logged("Renewing at once");
    daemon.signal("TERM");
    daemon.ended();
    let log = daemon.stderr();
    assert!(log.lines().count() > 5, "{log}");
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["span"]["name"], "sandbox", "{line}");
    }
    let renewal = daemon.logged("Credentials renewed");
    assert!(renewal.contains("STS.Sandbox"), "{renewal}");

    // The warning of a short duration is marked as well, at any log level.
    let quiet = sandbox(&["--duration", "15m"], &[("RAM_SIDECAR_LOG", "warn")]);
    let warning = quiet.logged("role.duration is below 34 minutes");
    assert!(
        warning.contains(r#""span":{"name":"sandbox"}"#),
        "{warning}"
    );
}

#[test]
fn drain_ends_after_its_duration() {
    let mut daemon = sandbox(&["--drain", "1s"], &[]);
    daemon.uri();
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn replacing_a_configured_role_by_the_sandbox_is_logged() {
    let daemon = sandbox(&[], &[("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/real")]);
    daemon.uri();
    assert!(
        daemon
            .logged("The sandbox replaces the configured role")
            .contains("ALIBABA_CLOUD_ROLE_ARN")
    );
}

#[test]
fn requests_in_progress_are_finished_before_the_daemon_exits() {
    use ram_sidecar::sandbox::{Fault, Options, Sandbox, Times};
    use secrecy::ExposeSecret as _;

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sts = runtime
        .block_on(Sandbox::start(Options::default()))
        .unwrap();
    sts.inject(Fault::Hang, Times::UntilCleared);
    let (role, endpoint, id) = (sts.role_arn(), sts.endpoint(), sts.access_key_id());
    let secret = sts.access_key_secret();
    let env = [
        ("ALIBABA_CLOUD_ROLE_ARN", role.as_str()),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", &id),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.expose_secret()),
    ];
    let mut daemon = Daemon::spawn(&LISTEN, &env);
    let request = "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let open = http::send(daemon.data(), request);
    runtime.block_on(sts.wait_for_requests(1));
    // Connections are accepted in order: this response means that the request above was accepted.
    assert_eq!(daemon.get("/").status, 404);
    daemon.signal("TERM");
    daemon.logged("Stopping");
    sts.clear_faults();
    assert_eq!(http::received(open).status, 200);
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn core_size_limit_is_zero() {
    let daemon = sandbox(&[], &[]);
    daemon.uri();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}
