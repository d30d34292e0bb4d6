//! Which build of the program this is.

/// The version, as in the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built, if whoever built it set `RAM_SIDECAR_REVISION`.
pub const REVISION: &str = match option_env!("RAM_SIDECAR_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
