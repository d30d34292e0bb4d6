//! Notifications to systemd, if it has started this process as a service of `Type=notify`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::debug;

use crate::refresh::store::Health;
use crate::server::probe;

/// Reports the health: ready once credentials have been obtained, and always the sentence that the probes give.
pub(super) async fn report(health: Health) {
    let mut message = format!("STATUS={}", probe::status(&health));
    if probe::startup(&health).passes {
        message.push_str("\nREADY=1");
    }
    send(message).await;
}

/// Reports that the shutdown has begun.
pub(super) async fn stopping() {
    send("STATUS=Stopping\nSTOPPING=1".to_owned()).await;
}

/// Sends on another thread, because a systemd that reads no messages blocks the sender. Best effort.
async fn send(message: String) {
    let sending = spawn_blocking(move || sd_notify::notify(&[NotifyState::Custom(&message)]));
    match timeout(TIMEOUT, sending).await {
        Ok(Ok(Ok(()))) => {}
        outcome => debug!(error = ?outcome, "Cannot notify systemd"),
    }
}

/// Long for a message between two processes of one machine.
const TIMEOUT: Duration = Duration::from_secs(1);
