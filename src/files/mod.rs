//! Files that hold credentials.

mod atomic;
mod ownership;
pub mod state;
mod target;
pub mod writer;
