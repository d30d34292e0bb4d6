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
//!                                                   │ Result<Granted, Failure>
//!    schedule (when to try next) ────────────► ┌────▼─────┐
//!                                              │ refresh  │  the only loop, the only retry
//!                                              └────┬─────┘
//!                                                   │ Publisher (single writer)
//!                                              ┌────▼─────┐
//!                                              │ snapshot │  tokio::sync::watch
//!                                              └────┬─────┘
//!                  Subscriber (secrets)             │        HealthReader (no secrets)
//!                     ┌───────────────────┬─────────┴────┬────────────────────┐
//!    view::{document, │  view::format, state ─► sink     │    view::probe ─► serve::admin
//!    container,       │        (files, atomic)           │       (pod address)
//!    metadata} ─► serve::{data, metadata} (loopback)     └─ command (asks a daemon, or is one)
//! ```
//!
//! Nothing flows upward. A client's request never causes a call to STS; at most it waits for the next publication.
//!
//!
//! `tests/integration/layering.rs` holds the code to this table.

pub mod system;
pub mod time;

pub mod credentials;
pub mod failure;

pub mod http;
pub mod identity;
pub mod sts;

pub mod refresh;

pub mod files;
pub mod formats;
pub mod server;

#[cfg(feature = "sandbox")]
pub mod sandbox;

pub mod config;
pub mod daemon;
#[cfg(feature = "inject")]
pub mod inject;

pub mod cli;

#[cfg(test)]
mod testing;
