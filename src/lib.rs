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
//! | layer | modules | may use |
//! | --- | --- | --- |
//! | 0 words | [`answer`], [`credentials`], [`duration`], [`failure`], [`moment`], [`principal`] | – |
//! | 1 decisions | [`diagnosis`], [`schedule`], `state::{binding, document}`, [`sts::endpoint`], [`sts::sign`], [`sts::wire`], [`view`], [`serve::guard`], [`serve::session`] | layer 0, the read types of [`snapshot`] |
//! | 2 state | [`clock`], [`snapshot`] | layer 0 |
//! | 3 effects | [`identity`], [`outbound`], [`process`], [`refresh`], [`serve`], [`signal`], [`sink`], [`source`], [`state`], [`sts`], [`telemetry`] | layers 0 to 2 and, downwards only, `source` → `sts` → `outbound`, `source` → `identity` → `outbound`, `refresh` → `source`, `state` → `sink` |
//! | 4 composition | [`app`], [`cli`], [`command`], [`config`], [`upstream`], `inject` (which decides, with the words of `config`), `sandbox` | anything; `inject` no effects |
//!
//! `tests/integration/layering.rs` holds the code to this table.

pub mod answer;
pub mod app;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod credentials;
pub mod diagnosis;
pub mod duration;
pub mod failure;
pub mod identity;
#[cfg(feature = "inject")]
pub mod inject;
pub mod moment;
pub mod outbound;
pub mod principal;
pub mod process;
pub mod refresh;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod schedule;
pub mod serve;
pub mod signal;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod sts;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod upstream;
pub mod view;
