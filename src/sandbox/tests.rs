//! The sandbox as a client meets it: over HTTP, with a signer of the tests' own.

mod assume_role;
mod bounds;
mod client;
mod faults;
mod gate;
mod oidc;
mod plan;
mod v3;
mod wire;
mod world;
