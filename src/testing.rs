//! Helpers for unit tests.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::system::log::{self, Format};

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

/// Reports that a test is skipped because `what` is missing, and fails under `CI=true`.
#[expect(clippy::print_stderr, reason = "a skipped test must be reported")]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment shows whether a test runs in CI"
)]
pub(crate) fn skipped(what: &str) {
    eprintln!("SKIPPED: {what} not found");
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "CI must not skip: {what} not found");
}

/// Asserts that a text is that of a reviewed file in `tests/data`, which `UPDATE_GOLDEN=1` writes.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment shows whether the files are to be written"
)]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, reviewed,
        "{name}: run UPDATE_GOLDEN=1, and read the changes"
    );
}

/// The log of this thread, one line for each event.
#[derive(Debug)]
pub(crate) struct Log {
    written: Written,
    _guard: DefaultGuard,
}

impl Log {
    /// Records the log until the value is dropped.
    pub(crate) fn start() -> Self {
        Self::start_as(Format::Text)
    }

    /// Records the log in a format until the value is dropped.
    pub(crate) fn start_as(format: Format) -> Self {
        let written = Written::default();
        let writer = written.clone();
        let lines = log::lines(format, false, move || writer.clone());
        let filter = Targets::new().with_target("ram_sidecar", LevelFilter::DEBUG);
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        Self {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Returns the lines since the last call, without their times.
    pub(crate) fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.written.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        let without_time = |line: &str| match line.strip_prefix("{\"timestamp\":") {
            Some(json) => format!("{{{}", json.split_once(',').unwrap().1),
            None => line.split_once(' ').unwrap().1.trim().to_owned(),
        };
        text.lines().map(without_time).collect()
    }
}

#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
