//! Tests of the sandbox over HTTP, by a client with a signer of its own.

mod account;
mod actions;
mod auth_v1;
mod auth_v3;
mod client;
mod client_v3;
mod faults;
mod http;
mod oidc;
mod parameters;
mod plan;
