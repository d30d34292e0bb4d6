//! The sandbox as a client sees it: over HTTP, with a signer of the tests' own.

mod account;
mod actions;
mod auth_v1;
mod auth_v3;
mod client;
mod faults;
mod http;
mod oidc;
mod parameters;
mod plan;
