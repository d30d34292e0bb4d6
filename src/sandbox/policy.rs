//! Policies: who may assume a role, and what a session may do.

pub(crate) mod session;
pub(crate) mod trust;
mod wildcard;
