//! Calls to other services.

mod cause;
pub mod client;
pub mod response;
