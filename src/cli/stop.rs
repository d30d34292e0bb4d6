//! `stop`: asks a daemon to leave, from any container of its pod.

use reqwest::Method;

use super::Admin;

/// Asks once. The daemon leaves after its drain.
///
/// Fails with the reason why it does not.
pub async fn run(admin: &Admin) -> Result<(), String> {
    let told = admin.ask(Method::POST, "/stop").await?;
    if told.good { Ok(()) } else { Err(told.message) }
}
