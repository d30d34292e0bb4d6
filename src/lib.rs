//! Serves temporary Alibaba Cloud RAM role credentials to the job beside it, where its tools already look.
//!
//! ```text
//!                  decisions (pure)                         effects (thin)
//!                                              ┌──────────┐  environment, files, services, programs
//!                                              │ identity │◄─────────────────── who we are
//!                                              └────┬─────┘
//!    sts::sign, sts::wire ───────────────────► ┌────▼─────┐  HTTPS POST form
//!                                              │   sts    │◄──────────────────► STS
//!                                              └────┬─────┘
//!                                                   │ new credentials, or a Failure
//!    refresh::schedule (when to try next) ───► ┌────▼─────┐
//!                                              │ refresh  │  the only loop, the only retry
//!                                              └────┬─────┘
//!                                                   │ Publisher (single writer)
//!                                           ┌───────▼────────┐
//!                                           │ refresh::store │  tokio::sync::watch
//!                                           └───────┬────────┘
//!                  Subscriber (secrets)             │        HealthReader (no secrets)
//!                     ┌───────────────────┬─────────┴────┬────────────────────┐
//!    formats ─► server::{data, metadata}  │              │    server::{probe, admin} (pod address)
//!               (loopback)                │              │
//!    formats ─────────────────────► files (atomic)      cli (asks a daemon, or is one)
//! ```
//!
//! Nothing flows upward. A client's request never causes a call to STS; at most it waits for the next publication.
//!
//! The modules stand below in one order: each uses only those above it. Some rules are stricter, and
//! `tests/integration/layering.rs` holds the code to all of them.

// Surroundings.
pub mod system;
pub mod time;

// Words.
pub mod credentials;
pub mod failure;

// In: who we are, and what STS grants us.
pub mod http;
pub mod identity;
pub mod sts;

// Where clients look.
pub mod chains;

// Keep fresh.
pub mod refresh;

// Out: the renderings, and what writes and serves them.
pub mod formats;

pub mod files;
pub mod metrics;
pub mod server;

// The embedded STS.
#[cfg(feature = "sandbox")]
pub mod sandbox;

// Composition.
pub mod config;
pub mod daemon;
#[cfg(feature = "inject")]
pub mod inject;

pub mod cli;

#[cfg(test)]
mod testing;
