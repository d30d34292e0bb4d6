//! The sandbox as a client meets it: over HTTP, with a signer of the tests' own.

mod assume_role;
mod authentication;
mod bounds;
mod client;
mod faults;
mod oidc;
mod plan;
mod v3;
mod wire;
mod world;
