//! The metrics of a daemon, as a scrape reads them.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::*;
use crate::credentials::Lease;
use crate::failure::{Code, Failure, Stage, entries};
use crate::http::client::{Call, Client, ResponseFuture, Transport};
use crate::http::response::Response;
use crate::refresh::source::Source;
use crate::refresh::store::Phase;
use crate::refresh::store::tests::{lease, noon};
use crate::refresh::store::{self, Publisher};

/// A daemon whose parts are called by the test.
struct Rig {
    publisher: Publisher,
    counters: Counters,
    exposition: Exposition,
}

fn start() -> Rig {
    let (publisher, _, health) = store::channel(|_| Bytes::new());
    let counters = Counters::default();
    let exposition = Exposition::of_daemon(&counters, health, clock());
    Rig {
        publisher,
        counters,
        exposition,
    }
}

impl Rig {
    fn text(&self) -> String {
        let (content_type, body) = self.exposition.render("text/plain");
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// Returns the value of a metric, written as `name{label="value"}`.
    fn value(&self, metric: &str) -> Option<f64> {
        let text = self.text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut samples = samples.filter_map(|line| line.rsplit_once(' '));
        let value = samples.find(|(name, _)| parts(name) == parts(metric))?.1;
        Some(value.parse().unwrap())
    }
}

/// Returns the name of a sample and its labels, whose order has no meaning.
fn parts(sample: &str) -> BTreeSet<&str> {
    sample.split(['{', ',', '}']).collect()
}

/// Answers each call with the next of some outcomes; never after the last.
struct Scripted(Vec<Result<Lease, Failure>>);

impl Source for Scripted {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        match self.0.pop() {
            Some(outcome) => outcome,
            None => pending().await,
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(15)
    }
}

fn clock() -> Clock {
    Clock::simulated(noon(), true)
}

fn failure(code: &str) -> Failure {
    Failure::new(Stage::Sts, Code::remote(code), "STS refused")
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_counted_also_one_that_never_ends() {
    let rig = start();
    let mut ahead = lease("a", noon().after(Duration::from_secs(3600)));
    ahead.skew = chrono::TimeDelta::milliseconds(-1500);
    let outcomes = vec![
        Err(failure("Made.Up")),
        Err(failure("Throttling.User")),
        Ok(ahead),
    ];
    let mut source = CountedSource::new(Scripted(outcomes), clock(), Some(&rig.counters));
    for _ in 0..4 {
        let _ = timeout(source.timeout(), source.mint()).await;
    }
    for (labels, expected) in [
        (r#"result="success",code="none""#, Some(1.0)),
        (r#"result="failure",code="Throttling""#, Some(1.0)),
        (r#"result="failure",code="other""#, Some(1.0)),
        (r#"result="failure",code="TimedOut""#, Some(1.0)),
        (r#"result="failure",code="Made.Up""#, None),
    ] {
        let metric = format!("ram_sidecar_renewals_total{{{labels}}}");
        assert_eq!(rig.value(&metric), expected, "{}", rig.text());
    }
    assert_eq!(rig.value("ram_sidecar_clock_skew_seconds"), Some(-1.5));
}

#[derive(Debug)]
struct Answers(Result<u16, Failure>);

impl Transport for Answers {
    fn send<'a>(&'a self, _: Call<'a>) -> ResponseFuture<'a> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let status = self.0.clone()?;
            Ok(Response::new(
                status,
                &reqwest::header::HeaderMap::new(),
                Vec::new().into(),
            ))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_measured_by_endpoint_and_outcome() {
    let rig = start();
    for (answer, outcome) in [
        (Ok(200), "success"),
        (Ok(403), "refused"),
        (Ok(503), "refused"),
        (Err(failure("TimedOut")), "unreachable"),
    ] {
        let client = Client::with_transport(Answers(answer));
        let client = TimedTransport::wrap(client, "sts.example", Some(&rig.counters));
        let call = Call {
            method: reqwest::Method::POST,
            url: "https://sts.example/?Secret=1",
            headers: &[],
            form: None,
        };
        let _ = client.call(call).await;
        let labels = format!(r#"endpoint="sts.example",outcome="{outcome}""#);
        let below = |bound: &str| {
            let bucket = format!(
                r#"ram_sidecar_sts_request_duration_seconds_bucket{{le="{bound}",{labels}}}"#
            );
            rig.value(&bucket).unwrap()
        };
        let count = rig.value(&format!(
            "ram_sidecar_sts_request_duration_seconds_count{{{labels}}}"
        ));
        assert!(
            (below("0.25"), Some(below("0.5"))) == (0.0, count),
            "{}",
            rig.text()
        );
    }
}

#[test]
fn the_state_is_read_at_each_scrape() {
    let rig = start();
    let phase = |rig: &Rig| {
        let is_phase = |phase: &Phase| {
            rig.value(&format!(r#"ram_sidecar_phase{{phase="{}"}}"#, phase.name())) == Some(1.0)
        };
        let phases: Vec<Phase> = Phase::ALL.into_iter().filter(is_phase).collect();
        assert_eq!(phases.len(), 1, "{}", rig.text());
        phases[0].name()
    };
    let expiration = "ram_sidecar_credentials_expiration_timestamp_seconds";
    assert_eq!((phase(&rig), rig.value(expiration)), ("pending", None));
    let hour = Duration::from_secs(3600);
    rig.publisher
        .renewed(lease("a", noon().after(hour)), noon().after(hour / 2));
    let at = |minutes: i64| Some(seconds(noon().wall + chrono::TimeDelta::minutes(minutes)));
    assert_eq!((phase(&rig), rig.value(expiration)), ("fresh", at(60)));
    let renewal = "ram_sidecar_credentials_renewal_timestamp_seconds";
    rig.publisher.failed(
        failure("NoPermission"),
        noon().after(Duration::from_secs(60)),
    );
    assert_eq!((phase(&rig), rig.value(renewal)), ("failing", at(30)));
    assert_eq!(
        rig.value("ram_sidecar_next_attempt_timestamp_seconds"),
        at(1)
    );
    assert_eq!(rig.value("ram_sidecar_consecutive_failures"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_held_until_it_is_answered_or_left() {
    let rig = start();
    let counter = RequestCounter::new(&rig.counters, |_| "metadata");
    let (answered, refused, left) = (
        counter.arrived("/a"),
        counter.arrived("/b"),
        counter.arrived("/c"),
    );
    assert_eq!(rig.value("ram_sidecar_held_requests"), Some(3.0));
    tokio::time::advance(Duration::from_millis(700)).await;
    answered.answered(200, None);
    refused.answered(403, Some("RemoteRefused"));
    drop(left);
    assert_eq!(rig.value("ram_sidecar_held_requests"), Some(0.0));
    for status in [200, 403, 499] {
        let metric =
            format!(r#"ram_sidecar_requests_total{{dialect="metadata",status="{status}"}}"#);
        assert_eq!(rig.value(&metric), Some(1.0), "{}", rig.text());
    }
    let refused = r#"ram_sidecar_refused_requests_total{code="RemoteRefused"}"#;
    assert_eq!(rig.value(refused), Some(1.0));
    let sum = r#"ram_sidecar_request_duration_seconds_sum{dialect="metadata"}"#;
    assert!(
        (rig.value(sum).unwrap() - 2.1).abs() < 0.01,
        "{}",
        rig.text()
    );
}

#[test]
fn both_formats_have_the_same_metrics() {
    let rig = start();
    let (openmetrics, _) = rig
        .exposition
        .render("application/openmetrics-text;version=1.0.0;q=0.6, text/plain;q=0.5");
    assert_eq!(openmetrics, OPENMETRICS);
    let names = |accept: &str| {
        let (_, body) = rig.exposition.render(accept);
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(text.ends_with("# EOF\n"), !accept.is_empty());
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.split([' ', '{']).next().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    let (plain, open) = (names(""), names("application/openmetrics-text"));
    assert_eq!(plain, open);
    for name in [
        "ram_sidecar_build_info",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "ram_sidecar_log_lines_dropped_total",
    ] {
        assert!(plain.contains(name), "{plain:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_code_of_a_service_becomes_a_label() {
    let rig = start();
    let known: Vec<&str> = entries().map(|entry| entry.code).collect();
    let made_up = (0..2000).map(|number| {
        let begin = known[number % known.len()].trim_end_matches('*');
        Err(failure(&format!("{begin}planted{number}")))
    });
    let mut source = CountedSource::new(Scripted(made_up.collect()), clock(), Some(&rig.counters));
    for _ in 0..2000 {
        let _ = source.mint().await;
    }
    let text = rig.text();
    let series = text
        .lines()
        .filter(|line| line.starts_with("ram_sidecar_renewals_total{"));
    assert!(
        !text.contains("planted") && series.count() < known.len(),
        "{text}"
    );
}
