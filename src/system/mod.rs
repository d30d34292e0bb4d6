//! The process and its surroundings.

pub mod build;
pub mod display;
pub mod file;
pub mod log;
pub mod netlink;
pub mod process;
pub mod program;
pub mod random;
pub mod remedy;
pub mod resolve;
pub mod signal;
