//! Credentials that were restored from a previous process.

use super::*;

#[tokio::test(start_paused = true)]
async fn restored_credentials_are_offered_at_once_and_renewed_when_due() {
    for (lifetime, renew_after, attempts) in [
        (40 * MINUTE, 7 * MINUTE, [7 * MINUTE, 7 * MINUTE + 1548]),
        // Overdue: one attempt at once.
        (20 * MINUTE, 0, [0, 1548]),
    ] {
        let mut simulation =
            Simulation::resume(|_| Action::Grant(HOUR), Some((lifetime, renew_after)));
        assert!(simulation.offers(), "before any attempt");
        assert_eq!(simulation.run(40 * MINUTE).await, []);
        let started: Vec<u64> = simulation
            .attempts()
            .iter()
            .map(Duration::as_secs)
            .collect();
        assert_eq!(started, attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn restored_credentials_expire_on_time_when_sts_is_unreachable() {
    let restored = Some((20 * MINUTE, 0));
    let mut simulation = Simulation::resume(|_| Action::Fail("ConnectFailed"), restored);
    assert_eq!(simulation.run(HOUR).await, [(20 * MINUTE, HOUR + 1)]);
}

#[tokio::test(start_paused = true)]
async fn refresh_request_renews_restored_credentials() {
    let restored = Some((40 * MINUTE, 20 * MINUTE));
    let mut simulation = Simulation::resume(|_| Action::Grant(HOUR), restored);
    simulation.run(100).await;
    assert_eq!(simulation.attempts().len(), 0);
    simulation.refresh_requests.send_modify(|count| *count += 1);
    simulation.run(1).await;
    assert_eq!(simulation.attempts().len(), 1);
}
