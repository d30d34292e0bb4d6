//! Calls to other services.

pub mod address;
mod cause;
pub mod client;
pub mod pem;
pub mod response;
