//! Files that follow the current credentials: those that clients read, and the saved state of this process.

mod atomic;
mod blocking;
pub mod credentials_file;
pub mod ownership;
pub mod place;
pub mod state;
pub mod target;
pub mod writer;
