//! Clocks that are set, that differ from the one of STS, and that stand still during a suspension.

use super::*;

#[tokio::test(start_paused = true)]
async fn wall_clock_set_forward_causes_a_renewal_within_a_slice() {
    let mut simulation = Simulation::start(|_| Action::Grant(HOUR));
    simulation.run(100).await;
    simulation.clock.shift_wall(TimeDelta::hours(2));
    let mut without = 0;
    for _ in 0..60 {
        without += u32::from(!simulation.second(false).await);
    }
    assert!(without <= 30, "{without} seconds without credentials");
    assert_eq!(simulation.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_back_does_not_prolong_a_lifetime() {
    let mut simulation = Simulation::start(then_unreachable);
    simulation.run(100).await;
    simulation.clock.shift_wall(TimeDelta::days(-2));
    for _ in 0..2 * HOUR {
        let offered = simulation.second(false).await;
        assert_eq!(
            offered,
            simulation.started.elapsed() < Duration::from_secs(HOUR)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_back_just_before_an_expiry_does_not_delay_an_attempt() {
    let mut simulation = Simulation::start(then_unreachable);
    simulation.run(100).await;
    // By the wall clock 90 seconds remain now, and all but the last of them pass.
    simulation.clock.shift_wall(TimeDelta::seconds(3410));
    simulation.run(89).await;
    simulation.clock.shift_wall(TimeDelta::hours(-1));
    let before = simulation.attempts().len();
    simulation.run(100).await;
    assert!(simulation.attempts().len() > before);
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_within_the_second_of_an_attempt_does_not_cause_another() {
    let mut simulation = Simulation::start(|_| Action::Fail("ConnectFailed"));
    simulation.run(100).await;
    let mut seen = simulation.attempts().len();
    for _ in 0..20 {
        while simulation.attempts().len() == seen {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        seen = simulation.attempts().len();
        simulation.clock.shift_wall(TimeDelta::hours(1));
        simulation.refresh_requests.send_modify(|count| *count += 1);
        // `attempts` checks at the next round that attempts are at least a second apart.
        simulation.second(false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn clock_set_during_an_attempt_withholds_credentials_for_seconds_only() {
    let mut simulation = Simulation::start(|at| {
        if at == 0 {
            Action::Slow(HOUR)
        } else {
            Action::Grant(HOUR)
        }
    });
    simulation.second(false).await;
    simulation.clock.shift_wall(TimeDelta::hours(2));
    let mut without = 0;
    for _ in 0..60 {
        without += u32::from(!simulation.second(false).await);
    }
    assert!(without <= 5, "{without} seconds without credentials");
}

#[tokio::test(start_paused = true)]
async fn recheck_after_a_suspension_renews_at_once() {
    let mut simulation = Simulation::start(|_| Action::Grant(HOUR));
    simulation.run(100).await;
    simulation.clock.shift_wall(TimeDelta::hours(2));
    simulation.subscriber.request_recheck();
    assert!(simulation.second(false).await);
}

#[test]
fn clock_skew_is_logged_once_and_again_when_it_changes() {
    let seconds = TimeDelta::seconds;
    let mut reporter = Reporter::default();
    let mut is_logged = |skew| {
        let before = reporter.skew;
        reporter.skew(seconds(skew));
        reporter.skew != before
    };
    let cases = [
        (0, false),
        (30, false),
        (31, true),
        (33, false),
        (40, false),
        (62, true),
    ];
    for (skew, is_change) in cases
        .into_iter()
        .chain([(-5, true), (0, false), (-3600, true)])
    {
        assert_eq!(is_logged(skew), is_change, "{skew}");
    }
}
