//! Which build of the program runs.

/// The version of the crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision of the source, if whoever built the program has set `RAM_SIDECAR_REVISION`.
pub const REVISION: &str = match option_env!("RAM_SIDECAR_REVISION") {
    Some(revision) if !revision.is_empty() => revision,
    _ => "unknown",
};

/// The optional parts of the program that were built.
pub const FEATURES: &str = match (cfg!(feature = "inject"), cfg!(feature = "sandbox")) {
    (true, true) => "inject, sandbox",
    (true, false) => "inject",
    (false, true) => "sandbox",
    (false, false) => "none",
};
