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
        let plan = plan(&written).unwrap_or_else(|mistakes| panic!("{written}: {mistakes:?}"));
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
    let wanted = Plan {
        text: "throttle=0.2,throttle-pause=30s,latency=200ms..2s,skew=-5m,lifetime=2m".into(),
        shares: vec![(throttling, 0.2)],
        flap: None,
        latency: Some((Duration::from_millis(200), Duration::from_secs(2))),
        lifetime: Some(Duration::from_secs(120)),
        skew: TimeDelta::minutes(-5),
    };
    assert_eq!(read, Ok(wanted));
    assert_eq!(
        plan("skew=5m").unwrap().skew,
        plan("skew=+5m").unwrap().skew
    );
    assert!(plan("throttle=0.1,error=0.2,html=0.7").is_ok());
}

#[test]
fn every_mistake_is_reported_with_its_remedy() {
    for (text, mistakes) in [
        ("", &["it is empty; name a fault, like throttle=0.2"][..]),
        (" \n", &["it is empty; name a fault, like throttle=0.2"]),
        ("down,", &["it has an empty entry; drop a comma"]),
        (
            "trottle",
            &["`trottle` is not a fault; there are down, hang, throttle, throttle-pause, error,"],
        ),
        ("=2s", &["`` is not a fault; there are "]),
        ("Down", &["`Down` is not a fault; "]),
        (
            "throttle=20%",
            &[
                "throttle: `20%` is not a share of the calls; write a number from 0 to 1, like throttle=0.2",
            ],
        ),
        ("error=1.1", &["error: `1.1` is not a share of the calls; "]),
        (
            "error=-0.1",
            &["error: `-0.1` is not a share of the calls; "],
        ),
        ("error=NaN", &["error: `NaN` is not a share of the calls; "]),
        ("error=", &["error: `` is not a share of the calls; "]),
        ("error=.", &["error: `.` is not a share of the calls; "]),
        ("down,down", &["down is given twice; keep one"]),
        (
            "latency",
            &["latency lacks its value; write latency=2s or latency=1s..3s"],
        ),
        (
            "lifetime=",
            &["lifetime lacks its value; write lifetime=2m"],
        ),
        (
            "latency=2",
            &["latency: `2` has no unit; write it like 200ms, 2s or 5m"],
        ),
        (
            "latency=3s..1s",
            &["latency: `3s..1s` ends before it begins; swap the two"],
        ),
        (
            "latency=1s..11s",
            &[
                "latency: `1s..11s` is more than 10 s, after which clients have given up; choose 10s or less, or hang",
            ],
        ),
        (
            "lifetime=1s",
            &["lifetime: `1s` is over before it begins; choose 2s or more"],
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
                "flap: `90s/30s` leaves no time to be down or none to be up; write flap=30s/90s, the shorter one first",
            ],
        ),
        ("flap=0s/30s", &["flap: `0s/30s` leaves no time"]),
        (
            "throttle-pause=30s",
            &["throttle-pause has no effect without throttle; add it"],
        ),
        (
            "down,throttle=0.5",
            &[
                "down and throttle take more than all calls; give them shares that come to 1 at most",
            ],
        ),
        (
            "nope,latency=x,throttle=2,,hang",
            &[
                "`nope` is not a fault",
                "latency: `x` is not a duration",
                "throttle: `2` is not a share",
                "it has an empty entry",
            ],
        ),
    ] {
        let reported = plan(text).expect_err(text);
        assert_eq!(reported.len(), mistakes.len(), "{text}: {reported:?}");
        for (reported, mistake) in reported.iter().zip(mistakes) {
            assert!(reported.starts_with(mistake), "\n{reported}\n{mistake}");
        }
    }
}
