//! Deterministic simulation: the production code, from the identity to the routers and the file, under a paused clock,
//! against worlds that are drawn from seeds.
//!
//! ```sh
//! cargo test --test simulation                                    # half a minute of seeds
//! SIMULATION_SEED=42 cargo test --test simulation                 # one of them, and what happened in it
//! SIMULATION_SECONDS=3600 cargo test --release --test simulation  # as many as an hour holds
//! ```

#[cfg(test)]
mod daemon;
#[cfg(test)]
mod life;
#[cfg(test)]
mod luck;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod run;
#[cfg(test)]
mod timeline;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod world;
