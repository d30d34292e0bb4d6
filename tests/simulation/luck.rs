//! Luck that can be had again: everything that is left to chance in a simulation comes from its seed.

use std::cell::RefCell;
use std::time::Duration;

/// A stream of chance (`SplitMix64`): the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Luck(u64);

impl Luck {
    /// Begins the stream `name` of a seed; streams do not disturb each other.
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
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Returns a number in [0, `below`).
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// Returns one of `choices`.
    pub(crate) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        let count = u64::try_from(choices.len()).unwrap();
        choices[usize::try_from(self.below(count)).unwrap()].clone()
    }

    /// Returns a span between two, as often of one order of magnitude as of any other.
    pub(crate) fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
        Duration::from_secs_f64(least * (most / least).powf(self.share()))
    }
}

thread_local! {
    static DICE: RefCell<Luck> = RefCell::new(Luck::new(0, "dice"));
}

/// Loads the dice that the refresher throws on this thread.
pub(crate) fn load_dice(seed: u64) {
    DICE.with_borrow_mut(|dice| *dice = Luck::new(seed, "dice"));
}

/// Throws the dice of this thread.
pub(crate) fn dice() -> f64 {
    DICE.with_borrow_mut(Luck::share)
}
