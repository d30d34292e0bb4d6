//! What several unit tests need.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes a new, empty directory.
pub(crate) fn directory(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let unique = format!(
        "{name}-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let path = std::env::temp_dir().join("ram-sidecar-unit").join(unique);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Says aloud that a test cannot check something for want of `what`; under `CI=true` that is a failure.
#[expect(clippy::print_stderr, reason = "a test that did nothing must say so")]
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment that they run in CI"
)]
pub(crate) fn skipped(what: &str) {
    eprintln!("SKIPPED: {what} not found");
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "CI must not skip: {what} not found");
}
