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
