//! Reproducible random numbers: everything random in a scenario follows from its seed.

use std::cell::RefCell;
use std::time::Duration;

/// A random number generator (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Makes the generator `name` of a seed. Generators of different names are independent.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mixed = name
            .bytes()
            .fold(seed ^ 0xCBF2_9CE4_8422_2325, |sum, byte| {
                (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
        Self(mixed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number in [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns true with this probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// Returns a number in [0, `limit`).
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Returns one of `choices`.
    pub(crate) fn choose<T: Clone>(&mut self, choices: &[T]) -> T {
        let count = u64::try_from(choices.len()).unwrap();
        choices[usize::try_from(self.below(count)).unwrap()].clone()
    }

    /// Returns a log-uniformly distributed duration: each order of magnitude is as likely as any other.
    pub(crate) fn duration(&mut self, min: Duration, max: Duration) -> Duration {
        let (min, max) = (min.as_secs_f64(), max.as_secs_f64());
        Duration::from_secs_f64(min * (max / min).powf(self.fraction()))
    }
}

thread_local! {
    static JITTER: RefCell<Random> = RefCell::new(Random::new(0, "jitter"));
}

/// Seeds the jitter of the refresher on this thread.
pub(crate) fn seed_jitter(seed: u64) {
    JITTER.with_borrow_mut(|random| *random = Random::new(seed, "jitter"));
}

/// Draws the jitter for the refresher on this thread.
pub(crate) fn jitter() -> f64 {
    JITTER.with_borrow_mut(Random::fraction)
}
