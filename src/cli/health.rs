//! `health`: a probe for images without an HTTP client.

use reqwest::Method;

use super::Admin;

/// Asks one probe, `live`, `ready` or `startup`.
///
/// Fails with the reason that the daemon gives.
pub async fn run(admin: &Admin, probe: &str) -> Result<(), String> {
    let told = admin.ask(Method::GET, &format!("/{probe}")).await?;
    if told.good { Ok(()) } else { Err(told.message) }
}
