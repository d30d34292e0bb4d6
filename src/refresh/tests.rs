//! The refresh loop with a scripted source, under tokio's paused clock.

mod clocks;
mod log;
mod restored;
mod scripts;
mod simulation;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::simulation::{Action, HOUR, MINUTE, Simulation, then_unreachable};
use super::*;
use crate::credentials::{Credentials, Lease, RoleArn, RoleRequest};
use crate::failure::Stage;
use crate::refresh::store::{self, HealthReader, Offer, Phase, Subscriber};

#[tokio::test(start_paused = true)]
async fn default_hour_always_leaves_half_an_hour() {
    let mut simulation = Simulation::start(|_| Action::Grant(HOUR));
    for _ in 0..12 * HOUR {
        simulation.second(true).await;
        let remaining = simulation
            .health
            .health(simulation.clock.now())
            .remaining
            .unwrap();
        assert!(remaining >= Duration::from_secs(1920), "{remaining:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_request_renews_at_once_and_many_renew_once_a_second() {
    let mut simulation = Simulation::start(|_| Action::Grant(HOUR));
    simulation.run(100).await;
    simulation.refresh_requests.send_modify(|count| *count += 1);
    simulation.run(1).await;
    assert_eq!(simulation.attempts().len(), 2);

    for _ in 0..1000 {
        simulation.refresh_requests.send_modify(|count| *count += 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let attempts = simulation.attempts().len();
    assert!((10..=13).contains(&attempts), "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn failure_is_visible_while_the_current_credentials_are_served() {
    let mut simulation = Simulation::start(|at| {
        if at == 0 {
            Action::Grant(HOUR)
        } else {
            Action::Fail("NoPermission")
        }
    });
    simulation.run(30 * MINUTE).await;
    let health = simulation.health.health(simulation.clock.now());
    assert_eq!(health.phase, Phase::Failing);
    assert_eq!(health.failure.unwrap().code, "NoPermission");
    assert!(health.failures >= 2);
}

#[tokio::test(start_paused = true)]
async fn short_credentials_replace_longer_ones_only_on_request() {
    let mut simulation =
        Simulation::start(|second| Action::Grant(if second < 60 { HOUR } else { 300 }));
    let id = |simulation: &mut Simulation| {
        let state = simulation.subscriber.snapshot();
        state
            .current()
            .unwrap()
            .lease
            .credentials
            .access_key_id
            .clone()
    };
    simulation.run(50 * MINUTE).await;
    assert_eq!(id(&mut simulation), "0");
    assert_eq!(
        simulation.health.health(simulation.clock.now()).phase,
        Phase::Fresh
    );
    let attempts = simulation.attempts().len();
    assert!(
        (5..40).contains(&attempts),
        "about once a minute: {attempts}"
    );

    simulation.refresh_requests.send_modify(|count| *count += 1);
    simulation.run(5).await;
    assert_ne!(id(&mut simulation), "0", "a request replaces them");
}

#[test]
fn current_credentials_are_kept_only_if_the_new_ones_have_another_key_are_short_and_expire_sooner()
{
    use crate::refresh::store::tests::{lease, noon};
    for (name, lifetime, expires_after, remaining) in [
        ("b", 899, 899, Some(1000)),
        ("b", 899, 999, Some(1000)),
        // The new ones expire no sooner.
        ("b", 899, 1000, None),
        ("b", 899, 1001, None),
        // The new ones are not short.
        ("b", 900, 899, None),
        ("b", 901, 899, None),
        // The new ones have the same key: theirs is the latest known expiry.
        ("a", 899, 899, None),
    ] {
        let after = |seconds| noon().after(Duration::from_secs(seconds));
        let (publisher, _, _) = store::channel(|_| Bytes::new());
        publisher.renewed(lease("a", after(1000)), noon());
        let mut new = lease(name, after(expires_after));
        new.lifetime = Duration::from_secs(lifetime);
        let state = publisher.snapshot();
        let current = state.current().unwrap();
        assert_eq!(
            keep_current(current, &new, noon()),
            remaining.map(Duration::from_secs),
            "{name} {lifetime} {expires_after}"
        );
    }
}
