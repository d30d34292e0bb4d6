//! Clocks, moments and durations.

pub mod clock;
pub mod duration;
pub mod moment;
