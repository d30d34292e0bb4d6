//! Runs as many scenarios as the time allows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;

use crate::promises::Checked;
use crate::scenario::{Totals, simulate};
use crate::timeline::Timeline;

#[test]
fn promises_hold_in_every_scenario() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let (outcome, timeline) = run(seed);
        print(&timeline.render());
        print(&format!("{outcome:?}"));
        assert!(outcome.is_ok(), "seed {seed}: {outcome:?}");
        return;
    }
    let first = number("SIMULATION_FIRST").unwrap_or(1);
    let seconds = number("SIMULATION_SECONDS").unwrap_or(30);
    let (next, is_finished) = (AtomicU64::new(first), AtomicBool::new(false));
    let (total, broken) = (Mutex::new(Totals::default()), Mutex::new(None));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_finished.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let (outcome, timeline) = run(seed);
                    match outcome {
                        Ok(totals) => total.lock().unwrap().add(totals),
                        Err(breach) => {
                            is_finished.store(true, Ordering::Relaxed);
                            let mut broken = broken.lock().unwrap();
                            broken.get_or_insert((seed, breach, timeline.render()));
                        }
                    }
                }
            });
        }
        for _ in 0..seconds * 10 {
            if is_finished.load(Ordering::Relaxed) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        is_finished.store(true, Ordering::Relaxed);
    });
    let total = total.into_inner().unwrap();
    print(&format!("from seed {first}: {total}"));
    if let Some((seed, breach, timeline)) = broken.into_inner().unwrap() {
        print(&timeline);
        panic!(
            "a promise is broken: {breach}\nreproduce it with: SIMULATION_SEED={seed} cargo test --test simulation"
        );
    }
    assert!(total.scenarios > 0, "no scenario finished");
}

/// Runs the scenario of a seed. Returns its outcome and its events.
fn run(seed: u64) -> (Checked<Totals>, Timeline) {
    let (directory, timeline) = (Directory::new(seed), Timeline::default());
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let work = || {
        let scenario = simulate(seed, &directory.0, &timeline);
        tracing::dispatcher::with_default(&timeline.subscriber(), || runtime.block_on(scenario))
    };
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let outcome = outcome.unwrap_or_else(|_| Err("panicked, see the message above".to_owned()));
    (outcome, timeline)
}

/// A directory in memory, removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new(seed: u64) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            Path::new(env!("CARGO_TARGET_TMPDIR"))
        };
        let name = format!("ram-sidecar-simulation-{}-{seed}", std::process::id());
        let path = parent.join(name);
        std::fs::create_dir_all(&path).expect("the directory can be created");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Reads a number from an environment variable; nothing if it is unset.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment configures this test"
)]
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
    )
}

#[expect(clippy::print_stderr, reason = "prints the result of the run")]
fn print(text: &str) {
    eprintln!("{text}");
}
