//! Policies: who may assume a role, and what a session may do.

pub(super) mod session;
pub(super) mod trust;
mod wildcard;
