//! Deterministic simulation: the production code, from the identity to the routers and the file, under a paused clock,
//! in scenarios that are generated from seeds.
//!
//! ```sh
//! cargo test --test simulation                                    # as many seeds as 30 seconds allow
//! SIMULATION_SEED=42 cargo test --test simulation                 # one seed, with its events
//! SIMULATION_SECONDS=3600 cargo test --release --test simulation  # as many seeds as an hour allows
//! ```

#[cfg(test)]
mod daemon;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod random;
#[cfg(test)]
mod run;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod timeline;
#[cfg(test)]
mod world;
