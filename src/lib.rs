//! x
pub mod answer;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod failure;
pub mod identity;
pub mod moment;
pub mod outbound;
pub mod process;
pub mod refresh;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod schedule;
pub mod serve;
pub mod signal;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod sts;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod view;
