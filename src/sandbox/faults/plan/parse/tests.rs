use super::*;

#[test]
fn every_listed_fault_is_parsed() {
    for (usage, _) in FAULTS {
        let shortest = usage.split('[').next().unwrap();
        let written = match *usage {
            "skew=[-]DURATION" => "skew=-5m".to_owned(),
            "throttle-pause=DURATION" => "throttle,throttle-pause=30s".to_owned(),
            _ => shortest
                .replace("DURATION/DURATION", "30s/90s")
                .replace("DURATION", "2s"),
        };
        let plan = plan(&written).unwrap_or_else(|errors| panic!("{written}: {errors:?}"));
        assert_ne!(
            plan,
            Plan {
                text: written.clone(),
                ..Plan::default()
            },
            "{written}"
        );
        assert_eq!(plan.as_str(), written);
    }
}

#[test]
fn a_plan_has_the_faults_of_its_text() {
    let read = plan(" throttle=0.2 ,throttle-pause=30s, latency=200ms..2s,skew=-5m,lifetime=2m\n");
    let throttling = Fault::Throttling {
        retry_after: Some(Duration::from_secs(30)),
        acs_retry_after: None,
    };
    let expected = Plan {
        text: "throttle=0.2,throttle-pause=30s,latency=200ms..2s,skew=-5m,lifetime=2m".into(),
        deciding: vec![(throttling, 0.2)],
        flap: None,
        latency: Some((Duration::from_millis(200), Duration::from_secs(2))),
        lifetime: Some(Duration::from_secs(120)),
        skew: TimeDelta::minutes(-5),
    };
    assert_eq!(read, Ok(expected));
    assert_eq!(
        plan("skew=5m").unwrap().skew,
        plan("skew=+5m").unwrap().skew
    );
    assert!(plan("throttle=0.1,error=0.2,html=0.7").is_ok());
}

#[test]
fn every_error_is_reported_with_its_remedy() {
    for (text, errors) in [
        ("", &["it is empty; name a fault, like throttle=0.2"][..]),
        (" \n", &["it is empty; name a fault, like throttle=0.2"]),
        ("down,", &["there is an empty entry; remove a comma"]),
        (
            "trottle",
            &[
                "`trottle` is not a fault; the faults are down, hang, throttle, throttle-pause, error,",
            ],
        ),
        ("=2s", &["`` is not a fault; the faults are "]),
        ("Down", &["`Down` is not a fault; "]),
        (
            "throttle=20%",
            &[
                "throttle: `20%` is not a probability; write a number from 0 to 1, like throttle=0.2",
            ],
        ),
        ("error=1.1", &["error: `1.1` is not a probability; "]),
        ("error=-0.1", &["error: `-0.1` is not a probability; "]),
        ("error=NaN", &["error: `NaN` is not a probability; "]),
        ("error=", &["error: `` is not a probability; "]),
        ("error=.", &["error: `.` is not a probability; "]),
        ("down,down", &["down is given twice; remove one"]),
        (
            "latency",
            &["latency requires a value; write latency=2s or latency=1s..3s"],
        ),
        (
            "lifetime=",
            &["lifetime requires a value; write lifetime=2m"],
        ),
        (
            "latency=2",
            &["latency: `2` has no unit; write it like 200ms, 2s or 5m"],
        ),
        (
            "latency=3s..1s",
            &["latency: in `3s..1s` the first duration is longer than the second; swap them"],
        ),
        (
            "latency=1s..11s",
            &[
                "latency: `1s..11s` is more than 10 s, the timeout of clients; choose 10s or less, or hang",
            ],
        ),
        (
            "lifetime=1s",
            &["lifetime: `1s` is too short; choose 2s or more"],
        ),
        (
            "skew=9000h",
            &["skew: `9000h` is more than a year; choose 8760h or less"],
        ),
        ("skew=--5m", &["skew: `-5m` is not a duration; "]),
        (
            "flap=30s",
            &["flap: `30s` is not two durations; write flap=30s/90s"],
        ),
        (
            "flap=90s/30s",
            &[
                "flap: in `90s/30s` the service is never down or never up; write flap=30s/90s, with the outage first and the longer period second",
            ],
        ),
        (
            "flap=0s/30s",
            &["flap: in `0s/30s` the service is never down"],
        ),
        (
            "throttle-pause=30s",
            &["throttle-pause has no effect without throttle; add it"],
        ),
        (
            "down,throttle=0.5",
            &[
                "the probabilities of down and throttle add up to more than 1; reduce them, like throttle=0.5,error=0.5",
            ],
        ),
        (
            "nope,latency=x,throttle=2,,hang",
            &[
                "`nope` is not a fault",
                "latency: `x` is not a duration",
                "throttle: `2` is not a probability",
                "there is an empty entry",
            ],
        ),
    ] {
        let reported = plan(text).expect_err(text);
        assert_eq!(reported.len(), errors.len(), "{text}: {reported:?}");
        for (reported, error) in reported.iter().zip(errors) {
            assert!(reported.starts_with(error), "\n{reported}\n{error}");
        }
    }
}
