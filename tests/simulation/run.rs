//! Many lives, as many as the time allows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;

use crate::life::{Tally, lived};
use crate::promises::Checked;
use crate::timeline::Timeline;

#[test]
fn the_promises_hold_in_every_world() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let (outcome, timeline) = life(seed);
        say(&timeline.told());
        say(&format!("{outcome:?}"));
        assert!(outcome.is_ok(), "seed {seed}: {outcome:?}");
        return;
    }
    let first = number("SIMULATION_FIRST").unwrap_or(1);
    let seconds = number("SIMULATION_SECONDS").unwrap_or(30);
    let (next, is_over) = (AtomicU64::new(first), AtomicBool::new(false));
    let (total, broken) = (Mutex::new(Tally::default()), Mutex::new(None));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let (outcome, timeline) = life(seed);
                    match outcome {
                        Ok(tally) => total.lock().unwrap().add(tally),
                        Err(breach) => {
                            is_over.store(true, Ordering::Relaxed);
                            let mut broken = broken.lock().unwrap();
                            broken.get_or_insert((seed, breach, timeline.told()));
                        }
                    }
                }
            });
        }
        for _ in 0..seconds * 10 {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let total = total.into_inner().unwrap();
    say(&format!("from seed {first}: {total}"));
    if let Some((seed, breach, timeline)) = broken.into_inner().unwrap() {
        say(&timeline);
        panic!(
            "a promise is broken: {breach}\nto replay it: SIMULATION_SEED={seed} cargo test --test simulation"
        );
    }
    assert!(total.lives > 0, "no life came to its end");
}

/// Lives through the world of a seed, and returns what came of it and what happened.
fn life(seed: u64) -> (Checked<Tally>, Timeline) {
    let (directory, timeline) = (Directory::new(seed), Timeline::default());
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let live = || {
        let living = lived(seed, &directory.0, &timeline);
        tracing::dispatcher::with_default(&timeline.subscriber(), || runtime.block_on(living))
    };
    let outcome = catch_unwind(AssertUnwindSafe(live));
    let outcome = outcome.unwrap_or_else(|_| Err("something panicked, see above".to_owned()));
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
        std::fs::create_dir_all(&path).expect("a directory for the files of a world");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Reads a number that a run is told by the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by the environment what to run"
)]
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {value}")),
    )
}

#[expect(clippy::print_stderr, reason = "what a run came to is worth knowing")]
fn say(text: &str) {
    eprintln!("{text}");
}
