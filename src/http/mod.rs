//! Calls to other services over HTTP.

pub mod address;
mod cause;
pub mod client;
pub mod names;
pub mod pem;
pub mod proxy;
pub mod response;
