//! What systemd is told that has started this process as a service of `Type=notify`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::debug;

use crate::refresh::store::Health;
use crate::server::probe;

/// Tells how things are: ready once credentials have been obtained, and always the sentence that the probes give.
pub(super) async fn tell(health: Health) {
    let mut message = format!("STATUS={}", probe::status(&health));
    if probe::startup(&health).good {
        message.push_str("\nREADY=1");
    }
    send(message).await;
}

/// Tells that the stop has begun.
pub(super) async fn stopping() {
    send("STATUS=Stopping\nSTOPPING=1".to_owned()).await;
}

/// Best effort, and elsewhere: a systemd that takes no messages blocks whoever sends one.
async fn send(message: String) {
    let sending = spawn_blocking(move || sd_notify::notify(&[NotifyState::Custom(&message)]));
    match timeout(PATIENCE, sending).await {
        Ok(Ok(Ok(()))) => {}
        outcome => debug!("systemd was not told: {outcome:?}"),
    }
}

/// It is a message between two processes of one machine.
const PATIENCE: Duration = Duration::from_secs(1);
