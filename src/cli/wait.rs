//! `wait`: returns when a daemon is ready, for entry points of jobs.

use std::time::Duration;

use reqwest::Method;
use tokio::time::sleep;

use super::Admin;

/// Waits until the daemon has credentials and every file of its holds them.
///
/// Fails after `timeout` with the last reason why not.
pub async fn run(admin: &Admin, timeout: Duration) -> Result<(), String> {
    let mut reason = String::from("it does not answer");
    let ready = async {
        loop {
            match admin.ask(Method::GET, "/ready").await {
                Ok(told) if told.good => return,
                Ok(told) => reason = told.message,
                Err(nobody) => reason = nobody,
            }
            sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(timeout, ready).await;
    waited.map_err(|_| format!("not ready within {} seconds: {reason}", timeout.as_secs()))
}

/// Short beside the time that STS takes.
const PAUSE: Duration = Duration::from_millis(100);
