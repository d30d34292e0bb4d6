//! The commands that come to an end.

pub mod check;
